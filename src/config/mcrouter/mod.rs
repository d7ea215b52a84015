//! mcrouter's configuration: from its JSON to the same [`Config`] that TOML gives.
//!
//! The way is that of mcrouter: the text becomes values with places (`json`, `value`), the preprocessor expands
//! macros and imports (`macros`), and then pools (`pools`, `server`, `placement`) and routes (`handles`) are read.
//! What a configuration means depends on the command line, too; that part is [`Settings`], whose defaults are
//! mcrouter's.
//!
//! A configuration that mcrouter takes either means here what it means there, or is refused with the place and the
//! reason. What is different in spite of that, everywhere and by design, stands in one warning. Handles that this
//! release does not have yet are listed in `handles`, so that they can be told from those that do not exist.
//!
//! Nothing here opens a file by itself: whoever asks brings a function that reads one.

mod findings;
mod handles;
mod json;
mod macros;
mod placement;
mod pools;
mod server;
mod settings;
mod tko_tracker;
mod top;
mod value;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use super::diagnostics::{Errors, Warning};
use super::{Config, MAX_FILE};
use findings::{Fault, Findings, Read};
use macros::Engine;
use value::Place;

pub(crate) use json::parse_plain;
pub use settings::{BigValues, Settings};

/// Whether a file is one of mcrouter's: by its name, else by what it starts with, since no TOML begins like that.
pub(super) fn is_mcrouter(name: &str, text: &[u8]) -> bool {
    let extension = Path::new(name).extension();
    if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return true;
    }
    if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        return false;
    }
    let start = text.trim_ascii_start();
    start.starts_with(b"{") || start.starts_with(b"//") || start.starts_with(b"/*")
}

/// Reads and checks a configuration. `name` is what it is called in messages; `path` is where it was read from, if
/// it is a file, so that imports are found beside it; `read` reads imported files.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn parse(
    settings: &Settings,
    name: &str,
    text: &str,
    path: Option<&Path>,
    read: Read<'_>,
) -> Result<(Config, Vec<Warning>), Errors> {
    let mut findings = Findings::new(read);
    let source = findings.add(name, text);
    let config = if text.len() as u64 > MAX_FILE {
        let at = Place {
            source,
            ..Place::default()
        };
        let length = text.len();
        findings.error(
            at,
            format!("the file has {length} bytes, more than the {MAX_FILE} that are read"),
        );
        None
    } else {
        expanded(&mut findings, settings, source, path)
            .map_err(|fault| findings.fault(fault))
            .ok()
            .and_then(|document| top::config(&mut findings, settings, &document))
    };
    findings.finish(config)
}

fn expanded(
    findings: &mut Findings<'_>,
    settings: &Settings,
    source: usize,
    path: Option<&Path>,
) -> Result<value::Value, Fault> {
    let document = json::parse(findings, source)?;
    let dir = path.map(|path| match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    });
    Engine::new(findings, settings.globals(), dir).run(&document)
}

/// A configuration with its macros expanded.
///
/// # Errors
/// They can't be.
pub(super) fn preprocessed(
    settings: &Settings,
    name: &str,
    text: &str,
    path: Option<&Path>,
    read: Read<'_>,
) -> Result<serde_json::Value, Errors> {
    let mut findings = Findings::new(read);
    let source = findings.add(name, text);
    let document = expanded(&mut findings, settings, source, path)
        .map_err(|fault| findings.fault(fault))
        .ok();
    findings
        .finish(document)
        .map(|(document, _)| json::plain(&document))
}

/// Reads and checks a configuration that stands by itself: whatever it imports is missing. `name` is what it is called
/// in messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_alone(
    settings: &Settings,
    name: &str,
    text: &str,
) -> Result<(Config, Vec<Warning>), Errors> {
    let mut read = no_files;
    parse(settings, name, text, Some(Path::new(name)), &mut read)
}

/// An id of this host that is the same at each start; see `macros/host.rs`.
pub(crate) fn host_id() -> u32 {
    static ID: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *ID.get_or_init(macros::host_id)
}

fn no_files(_: &Path) -> io::Result<Vec<u8>> {
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "files are not read here",
    ))
}
