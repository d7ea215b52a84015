//! What is known of the process as a whole: how it was started, what it has read, and how that went.
//!
//! One [`Instance`] is shared by the control thread, which reports what it does, and by whoever answers questions. What
//! a configuration was read from is kept as it was read, so that what is shown is what is in force, also while the file
//! is being changed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use md5::{Digest as _, Md5};
use serde_json::{Map, Value};

use super::json::pretty;
use super::tasks::Window;
use crate::config::{Compat, Config, FileRead, Origin};
use crate::log::LogHandle;

/// How the process was started.
#[derive(Clone, Debug)]
pub struct Start {
    /// By mcrouter's command line; then `stats` is mcrouter's.
    pub is_mcrouter: bool,
    /// Which mcrouter its command line asks for.
    pub compat: Compat,
    /// The name of the service: a part of the names of files.
    pub service: String,
    /// The name of this router among those of the service.
    pub router: String,
    /// The arguments, as they were given.
    pub arguments: String,
    /// mcrouter's options in their order, each with its value.
    pub options: Vec<(String, String)>,
    /// The constants that macros have.
    pub constants: Vec<(String, String)>,
    /// How much is logged, by mcrouter's number.
    pub verbosity: i64,
    /// Where figures are written to; `None` for nowhere.
    pub stats_root: Option<PathBuf>,
    /// How often.
    pub stats_interval: Duration,
    /// Where copies of the configuration are kept; `None` for nowhere.
    pub dump_root: Option<PathBuf>,
    /// How old a copy may be that is started from.
    pub max_dump_age: Duration,
}

impl Default for Start {
    fn default() -> Start {
        Start {
            is_mcrouter: false,
            compat: Compat::Latest,
            service: "ringroad".to_owned(),
            router: "0".to_owned(),
            arguments: String::new(),
            options: Vec::new(),
            constants: Vec::new(),
            verbosity: 1,
            stats_root: None,
            stats_interval: Duration::ZERO,
            dump_root: None,
            max_dump_age: Duration::ZERO,
        }
    }
}

/// How reading configurations went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// When it was last tried, in seconds since 1970.
    pub last_attempt: u64,
    /// When it last succeeded.
    pub last_success: u64,
    /// How often it failed.
    pub failures: u64,
    /// How often a copy was used instead.
    pub from_disk: u64,
}

#[derive(Debug)]
struct State {
    files: Vec<FileRead>,
    config: Option<Arc<Config>>,
    attempts: Attempts,
    verbosity: i64,
    /// The answer to [`Instance::preprocessed`], once it was asked for.
    preprocessed: Option<Result<String, String>>,
    /// Counts the configurations that were read from where they are written.
    generation: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Instance {
    /// How it was started.
    pub start: Start,
    origin: Option<Origin>,
    state: Mutex<State>,
    log: OnceLock<LogHandle>,
    window: Mutex<Window>,
}

impl Instance {
    /// One that has read nothing yet.
    #[must_use]
    pub fn new(start: Start, origin: Option<Origin>) -> Instance {
        let state = State {
            files: Vec::new(),
            config: None,
            attempts: Attempts::default(),
            verbosity: start.verbosity,
            preprocessed: None,
            generation: 0,
        };
        Instance {
            start,
            origin,
            state: Mutex::new(state),
            log: OnceLock::new(),
            window: Mutex::default(),
        }
    }

    /// What rates are computed from.
    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its log can be changed by this.
    pub fn log_by(&self, log: LogHandle) {
        // A second one would be the same.
        let _ = self.log.set(log);
    }

    /// A configuration that was read from these files is in force.
    pub fn applied(&self, files: Vec<FileRead>, config: &Config, from_disk: bool) {
        let mut state = self.state();
        state.files = files;
        state.config = Some(Arc::new(config.clone()));
        state.preprocessed = None;
        let now = unix_seconds();
        state.attempts.last_attempt = now;
        state.attempts.last_success = now;
        state.attempts.from_disk += u64::from(from_disk);
        state.generation += u64::from(!from_disk);
    }

    /// Another number for each configuration that a copy is to be kept of; 0 for none yet.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    /// One was not taken.
    pub fn failed(&self) {
        let mut state = self.state();
        state.attempts.last_attempt = unix_seconds();
        state.attempts.failures += 1;
    }

    /// How reading configurations went.
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        self.state().attempts
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Option<Arc<Config>> {
        self.state().config.clone()
    }

    /// The files it was read from.
    #[must_use]
    pub fn files(&self) -> Vec<FileRead> {
        self.state().files.clone()
    }

    /// Which mcrouter it is like.
    #[must_use]
    pub fn compat(&self) -> Compat {
        self.state()
            .config
            .as_ref()
            .map_or(self.start.compat, |config| config.compat)
    }

