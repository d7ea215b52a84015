//! The thread that owns the files: takes what waits, writes it together, syncs it together, and says so.
//!
//! Invariants: every entry that [`Spool::submit`] takes gets one answer, in the order of the entries of one batch,
//! also if the thread dies ([`Confirm`] answers when it is dropped). At most [`MAX_QUEUE`] entries wait. The thread
//! sleeps until there is something to do, and never holds the queue's lock while it writes.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::line::{self, Deletion, Place};
use super::store::{Store, since_1970};
use crate::config::{Fsync, Spool as Settings};

/// Entries that may wait for the writer.
pub const MAX_QUEUE: usize = 16 << 10;

/// How often it is looked whether the file is where it was made.
const WATCH: Duration = Duration::from_secs(1);

/// Whoever waits for an entry to be written is told once: by [`Confirm::tell`], or that it is not written when this is
/// dropped.
pub struct Confirm(Option<Box<dyn FnOnce(bool) + Send>>);

impl Confirm {
    /// One that calls this.
    pub fn new(tell: impl FnOnce(bool) + Send + 'static) -> Confirm {
        Confirm(Some(Box::new(tell)))
    }

    /// It is written, or it is not.
    pub fn tell(mut self, is_written: bool) {
        if let Some(tell) = self.0.take() {
            tell(is_written);
        }
    }
}

impl Drop for Confirm {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(false);
        }
    }
}

#[derive(Default)]
struct Queue {
    entries: Vec<(Deletion, Confirm)>,
    /// The file is to be closed, so that it can be replayed.
    ends_file: bool,
    /// No more is taken; the thread ends when all is written.
    closing: bool,
}

