//! The files of a spool: appended to, begun anew every 15 minutes, listed, and removed oldest first at the bound.
//!
//! Invariants: the current file is locked before it has its name; after an error it is cut back to its last whole line
//! and closed, so that half a line is only ever the last one of a file; what is appended together is in one file; what
//! was appended to a file that somebody removes meanwhile is appended to another one. Files with other names than a
//! spool's are not looked at. The caller tells the time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use super::figures::{Figures, file_bytes};
use super::names::{self, FILE_SECONDS, Named};
use crate::config::Spool as Settings;

mod displaced;

/// A file of a spool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// What its name says; first, so that lists are in order of time.
    pub named: Named,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
}

/// All files of a spool, oldest first.
///
/// # Errors
/// The directory can't be read. One below it that vanishes meanwhile is no error.
pub fn list(dir: &Path) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    for hour in fs::read_dir(dir)? {
        let hour = hour?;
        let name = hour.file_name();
        if name.to_str().and_then(names::parse_dir).is_none() {
            continue;
        }
        let Ok(files) = fs::read_dir(hour.path()) else {
            continue;
        };
        for file in files.flatten() {
            if let Some(named) = file.file_name().to_str().and_then(names::parse_file)
                && let Ok(meta) = file.metadata()
                && meta.is_file()
            {
                found.push(Listed {
                    named,
                    path: file.path(),
                    len: meta.len(),
                });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// mcrouter is given so many seconds more to end a file.
const GRACE: u64 = 60;

/// Whether a file may be written although it is not locked: mcrouter locks none.
pub fn may_grow(named: Named) -> bool {
    let age = since_1970().as_secs().saturating_sub(named.begun);
    !named.is_own && age < FILE_SECONDS + GRACE
}

/// Locks a file, unless somebody else has. Locks end with their process.
pub fn try_lock(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Removes a file, and its directory if it was the last one there.
///
/// # Errors
/// It can't be removed. That it is gone already is none.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(dir) = path.parent() {
        let _ = fs::remove_dir(dir);
    }
    Ok(())
}

/// Lines in a file.
fn lines(path: &Path) -> u64 {
    let Ok(mut file) = File::open(path) else {
        return 0;
    };
    let mut buffer = [0; 16 << 10];
    let mut count = 0;
    while let Ok(n @ 1..) = file.read(&mut buffer) {
        let read = buffer.get(..n).unwrap_or_default();
        count += memchr::memchr_iter(b'\n', read).count() as u64;
    }
    count
}

struct Current {
    file: File,
    path: PathBuf,
    begun: u64,
    len: u64,
    /// Some of it may not be on the disk.
    unsynced: bool,
}

/// Where lines are appended.
pub(super) struct Store {
    settings: Settings,
    figures: Arc<Figures>,
    current: Option<Current>,
    /// Bytes in all other files, when they were last looked at.
    others: u64,
    other_files: u64,
    serial: u64,
}

impl Store {
    /// Opens nothing yet but what is there is counted.
    pub(super) fn new(settings: &Settings, figures: Arc<Figures>) -> Store {
        figures.max_bytes.set(settings.max_bytes);
        let _ = figures.dir.set(settings.dir.clone());
        let mut store = Store {
            settings: settings.clone(),
            figures,
            current: None,
            others: 0,
            other_files: 0,
            serial: 0,
        };
        let _ = store.look();
        store
    }

    /// Counts what is there. What the replayer has removed makes room.
    pub(super) fn look(&mut self) -> io::Result<Vec<Listed>> {
        let mut all = list(&self.settings.dir)?;
        let current = self.current.as_ref().map(|current| &current.path);
        all.retain(|one| Some(&one.path) != current);
        self.others = all.iter().map(|one| one.len).sum();
        self.other_files = all.len() as u64;
        self.report();
        Ok(all)
    }

    fn report(&self) {
        let own = self.current.as_ref().map_or(0, |current| current.len);
        let files = self.other_files + u64::from(self.current.is_some());
        self.figures.holds(self.others + own, files);
    }

    /// Whether a file is open.
    pub(super) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Whether something may not be on the disk.
    pub(super) fn is_unsynced(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.unsynced)
    }

    /// When the current file's time is over, in seconds since 1970.
    pub(super) fn ends(&self) -> Option<u64> {
        let current = self.current.as_ref()?;
        Some(current.begun + FILE_SECONDS)
    }

    /// Appends whole lines. After an error none of them is there.
    pub(super) fn append(&mut self, epoch: u64, text: &[u8]) -> io::Result<()> {
        let over = self.ends().is_some_and(|ends| ends <= epoch)
            || self.current.as_ref().is_some_and(|current| {
                current.begun > epoch || current.len >= file_bytes(self.settings.max_bytes)
            });
        if over {
            self.close()?;
        }
        if self.current.is_none() {
            self.begin(epoch)?;
        }
        self.make_room(text.len() as u64)?;
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("no file is open"));
        };
        match current.file.write_all(text) {
            Ok(()) => {
                let before = current.len;
                current.len += text.len() as u64;
                current.unsynced = true;
                // Before it is acknowledged.
                if current.is_removed()
                    && let Err(error) = self.watch()
                {
                    // The next watch saves what was acknowledged, and not this.
                    if let Some(current) = &mut self.current {
                        let _ = current.file.set_len(before);
                        current.len = before;
                    }
                    return Err(error);
                }
                self.report();
                Ok(())
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// Puts on the disk what has been appended.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(current) = self.current.as_mut().filter(|current| current.unsynced) else {
            return Ok(());
        };
        match current.file.sync_data() {
            Ok(()) => {
                current.unsynced = false;
                Ok(())
            }
            // What has become of it nobody knows; a later sync of the same file would not tell.
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// Closes the current file; it is then the replayer's.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.watch()?;
        let synced = match self.settings.fsync {
            crate::config::Fsync::Never => Ok(()),
            _ => self.sync(),
        };
        self.forget();
        synced
    }

    /// Cuts the current file back to its last whole line, and lets it go.
    fn give_up(&mut self) {
        if let Some(current) = &self.current {
            // If that fails, too, half a line stays at the end, which readers expect.
            let _ = current.file.set_len(current.len);
        }
        self.forget();
    }

    fn forget(&mut self) {
        if let Some(current) = self.current.take() {
            if current.len == 0 {
                let _ = remove(&current.path);
            } else {
                self.others += current.len;
                self.other_files += 1;
            }
        }
        self.report();
    }

    fn begin(&mut self, epoch: u64) -> io::Result<()> {
        if self.settings.create_dir {
            fs::create_dir_all(&self.settings.dir)?;
        }
        let dir = self.settings.dir.join(names::dir(epoch));
        // A replayer may remove an empty directory in between.
        let mut last = None;
        for _ in 0..3 {
            match self.begin_in(&dir, epoch) {
                Ok(current) => {
                    self.current = Some(current);
                    // Others may have written and removed files meanwhile.
                    let _ = self.look();
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("no directory")))
    }

    fn begin_in(&mut self, dir: &Path, epoch: u64) -> io::Result<Current> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Tells apart two files of one second, in their order, also those of processes with the same number in containers
        // of their own.
        self.serial += 1;
        let micros = u64::try_from(since_1970().as_micros()).unwrap_or(0);
        let serial = (micros << 8) | (self.serial & 0xff);
        let (service, router) = (&self.settings.service_name, &self.settings.router_name);
        let name = names::file(epoch, service, router, std::process::id(), serial);
        let hidden = dir.join(format!(".{name}.new"));
        let file = OpenOptions::new()
            .append(true)
            // It may have to be copied, if somebody removes it.
            .read(true)
            .create_new(true)
            .open(&hidden)?;
        let path = dir.join(name);
        let named = match try_lock(&file) {
            true => fs::rename(&hidden, &path),
            false => Err(io::Error::other("the new file is locked by somebody else")),
        };
        if let Err(error) = named {
            let _ = fs::remove_file(&hidden);
            return Err(error);
        }
        if self.settings.fsync == crate::config::Fsync::Each {
            // The name, too, is to be there after a loss of power.
            for dir in [dir, &self.settings.dir] {
                File::open(dir)?.sync_all()?;
            }
        }
        Ok(Current {
            file,
            path,
            begun: epoch,
            len: 0,
            unsynced: false,
        })
    }

    /// Removes the oldest files until there is room for so many bytes.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let own = |store: &Store| store.current.as_ref().map_or(0, |current| current.len);
        let most = self.settings.max_bytes;
        if self.others + own(self) + bytes <= most {
            return Ok(());
        }
        for oldest in self.look()? {
            if self.others + own(self) + bytes <= most {
                break;
            }
            // Another process may be writing it.
            let is_free = !may_grow(oldest.named)
                && File::open(&oldest.path).is_ok_and(|file| try_lock(&file));
            if !is_free {
                continue;
            }
            let lines = lines(&oldest.path);
            remove(&oldest.path)?;
            self.figures.dropped.add(lines);
            self.others = self.others.saturating_sub(oldest.len);
            self.other_files = self.other_files.saturating_sub(1);
            tracing::warn!(
                file = %oldest.path.display(),
                deletions = lines,
                "the spool is at its bound: its oldest file is removed undelivered; those keys may be old in their caches. Raise max_bytes, or have the spool replayed"
            );
        }
        self.report();
        match self.others + own(self) + bytes <= most {
            true => Ok(()),
            false => Err(io::Error::other(
                "the spool is at its bound, and all files are in use",
            )),
        }
    }
}