    /// The file of the configuration, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.origin {
            Some(Origin::File { path, .. }) => Some(path),
            _ => None,
        }
    }

    /// The MD5 of the configuration as it was read, in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        match &self.origin {
            Some(Origin::Inline { text, .. }) => md5(text.as_bytes()),
            _ => {
                let state = self.state();
                let main = state.files.first().and_then(|file| file.content.as_deref());
                md5(main.unwrap_or_default())
            }
        }
    }

    /// What the configuration was read from, with the MD5 of each; pretty JSON.
    #[must_use]
    pub fn sources(&self) -> String {
        let mut sources = Map::new();
        if let Some(path) = self.file() {
            let path = path.display().to_string();
            sources.insert("config_file".to_owned(), path.into());
        }
        sources.insert("mcrouter_config".to_owned(), self.digest().into());
        let imported = usize::from(self.file().is_some());
        for file in self.state().files.iter().skip(imported) {
            let digest = file.content.as_deref().map(md5);
            sources.insert(file.path.display().to_string(), digest.into());
        }
        pretty(&Value::Object(sources))
    }

    /// The configuration with its macros expanded, as pretty JSON; one in TOML with every setting.
    ///
    /// # Errors
    /// Why there is none.
    pub fn preprocessed(&self) -> Result<String, String> {
        if let Some(known) = &self.state().preprocessed {
            return known.clone();
        }
        // Macros may take a while; whoever asks meanwhile does it, too.
        let (files, config) = (self.files(), self.config());
        let expanded = self
            .origin
            .as_ref()
            .and_then(|one| one.preprocessed(&files));
        let expanded = match expanded {
            Some(expanded) => expanded.map(|json| pretty(&json)),
            None => match &config {
                Some(config) => Ok(config.to_toml()),
                None => Err("there is no configuration yet".to_owned()),
            },
        };
        let mut state = self.state();
        let is_same = match (&state.config, &config) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            _ => false,
        };
        if is_same {
            state.preprocessed = Some(expanded.clone());
        }
        expanded
    }

    /// How much is logged, by mcrouter's number.
    #[must_use]
    pub fn verbosity(&self) -> i64 {
        self.state().verbosity
    }

    /// Logs so much from now on, and returns the number before.
    ///
    /// # Errors
    /// The log can't be changed.
    pub fn set_verbosity(&self, verbosity: i64) -> Result<i64, String> {
        if let Some(log) = self.log.get() {
            log.set(level(verbosity))
                .map_err(|error| error.to_string())?;
        }
        Ok(std::mem::replace(&mut self.state().verbosity, verbosity))
    }

    /// What the names of its files and figures begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        let mut text = "libmcrouter".to_owned();
        for part in [&self.start.service, &self.start.router] {
            // Neither may lead to another directory.
            let _ = write!(text, ".{}", part.replace('/', "_"));
        }
        text
    }
}

/// The level of the log for mcrouter's number.
#[must_use]
pub const fn level(verbosity: i64) -> &'static str {
    match verbosity {
        ..=0 => "warn",
        1 => "info",
        2.. => "debug",
    }
}

/// The MD5 of a text, in hexadecimal digits.
#[must_use]
pub fn md5(text: &[u8]) -> String {
    let mut digits = String::new();
    for byte in Md5::digest(text) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Seconds since 1970.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn instance() -> Instance {
        Instance::new(Start::default(), Some(Origin::file("/etc/r.json")))
    }

    #[test]
    fn what_is_told_is_what_was_read() {
        let instance = instance();
        let (config, _) = parse("f", "[pools.a]\nservers = [\"h:1\"]").unwrap();
        let main = br#"{"pools": {"A": {"servers": ["h:1"]}}, "route": "@import(file:/r)"}"#;
        let file = |path: &str, content: &[u8]| FileRead {
            path: path.into(),
            content: Some(content.to_vec()),
        };
        let files = vec![file("/etc/r.json", main), file("/r", b"\"PoolRoute|A\"")];
        instance.applied(files, &config, true);
        assert_eq!(instance.digest(), md5(main));
        assert_eq!(md5(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        let sources: Value = serde_json::from_str(&instance.sources()).unwrap();
        assert_eq!(sources["config_file"], "/etc/r.json");
        assert_eq!(sources["/r"], md5(b"\"PoolRoute|A\""));
        let expanded = instance.preprocessed().unwrap();
        let expanded: Value = serde_json::from_str(&expanded).unwrap();
        assert_eq!(expanded["route"], "PoolRoute|A");
        instance.failed();
        let attempts = instance.attempts();
        assert_eq!((attempts.failures, attempts.from_disk), (1, 1));
        assert!(attempts.last_success > 0);
    }

    #[test]
    fn a_name_leads_to_no_other_directory() {
        let start = Start {
            service: "../x".to_owned(),
            ..Start::default()
        };
        assert_eq!(Instance::new(start, None).prefix(), "libmcrouter..._x.0");
    }
}
