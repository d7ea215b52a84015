//! A file that somebody removes or moves while it is written.
//!
//! The system writes on into a file without a name and says nothing; what was acknowledged would be gone with its last
//! handle. So after each append the file is asked whether it still has a name, and once a second whether it is where
//! it was made. What is in one that was removed is copied to a new one, from the handle that is left; one that was moved
//! is taken to be wanted where it is. Invariant: the old file is kept until its copy is complete.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::{Current, Store, since_1970};
use crate::config::Fsync;

/// What somebody has done to a file while it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Displaced {
    /// It has no name any more, and is gone with its last handle.
    Removed,
    /// It has another name, or the same in another directory.
    Moved,
}

impl Current {
    /// Whether it has a name at all. Asks the file alone, which is quick on any file system.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// Whether it is where it was made. What can't be told is taken to be so.
    fn displaced(&self) -> Option<Displaced> {
        let own = self.file.metadata().ok()?;
        if own.nlink() == 0 {
            return Some(Displaced::Removed);
        }
        match fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (own.dev(), own.ino()) => None,
            Ok(_) => Some(Displaced::Moved),
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
            .then_some(Displaced::Moved),
        }
    }
}

impl Store {
    /// Sees to it that what has been appended is where a replayer finds it: a file that was removed is written again
    /// under another name, after one that was moved another one is begun.
    ///
    /// # Errors
    /// No file can be begun, or written. What is in the one that was removed is kept for the next time.
    pub(in crate::spool) fn watch(&mut self) -> io::Result<()> {
        let Some(displaced) = self.current.as_ref().and_then(Current::displaced) else {
            return Ok(());
        };
        let Some(old) = self.current.take() else {
            return Ok(());
        };
        if let Err(error) = self.replace(&old, displaced) {
            self.current = Some(old);
            self.report();
            return Err(error);
        }
        self.figures.displaced.add(1);
        let file = old.path.display();
        match displaced {
            Displaced::Removed => tracing::warn!(
                %file,
                "the spool's file was removed while it was written; what was in it is in a new one, and nothing is lost. Have whatever cleans up there leave this directory alone"
            ),
            Displaced::Moved => tracing::warn!(
                %file,
                "the spool's file was moved while it was written; what is in it stays where it is now, and new deletions go to a new one. Deliver those with `ringroad replay`, or move the file back"
            ),
        }
        Ok(())
    }

    /// Begins a file in the place of this one.
    fn replace(&mut self, old: &Current, displaced: Displaced) -> io::Result<()> {
        self.begin(since_1970().as_secs())?;
        if displaced == Displaced::Moved || old.len == 0 {
            return Ok(());
        }
        let copied = self.make_room(old.len).and_then(|()| {
            let Some(new) = &mut self.current else {
                return Err(io::Error::other("no file is open"));
            };
            let mut from = &old.file;
            from.seek(SeekFrom::Start(0))?;
            let copied = io::copy(&mut from.take(old.len), &mut new.file)?;
            match copied == old.len {
                true => Ok(()),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        });
        if let Some(new) = &mut self.current
            && copied.is_ok()
        {
            new.len = old.len;
            new.unsynced = true;
        }
        match copied {
            Ok(()) if self.settings.fsync == Fsync::Each => self.sync(),
            Ok(()) => Ok(()),
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::list;
    use super::*;
    use crate::config::Spool as Settings;

    const START: u64 = 1_795_151_056;

    #[test]
    fn a_file_that_is_removed_is_saved_when_it_is_closed_or_cannot_be_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("spool");
        let texts = || -> Vec<String> {
            let all = list(&place).unwrap().into_iter();
            all.map(|one| fs::read_to_string(one.path).unwrap())
                .collect()
        };
        let mut settings = Settings::new(&place);
        settings.fsync = Fsync::Each;
        let mut store = Store::new(&settings, Arc::default());
        store.append(START, b"a\n").unwrap();
        fs::remove_dir_all(&place).unwrap();
        store.close().unwrap();
        assert_eq!(texts(), ["a\n"]);
        // Nothing is open, so nothing is missed.
        fs::remove_dir_all(&place).unwrap();
        store.watch().unwrap();
        assert_eq!(store.figures.displaced.get(), 1);
        store.append(START, b"b\n").unwrap();
        fs::remove_dir_all(&place).unwrap();
        fs::write(&place, "no directory").unwrap();
        assert!(store.append(START, b"refused\n").is_err());
        assert!(store.watch().is_err() && store.close().is_err() && store.is_open());
        fs::remove_file(&place).unwrap();
        store.append(START, b"c\n").unwrap();
        store.close().unwrap();
        assert_eq!(texts(), ["b\nc\n"]);
        assert_eq!(store.figures.displaced.get(), 2);
        assert_eq!(
            (store.figures.bytes.get(), store.figures.files.get()),
            (4, 1)
        );
    }
}