/// The time since 1970.
pub(super) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_795_151_056;

    fn store(dir: &Path, max_bytes: u64) -> Store {
        let mut settings = Settings::new(dir);
        settings.max_bytes = max_bytes;
        Store::new(&settings, Arc::default())
    }

    fn texts(dir: &Path) -> Vec<String> {
        let all = list(dir).unwrap();
        all.iter()
            .map(|one| fs::read_to_string(&one.path).unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_begun_every_quarter_of_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 1 << 30);
        for (later, line) in [(0, "a\n"), (899, "b\n"), (900, "c\n"), (8000, "d\n")] {
            store.append(START + later, line.as_bytes()).unwrap();
        }
        // A clock that was set back begins a new one, too.
        store.append(START, b"e\n").unwrap();
        assert_eq!(texts(dir.path()), ["a\nb\n", "e\n", "c\n", "d\n"]);
        let hours = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(hours, 2, "05 and 07");
        assert_eq!(store.figures.files.get(), 5 - 1);
        assert_eq!(store.figures.bytes.get(), 10);
    }

    #[test]
    fn a_file_is_locked_until_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 1 << 30);
        store.append(START, b"a\n").unwrap();
        let path = list(dir.path()).unwrap()[0].path.clone();
        assert!(!try_lock(&File::open(&path).unwrap()));
        store.close().unwrap();
        assert!(try_lock(&File::open(&path).unwrap()));
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // Its directory is made again.
        store.append(START, b"b\n").unwrap();
        assert_eq!(texts(dir.path()), ["b\n"]);
    }

    #[test]
    fn at_the_bound_the_oldest_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 1000);
        let line = |c: &str| format!("{}\n", c.repeat(299));
        for (at, c) in ["a", "b", "c"].iter().enumerate() {
            store
                .append(START + 900 * at as u64, line(c).as_bytes())
                .unwrap();
        }
        assert_eq!(store.figures.dropped.get(), 0);
        fs::write(dir.path().join("notes"), "not of a spool").unwrap();
        store.append(START + 2700, line("d").as_bytes()).unwrap();
        assert_eq!(texts(dir.path()), [line("b"), line("c"), line("d")]);
        assert_eq!(
            (store.figures.dropped.get(), store.figures.at_bound.get()),
            (1, 1)
        );
        // What is more than all of it, and what others are writing, is refused.
        let others: Vec<File> = list(dir.path())
            .unwrap()
            .iter()
            .map(|one| {
                let file = File::open(&one.path).unwrap();
                try_lock(&file);
                file
            })
            .collect();
        assert!(store.append(START + 2701, line("e").as_bytes()).is_err());
        drop(others);
        store.append(START + 2701, line("e").as_bytes()).unwrap();
        assert_eq!(texts(dir.path()), [line("c"), line("d") + &line("e")]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_made_only_if_that_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        store(&below, 1 << 30).append(START, b"a\n").unwrap();
        assert_eq!(texts(&below), ["a\n"]);
        let mut settings = Settings::new(dir.path().join("c"));
        settings.create_dir = false;
        let mut store = Store::new(&settings, Arc::default());
        let error = store.append(START, b"a\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        fs::create_dir(dir.path().join("c")).unwrap();
        store.append(START, b"a\n").unwrap();
    }

    #[test]
    fn a_disk_that_is_full_leaves_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 1 << 30);
        store.append(START, b"whole\n").unwrap();
        // No disk is full here, but this file has no room.
        if let Some(current) = &mut store.current {
            current.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        }
        let error = store.append(START, b"not this one\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        store.append(START, b"again\n").unwrap();
        let mut texts = texts(dir.path());
        texts.sort();
        assert_eq!(texts, ["again\n", "whole\n"]);
    }
}
