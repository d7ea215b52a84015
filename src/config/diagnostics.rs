//! What is wrong with a configuration, and where.
//!
//! A [`Diagnostic`] names file, line and column, says what is wrong, shows the line with the place marked, and says
//! what would be right. It owns everything it shows, so that it can outlive the text (a reload keeps the last one
//! for the admin port). The layout is rustc's, in plain text.
//!
//! Invariants: a line shown never holds a control character and never runs over [`MAX_LINE`] characters, whatever
//! the file holds; a [`Report`] keeps at most [`MAX_SHOWN`] errors and counts the rest.
//! This module knows nothing of TOML or of what a setting means.

use std::fmt;
use std::ops::Range;

/// Errors kept for one file; more are only counted.
pub const MAX_SHOWN: usize = 100;

/// Characters of a source line that are shown.
const MAX_LINE: usize = 120;

/// Whether the file can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but probably does not say what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding. [`Display`](fmt::Display) prints it over several lines with the source line; [`Diagnostic::brief`] on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    file: String,
    line: usize,
    column: usize,
    message: String,
    label: String,
    help: Vec<String>,
    snippet: Snippet,
}

/// A piece of the source line and the marked part of it, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Snippet {
    text: String,
    start: usize,
    len: usize,
}

/// A finding that does not stop the file from being used.
pub type Warning = Diagnostic;

impl Diagnostic {
    /// The file's name as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, in one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right, if there is more to say than the label does.
    #[must_use]
    pub fn help(&self) -> &[String] {
        &self.help
    }

    /// Error or warning.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// One line for a log: `ringroad.toml:4:1: unknown key …; did you mean `servers`?`
    #[must_use]
    pub fn brief(&self) -> String {
        let mut text = format!(
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        );
        for part in std::iter::once(&self.label).chain(&self.help) {
            if !part.is_empty() {
                text.push_str("; ");
                text.push_str(&part.replace('\n', " "));
            }
        }
        text
    }

    /// The few words beside the mark.
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = printable(&label.into());
        self
    }

    /// A line below that says what would be right.
    pub(super) fn with_help(&mut self, help: impl Into<String>) -> &mut Self {
        let help: String = help.into();
        let lines: Vec<String> = help.split('\n').map(printable).collect();
        self.help.push(lines.join("\n"));
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let pad = " ".repeat(number.len());
        writeln!(f, "{}: {}", self.severity, self.message)?;
        writeln!(f, "{pad}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{pad} |")?;
        writeln!(f, "{number} | {}", self.snippet.text)?;
        let (gap, marks) = (" ".repeat(self.snippet.start), "^".repeat(self.snippet.len));
        writeln!(
            f,
            "{}",
            format!("{pad} | {gap}{marks} {}", self.label).trim_end()
        )?;
        for help in &self.help {
            for (i, line) in help.lines().enumerate() {
                let lead = if i == 0 { "= help:" } else { "       " };
                writeln!(f, "{pad} {lead} {line}")?;
            }
        }
        Ok(())
    }
}

/// Every reason why a file is refused, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    suppressed: usize,
}

impl Errors {
    /// The errors, by line and column; at most [`MAX_SHOWN`].
    #[must_use]
    pub fn errors(&self) -> &[Diagnostic] {
        &self.errors
    }

    /// What would have been warned of, had the file been usable.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The warnings alone.
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// How many errors there are in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.errors.len() + self.suppressed
    }

    /// One line for a log: the first error in brief and how many more there are.
    #[must_use]
    pub fn brief(&self) -> String {
        let first = self
            .errors
            .first()
            .map(Diagnostic::brief)
            .unwrap_or_default();
        match self.count().saturating_sub(1) {
            0 => first,
            1 => format!("{first} (and 1 more error)"),
            n => format!("{first} (and {n} more errors)"),
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "{warning}")?;
        }
        match self.count() {
            1 => write!(f, "1 error"),
            n if self.suppressed == 0 => write!(f, "{n} errors"),
            n => write!(
                f,
                "{n} errors, of which the first {} are shown",
                self.errors.len()
            ),
        }
    }
}

impl std::error::Error for Errors {}

