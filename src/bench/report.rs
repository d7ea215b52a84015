//! The result of a run: as data (for `--json`, and for programs that call the generator), and as text.
//!
//! Latencies are in microseconds throughout, CPU times in seconds or microseconds per request. What is
//! told of the generator itself is there to judge the rest by: a generator that uses all of its cores
//! measures itself.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::tally::{Errors, Tally};

/// The result of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The endpoint, as the user wrote it.
    pub target: String,
    /// Client connections.
    pub connections: usize,
    /// Requests outstanding per connection.
    pub depth: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// From the start of the measurement to its last answer.
    pub elapsed_s: f64,
    /// Requests answered.
    pub requests: u64,
    /// Requests answered per second.
    pub requests_per_s: f64,
    /// Requests offered per second, with a fixed rate.
    pub offered_per_s: Option<u64>,
    /// Bytes sent while measuring.
    pub bytes_sent: u64,
    /// Bytes received while measuring.
    pub bytes_received: u64,
    /// Each kind of request that was sent.
    pub kinds: Vec<KindReport>,
    /// All kinds together.
    pub latency_us: Latency,
    /// What went wrong while measuring.
    pub errors: Errors,
    /// The first few different error texts, with how often each came.
    pub error_texts: Vec<(String, u64)>,
    /// The generator's own cost.
    pub generator: Generator,
    /// The processes named with `--pid`.
    pub processes: Vec<Process>,
    /// What became of `--prefill`.
    pub prefill: Option<Prefill>,
    /// Requests answered while warming up.
    pub warm_up_requests: u64,
    /// Whether the user ended the run early.
    pub interrupted: bool,
}

/// The result for one kind of request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KindReport {
    /// The command word.
    pub kind: String,
    /// Requests answered.
    pub requests: u64,
    /// Keys found; values stored; keys deleted, touched or counted up.
    pub hits: u64,
    /// Keys not found, or values not stored.
    pub misses: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Their latency.
    pub latency_us: Latency,
}

/// Latencies in microseconds; all 0 when nothing was answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Latency {
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 90 % were at most this.
    pub p90: f64,
    /// 99 % were at most this.
    pub p99: f64,
    /// 99.9 % were at most this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// What the generator itself spent while measuring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time of all its threads, in seconds.
    pub cpu_s: f64,
    /// CPU time ÷ (elapsed time × threads): near 1, the generator is the bottleneck.
    pub cpu_share: f64,
    /// CPU time per answered request, in microseconds.
    pub cpu_us_per_request: f64,
    /// System calls that wrote to sockets.
    pub writes: u64,
    /// System calls that read from sockets.
    pub reads: u64,
}

/// What a watched process spent while measuring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// CPU time of all its threads in seconds; `None` when it could not be read (it ended, or is
    /// another user's).
    pub cpu_s: Option<f64>,
    /// CPU time per answered request, in microseconds.
    pub cpu_us_per_request: Option<f64>,
}

/// What became of `--prefill`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prefill {
    /// Keys to store.
    pub keys: u64,
    /// Keys stored.
    pub stored: u64,
    /// What went wrong.
    pub errors: Errors,
    /// The first few different error texts, with how often each came.
    pub error_texts: Vec<(String, u64)>,
}

impl Latency {
    /// From a histogram of nanoseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let us = |ns: u64| ns as f64 / 1000.0;
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        Self {
            min: us(histogram.min()),
            mean: histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(histogram.max()),
        }
    }

    fn columns(&self) -> String {
        [
            self.min, self.mean, self.p50, self.p90, self.p99, self.p999, self.max,
        ]
        .iter()
        .fold(String::new(), |mut line, value| {
            let digits = usize::from(*value < 1000.0);
            // Writing to a string does not fail.
            let _ = write!(line, "{value:>9.digits$}");
            line
        })
    }
}

impl Prefill {
    /// From the counts of the filling phases.
    pub(super) fn of(tally: &Tally, keys: u64) -> Self {
        Self {
            keys,
            stored: tally.kinds.iter().map(|(_, kind)| kind.hits).sum(),
            errors: tally.errors.clone(),
            error_texts: tally.texts.clone(),
        }
    }
}

