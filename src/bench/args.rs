//! The command line of `ringroad bench`: what the user may write, and how it is read.
//!
//! Each option has a type with a `FromStr` that names what was wrong and what would be right; what only
//! shows when options are put together (a key space that does not fit its keys) is checked in `plan`.
//! Nothing here opens a socket or starts a thread.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::request::Kind;

const EXAMPLES: &str = "\
Examples:
  Fill 10 000 keys, then read them for 10 seconds over 50 connections:
    ringroad bench --prefill
  The same against a memcached, 16 requests outstanding per connection:
    ringroad bench --target 127.0.0.1:11211 --prefill --depth 16
  90 % get, 10 % set, a few hot keys, values of 50 B to 2 KiB:
    ringroad bench --prefill --mix 90:10 --distribution zipf:0.99 --value-size 50-2k
  Latency at a fixed load (5 000 requests/s, whatever the endpoint does):
    ringroad bench --prefill --rate 5k --duration 60s
  What a request costs the router, in CPU time:
    ringroad bench --prefill --pid $(pidof ringroad)
  Is every answer the right one? Stops at the first that is not:
    ringroad bench --prefill --check --mix get=60,set=30,delete=10 --multi 20

Kinds of request for --mix: get gets set delete incr touch mg ms.
Numbers may end in k or m (thousands, millions; for sizes KiB, MiB), times in ms, s, m or h.
With --rate, latency counts from the moment a request was due, not from when it could be sent: an
endpoint that stalls is charged for every request it kept waiting.";

/// Drive a memcached endpoint and measure it
///
/// Sends memcached requests over many connections, checks the answers, and prints throughput, hits,
/// errors and latency. Works on ringroad, on memcached, and on anything else that speaks the text
/// protocol.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Endpoint: HOST:PORT (an IPv6 address in brackets) or unix:PATH
    #[arg(long, short, value_name = "ADDR", default_value = "127.0.0.1:5000")]
    pub target: Target,

    /// Client connections
    #[arg(long, short, value_name = "N", default_value = "50", value_parser = parse_connections)]
    pub connections: usize,

    /// Requests outstanding per connection (pipelining)
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_depth)]
    pub depth: usize,

    /// Threads of the generator; each drives its share of the connections
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_threads)]
    pub threads: usize,

    /// Number of different keys
    #[arg(long, value_name = "N", default_value = "10k", value_parser = parse_number)]
    pub keys: u64,

    /// Length of every key in bytes
    #[arg(long, value_name = "BYTES", default_value = "24")]
    pub key_size: usize,

    /// What every key starts with (for instance a routing prefix)
    #[arg(long, value_name = "TEXT", default_value = "bench:")]
    pub key_prefix: String,

    /// Value size: 100, 50-2k, or weighted: 100=90,4k=9,64k=1
    #[arg(long, value_name = "SIZES", default_value = "100")]
    pub value_size: Sizes,

    /// What to send: GET:SET as in 90:10, or get=80,set=15,delete=5
    #[arg(long, value_name = "MIX", default_value = "get=1")]
    pub mix: Mix,

    /// Keys per get or gets
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_multi)]
    pub multi: usize,

    /// Which keys are asked for: uniform, or zipf:THETA (0.99 is usual)
    #[arg(long, value_name = "DIST", default_value = "uniform")]
    pub distribution: Distribution,

    /// Total requests per second to offer, evenly spaced; without it, as fast as the endpoint answers
    #[arg(long, value_name = "R", value_parser = parse_number)]
    pub rate: Option<u64>,

    /// How long to measure
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    pub duration: Duration,

    /// Measure this many requests, instead of a time
    #[arg(long, short = 'n', value_name = "N", value_parser = parse_number, conflicts_with = "duration")]
    pub requests: Option<u64>,

    /// Run the same load this long before measuring
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    pub warm_up: Duration,

    /// Store every key before measuring
    #[arg(long)]
    pub prefill: bool,

    /// Verify that every value belongs to its key and is whole; the first that is not ends the run
    #[arg(long)]
    pub check: bool,

    /// Seed of the random choices: the same seed gives the same requests
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,

    /// Give a connection up when it has been silent this long with requests outstanding
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    pub timeout: Duration,

    /// Also report the CPU time this process (the endpoint, a server) spends per request; repeatable
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,

    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Where the endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Host (name or address, without brackets) and port.
    Tcp(String, u16),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("a path must follow unix:, as in unix:/run/memcached.sock".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("a port is missing; try {text}:5000 or {text}:11211"))?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err("write an IPv6 address in brackets, as in [::1]:5000".into());
        }
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err("a host is missing; try 127.0.0.1".into());
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self::Tcp(host.to_owned(), port)),
            _ => Err(format!("{port:?} is not a port; ports are 1 to 65535")),
        }
    }
}