/// Collects the findings for one text.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// Takes what comes over the bound; counted, never shown.
    spill: Option<Diagnostic>,
    suppressed: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        Self {
            file,
            text,
            starts: std::iter::once(0).chain(newlines).collect(),
            errors: Vec::new(),
            warnings: Vec::new(),
            spill: None,
            suppressed: 0,
        }
    }

    /// Adds an error at `span` (bytes of the text).
    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let found = self.diagnostic(Severity::Error, span, message.into());
        if self.errors.len() >= MAX_SHOWN {
            self.suppressed += 1;
            return self.spill.insert(found);
        }
        push(&mut self.errors, found)
    }

    /// Adds a warning at `span` (bytes of the text).
    pub(super) fn warn(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let found = self.diagnostic(Severity::Warning, span, message.into());
        if self.warnings.len() >= MAX_SHOWN {
            return self.spill.insert(found);
        }
        push(&mut self.warnings, found)
    }

    /// The line (from 1) that holds the byte `at`.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).max(1)
    }

    /// The warnings if there is no error, else all of it.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>, Errors> {
        if !self.errors.is_empty() {
            return Err(self.into_errors());
        }
        self.warnings.sort_by_key(place);
        Ok(self.warnings)
    }

    /// What was found in several texts, and how many more errors there are. Whether there are any is for the caller
    /// to know.
    pub(super) fn merged(reports: Vec<Self>, suppressed: usize) -> Errors {
        let mut all = Errors {
            errors: Vec::new(),
            warnings: Vec::new(),
            suppressed,
        };
        for mut report in reports {
            report.errors.sort_by_key(place);
            report.warnings.sort_by_key(place);
            all.errors.append(&mut report.errors);
            all.warnings.append(&mut report.warnings);
            all.suppressed += report.suppressed;
        }
        all
    }

    /// All of it, for a file that gave no configuration.
    pub(super) fn into_errors(mut self) -> Errors {
        if self.errors.is_empty() {
            // Whoever gives up on a file has said why; should that ever be forgotten, this is better than nothing.
            self.error(0..0, "the file can't be used");
        }
        self.errors.sort_by_key(place);
        self.warnings.sort_by_key(place);
        Errors {
            errors: self.errors,
            warnings: self.warnings,
            suppressed: self.suppressed,
        }
    }

    fn diagnostic(&self, severity: Severity, span: Range<usize>, message: String) -> Diagnostic {
        let line = self.line_of(span.start);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let end = self
            .starts
            .get(line)
            .map_or(self.text.len(), |next| next - 1);
        let source = self.text.get(start..end).unwrap_or("");
        let source = source.strip_suffix('\r').unwrap_or(source);
        // Columns count characters, as editors do.
        let chars_until = |at: usize| {
            source
                .char_indices()
                .take_while(|(i, _)| start + i < at)
                .count()
        };
        let from = chars_until(span.start);
        let to = chars_until(span.end).max(from + 1);
        Diagnostic {
            severity,
            file: self.file.to_owned(),
            line,
            column: from + 1,
            message: printable(&message),
            label: String::new(),
            help: Vec::new(),
            snippet: snippet(source, from, to - from),
        }
    }
}

fn place(found: &Diagnostic) -> (usize, usize) {
    (found.line, found.column)
}

fn push(list: &mut Vec<Diagnostic>, found: Diagnostic) -> &mut Diagnostic {
    let at = list.len();
    list.push(found);
    #[allow(clippy::indexing_slicing)] // `at` is the element pushed on the line before.
    &mut list[at]
}

/// The part of a line around the mark: all of a line of decent length, else a window.
fn snippet(source: &str, start: usize, len: usize) -> Snippet {
    let skip = if start + len.min(40) + 2 > MAX_LINE {
        start.saturating_sub(30)
    } else {
        0
    };
    let mut text: String = if skip > 0 {
        "…".to_owned()
    } else {
        String::new()
    };
    text.extend(source.chars().skip(skip).take(MAX_LINE).map(shown));
    let more = source.chars().nth(skip + MAX_LINE).is_some();
    if more {
        text.push('…');
    }
    let start = start - skip + usize::from(skip > 0);
    let room = (text.chars().count() + 1).saturating_sub(start).max(1);
    Snippet {
        start,
        len: len.clamp(1, room),
        text: text.trim_end().to_owned(),
    }
}

/// One character for each, so that the mark stays below its place.
fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if is_unprintable(c) => '\u{fffd}',
        c => c,
    }
}

/// Control characters, and those that turn the direction of the text or take no room: a terminal would obey them.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A message with whatever the file smuggled into it made harmless.
fn printable(message: &str) -> String {
    let mut text: String = message
        .chars()
        .take(1000)
        .map(|c| if c == '\n' { ' ' } else { shown(c) })
        .collect();
    if message.chars().nth(1000).is_some() {
        text.push('…');
    }
    text
}