impl Report {
    /// The report as text, several lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{}: {}, {} outstanding each, {}",
            self.target,
            count(self.connections as u64, "connection"),
            grouped(self.depth as u64),
            count(self.threads as u64, "thread")
        )?;
        if let Some(prefill) = &self.prefill {
            let stored = grouped(prefill.stored);
            writeln!(
                out,
                "prefill      {stored} of {} keys stored",
                grouped(prefill.keys)
            )?;
            if prefill.stored < prefill.keys {
                errors(out, &prefill.errors, &prefill.error_texts)?;
            }
        }
        if self.interrupted {
            writeln!(out, "interrupted: this is what was measured until then")?;
        }
        let seconds = self.elapsed_s.max(1e-9);
        writeln!(
            out,
            "throughput   {} requests/s ({} in {:.2} s{})",
            grouped(self.requests_per_s as u64),
            count(self.requests, "request"),
            self.elapsed_s,
            self.offered_per_s.map_or(String::new(), |rate| format!(
                ", {}/s offered",
                grouped(rate)
            ))
        )?;
        writeln!(
            out,
            "bytes        {:.2} MB/s sent, {:.2} MB/s received",
            self.bytes_sent as f64 / seconds / 1e6,
            self.bytes_received as f64 / seconds / 1e6
        )?;
        writeln!(out)?;
        writeln!(
            out,
            "{:<8}{:>12}{:>13}{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}  latency in µs",
            "",
            "requests",
            "hits",
            "misses",
            "errors",
            "min",
            "mean",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max"
        )?;
        for kind in &self.kinds {
            writeln!(
                out,
                "{:<8}{:>12}{:>13}{:>11}{:>9}{}",
                kind.kind,
                grouped(kind.requests),
                grouped(kind.hits),
                grouped(kind.misses),
                grouped(kind.errors),
                kind.latency_us.columns()
            )?;
        }
        if self.kinds.len() > 1 {
            let sum = |of: fn(&KindReport) -> u64| grouped(self.kinds.iter().map(of).sum());
            writeln!(
                out,
                "{:<8}{:>12}{:>13}{:>11}{:>9}{}",
                "all",
                sum(|k| k.requests),
                sum(|k| k.hits),
                sum(|k| k.misses),
                sum(|k| k.errors),
                self.latency_us.columns()
            )?;
        }
        writeln!(out)?;
        errors(out, &self.errors, &self.error_texts)?;
        self.costs(out)
    }

    fn costs(&self, out: &mut String) -> std::fmt::Result {
        let own = &self.generator;
        writeln!(
            out,
            "generator    {:.0} % of {}, {:.2} µs per request, {:.1} requests per write",
            own.cpu_share * 100.0,
            if self.threads == 1 {
                "a core".into()
            } else {
                format!("{} cores", self.threads)
            },
            own.cpu_us_per_request,
            self.requests as f64 / own.writes.max(1) as f64
        )?;
        if own.cpu_share > 0.9 {
            writeln!(
                out,
                "             The generator is the bottleneck: the endpoint can do more. Use more --threads."
            )?;
        }
        for process in &self.processes {
            let name = format!("{} ({})", process.name, process.pid);
            match (process.cpu_s, process.cpu_us_per_request) {
                (Some(cpu), Some(per_request)) => writeln!(
                    out,
                    "{name:<12} {:.0} % of a core, {per_request:.2} µs per request",
                    cpu / self.elapsed_s.max(1e-9) * 100.0
                )?,
                _ => writeln!(out, "{name:<12} its CPU time could not be read")?,
            }
        }
        Ok(())
    }
}

fn errors(out: &mut String, errors: &Errors, texts: &[(String, u64)]) -> std::fmt::Result {
    if errors.is_empty() {
        return writeln!(out, "errors       none");
    }
    let list: Vec<_> = errors
        .list()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {}", grouped(*count)))
        .collect();
    writeln!(out, "errors       {}", list.join(", "))?;
    for (text, count) in texts {
        // What an endpoint sends must not steer the user's terminal.
        let text = text.escape_debug();
        writeln!(out, "             {} × {text}", grouped(*count))?;
    }
    Ok(())
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let texts = [0, 7, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1 000", "12 345", "1 234 567"]);
    }

    #[test]
    fn no_latency_without_an_answer() {
        let blank = super::super::tally::blank_histogram().unwrap();
        assert!(Latency::of(&blank).max.abs() < f64::EPSILON);
        let mut one = blank;
        one.record(50_000).unwrap();
        let latency = Latency::of(&one);
        assert!((49.9..50.1).contains(&latency.p999), "{latency:?}");
    }

    #[test]
    fn an_endpoints_text_cannot_reach_the_terminal_raw() {
        let mut out = String::new();
        let found = Errors {
            error: 1,
            ..Errors::default()
        };
        errors(&mut out, &found, &[("SERVER_ERROR \u{1b}[2J".into(), 1)]).unwrap();
        assert!(!out.contains('\u{1b}'), "{out}");
    }
}
