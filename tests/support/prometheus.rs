//! A strict reader of Prometheus' text format 0.0.4, written from its description, which refuses what a lenient one lets
//! pass: samples without HELP and TYPE, metrics in several places, a name without its unit or `_total`, histograms
//! that do not add up.

use std::collections::{BTreeMap, BTreeSet};

/// A sample: its name, its labels and its value.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A page, read.
pub struct Page {
    pub samples: Vec<Sample>,
}

impl Page {
    /// Reads a page; panics with what is wrong.
    #[track_caller]
    pub fn read(text: &str) -> Page {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut samples: Vec<Sample> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut helped = String::new();
        let mut current = (String::new(), String::new());
        let mut unique = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty(), "{line}");
                helped = name.to_owned();
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(helped, name, "TYPE without HELP");
                assert!(seen.insert(name.to_owned()), "{name} comes twice");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(is_name(name), "{line}");
                current = (name.to_owned(), kind.to_owned());
                continue;
            }
            let sample = sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}"));
            let (metric, kind) = &current;
            let suffix = sample.name.strip_prefix(metric.as_str());
            let suffix = suffix.unwrap_or_else(|| panic!("{line} below {metric}"));
            match kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line} below {metric}"),
            }
            assert_eq!(
                suffix == "_bucket",
                sample.labels.contains_key("le"),
                "{line}"
            );
            assert!(kind == "gauge" || sample.value >= 0.0, "{line}");
            assert!(
                unique.insert((sample.name.clone(), sample.labels.clone())),
                "twice: {line}"
            );
            samples.push(sample);
        }
        let page = Page { samples };
        page.check_histograms();
        page
    }

    fn check_histograms(&self) {
        let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in &self.samples {
            if let Some(metric) = sample.name.strip_suffix("_bucket") {
                assert!(metric.ends_with("_seconds"), "{metric} has no unit");
                let mut labels = sample.labels.clone();
                let le = labels.remove("le").unwrap().replace("+Inf", "inf");
                let bucket = (le.parse().unwrap(), sample.value);
                let key = (metric.to_owned(), labels);
                buckets.entry(key).or_default().push(bucket);
            }
        }
        for ((metric, labels), buckets) in buckets {
            for pair in buckets.windows(2) {
                assert!(
                    pair[0].0 < pair[1].0,
                    "{metric} {labels:?}: order of buckets"
                );
                assert!(
                    pair[0].1 <= pair[1].1,
                    "{metric} {labels:?}: not cumulative"
                );
            }
            let last = buckets.last().unwrap();
            assert_eq!(last.0, f64::INFINITY, "{metric} {labels:?}");
            let find = |name: String| {
                let mut all = self.samples.iter();
                let found = all.find(|s| s.name == name && s.labels == labels);
                found.unwrap_or_else(|| panic!("{name} {labels:?}")).value
            };
            assert_eq!(find(format!("{metric}_count")), last.1, "{labels:?}");
            let sum = find(format!("{metric}_sum"));
            assert!(sum >= 0.0 && (sum == 0.0 || last.1 > 0.0), "{metric}");
        }
    }

    /// The values of the samples of this name that have these labels, among others, added up.
    #[track_caller]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let mut wanted = labels.iter();
            sample.name == name
                && wanted
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
        };
        let found: Vec<f64> = self.samples.iter().filter(fits).map(|s| s.value).collect();
        assert!(!found.is_empty(), "there is no {name} {labels:?}");
        found.iter().sum()
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inner.split_once("=\"")?;
            let mut value = String::new();
            let mut chars = after.char_indices();
            let close = loop {
                match chars.next()? {
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        _ => return None,
                    }),
                    (at, '"') => break at,
                    (_, c) => value.push(c),
                }
            };
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            inner = after.get(close + 1..)?;
            match inner.strip_prefix(',') {
                Some(more) => inner = more,
                None => break,
            }
        }
        rest = inner.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?.replace("+Inf", "inf");
    is_name(name).then_some(())?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}
