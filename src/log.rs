//! Logging: lines for people or JSON on standard error, with a level that can be changed while running.
//!
//! A filter is a level (`info`) or a list that gives single modules their own (`info,ringroad::upstream=debug`).
//! It is checked before it is used: `tracing`'s own parser takes a misspelt level for the name of a module and
//! then logs nothing, which is the worst answer to a typing error.
//!
//! What is filtered out costs a cached check at its call site; changing the filter renews those. The module knows
//! nothing of the rest of ringroad but the name of its format.

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::LogFormat;

/// The levels, from silent to everything.
pub const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// The longest filter that is accepted, in bytes.
pub const MAX_FILTER: usize = 1024;

/// Why logging could not be set up or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The filter means nothing.
    #[error("{0}")]
    Filter(String),
    /// Another logger is in place already.
    #[error("logging is set up already")]
    Twice,
    /// The logger this handle belongs to is gone.
    #[error("the logger is gone")]
    Gone,
}

/// Changes the filter of a running logger; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogHandle {
    handle: reload::Handle<Targets, Registry>,
    filter: Arc<Mutex<String>>,
}

impl LogHandle {
    /// Replaces the filter.
    ///
    /// # Errors
    /// The filter means nothing; the old one stays.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        let targets = targets(filter)?;
        let mut current = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(targets).map_err(|_| LogError::Gone)?;
        filter.trim().clone_into(&mut current);
        Ok(())
    }

    /// The filter in force.
    #[must_use]
    pub fn get(&self) -> String {
        self.filter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Starts logging to standard error for the whole process.
///
/// # Errors
/// The filter means nothing, or logging has been started before.
pub fn init(filter: &str, format: LogFormat) -> Result<LogHandle, LogError> {
    let terminal = io::stderr().is_terminal();
    let format = match format {
        LogFormat::Auto if terminal => LogFormat::Human,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    };
    // https://no-color.org: set and not empty.
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (subscriber, handle) = build(filter, format, colour, io::stderr)?;
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    Ok(handle)
}

/// A logger that writes to `writer`, and its handle. [`LogFormat::Auto`] is `Human` here.
///
/// # Errors
/// The filter means nothing.
pub fn build<W>(
    filter: &str,
    format: LogFormat,
    colour: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, LogHandle), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (layer, handle) = reload::Layer::new(targets(filter)?);
    let lines = fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Json => lines
            .with_ansi(false)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        LogFormat::Auto | LogFormat::Human => lines.with_ansi(colour).boxed(),
    };
    let handle = LogHandle {
        handle,
        filter: Arc::new(Mutex::new(filter.trim().to_owned())),
    };
    Ok((
        tracing_subscriber::registry().with(layer).with(lines),
        handle,
    ))
}

/// Whether a filter means something.
///
/// # Errors
/// What is wrong with it and what would be right, in one sentence.
pub fn check_filter(filter: &str) -> Result<(), String> {
    targets(filter)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn targets(filter: &str) -> Result<Targets, LogError> {
    let wrong = |why: String| Err(LogError::Filter(why));
    if filter.len() > MAX_FILTER {
        return wrong(format!("the filter has more than {MAX_FILTER} bytes"));
    }
    let mut targets = Targets::new().with_default(LevelFilter::OFF);
    let mut default = None;
    for part in filter.split(',').map(str::trim) {
        let (module, level_name) = match part.split_once('=') {
            Some((module, level)) => (Some(module.trim()), level.trim()),
            None => (None, part),
        };
        let level = level(level_name)?;
        match module {
            None if default.is_some() => {
                return wrong(format!(
                    "there are two levels for everything, the second is \"{level_name}\""
                ));
            }
            None => default = Some(level),
            Some(module) if is_module(module) => targets = targets.with_target(module, level),
            Some(module) => {
                return wrong(format!(
                    "\"{}\" is not the name of a module",
                    module.escape_debug()
                ));
            }
        }
    }
    Ok(targets.with_default(default.unwrap_or(LevelFilter::OFF)))
}

fn level(name: &str) -> Result<LevelFilter, LogError> {
    let known = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(name));
    known
        .then(|| LevelFilter::from_str(name).ok())
        .flatten()
        .ok_or_else(|| {
            let given = name.escape_debug();
            LogError::Filter(format!(
                "\"{given}\" is not a level; the levels are {}",
                LEVELS.join(", ")
            ))
        })
}

fn is_module(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn logger(
        filter: &str,
        format: LogFormat,
        colour: bool,
    ) -> (Lines, tracing::subscriber::DefaultGuard, LogHandle) {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, handle) = build(filter, format, colour, move || writer.clone()).unwrap();
        (lines, tracing::subscriber::set_default(subscriber), handle)
    }

    #[test]
    fn the_level_changes_while_running() {
        let (lines, _guard, handle) = logger("warn", LogFormat::Human, false);
        tracing::info!("one");
        assert_eq!(lines.take(), "");
        handle.set("info").unwrap();
        assert_eq!(handle.get(), "info");
        tracing::info!(pool = "cache", "two");
        let line = lines.take();
        assert!(
            line.contains(" INFO ") && line.contains("two pool=\"cache\""),
            "{line}"
        );
        handle.set("info,ringroad::log=error").unwrap();
        tracing::info!("three");
        assert_eq!(lines.take(), "", "a module can differ");
        assert!(handle.set("inof").is_err());
        assert_eq!(
            handle.get(),
            "info,ringroad::log=error",
            "a bad filter changes nothing"
        );
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        let (lines, _guard, _handle) = logger("info", LogFormat::Json, true);
        tracing::warn!(line = 3, "with a\nbreak");
        let text = lines.take();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["message"], "with a\nbreak");
        assert_eq!(value["line"], 3);
        assert!(value["timestamp"].is_string());
    }

    #[test]
    fn colour_only_when_asked_for() {
        for colour in [true, false] {
            let (lines, _guard, _handle) = logger("info", LogFormat::Human, colour);
            tracing::info!("x");
            assert_eq!(lines.take().contains('\u{1b}'), colour);
        }
    }

    #[test]
    fn filters_that_mean_nothing_are_refused() {
        for good in [
            "info",
            "OFF",
            "warn,ringroad::upstream=trace",
            " info , a=debug ",
            "a=info",
        ] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("inof", "error, warn, info"),
            ("", "is not a level"),
            ("info,", "is not a level"),
            ("ringroad", "is not a level"),
            ("ringroad=loud", "\"loud\" is not a level"),
            ("info,debug", "two levels"),
            ("a b=info", "name of a module"),
            ("=info", "name of a module"),
            ("3", "is not a level"),
        ] {
            let error = check_filter(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
        assert!(check_filter(&"a".repeat(2000)).is_err());
    }
}
