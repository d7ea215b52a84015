//! Sees changes of the configuration file by polling it.
//!
//! Polling rather than inotify, because what is mounted from a Kubernetes ConfigMap never changes as a file: it is a
//! symlink to `..data/…`, and `..data` is swapped to another directory. Opening the path again follows whatever is
//! there now.
//!
//! * A change is reported once it has looked the same (time of change and content) for two polls in a row, so that
//!   a file that is being written is not read half-way.
//! * What counts is the content: a file that was only touched, or swapped for an equal one, is no change.
//! * A file that can't be read is reported once, not at each poll.
//!
//! A poll reads a file of a few KiB from the page cache; every second or two is cheap. Nothing here knows what the
//! file says. [`Watchers`] does this for every file that a configuration is made of.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::MAX_FILE;
use super::origin::FileRead;

/// Polls one path. It has no clock; the caller decides how often.
#[derive(Debug)]
pub struct Watcher {
    path: PathBuf,
    /// The content that is in use, as far as the caller has told or was told.
    current: Vec<u8>,
    /// What the last poll saw, if it differed.
    pending: Option<Seen>,
    /// The failure that was reported last, until the file can be read again.
    failing: Option<io::ErrorKind>,
}

/// What one poll saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    File {
        modified: Option<SystemTime>,
        content: Vec<u8>,
    },
    Failure(io::ErrorKind),
}

impl Watcher {
    /// Watches `path`, whose content in use is `current` (as [`super::load`] returned it), so that a change between
    /// loading and watching is not lost.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, current: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            current: current.into().into_bytes(),
            pending: None,
            failing: None,
        }
    }

    /// The path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the watcher that `content` was read by other means (a reload on SIGHUP) and needs no report.
    pub fn seen(&mut self, content: &str) {
        self.current = content.as_bytes().to_vec();
        self.pending = None;
        self.failing = None;
    }

    /// One poll: the new content if it has changed since the last report and stood still since the last poll.
    ///
    /// # Errors
    /// Inside `Some`: the file can't be read, is not a plain file, is over [`MAX_FILE`] or not UTF-8.
    pub fn changed(&mut self) -> Option<io::Result<String>> {
        match self.look() {
            Ok((modified, content)) => {
                if content == self.current {
                    self.pending = None;
                    self.failing = None;
                    return None;
                }
                if !self.is_stable(Seen::File { modified, content }) {
                    return None;
                }
                let Some(Seen::File { content, .. }) = self.pending.take() else {
                    return None;
                };
                self.failing = None;
                self.current.clone_from(&content);
                Some(String::from_utf8(content).map_err(|error| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("not UTF-8: {}", error.utf8_error()),
                    )
                }))
            }
            Err(error) => {
                let kind = error.kind();
                if self.failing == Some(kind) || !self.is_stable(Seen::Failure(kind)) {
                    return None;
                }
                self.pending = None;
                self.failing = Some(kind);
                Some(Err(error))
            }
        }
    }

    /// Whether the last poll saw the same; remembers it for the next one.
    fn is_stable(&mut self, seen: Seen) -> bool {
        let stable = self.pending.as_ref() == Some(&seen);
        self.pending = Some(seen);
        stable
    }

    fn look(&self) -> io::Result<(Option<SystemTime>, Vec<u8>)> {
        let metadata = fs::metadata(&self.path)?;
        // Opening a pipe would block, and what was read from it is gone.
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a plain file, changes can't be seen",
            ));
        }
        Ok((metadata.modified().ok(), read(&self.path)?))
    }
}

/// Polls every file that a configuration is made of.
#[derive(Debug, Default)]
pub struct Watchers {
    list: Vec<Watcher>,
}

impl Watchers {
    /// Watches these, from what was read of them.
    #[must_use]
    pub fn new(files: Vec<FileRead>) -> Self {
        let mut watchers = Self::default();
        watchers.seen(files, true);
        watchers
    }

    /// Tells what was read just now. If the reading was not `complete` (it ended at an error), files that it did not
    /// come to are still watched.
    pub fn seen(&mut self, files: Vec<FileRead>, complete: bool) {
        let mut before = std::mem::take(&mut self.list);
        for FileRead { path, content } in files {
            if self.list.iter().any(|watcher| watcher.path == path) {
                continue;
            }
            let known = before.iter().position(|watcher| watcher.path == path);
            let mut watcher = match known {
                Some(index) => before.swap_remove(index),
                // A file that is missing all the time is no change.
                None => Watcher {
                    failing: Some(io::ErrorKind::NotFound),
                    ..Watcher::new(path, "")
                },
            };
            if let Some(content) = content {
                watcher.current = content;
                watcher.pending = None;
                watcher.failing = None;
            }
            self.list.push(watcher);
        }
        if !complete {
            self.list.append(&mut before);
        }
    }

    /// One poll of each: whether the configuration is to be read again.
    pub fn changed(&mut self) -> bool {
        // Every one is polled, so that several changes lead to one reading.
        let reports: Vec<bool> = self
            .list
            .iter_mut()
            .map(|watcher| watcher.changed().is_some())
            .collect();
        reports.contains(&true)
    }
}