/// A value from the file inside a message: quoted, shortened.
pub(super) fn quoted(value: &str) -> String {
    let short: String = value.chars().take(60).collect();
    let dots = if short.len() < value.len() { "…" } else { "" };
    format!("\"{short}{dots}\"")
}

/// Of `candidates`, the one nearest to `written` by edit distance, if it is near enough to be what was meant.
pub(super) fn nearest<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let written: String = written
        .chars()
        .take(64)
        .flat_map(char::to_lowercase)
        .collect();
    let length = |text: &str| text.chars().count();
    // A third of the letters may be wrong, but not all of a short word.
    let near = |distance: usize, candidate: &str| {
        let longer = length(&written).max(length(candidate));
        distance <= (longer / 3).max(1) && distance < longer
    };
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&written, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| near(*distance, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str, span: Range<usize>) -> Diagnostic {
        let mut report = Report::new("f.toml", text);
        report
            .error(span, "wrong")
            .label("here")
            .with_help("do this\nor that");
        report.finish().unwrap_err().errors()[0].clone()
    }

    #[test]
    fn the_layout_is_a_compiler_s() {
        let found = one("a = 1\n\tsever = [\"x\"]\r\nb = 2", 7..12);
        let want = "error: wrong\n --> f.toml:2:2\n  |\n2 |  sever = [\"x\"]\n  |  ^^^^^ here\n  = help: do this\n          or that\n";
        assert_eq!(found.to_string(), want);
        assert_eq!(found.brief(), "f.toml:2:2: wrong; here; do this or that");
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(one("ä = 'ö' x", 10..11).column(), 9);
    }

    #[test]
    fn the_end_of_the_text_and_an_empty_text_have_a_place() {
        let place = |text: &str, at: usize| (one(text, at..at).line(), one(text, at..at).column());
        assert_eq!(place("a\nbc", 4), (2, 3));
        assert_eq!(place("", 0), (1, 1));
        assert_eq!(place("a\n", 2), (2, 1));
    }

    #[test]
    fn terminal_controls_in_the_file_are_not_obeyed() {
        let shown = one("a = '\u{1b}[31m\u{202e}'", 0..1).to_string();
        assert!(
            !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
            "{shown:?}"
        );
        // Advice may quote the file, too.
        let mut report = Report::new("f", "a");
        report
            .error(0..1, "wrong")
            .label("say \u{1b}[31m\u{202e}")
            .with_help("or\nsay \u{7}\0");
        let found = report.finish().unwrap_err().errors()[0].clone();
        for text in [found.to_string(), found.brief()] {
            let kept = |c: char| is_unprintable(c) && c != '\n';
            assert!(!text.contains(kept), "{text:?}");
        }
        assert!(found.to_string().contains("help: or\n"), "lines stay lines");
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_mark() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let shown = one(&text, 5000..5001).to_string();
        assert!(
            shown.lines().all(|line| line.chars().count() < 200),
            "{shown}"
        );
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines[4].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[3].chars().nth(at), Some('X'));
    }

    #[test]
    fn too_many_errors_are_counted_not_kept() {
        let mut report = Report::new("f", "x");
        for _ in 0..MAX_SHOWN + 7 {
            report.error(0..1, "wrong");
        }
        let errors = report.finish().unwrap_err();
        assert_eq!(
            (errors.errors().len(), errors.count()),
            (MAX_SHOWN, MAX_SHOWN + 7)
        );
        assert!(
            errors
                .to_string()
                .ends_with("107 errors, of which the first 100 are shown")
        );
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let keys = ["servers", "timeout", "connect_timeout"];
        assert_eq!(nearest("sever", keys), Some("servers"), "two letters short");
        assert_eq!(nearest("Timeout", keys), Some("timeout"));
        assert_eq!(nearest("connect-timeout", keys), Some("connect_timeout"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("a", ["b"]), None);
    }

    proptest! {
        /// Any span of any text can be shown.
        #[test]
        fn any_place_can_be_shown(text in "[\\PC\n\r\t]{0,300}", a in 0usize..400, b in 0usize..400) {
            let found = one(&text, a.min(b)..a.max(b));
            prop_assert!(found.line() >= 1 && found.column() >= 1);
            let _ = found.to_string();
        }
    }
}