/// Kinds of request with their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(pub(super) Vec<(Kind, u32)>);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let weight = |text: &str| {
            text.trim()
                .parse::<u32>()
                .map_err(|_| format!("{text:?} is not a weight; weights are whole numbers"))
        };
        let mut mix: Vec<(Kind, u32)> = Vec::new();
        if let Some((get, set)) = text.split_once(':') {
            mix.push((Kind::Get, weight(get)?));
            mix.push((Kind::Set, weight(set)?));
        } else {
            for part in text.split(',') {
                let (name, share) = part.split_once('=').unwrap_or((part, "1"));
                let kind = Kind::from_name(name.trim()).ok_or_else(|| {
                    format!(
                        "{name:?} is no kind of request; known are {}",
                        Kind::names()
                    )
                })?;
                if mix.iter().any(|(seen, _)| *seen == kind) {
                    return Err(format!("{name:?} stands there twice"));
                }
                mix.push((kind, weight(share)?));
            }
        }
        if mix.iter().all(|(_, weight)| *weight == 0) {
            return Err("at least one weight must be above 0".into());
        }
        Ok(Self(mix))
    }
}

/// Value sizes: inclusive ranges with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes(pub(super) Vec<(SizeRange, u32)>);

/// Sizes from `least` to `most` bytes, evenly spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeRange {
    /// Smallest size, in bytes.
    pub(super) least: usize,
    /// Largest size, in bytes.
    pub(super) most: usize,
}

impl Sizes {
    /// The smallest size that can come up, in bytes.
    pub(super) fn least(&self) -> usize {
        self.0.iter().map(|(r, _)| r.least).min().unwrap_or(0)
    }

    /// The largest size that can come up, in bytes.
    pub(super) fn most(&self) -> usize {
        self.0.iter().map(|(r, _)| r.most).max().unwrap_or(0)
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// memcached's own ceiling for one item.
        const MOST: u64 = 1 << 30;
        let size = |text: &str| match parse_scaled(text, 1024) {
            Some(size) if size <= MOST => Ok(size as usize),
            _ => Err(format!(
                "{text:?} is not a size in bytes; try 100, 4k or 1m (at most 1024m)"
            )),
        };
        let mut sizes = Vec::new();
        for part in text.split(',') {
            let (range, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight = weight
                .trim()
                .parse::<u32>()
                .ok()
                .filter(|weight| *weight > 0)
                .ok_or_else(|| format!("{weight:?} is not a weight; weights start at 1"))?;
            let (least, most) = range.split_once('-').unwrap_or((range, range));
            let range = SizeRange {
                least: size(least)?,
                most: size(most)?,
            };
            if range.least > range.most {
                return Err(format!("{part:?} is the wrong way round"));
            }
            sizes.push((range, weight));
        }
        Ok(Self(sizes))
    }
}

/// How often each key is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// All equally.
    Uniform,
    /// Zipf with this exponent, above 0.
    Zipf(f64),
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "uniform" {
            return Ok(Self::Uniform);
        }
        let theta = match text.split_once(':') {
            Some(("zipf", theta)) => theta,
            _ if text == "zipf" => "0.99",
            _ => return Err("known are uniform and zipf:THETA, as in zipf:0.99".into()),
        };
        match theta.parse::<f64>() {
            Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(Self::Zipf(theta)),
            _ => Err(format!(
                "{theta:?} is not an exponent above 0 and up to 10; 0.99 is usual"
            )),
        }
    }
}

