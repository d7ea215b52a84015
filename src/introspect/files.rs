//! Files in mcrouter's form: figures for tools that read them, and a copy of the configuration to start from.
//!
//! Each is written beside its place and then put there, so that who reads it sees the old one or the new one, never a
//! part. A copy is under `ROOT/SERVICE/ROUTER/` as `file-PATH`, the path percent-escaped; it is as old as the last
//! configuration that was taken. The directories that the flags name are not made: a typing error would be a directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::figures;
use super::instance::Instance;
use super::json::pretty;
use crate::config::{FileRead, watch};
use crate::stats::report::Registry;

/// Writes a file whole.
fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text)?;
            // Whatever the umask says.
            file.set_permissions(fs::Permissions::from_mode(mode))
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Writes figures, options and sources.
///
/// # Errors
/// The directory is not there or can't be written to.
pub fn write_stats(root: &Path, instance: &Instance, registry: &Registry) -> io::Result<()> {
    let prefix = instance.prefix();
    let figures = pretty(&figures::for_files(registry, instance));
    let options = instance.start.options.iter();
    let options = options.map(|(name, value)| (name.clone(), value.as_str().into()));
    let options = pretty(&Value::Object(options.collect()));
    for (name, text) in [
        ("stats", figures),
        ("startup_options", options),
        ("config_sources_info", instance.sources()),
    ] {
        let path = root.join(format!("{prefix}.{name}"));
        replace(&path, text.as_bytes(), 0o664)?;
    }
    Ok(())
}

/// The directory of this router's copies.
fn place(root: &Path, instance: &Instance) -> PathBuf {
    let part = |name: &str| match name {
        // Neither may lead to another directory.
        "" | "." | ".." => "_".to_owned(),
        name => name.replace('/', "_"),
    };
    root.join(part(&instance.start.service))
        .join(part(&instance.start.router))
}

fn name_of(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut name = "file-".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                name.push(char::from(*byte));
            }
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name
}

/// Keeps copies of the files of a configuration that is in force.
///
/// # Errors
/// The directory is not there or can't be written to.
pub fn dump(root: &Path, instance: &Instance, files: &[FileRead]) -> io::Result<()> {
    if !root.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no such directory",
        ));
    }
    let dir = place(root, instance);
    fs::create_dir_all(&dir)?;
    for file in files {
        let Some(content) = &file.content else {
            continue;
        };
        let path = dir.join(name_of(&file.path));
        match fs::read(&path) {
            Ok(known) if known == *content => {
                File::options()
                    .write(true)
                    .open(&path)?
                    .set_modified(SystemTime::now())?;
            }
            _ => replace(&path, content, 0o664)?,
        }
    }
    Ok(())
}

/// The copy of a file, if it is not too old.
///
/// # Errors
/// There is none, or it is too old.
pub fn dumped(
    root: &Path,
    instance: &Instance,
    path: &Path,
    most: Duration,
) -> io::Result<Vec<u8>> {
    let copy = place(root, instance).join(name_of(path));
    let modified = fs::metadata(&copy)?.modified()?;
    // One from the future is not old.
    if modified.elapsed().is_ok_and(|age| age > most) {
        return Err(io::Error::other("the copy is too old"));
    }
    watch::read(&copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspect::Start;

    fn instance() -> Instance {
        let start = Start {
            service: "s/1".to_owned(),
            router: "..".to_owned(),
            options: vec![("num_proxies".to_owned(), "2".to_owned())],
            ..Start::default()
        };
        Instance::new(start, None)
    }

    #[test]
    fn a_copy_is_what_was_read_for_as_long_as_it_is_young() {
        let root = tempfile::tempdir().unwrap();
        let instance = instance();
        let path = Path::new("/etc/a b/c.json");
        let files = |text: &str| {
            vec![FileRead {
                path: path.to_owned(),
                content: Some(text.as_bytes().to_vec()),
            }]
        };
        let hour = Duration::from_secs(3600);
        let read = || dumped(root.path(), &instance, path, hour);
        assert!(read().is_err());
        dump(root.path(), &instance, &files("one")).unwrap();
        let copy = root.path().join("s_1/_/file-%2Fetc%2Fa%20b%2Fc.json");
        assert_eq!(
            fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
            0o664
        );
        assert_eq!(read().unwrap(), b"one");
        dump(root.path(), &instance, &files("two")).unwrap();
        assert_eq!(read().unwrap(), b"two");
        let old = SystemTime::now() - 2 * hour;
        let file = File::options().write(true).open(&copy).unwrap();
        file.set_modified(old).unwrap();
        assert!(read().is_err(), "it is too old");
        dump(root.path(), &instance, &files("two")).unwrap();
        assert_eq!(read().unwrap(), b"two", "it was found to be as it is");
        let left = fs::read_dir(copy.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside it");
        assert!(dump(&root.path().join("none"), &instance, &files("two")).is_err());
    }

    #[test]
    fn figures_are_in_files_under_their_whole_names() {
        let root = tempfile::tempdir().unwrap();
        let (instance, registry) = (instance(), Registry::new(1));
        registry.worker(0).unwrap().worker.cmd_get.add(7);
        write_stats(root.path(), &instance, &registry).unwrap();
        let read = |name: &str| -> Value {
            let name = format!("libmcrouter.s_1....{name}");
            serde_json::from_slice(&fs::read(root.path().join(name)).unwrap()).unwrap()
        };
        assert_eq!(read("stats")["libmcrouter.s_1....cmd_get_count"], 7);
        assert_eq!(read("startup_options")["num_proxies"], "2");
        assert!(read("config_sources_info").is_object());
        let gone = root.path().join("gone");
        assert!(write_stats(&gone, &instance, &registry).is_err());
    }
}
