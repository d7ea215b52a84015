//! The spool of the running process: opened at the start, replayed while it runs, closed at the end.
//!
//! A spool that can't be written is no reason not to serve: it is said in the log, and deletions that fail are answered
//! with their error until it can be. Its settings are those of the first configuration that has one; which pools write
//! there may change at any time.

use std::sync::Arc;

use super::{AppError, Running};
use crate::config::{Config, UnknownServers};
use crate::spool::daemon::Daemon;
use crate::spool::replay::Found;
use crate::spool::{Place, Spool};

impl Running {
    /// Opens the spool, if there is to be one and there is none yet.
    pub(super) fn open_spool(&self, config: &Config) -> Result<(), AppError> {
        let Some(settings) = config.spool.as_ref().filter(|_| self.spool.get().is_none()) else {
            return Ok(());
        };
        let spool = Spool::start(settings)
            .map_err(|e| AppError::System("cannot start the thread of the spool", e))?;
        let dir = settings.dir.display();
        match spool.check() {
            Ok(()) => tracing::info!(%dir, "deletions that fail are written to the spool"),
            Err(error) => tracing::error!(
                %dir,
                %error,
                "the spool can't be written: deletions that fail are answered with their error. Make the directory, and give this user the right to write there; no restart is needed"
            ),
        }
        let _ = self.registry.spool.set(Arc::clone(spool.figures()));
        let _ = self.spool.set(Arc::new(spool));
        Ok(())
    }

    /// Starts to deliver what is in the spool, if there is one and that is wanted.
    pub(super) fn replay(self: &Arc<Running>) -> Result<Option<Daemon>, AppError> {
        let Some(spool) = self.spool.get().filter(|one| one.settings().replay) else {
            return Ok(None);
        };
        let running = Arc::clone(self);
        let unknown = match spool.settings().unknown_servers {
            UnknownServers::Keep => Found::Unknown,
            UnknownServers::Drop => Found::Dropped,
        };
        let find = move |place: &Place| running.find(place).unwrap_or_else(|| unknown.clone());
        let daemon = Daemon::start(Arc::clone(spool), find);
        let daemon =
            daemon.map_err(|e| AppError::System("cannot start the thread of the replayer", e))?;
        Ok(Some(daemon))
    }

    /// Where a server is now that lines call so.
    fn find(&self, place: &Place) -> Option<Found> {
        let snapshot = self.snapshot();
        for pool in &snapshot.pools {
            for (index, server) in pool.servers.iter().enumerate() {
                // Pools that do not write to the spool (any more) have no list of places.
                let is_it = pool.places.get(index) == Some(place)
                    || Place::of(&server.name, &server.addr) == *place;
                if is_it {
                    return Some(Found::At(server.addr.clone()));
                }
            }
        }
        None
    }
}
