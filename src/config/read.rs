//! Typed access to TOML tables that reports what it does not like.
//!
//! A [`Table`] is one table of the file together with the [`Section`] that says which keys it may hold; opening it
//! reports the unknown ones. An [`Entry`] is one value with its place. Every accessor either returns a value within
//! its range or has reported why there is none, so that the callers just leave the default in place and go on:
//! that is how all errors of a file are found in one run.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeFloat, DeInteger, DeTable, DeValue};

use super::diagnostics::{Diagnostic, Report, nearest, quoted};
use super::schema::{self, Section};
use super::units;

/// A table with known keys.
pub(super) struct Table<'t, 'i> {
    table: &'t DeTable<'i>,
    section: &'static Section,
    /// Keys that the file has under a wrong name, and that need not be called missing as well.
    misspelt: Vec<&'static str>,
    /// Where to point when a key is missing.
    pub(super) place: Range<usize>,
}

/// One value and where it stands.
#[derive(Clone)]
pub(super) struct Entry<'t, 'i> {
    /// The key, or for an element of a list the key of the list.
    pub(super) key: &'t str,
    pub(super) key_span: Range<usize>,
    pub(super) value: &'t DeValue<'i>,
    pub(super) span: Range<usize>,
}

/// The entries of any table in the order of the file.
pub(super) fn entries<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut list: Vec<Entry<'t, 'i>> = table
        .iter()
        .map(|(key, value)| Entry::new(key, value))
        .collect();
    list.sort_by_key(|entry| entry.key_span.start);
    list
}

impl<'t, 'i> Table<'t, 'i> {
    /// Takes a table and reports the keys it must not hold.
    pub(super) fn open(
        report: &mut Report<'_>,
        section: &'static Section,
        table: &'t DeTable<'i>,
        place: Range<usize>,
    ) -> Self {
        let unknown = entries(table)
            .into_iter()
            .filter(|entry| section.key(entry.key).is_none());
        let misspelt = unknown
            .filter_map(|entry| unknown_key(report, section, &entry))
            .collect();
        Self {
            table,
            section,
            misspelt,
            place,
        }
    }

    /// The entry of a key, if the file has it.
    pub(super) fn get(&self, name: &str) -> Option<Entry<'t, 'i>> {
        debug_assert!(
            self.section.key(name).is_some(),
            "`{name}` is missing in the schema"
        );
        self.table
            .get_key_value(name)
            .map(|(key, value)| Entry::new(key, value))
    }

    /// The entry of a key that must be there.
    pub(super) fn require(
        &self,
        report: &mut Report<'_>,
        name: &str,
        example: &str,
    ) -> Option<Entry<'t, 'i>> {
        let entry = self.get(name);
        if entry.is_none() && !self.is_misspelt(name) {
            report
                .error(
                    self.place.clone(),
                    format!("`{name}` is missing {}", self.section.within),
                )
                .label(format!("has no `{name}`"))
                .with_help(format!("add: {example}"));
        }
        entry
    }

    /// Whether the file has a key that was probably meant to be this one; it has been reported.
    pub(super) fn is_misspelt(&self, name: &str) -> bool {
        self.misspelt.contains(&name)
    }

    /// Sets `target` if the file has the key and its value is good.
    pub(super) fn bool(&self, report: &mut Report<'_>, name: &str, target: &mut bool) {
        if let Some(value) = self.get(name).and_then(|entry| entry.bool(report)) {
            *target = value;
        }
    }

    /// Like [`Table::bool`], for a whole number within `range`.
    pub(super) fn usize(
        &self,
        report: &mut Report<'_>,
        name: &str,
        range: RangeInclusive<u64>,
        target: &mut usize,
    ) {
        let value = self
            .get(name)
            .and_then(|entry| entry.integer(report, range));
        if let Some(value) = value.and_then(|value| usize::try_from(value).ok()) {
            *target = value;
        }
    }

    /// Like [`Table::bool`], for a size within `range`, in bytes.
    pub(super) fn size(
        &self,
        report: &mut Report<'_>,
        name: &str,
        range: RangeInclusive<u64>,
        target: &mut usize,
    ) {
        let value = self.get(name).and_then(|entry| entry.size(report, range));
        if let Some(value) = value.and_then(|value| usize::try_from(value).ok()) {
            *target = value;
        }
    }

