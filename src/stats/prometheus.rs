//! Prometheus' text format, version 0.0.4: the part of it that counters, gauges and histograms need.
//!
//! Written here rather than by a library: those of today bring counters of their own, which would be a second set
//! beside the one that `stats` and `/stats` read, and updated by locked instructions. What is left is this file.
//!
//! A metric is begun once (`Page::metric`) and gets all its samples then, as the format wants it. Names of metrics and
//! labels are from the source and always valid; values of labels may be anything and are escaped.

use std::fmt::{Display, Write as _};

use super::latency::Times;

/// What the format is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

/// A metric whose samples are being written.
#[derive(Debug)]
pub(super) struct Metric<'p> {
    text: &'p mut String,
    name: &'static str,
}

/// Labels of a sample: names and values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Page {
    /// Begins a metric; `help` is one sentence.
    pub(super) fn metric(&mut self, kind: Kind, name: &'static str, help: &str) -> Metric<'_> {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        // Writing to a String can't fail, here and below.
        let _ = write!(self.text, "# HELP {name} ");
        escape(&mut self.text, help, false);
        let _ = write!(self.text, "\n# TYPE {name} {}\n", kind.name());
        Metric {
            text: &mut self.text,
            name,
        }
    }

    /// A metric with one sample and no labels.
    pub(super) fn single(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &str,
        value: impl Display,
    ) {
        self.metric(kind, name, help).sample(&[], value);
    }

    /// The page.
    pub(super) fn text(self) -> String {
        self.text
    }
}

impl Metric<'_> {
    /// A sample.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// All samples of a histogram.
    pub(super) fn times(&mut self, labels: Labels<'_>, times: &Times) {
        let mut all = 0;
        for (bound, count) in times.cumulative() {
            let bound = match bound.is_finite() {
                true => bound.to_string(),
                false => "+Inf".to_owned(),
            };
            self.line("_bucket", labels, Some(("le", &bound)), count);
            all = count;
        }
        self.line("_sum", labels, None, times.seconds());
        self.line("_count", labels, None, all);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        last: Option<(&'static str, &str)>,
        value: impl Display,
    ) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value, true);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Appends a text as it stands in a label's value, or in a help text, which keeps its quotes.
fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::latency::{ByFamily, Latency, Timing};

    #[test]
    fn labels_and_help_are_escaped() {
        let mut page = Page::default();
        let mut metric = page.metric(Kind::Gauge, "a", "back\\slash, \"quotes\",\nline");
        metric.sample(&[("x", "a\\b\"c\nd é"), ("y", "")], 1.5);
        metric.sample(&[], u64::MAX);
        let want = "# HELP a back\\\\slash, \"quotes\",\\nline\n# TYPE a gauge\na{x=\"a\\\\b\\\"c\\nd é\",y=\"\"} 1.5\na 18446744073709551615\n";
        assert_eq!(page.text(), want);
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_all() {
        let latency = Latency::default();
        latency.record(Timing::new(b"get k", 0), 60, 2);
        latency.record(Timing::new(b"get k", 0), 6_000_000, 1);
        let mut times = ByFamily::default();
        times.add(&latency);
        let mut page = Page::default();
        page.metric(Kind::Histogram, "h_seconds", "h")
            .times(&[("l", "v")], &times.together());
        let text = page.text();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "h_seconds_bucket{l=\"v\",le=\"0.00005\"} 0");
        assert_eq!(lines[1], "h_seconds_bucket{l=\"v\",le=\"0.0001\"} 2");
        assert_eq!(lines[15], "h_seconds_bucket{l=\"v\",le=\"5\"} 2");
        assert_eq!(lines[16], "h_seconds_bucket{l=\"v\",le=\"+Inf\"} 3");
        assert_eq!(lines[17], "h_seconds_sum{l=\"v\"} 6.00012");
        assert_eq!(lines[18], "h_seconds_count{l=\"v\"} 3");
        assert_eq!(lines.len(), 19);
    }
}
