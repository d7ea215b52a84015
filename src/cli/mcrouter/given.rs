//! The values of mcrouter's flags, wherever they come from: the command line goes over the flavor file, and that over
//! the defaults.
//!
//! As in mcrouter, what can't be understood is said and ignored; [`Given::lines`] holds what is to be said.

use std::collections::HashMap;
use std::path::Path;

use super::flags::{
    Flag, Idle, Int, Later, Optional, Plain, Refuse, STANDALONE, Text, Toggle, Use,
};
use super::getopt::{self, Part};
use super::router_flags::ROUTER;
use crate::config::mcrouter::parse_plain;
use crate::config::watch;

/// Every flag.
pub(super) fn all() -> Vec<Flag> {
    STANDALONE.iter().chain(ROUTER).copied().collect()
}

/// What a command line says.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// By long name; well-formed, and only what was given.
    values: HashMap<&'static str, String>,
    /// What is to be logged.
    pub(super) lines: Vec<String>,
    /// Flags without which it would be wrong to start, and why.
    pub(super) refused: Vec<String>,
}

impl Given {
    /// Reads arguments.
    pub(super) fn read(args: &[String]) -> Given {
        let flags = all();
        let mut given = Given::default();
        let mut plain = Vec::new();
        for part in getopt::parse(&flags, args) {
            match part {
                Part::Given(index, value) => {
                    if let Some(flag) = flags.get(index) {
                        given.take(flag, value);
                    }
                }
                Part::Plain(text) => plain.push(text),
                Part::Complaint(text) => given.lines.push(format!("{text}; it is ignored")),
            }
        }
        for text in plain {
            match text.strip_prefix("file:") {
                Some(path) => given.flavor(&flags, path),
                None => given
                    .lines
                    .push(format!("the argument \"{text}\" is no flag; it is ignored")),
            }
        }
        given.weigh(&flags);
        given
    }

    fn take(&mut self, flag: &Flag, value: Option<String>) {
        let text = value.map(|value| with_cores(&value));
        let value = match (flag.kind, text) {
            (Plain, _) => Some("1".to_owned()),
            (Optional | Text, text) => Some(text.unwrap_or_default()),
            (Toggle, None) => Some(if flag.default == "1" { "0" } else { "1" }.to_owned()),
            (Toggle, Some(text)) => truth(&text).map(|on| if on { "1" } else { "0" }.to_owned()),
            (Int, text) => text
                .and_then(|text| text.trim().parse::<i64>().ok())
                .map(|number| number.to_string()),
        };
        match value {
            Some(value) => {
                self.values.insert(flag.long, value);
            }
            None => self.lines.push(format!(
                "the value of --{} can't be understood; it is ignored",
                flag.long
            )),
        }
    }

    /// Takes what a file of options says and the command line does not.
    fn flavor(&mut self, flags: &[Flag], path: &str) {
        let text = watch::read(Path::new(path)).map_err(|error| error.to_string());
        let text =
            text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()));
        let json = match text.and_then(|text| parse_plain(path, &text)) {
            Ok(json) => json,
            Err(why) => {
                self.refused.push(format!("the flavor file {path}: {why}"));
                return;
            }
        };
        for group in ["libmcrouter_options", "standalone_options"] {
            let Some(options) = json.pointer(&format!("/options/{group}")) else {
                continue;
            };
            for (name, value) in options.as_object().into_iter().flatten() {
                let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
                    self.lines
                        .push(format!("{path}: there is no option {name}; it is ignored"));
                    continue;
                };
                if self.values.contains_key(flag.long) {
                    continue;
                }
                let text = match value {
                    serde_json::Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                self.take(flag, Some(text));
            }
        }
    }

    /// Says what becomes of flags that are not used.
    fn weigh(&mut self, flags: &[Flag]) {
        for flag in flags {
            let long = flag.long;
            let Some(value) = self.values.get(long) else {
                continue;
            };
            if value == flag.default && flag.kind != Plain {
                continue;
            }
            match flag.role {
                Use => {}
                Idle(why) => self
                    .lines
                    .push(format!("--{long} means nothing here: {why}")),
                Later(why) => self
                    .lines
                    .push(format!("--{long} has no effect yet: {why}")),
                Refuse(why) => self
                    .refused
                    .push(format!("--{long} is not supported yet: {why}")),
            }
        }
    }

    /// The value of a flag that was given.
    pub(super) fn given(&self, long: &str) -> Option<&str> {
        self.values.get(long).map(String::as_str)
    }

    /// The value of a flag.
    pub(super) fn value(&self, flag: &Flag) -> String {
        self.given(flag.long).unwrap_or(flag.default).to_owned()
    }

    /// The value of a text flag.
    pub(super) fn text(&self, long: &str) -> &str {
        self.given(long).unwrap_or_else(|| default(long))
    }

    /// The value of a number.
    pub(super) fn int(&self, long: &str) -> i64 {
        self.text(long).parse().unwrap_or(0)
    }

    /// The value of a toggle.
    pub(super) fn is_on(&self, long: &str) -> bool {
        self.text(long) == "1"
    }
}

fn default(long: &str) -> &'static str {
    let mut flags = STANDALONE.iter().chain(ROUTER);
    flags
        .find(|flag| flag.long == long)
        .map_or("", |flag| flag.default)
}

/// `%CPU_CORES%` is how many cores there are.
fn with_cores(value: &str) -> String {
    if !value.contains("%CPU_CORES%") {
        return value.to_owned();
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    value.replace("%CPU_CORES%", &cores.to_string())
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Some(true),
        "0" | "f" | "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}