    /// Like [`Table::bool`], for a duration within `range`.
    pub(super) fn duration(
        &self,
        report: &mut Report<'_>,
        name: &str,
        range: RangeInclusive<Duration>,
        target: &mut Duration,
    ) {
        if let Some(value) = self
            .get(name)
            .and_then(|entry| entry.duration(report, range))
        {
            *target = value;
        }
    }
}

impl<'t, 'i> Entry<'t, 'i> {
    fn new(key: &'t Spanned<std::borrow::Cow<'i, str>>, value: &'t Spanned<DeValue<'i>>) -> Self {
        Self {
            key: key.get_ref().as_ref(),
            key_span: key.span(),
            value: value.get_ref(),
            span: value.span(),
        }
    }

    /// An element of the list that this entry holds.
    fn element(&self, value: &'t Spanned<DeValue<'i>>) -> Self {
        Self {
            key: self.key,
            key_span: self.key_span.clone(),
            value: value.get_ref(),
            span: value.span(),
        }
    }

    /// Where the value stands; for a table with a header of its own, the header.
    pub(super) fn place(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Reports that the value is of the wrong kind.
    pub(super) fn wrong_kind<'r>(
        &self,
        report: &'r mut Report<'_>,
        wanted: &str,
    ) -> &'r mut Diagnostic {
        let found = kind(self.value);
        report
            .error(
                self.place(),
                format!("`{}` must be {wanted}, not {found}", self.key),
            )
            .label(format!("this is {found}"))
    }

    pub(super) fn bool(&self, report: &mut Report<'_>) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            DeValue::String(text) if text == "true" || text == "false" => {
                self.wrong_kind(report, "true or false")
                    .with_help("write it without quotes");
                None
            }
            _ => {
                self.wrong_kind(report, "true or false");
                None
            }
        }
    }

    pub(super) fn string(&self, report: &mut Report<'_>, wanted: &str) -> Option<&'t str> {
        if let DeValue::String(text) = self.value {
            return Some(text);
        }
        self.wrong_kind(report, wanted);
        None
    }

    pub(super) fn table(
        &self,
        report: &mut Report<'_>,
        section: &'static Section,
    ) -> Option<Table<'t, 'i>> {
        if let DeValue::Table(table) = self.value {
            return Some(Table::open(report, section, table, self.place()));
        }
        self.wrong_kind(report, "a table");
        None
    }

    /// Whether it is a text.
    pub(super) fn is_string(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// The elements of a list; anything else is taken as a list of one.
    pub(super) fn elements(&self) -> Vec<Self> {
        match self.value {
            DeValue::Array(list) => self.list(list),
            _ => vec![self.clone()],
        }
    }

    /// The elements of a list that must be one.
    pub(super) fn array(&self, report: &mut Report<'_>, wanted: &str) -> Option<Vec<Self>> {
        if let DeValue::Array(list) = self.value {
            return Some(self.list(list));
        }
        self.wrong_kind(report, wanted);
        None
    }

    fn list(&self, list: &'t DeArray<'i>) -> Vec<Self> {
        list.iter().map(|value| self.element(value)).collect()
    }

    /// A whole number within `range`.
    pub(super) fn integer(
        &self,
        report: &mut Report<'_>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let bounds = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = self.value else {
            self.wrong_kind(report, &bounds);
            return None;
        };
        let value = whole(number).filter(|value| range.contains(value));
        if value.is_none() {
            self.out_of_range(report, &bounds);
        }
        value
    }

    /// A whole number of either sign.
    pub(super) fn signed(&self, report: &mut Report<'_>) -> Option<i64> {
        let value = match self.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if value.is_none() {
            self.wrong_kind(report, "a whole number");
        }
        value
    }

    /// A size within `range`: a text with a unit, or bytes.
    pub(super) fn size(&self, report: &mut Report<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let show = units::show_size;
        let bounds = format!(
            "a size from {} to {}",
            show(*range.start()),
            show(*range.end())
        );
        let value = match self.value {
            DeValue::Integer(number) => whole(number),
            DeValue::String(text) => match units::parse_size(text) {
                Ok(bytes) => Some(bytes),
                Err(why) => return self.unreadable(report, text, "a size", &why),
            },
            _ => {
                self.wrong_kind(
                    report,
                    &format!("a size such as \"{}\"", show(*range.start())),
                );
                return None;
            }
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.out_of_range(report, &bounds);
        }
        value
    }

    /// A duration within `range`: a text with a unit, or seconds.
    pub(super) fn duration(
        &self,
        report: &mut Report<'_>,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let show = units::show_duration;
        let bounds = format!(
            "a duration from {} to {}",
            show(*range.start()),
            show(*range.end())
        );
        let value = match self.value {
            DeValue::Integer(number) => whole(number).map(Duration::from_secs),
            DeValue::Float(number) => seconds(number),
            DeValue::String(text) => match units::parse_duration(text) {
                Ok(duration) => Some(duration),
                Err(why) => return self.unreadable(report, text, "a duration", &why),
            },
            _ => {
                self.wrong_kind(
                    report,
                    "a duration such as \"250ms\" or \"1s\", or a number of seconds",
                );
                return None;
            }
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.out_of_range(report, &bounds);
        }
        value
    }

    /// One of a closed set of names; `what` as in "a distribution".
    pub(super) fn choice<T: Copy>(
        &self,
        report: &mut Report<'_>,
        what: &str,
        all: &[T],
        name: impl Fn(T) -> String,
    ) -> Option<T> {
        let text = self.string(report, what)?;
        let found = all.iter().copied().find(|one| name(*one) == text);
        if found.is_none() {
            let names: Vec<String> = all.iter().map(|one| name(*one)).collect();
            let error = report.error(self.place(), format!("{} is not {what}", quoted(text)));
            if let Some(near) = nearest(text, names.iter().map(String::as_str)) {
                error.label(format!("did you mean \"{near}\"?"));
            }
            error.with_help(format!("it can be: {}", names.join(", ")));
        }
        found
    }

    fn unreadable<T>(
        &self,
        report: &mut Report<'_>,
        text: &str,
        what: &str,
        why: &str,
    ) -> Option<T> {
        report
            .error(
                self.place(),
                format!("`{}`: {} is not {what}", self.key, quoted(text)),
            )
            .label(why);
        None
    }

    fn out_of_range(&self, report: &mut Report<'_>, bounds: &str) {
        report
            .error(self.place(), format!("`{}` is out of range", self.key))
            .label(format!("must be {bounds}"));
    }
}

