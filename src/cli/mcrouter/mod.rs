//! `mcrouter`, and `ringroad mcrouter`: mcrouter's command line.
//!
//! Flags are taken apart as getopt does (`getopt`), every one is known (`flags`, `router_flags`), and what they say
//! becomes ringroad's configuration (`given`, `start`). What is accepted without effect is logged with the reason.
//!
//! Exit codes are mcrouter's: 0 for the end by a signal, `--help`, `--version` and a good `--validate-config`; 2 if
//! another try may succeed (a port that is taken, a configuration that is not there or wrong); 3 if not.

mod flags;
mod getopt;
mod given;
mod router_flags;
mod start;

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::app::{self, StartError, Supply};
use crate::introspect::Instance;
use crate::listening;
use flags::{Flag, Role};
use getopt::{Describe as _, Takes};
use given::Given;
use start::{Start, Validate};

/// Another try may succeed.
const TRANSIENT: u8 = 2;
/// It will not.
const FINAL: u8 = 3;

/// The arguments for mcrouter, if this is what the process was started as: by its name, or by its first argument.
#[must_use]
pub fn called(args: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut args = args.into_iter();
    let program = args.next()?;
    if Path::new(&program).file_name() == Some(OsStr::new("mcrouter")) {
        return Some(args.collect());
    }
    (args.next()? == "mcrouter").then(|| args.collect())
}

/// Does what a command line of mcrouter asks for.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    let args: Vec<String> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let given = Given::read(&args);
    let told = if given.given("help").is_some() {
        Some(help())
    } else if given.given("version").is_some() {
        let version = env!("CARGO_PKG_VERSION");
        Some(format!("ringroad {version} in the place of mcrouter\n"))
    } else {
        None
    };
    if let Some(text) = told {
        // Nobody is left to tell if standard output is closed.
        let _ = io::stdout().write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    let lines = given.lines.clone();
    match start::start(given) {
        Ok(mut start) => {
            start.process.arguments = args.join(" ");
            run(start)
        }
        Err(why) => {
            complain(&lines);
            let why = why.replace('\n', "\nmcrouter: ");
            say(&format!("mcrouter: {why}\n{USAGE}"));
            ExitCode::from(FINAL)
        }
    }
}

fn run(start: Start) -> ExitCode {
    let mut lines = start.lines;
    if let Some(path) = &start.log_path
        && let Err(error) = redirect(path)
    {
        lines.push(format!("can't log to {}: {error}", path.display()));
    }
    if start.validate != Validate::No {
        match start.origin.read().outcome {
            Err(error) => {
                complain(&lines);
                say(&error.to_string());
                return ExitCode::from(FINAL);
            }
            Ok((_, warnings)) if start.validate == Validate::Exit => {
                complain(&lines);
                for warning in warnings {
                    say(&warning.to_string());
                }
                return ExitCode::SUCCESS;
            }
            Ok(_) => {}
        }
    }
    if let Some(number) = start.inherits
        && let Err(why) = listening::claim(number)
    {
        complain(&lines);
        say(&format!("mcrouter: --listen-sock-fd: {why}"));
        return ExitCode::from(FINAL);
    }
    let supply = Supply {
        instance: Arc::new(Instance::new(start.process, Some(start.origin.clone()))),
        origin: start.origin,
        over: None,
        watches: start.watches,
    };
    match app::run_from(supply, &lines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let StartError::Config(_) = error {
                complain(&lines);
            }
            say(&format!("mcrouter: failed to start\n{error}"));
            ExitCode::from(TRANSIENT)
        }
    }
}

/// Standard error goes to a file from now on.
fn redirect(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

/// What would be logged, if nothing comes to be logged.
fn complain(lines: &[String]) {
    for line in lines {
        say(&format!("mcrouter: {line}"));
    }
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}

const USAGE: &str =
    "usage: mcrouter [OPTION]… -p PORT --config file:PATH; --help lists the options";

/// Every flag, and what becomes of it.
fn help() -> String {
    let mut text = format!(
        "ringroad in the place of mcrouter: the same command line and the same configuration.\n\n{USAGE}\n"
    );
    let flags = given::all();
    let mut section = |title: &str, fits: fn(&Role) -> bool| {
        let _ = writeln!(text, "\n{title}:");
        for flag in flags.iter().filter(|flag| fits(&flag.role)) {
            let _ = writeln!(text, "  {}", describe(flag));
        }
    };
    section("Options", |role| *role == Role::Use);
    section(
        "Accepted without effect, as they mean nothing here",
        |role| matches!(role, Role::Idle(_)),
    );
    section("Accepted, but what they ask for is not done yet", |role| {
        matches!(role, Role::Later(_))
    });
    section("Not supported yet", |role| matches!(role, Role::Refuse(_)));
    text
}

fn describe(flag: &Flag) -> String {
    let mut name = match flag.short {
        Some(letter) => format!("-{letter}, --{}", flag.long),
        None => format!("    --{}", flag.long),
    };
    match flag.takes() {
        Takes::Value => name.push_str("=VALUE"),
        Takes::Optional => name.push_str("[=VALUE]"),
        Takes::None => {}
    }
    let rest = match flag.role {
        Role::Idle(why) | Role::Later(why) | Role::Refuse(why) => why.to_owned(),
        Role::Use if flag.default.is_empty() => String::new(),
        Role::Use => format!("[default: {}]", flag.default),
    };
    format!("{name:<44} {rest}").trim_end().to_owned()
}
