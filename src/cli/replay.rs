//! `ringroad replay`: delivers what is in a spool, of ringroad or of mcrouter.
//!
//! Progress goes to standard error, the summary to standard output. It exits with 0 when nothing is left that could be
//! delivered, with 1 when something is.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Args;

use super::Failure;
use crate::config::ServerAddr;
use crate::spool::Place;
use crate::spool::replay::{Event, Found, Options, Outcome, Replayer, Totals};

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// The arguments of `ringroad replay`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  ringroad replay /var/spool/mcrouter --dry-run      what is there?
  ringroad replay /var/spool/mcrouter --rate 1000    deliver it, gently
  ringroad replay /var/spool/ringroad --drop 10.0.0.7:11211
                                              that server will never come back

A spool is a directory in which ringroad ([spool] in its file) or mcrouter
(--async-dir) writes deletions that failed. Each line names a server and a key.
Files are read oldest first, deletions sent in their order to the servers that
the lines name, and a file is removed when all in it were answered with DELETED
or NOT_FOUND. What can't be delivered stays for the next time; then some may be
sent again, which does no harm.

Files that are being written are left alone: ringroad locks its own; those of
mcrouter count as being written for 16 minutes, unless --mcrouter-has-ended. A
ringroad with replay = true does all this by itself.

Exits with 0 if nothing is left, with 1 if something is.")]
pub struct ReplayArgs {
    /// The directory with the spool
    pub dir: PathBuf,
    /// Send so many deletions a second at most, over all servers; 0 for as many as they take
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub rate: u64,
    /// Only say what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Count lines for this server as delivered, as they name it; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    pub drop: Vec<String>,
    /// No mcrouter writes there any more: take its files however young they are
    #[arg(long)]
    pub mcrouter_has_ended: bool,
    /// How long a server may take to connect or to answer
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = crate::config::parse_duration)]
    pub timeout: Duration,
}

/// Where a line says that its server is.
fn address(place: &Place) -> Result<ServerAddr, String> {
    let text = match place.port {
        0 if place.host.starts_with('/') => format!("unix:{}", place.host),
        _ => place.to_string(),
    };
    text.parse()
        .map_err(|error: crate::config::AddressError| error.to_string())
}

/// Replays a spool.
///
/// # Errors
/// The directory can't be read, or something is left.
pub fn run(args: &ReplayArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    if args.timeout.is_zero() {
        return Err(Failure::Usage("--timeout must not be 0".to_owned()));
    }
    let mut replayer = Replayer::new(Options {
        rate: args.rate,
        timeout: args.timeout,
        dry_run: args.dry_run,
        mcrouter_has_ended: args.mcrouter_has_ended,
    });
    let dropped: BTreeSet<&str> = args.drop.iter().map(String::as_str).collect();
    let find = |place: &Place| match address(place) {
        _ if dropped.contains(place.to_string().as_str()) => Found::Dropped,
        Ok(addr) => Found::At(addr),
        Err(_) => Found::Unknown,
    };
    let mut shown = Instant::now();
    let mut tell = |event: Event<'_>| {
        let _ = match event {
            Event::Begin { files, bytes } => {
                let size = crate::config::show_size(bytes);
                writeln!(err, "{}: {files} files, {size}", args.dir.display())
            }
            Event::Failed { place, error } => writeln!(err, "{place}: {error}"),
            Event::File { path, outcome } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                writeln!(err, "{name}: {}", in_words(outcome, args.dry_run))
            }
            Event::Progress { totals } if shown.elapsed() >= SHOWN_EVERY => {
                shown = Instant::now();
                writeln!(err, "  {} deletions so far", totals.delivered)
            }
            Event::Progress { .. } => Ok(()),
        };
    };
    let never = AtomicBool::new(false);
    let totals = replayer
        .pass(&args.dir, &find, &never, &mut tell)
        .map_err(|error| Failure::Runtime(format!("{}: {error}", args.dir.display())))?;
    out.write_all(summary(&totals, args.dry_run).as_bytes())?;
    match totals.files_left > 0 && !args.dry_run {
        true => Err(Failure::Runtime(format!(
            "{} files are left; what is in them stays until it is delivered",
            totals.files_left
        ))),
        false => Ok(()),
    }
}

/// What became of a file.
fn in_words(outcome: &Outcome, dry_run: bool) -> String {
    let mut text = match outcome {
        Outcome { in_use: true, .. } => "is being written; left alone".to_owned(),
        Outcome {
            error: Some(error), ..
        } => format!("can't be read or removed: {error}"),
        Outcome { removed: true, .. } if dry_run => "could be delivered".to_owned(),
        Outcome { removed: true, .. } => "delivered and removed".to_owned(),
        Outcome { waiting: 0, .. } => "stays".to_owned(),
        Outcome { waiting, .. } => format!("stays, {waiting} deletions wait for their servers"),
    };
    if let Some((line, why)) = outcome.unreadable.first() {
        let more = outcome.unreadable.len();
        text.push_str(&format!(
            "; line {line} says nothing ({why}), of {more} such lines: look at them and remove the file"
        ));
    }
    if outcome.half_line {
        text.push_str("; its last line is only half there and was never acknowledged");
    }
    text
}

fn summary(totals: &Totals, dry_run: bool) -> String {
    let verb = if dry_run { "to send" } else { "delivered" };
    let mut text: String = totals
        .servers
        .iter()
        .map(|(place, (delivered, waiting))| {
            format!("{place}: {delivered} {verb}, {waiting} waiting\n")
        })
        .collect();
    text.push_str(&format!(
        "{} deletions {verb}, {} waiting, {} dropped; {} lines unreadable; {} files {}, {} left\n",
        totals.delivered,
        totals.waiting,
        totals.dropped,
        totals.unreadable,
        totals.files,
        if dry_run { "complete" } else { "removed" },
        totals.files_left,
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_where_lines_say() {
        for (host, port, want) in [
            ("127.0.0.1", 11211, "127.0.0.1:11211"),
            ("fd00::1", 5, "[fd00::1]:5"),
            ("cache-0.example", 11211, "cache-0.example:11211"),
            ("/run/m.sock", 0, "unix:/run/m.sock"),
        ] {
            let place = Place {
                host: host.to_owned(),
                port,
            };
            assert_eq!(address(&place).unwrap().to_string(), want);
        }
        let nowhere = Place {
            host: "a b".to_owned(),
            port: 1,
        };
        assert!(address(&nowhere).is_err());
    }
}