/// Reports a key that is not known here; returns the one that was probably meant.
fn unknown_key(
    report: &mut Report<'_>,
    section: &'static Section,
    entry: &Entry<'_, '_>,
) -> Option<&'static str> {
    let error = report.error(
        entry.key_span.clone(),
        format!("unknown key {} {}", ticked(entry.key), section.within),
    );
    if let Some(near) = nearest(entry.key, section.keys.iter().map(|key| key.name)) {
        error.label(format!("did you mean `{near}`?"));
        return Some(near);
    }
    let elsewhere = schema::SECTIONS
        .iter()
        .find(|other| other.key(entry.key).is_some());
    match elsewhere {
        // The usual slip in TOML: after the first [header] everything belongs to that table.
        Some(other) if other.heading == schema::ROOT.heading => {
            error.with_help(format!(
                "`{}` belongs to the top of the file: move it above the first line in [brackets]",
                entry.key
            ));
        }
        Some(other) => {
            error.with_help(format!("`{}` belongs to {}", entry.key, other.heading));
        }
        None => {}
    }
    error.with_help(format!("the keys here are: {}", section.names()));
    None
}

/// A key from the file inside a message.
fn ticked(key: &str) -> String {
    let short: String = key.chars().take(60).collect();
    let dots = if short.len() < key.len() { "…" } else { "" };
    format!("`{short}{dots}`")
}

/// What a value is, after "not".
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(number) if number.as_str().starts_with('-') => "a negative number",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `None` for what does not fit, negative numbers included.
pub(super) fn whole(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// `None` for what is no length of time.
fn seconds(number: &DeFloat<'_>) -> Option<Duration> {
    let seconds: f64 = number.as_str().parse().ok()?;
    let exact = Duration::try_from_secs_f64(seconds).ok()?;
    // As in `units`: whole microseconds.
    Some(Duration::from_micros(
        u64::try_from(exact.as_micros()).ok()?,
    ))
}