struct Shared {
    settings: Settings,
    figures: Arc<Figures>,
    queue: Mutex<Queue>,
    wakes: Condvar,
    /// The servers named in the file that is being written.
    places: Mutex<HashSet<Place>>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, HashSet<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where deletions are written down.
pub struct Spool {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Starts the thread. Whether it can write is seen with the first entry.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(settings: &Settings) -> io::Result<Spool> {
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            figures: Arc::default(),
            queue: Mutex::default(),
            wakes: Condvar::new(),
            places: Mutex::default(),
        });
        let store = Store::new(settings, Arc::clone(&shared.figures));
        let writer = Writer {
            shared: Arc::clone(&shared),
            store,
            synced_at: Instant::now(),
            watched_at: Instant::now(),
            is_failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer.run())?;
        Ok(Spool {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has a deletion written down; `confirm` is told how that ended, by the writer's thread or, if too many wait, at
    /// once.
    pub fn submit(&self, deletion: Deletion, confirm: Confirm) {
        let mut queue = self.shared.queue();
        if queue.closing || queue.entries.len() >= MAX_QUEUE {
            let is_full = !queue.closing;
            drop(queue);
            if is_full {
                self.shared.figures.queue_full.add(1);
            }
            return confirm.tell(false);
        }
        queue.entries.push((deletion, confirm));
        if queue.entries.len() == 1 {
            self.shared.wakes.notify_one();
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The figures.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.shared.figures
    }

    /// The servers named in the file that is being written.
    pub fn open_places(&self) -> Vec<Place> {
        self.shared.places().iter().cloned().collect()
    }

    /// Has the file that is being written closed, so that it can be replayed.
    pub fn end_file(&self) {
        self.shared.queue().ends_file = true;
        self.shared.wakes.notify_one();
    }

    /// Whether new entries can be written where the settings say, as far as can be told without writing one.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> io::Result<()> {
        let dir = &self.shared.settings.dir;
        if self.shared.settings.create_dir {
            std::fs::create_dir_all(dir)?;
        }
        if !std::fs::metadata(dir)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(rustix::fs::access(
            dir,
            rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
        )?)
    }

    /// Writes what waits and ends the thread.
    pub fn close(&self) {
        self.shared.queue().closing = true;
        self.shared.wakes.notify_one();
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    shared: Arc<Shared>,
    store: Store,
    synced_at: Instant,
    watched_at: Instant,
    /// The last batch could not be written.
    is_failing: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // If the thread has panicked: nobody must wait for ever.
        let mut queue = self.shared.queue();
        queue.closing = true;
        let left = std::mem::take(&mut queue.entries);
        drop(queue);
        self.shared.figures.write_failed.add(left.len() as u64);
    }
}

impl Writer {
    fn run(mut self) {
        loop {
            let mut queue = self.shared.queue();
            let mut patience = self.patience();
            while queue.entries.is_empty()
                && !queue.closing
                && !queue.ends_file
                && patience != Some(Duration::ZERO)
            {
                queue = match patience {
                    None => {
                        let woken = self.shared.wakes.wait(queue);
                        woken.unwrap_or_else(PoisonError::into_inner)
                    }
                    Some(time) => {
                        let woken = self.shared.wakes.wait_timeout(queue, time);
                        woken.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
                patience = self.patience();
            }
            let batch = std::mem::take(&mut queue.entries);
            let ends_file = std::mem::take(&mut queue.ends_file);
            let closing = queue.closing;
            drop(queue);
            if !batch.is_empty() {
                self.write(batch);
            }
            self.do_what_is_due(ends_file || closing);
            if closing {
                return;
            }
        }
    }

    /// How long nothing is due if no entry comes; `None`: for ever.
    fn patience(&self) -> Option<Duration> {
        let ends = self.store.ends().map(Duration::from_secs);
        let ends = ends.map(|ends| ends.saturating_sub(since_1970()));
        let syncs = match self.shared.settings.fsync {
            Fsync::Interval(interval) if self.store.is_unsynced() => {
                Some(interval.saturating_sub(self.synced_at.elapsed()))
            }
            _ => None,
        };
        let watches = self
            .store
            .is_open()
            .then(|| WATCH.saturating_sub(self.watched_at.elapsed()));
        ends.into_iter().chain(syncs).chain(watches).min()
    }

    fn write(&mut self, batch: Vec<(Deletion, Confirm)>) {
        let mut text = Vec::with_capacity(batch.len() * 128);
        let now = since_1970();
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        for (deletion, _) in &batch {
            line::write(deletion, millis, &self.shared.settings, &mut text);
        }
        // Who looks at what is open must find the servers of all that is there.
        let places = batch.iter().map(|(deletion, _)| deletion.place.clone());
        self.shared.places().extend(places);
        let had_file = self.store.is_open();
        let mut written = self.store.append(now.as_secs(), &text);
        if written.is_ok() && !had_file {
            self.synced_at = Instant::now();
        }
        if written.is_ok() && self.shared.settings.fsync == Fsync::Each {
            written = self.store.sync();
        }
        let count = batch.len() as u64;
        let figures = &self.shared.figures;
        match &written {
            Ok(()) => figures.spooled.add(count),
            Err(_) => figures.write_failed.add(count),
        }
        self.report(written.as_ref().err());
        for (_, confirm) in batch {
            confirm.tell(written.is_ok());
        }
    }

    fn do_what_is_due(&mut self, ends_file: bool) {
        if self.watched_at.elapsed() >= WATCH {
            self.watched_at = Instant::now();
            let watched = self.store.watch();
            if watched.is_err() {
                self.report(watched.as_ref().err());
            }
        }
        if let Fsync::Interval(interval) = self.shared.settings.fsync
            && self.synced_at.elapsed() >= interval
        {
            self.synced_at = Instant::now();
            let synced = self.store.sync();
            if synced.is_err() {
                self.report(synced.as_ref().err());
            }
        }
        let is_over = self
            .store
            .ends()
            .is_some_and(|ends| ends <= since_1970().as_secs());
        if ends_file || is_over {
            let closed = self.store.close();
            if !self.store.is_open() {
                self.shared.places().clear();
            }
            if closed.is_err() {
                self.report(closed.as_ref().err());
            }
            let _ = self.store.look();
        }
    }

    /// Into the log, once for each time that it goes on.
    fn report(&mut self, error: Option<&io::Error>) {
        let dir = self.shared.settings.dir.display();
        match error {
            Some(error) if !self.is_failing => tracing::error!(
                %dir,
                %error,
                "deletions can't be written to the spool: those that fail are answered with their error and are not done later. Look at the directory's permissions and at the disk's free space"
            ),
            None if self.is_failing => {
                tracing::info!(%dir, "deletions are written to the spool again");
            }
            _ => {}
        }
        self.is_failing = error.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpoolFormat;
    use std::sync::mpsc;

    fn deletion(key: &str) -> Deletion {
        Deletion {
            place: Place {
                host: "h".to_owned(),
                port: 1,
            },
            key: key.as_bytes().to_vec(),
            pool: "p".to_owned(),
        }
    }

    fn written(dir: &std::path::Path) -> Vec<String> {
        let mut found = Vec::new();
        for file in super::super::store::list(dir).unwrap() {
            let text = std::fs::read(&file.path).unwrap();
            for line in text.split_inclusive(|b| *b == b'\n') {
                let one = line::read(&line[..line.len() - 1]).unwrap();
                found.push(String::from_utf8(one.key).unwrap());
            }
        }
        found
    }

    #[test]
    fn what_is_confirmed_is_in_the_file() {
        for fsync in [
            Fsync::Never,
            Fsync::Each,
            Fsync::Interval(Duration::from_millis(1)),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut settings = Settings::new(dir.path());
            (settings.fsync, settings.format) = (fsync, SpoolFormat::V2);
            let spool = Spool::start(&settings).unwrap();
            let (sender, receiver) = mpsc::channel();
            for at in 0..100 {
                let sender = sender.clone();
                let confirm = Confirm::new(move |ok| sender.send((at, ok)).unwrap());
                spool.submit(deletion(&format!("k{at}")), confirm);
            }
            for at in 0..100 {
                assert_eq!(receiver.recv().unwrap(), (at, true));
                assert!(written(dir.path()).len() > at);
            }
            assert_eq!(spool.open_places().len(), 1);
            spool.close();
            let keys: Vec<String> = (0..100).map(|at| format!("k{at}")).collect();
            assert_eq!(written(dir.path()), keys);
            assert_eq!(spool.figures().spooled.get(), 100);
            let sender = sender.clone();
            spool.submit(
                deletion("late"),
                Confirm::new(move |ok| sender.send((0, ok)).unwrap()),
            );
            assert_eq!(receiver.recv().unwrap(), (0, false));
        }
    }

    #[test]
    fn more_than_may_wait_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::start(&Settings::new(dir.path())).unwrap();
        let (sender, receiver) = mpsc::channel();
        // The writer needs this for each batch.
        let held = spool.shared.places();
        let mut refused = None;
        // One batch is with the writer.
        for at in 0..=2 * MAX_QUEUE {
            let sender = sender.clone();
            let confirm = Confirm::new(move |ok| sender.send((at, ok)).unwrap());
            spool.submit(deletion("k"), confirm);
            if let Ok((at, ok)) = receiver.try_recv() {
                assert!(!ok && at >= MAX_QUEUE);
                refused = Some(at);
                break;
            }
        }
        let refused = refused.expect("the queue has a bound");
        assert_eq!(spool.figures().queue_full.get(), 1);
        drop(held);
        for at in 0..refused {
            assert_eq!(receiver.recv().unwrap(), (at, true));
        }
        assert_eq!(written(dir.path()).len(), refused);
    }

    #[test]
    fn who_waits_is_told_whatever_happens() {
        let dir = tempfile::tempdir().unwrap();
        // A file where the directory should be.
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let spool = Spool::start(&Settings::new(&path)).unwrap();
        assert!(spool.check().is_err());
        let (sender, receiver) = mpsc::channel();
        spool.submit(
            deletion("k"),
            Confirm::new(move |ok| sender.send(ok).unwrap()),
        );
        assert!(!receiver.recv().unwrap());
        assert_eq!(spool.figures().write_failed.get(), 1);
        let (sender, receiver) = mpsc::channel();
        drop(Confirm::new(move |ok| sender.send(ok).unwrap()));
        assert!(!receiver.recv().unwrap());
    }
}
