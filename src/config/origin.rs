//! Where a configuration comes from: a file, or the command line itself; TOML, or mcrouter's JSON.
//!
//! Reading one says which files it is made of, also when it can't be used: [`super::watch::Watchers`] sees changes of
//! each of them. A file is mcrouter's if its name ends in `.json`, or, unless it ends in `.toml`, if it begins like JSON.

use std::io;
use std::path::{Path, PathBuf};

use super::diagnostics::{Errors, Warning};
use super::mcrouter::{self, Settings};
use super::{Config, toml, watch};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("can't read {file}: {error}")]
    Read {
        /// The file's name as given.
        file: String,
        /// The system's reason.
        error: io::Error,
    },
    /// The file says something that can't be used.
    #[error("{0}")]
    Invalid(#[from] Errors),
}

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// What mcrouter's command line says; with it the file is mcrouter's, whatever its name.
        settings: Option<Box<Settings>>,
    },
    /// mcrouter's JSON, on its command line.
    Inline {
        /// What it is called in messages.
        name: String,
        /// The JSON.
        text: String,
        /// What else the command line says.
        settings: Box<Settings>,
    },
}

/// A file that a configuration is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// Its path, as it was opened.
    pub path: PathBuf,
    /// What it held; `None` if it could not be read.
    pub content: Option<Vec<u8>>,
}

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Attempt {
    /// The configuration and what it probably does not mean, or why there is none.
    pub outcome: Result<(Config, Vec<Warning>), LoadError>,
    /// The files that were opened, in that order.
    pub files: Vec<FileRead>,
}

impl Origin {
    /// A file whose kind is told by its name and content.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Origin {
        Origin::File {
            path: path.into(),
            settings: None,
        }
    }

    /// Reads and checks the configuration.
    #[must_use]
    pub fn read(&self) -> Attempt {
        self.read_by(&mut watch::read)
    }

    /// mcrouter's JSON with its macros expanded, or why it can't be; `None` for TOML. Files are not read again: these are
    /// what was read.
    #[must_use]
    pub fn preprocessed(&self, files: &[FileRead]) -> Option<Result<serde_json::Value, String>> {
        let mut read = |path: &Path| {
            let found = files.iter().find(|file| file.path == path);
            let content = found.and_then(|file| file.content.clone());
            content.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let defaults = Settings::default();
        let (name, text, path, settings) = match self {
            Origin::Inline {
                name,
                text,
                settings,
            } => (name.clone(), text.clone(), None, &**settings),
            Origin::File { path, settings } => {
                let name = path.display().to_string();
                let bytes = read(path).unwrap_or_default();
                if settings.is_none() && !mcrouter::is_mcrouter(&name, &bytes) {
                    return None;
                }
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let settings = settings.as_deref().unwrap_or(&defaults);
                (name, text, Some(path.as_path()), settings)
            }
        };
        let json = mcrouter::preprocessed(settings, &name, &text, path, &mut read);
        Some(json.map_err(|errors| errors.to_string()))
    }

    /// As [`Origin::read`], with another way to read a file.
    #[must_use]
    pub fn read_by(&self, from: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> Attempt {
        let mut files = Vec::new();
        let outcome = match self {
            Origin::File { path, settings } => {
                let name = path.display().to_string();
                match read(from, &mut files, path) {
                    Ok(bytes) => {
                        let mut read = |path: &Path| read(from, &mut files, path);
                        let path = Some(path.as_path());
                        any(&name, &bytes, path, settings.as_deref(), &mut read)
                            .map_err(LoadError::Invalid)
                    }
                    Err(error) => Err(LoadError::Read { file: name, error }),
                }
            }
            Origin::Inline {
                name,
                text,
                settings,
            } => {
                let mut read = |path: &Path| read(from, &mut files, path);
                mcrouter::parse(settings, name, text, None, &mut read).map_err(LoadError::Invalid)
            }
        };
        Attempt { outcome, files }
    }
}

fn read(
    from: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    files: &mut Vec<FileRead>,
    path: &Path,
) -> io::Result<Vec<u8>> {
    let content = from(path);
    files.push(FileRead {
        path: path.to_path_buf(),
        content: content.as_ref().ok().cloned(),
    });
    content
}

fn any(
    name: &str,
    bytes: &[u8],
    path: Option<&Path>,
    settings: Option<&Settings>,
    read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<(Config, Vec<Warning>), Errors> {
    let defaults;
    let settings = match settings {
        Some(settings) => settings,
        None if mcrouter::is_mcrouter(name, bytes) => {
            defaults = Settings::default();
            &defaults
        }
        None => return toml::parse_bytes(name, bytes),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => mcrouter::parse(settings, name, text, path, read),
        // TOML's reader says where a text stops being one.
        Err(_) => toml::parse_bytes(name, bytes),
    }
}

/// Reads a configuration of either kind that is in memory, such as standard input. Files it imports are read.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_any(name: &str, bytes: &[u8]) -> Result<(Config, Vec<Warning>), Errors> {
    any(name, bytes, None, None, &mut |path| watch::read(path))
}

/// Reads and checks a file of either kind.
///
/// # Errors
/// The file can't be read (missing, not a plain file, over [`super::MAX_FILE`]), or is not valid.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), LoadError> {
    Origin::file(path).read().outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const JSON: &str = r#"{"pools": {"A": {"servers": ["h:1"]}}, "route": "PoolRoute|A"}"#;

    #[test]
    fn a_file_is_of_the_kind_that_its_name_or_its_beginning_says() {
        let dir = TempDir::new().unwrap();
        let toml = "[pools.A]\nservers = [\"h:1\"]\n";
        for (name, text, is_good) in [
            ("a.json", JSON, true),
            ("a.JSON", JSON, true),
            ("a.conf", JSON, true),
            ("a", "  // mcrouter\n{\"a\": 1}", false),
            ("b.toml", toml, true),
            ("b.conf", toml, true),
            ("c.toml", JSON, false),
            ("c.json", toml, false),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let attempt = Origin::file(&path).read();
            assert_eq!(attempt.outcome.is_ok(), is_good, "{name}");
            assert_eq!(attempt.files.len(), 1);
        }
        assert!(parse_any("standard input", JSON.as_bytes()).is_ok());
        assert!(parse_any("standard input", toml.as_bytes()).is_ok());
    }

    #[test]
    fn every_file_that_was_opened_is_named_also_after_an_error() {
        let dir = TempDir::new().unwrap();
        let main = dir.path().join("main.json");
        let text = r#"{"pools": "@import(pools.json)", "route": "@import(none.json)"}"#;
        std::fs::write(&main, text).unwrap();
        std::fs::write(dir.path().join("pools.json"), "{}").unwrap();
        let attempt = Origin::file(&main).read();
        assert!(attempt.outcome.is_err());
        let read: Vec<(String, bool)> = attempt
            .files
            .iter()
            .map(|file| {
                let name = file.path.file_name().unwrap();
                (name.to_str().unwrap().to_owned(), file.content.is_some())
            })
            .collect();
        let want = [
            ("main.json", true),
            ("pools.json", true),
            ("none.json", false),
        ];
        assert_eq!(read, want.map(|(name, there)| (name.to_owned(), there)));
    }
}
