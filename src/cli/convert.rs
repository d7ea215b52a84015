//! `ringroad convert`: mcrouter's configuration as TOML.
//!
//! What is printed routes every key as the JSON does; settings that come from mcrouter's command line have mcrouter's
//! defaults. A file that is TOML already is printed with every default.

use std::io::Write;
use std::path::Path;

use super::check::stdin;
use super::{ConvertArgs, Failure, write_warnings};
use crate::config;

/// Converts a file; TOML on `out`, warnings on `err`.
///
/// # Errors
/// The file can't be read or used, or the output not be written.
pub fn convert(
    args: &ConvertArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let (config, warnings) = if args.file == Path::new("-") {
        stdin()?
    } else {
        config::load(&args.file)?
    };
    write_warnings(err, &warnings)?;
    out.write_all(config.to_toml().as_bytes())?;
    Ok(())
}