/// Reads a configuration file, or anything that can be read like one (`/dev/stdin`).
///
/// # Errors
/// The system's, or that it is longer than [`MAX_FILE`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        let why = format!("the file is longer than {MAX_FILE} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn file(content: &str) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("ringroad.toml");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    /// Polls until something is reported; at most as often as it takes.
    fn report(watcher: &mut Watcher) -> Option<io::Result<String>> {
        (0..3).find_map(|_| watcher.changed())
    }

    #[test]
    fn a_change_is_reported_once_after_two_polls() {
        let (_dir, path) = file("one");
        let mut watcher = Watcher::new(&path, "one");
        assert!(watcher.changed().is_none());
        fs::write(&path, "two").unwrap();
        assert!(watcher.changed().is_none(), "seen for the first time");
        assert_eq!(watcher.changed().unwrap().unwrap(), "two");
        assert!(report(&mut watcher).is_none());
    }

    #[test]
    fn a_file_that_is_still_being_written_is_left_alone() {
        let (_dir, path) = file("one");
        let mut watcher = Watcher::new(&path, "one");
        for half in ["", "t", "tw", "two"] {
            fs::write(&path, half).unwrap();
            assert!(watcher.changed().is_none(), "{half:?}");
        }
        assert_eq!(watcher.changed().unwrap().unwrap(), "two");
    }

    #[test]
    fn a_change_between_loading_and_watching_is_seen() {
        let (_dir, path) = file("two");
        assert_eq!(
            report(&mut Watcher::new(&path, "one")).unwrap().unwrap(),
            "two"
        );
    }

    #[test]
    fn the_same_content_is_no_change() {
        let (_dir, path) = file("one");
        let mut watcher = Watcher::new(&path, "one");
        fs::write(&path, "two").unwrap();
        assert!(watcher.changed().is_none());
        fs::write(&path, "one").unwrap();
        assert!(report(&mut watcher).is_none(), "written back");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "one").unwrap();
        assert!(report(&mut watcher).is_none(), "another file");
        fs::write(&path, "three").unwrap();
        watcher.seen("three");
        assert!(report(&mut watcher).is_none(), "read by other means");
    }

    #[test]
    fn a_swapped_config_map_is_seen() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("ringroad.toml");
        for (stamp, content) in [("..2026_01", "one"), ("..2026_02", "two")] {
            fs::create_dir(dir.path().join(stamp)).unwrap();
            fs::write(dir.path().join(stamp).join("ringroad.toml"), content).unwrap();
        }
        symlink("..2026_01", dir.path().join("..data")).unwrap();
        symlink("..data/ringroad.toml", &path).unwrap();
        let mut watcher = Watcher::new(&path, "one");
        assert!(report(&mut watcher).is_none());
        // What the kubelet does: a new link beside the old one, then a rename over it.
        symlink("..2026_02", dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        fs::remove_dir_all(dir.path().join("..2026_01")).unwrap();
        assert_eq!(report(&mut watcher).unwrap().unwrap(), "two");
    }

    #[test]
    fn a_missing_file_is_reported_once_and_its_return_is_not_a_change() {
        let (_dir, path) = file("one");
        let mut watcher = Watcher::new(&path, "one");
        fs::remove_file(&path).unwrap();
        assert!(
            watcher.changed().is_none(),
            "may be in the middle of a swap"
        );
        assert_eq!(
            watcher.changed().unwrap().unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(report(&mut watcher).is_none());
        fs::write(&path, "one").unwrap();
        assert!(report(&mut watcher).is_none());
        fs::remove_file(&path).unwrap();
        assert!(
            report(&mut watcher).unwrap().is_err(),
            "gone again, said again"
        );
        fs::write(&path, "two").unwrap();
        assert_eq!(report(&mut watcher).unwrap().unwrap(), "two");
    }

    #[test]
    fn every_file_is_watched_and_a_missing_one_for_its_coming() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let read = |name: &str| FileRead {
            path: path(name),
            content: fs::read(path(name)).ok(),
        };
        let changed = |watchers: &mut Watchers| (0..3).any(|_| watchers.changed());
        fs::write(path("a"), "1").unwrap();
        let mut watchers = Watchers::new(vec![read("a"), read("b"), read("a")]);
        assert!(!changed(&mut watchers));
        fs::write(path("b"), "2").unwrap();
        assert!(changed(&mut watchers), "it has come");
        watchers.seen(vec![read("a")], false);
        assert!(!changed(&mut watchers));
        fs::write(path("b"), "3").unwrap();
        assert!(changed(&mut watchers), "still watched after an error");
        watchers.seen(vec![read("a")], true);
        fs::write(path("b"), "4").unwrap();
        assert!(!changed(&mut watchers), "no longer part of it");
        fs::remove_file(path("a")).unwrap();
        assert!(changed(&mut watchers), "it has gone");
        watchers.seen(vec![read("a")], false);
        assert!(!changed(&mut watchers));
        fs::write(path("a"), "1").unwrap();
        assert!(!changed(&mut watchers), "it is back as it was");
    }

    #[test]
    fn what_is_no_configuration_file_is_refused() {
        let (dir, path) = file("one");
        assert!(
            report(&mut Watcher::new(dir.path(), "one"))
                .unwrap()
                .is_err(),
            "a directory"
        );
        fs::write(&path, b"\xff").unwrap();
        let error = report(&mut Watcher::new(&path, "one"))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
        let error = report(&mut Watcher::new(&path, "one"))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