/// A whole number that may end in k or m (times `unit`, or its square).
fn parse_scaled(text: &str, unit: u64) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (text.get(..text.len() - 1)?, unit),
        b'm' => (text.get(..text.len() - 1)?, unit * unit),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_number(text: &str) -> Result<u64, String> {
    const MOST: u64 = 1_000_000_000_000;
    match parse_scaled(text, 1000) {
        Some(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err("a whole number from 1 on, as in 500, 10k or 2m".into()),
    }
}

fn parse_bounded(text: &str, most: u64) -> Result<usize, String> {
    match parse_scaled(text, 1000) {
        Some(number) if (1..=most).contains(&number) => Ok(number as usize),
        _ => Err(format!("a whole number from 1 to {most}")),
    }
}

fn parse_connections(text: &str) -> Result<usize, String> {
    parse_bounded(text, 1_000_000)
}

fn parse_depth(text: &str) -> Result<usize, String> {
    parse_bounded(text, 65_536)
}

fn parse_threads(text: &str) -> Result<usize, String> {
    parse_bounded(text, 1024)
}

fn parse_multi(text: &str) -> Result<usize, String> {
    parse_bounded(text, 100_000)
}

/// A time: `500ms`, `10s`, `2m`, `1h`; a bare number is seconds.
///
/// # Errors
/// What a time looks like.
fn parse_time(text: &str) -> Result<Duration, String> {
    const DAYS: f64 = 30.0 * 86_400.0;
    let text = text.trim();
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1.0));
    match number.parse::<f64>() {
        Ok(number) if number >= 0.0 && number * unit <= DAYS => {
            Ok(Duration::from_secs_f64(number * unit))
        }
        _ => Err("a time such as 500ms, 10s, 2m or 1h".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        use clap::Parser as _;
        Cli::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()))
            .map(|cli| cli.args)
    }

    #[test]
    fn every_example_in_the_help_is_accepted() {
        let lines: Vec<_> = EXAMPLES
            .lines()
            .filter_map(|l| l.trim().strip_prefix("ringroad bench "))
            .collect();
        assert_eq!(lines.len(), 6);
        for line in lines {
            let line = line.replace("$(pidof ringroad)", "123");
            assert!(parse(&line).is_ok(), "{line}");
        }
    }

    #[test]
    fn targets() {
        let tcp = |host: &str, port| Ok(Target::Tcp(host.into(), port));
        assert_eq!("localhost:5000".parse(), tcp("localhost", 5000));
        assert_eq!("[::1]:5000".parse(), tcp("::1", 5000));
        assert_eq!("unix:/a b".parse(), Ok(Target::Unix("/a b".into())));
        assert_eq!("/run/x".parse(), Ok(Target::Unix("/run/x".into())));
        for bad in [
            "",
            "host",
            "host:",
            "host:0",
            "host:70000",
            ":5",
            "::1",
            "unix:",
            "a:b:1",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        for text in ["localhost:5000", "[::1]:5000", "unix:/run/x"] {
            assert_eq!(
                text.parse::<Target>().map(|t| t.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn mixes() {
        assert_eq!(
            "90:10".parse(),
            Ok(Mix(vec![(Kind::Get, 90), (Kind::Set, 10)]))
        );
        assert_eq!(
            "mg=3, ms=1,incr".parse(),
            Ok(Mix(vec![
                (Kind::MetaGet, 3),
                (Kind::MetaSet, 1),
                (Kind::Incr, 1)
            ]))
        );
        for bad in [
            "", "0:0", "get=0", "get,get", "got=1", "get=-1", "get=x", "1:2:3",
        ] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        let sizes: Sizes = "10-2k=9,1m=1".parse().unwrap();
        assert_eq!((sizes.least(), sizes.most()), (10, 1 << 20));
        assert_eq!("0".parse::<Sizes>().unwrap().most(), 0);
        for bad in ["", "x", "5-2", "1025m", "5=0", "-5", "99999999999999999999"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(parse_number("10k"), Ok(10_000));
        assert_eq!(parse_time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_time("3"), Ok(Duration::from_secs(3)));
        for bad in ["", "s", "-1s", "nan", "inf", "1e400s", "9999999h"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "k", "1.5", "99999999999999999999m"] {
            assert!(parse_number(bad).is_err(), "{bad}");
        }
        assert!(parse("--connections 0").is_err());
        assert!(parse("--distribution zipf:0").is_err());
        assert!(parse("--requests 5 --duration 5s").is_err());
        assert!(parse("--requests 5").is_ok());
    }
}
