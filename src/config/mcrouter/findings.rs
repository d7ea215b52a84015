//! What is wrong with a configuration that is spread over several texts.
//!
//! mcrouter's configuration imports files, and a pool may be a file of its own. [`Findings`] keeps every text that
//! was read, under a number that places refer to, and collects errors and warnings; [`Findings::finish`] shows
//! each in the text that it is about. A macro, which can only fail as a whole, returns a [`Fault`].

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::diagnostics::{Errors, MAX_SHOWN, Report, Warning};
use super::value::Place;

/// The most files a configuration may be made of.
const MAX_FILES: usize = 200;

/// Reads the files that a configuration refers to.
pub(in crate::config) type Read<'r> = &'r mut dyn FnMut(&Path) -> io::Result<Vec<u8>>;

/// Why something can't be used; one sentence and, below it, what led there.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) at: Place,
    pub(super) message: String,
    pub(super) help: Vec<String>,
}

impl Fault {
    pub(super) fn new(at: Place, message: impl Into<String>) -> Fault {
        Fault {
            at,
            message: message.into(),
            help: Vec::new(),
        }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Fault {
        self.help.push(help.into());
        self
    }
}

/// One error or warning.
#[derive(Debug)]
pub(super) struct Finding {
    at: Place,
    message: String,
    label: String,
    help: Vec<String>,
}

impl Finding {
    /// The few words beside the mark.
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Finding {
        self.label = label.into();
        self
    }

    /// A line below that says what would be right.
    pub(super) fn with_help(&mut self, help: impl Into<String>) -> &mut Finding {
        self.help.push(help.into());
        self
    }
}

struct Source {
    name: String,
    text: Rc<str>,
    /// Where each line but the first starts.
    lines: Vec<usize>,
}

/// The texts of a configuration and what was found in them.
pub(super) struct Findings<'r> {
    sources: Vec<Source>,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    /// Takes what comes over the bound; errors are counted, nothing of it is shown.
    spill: Option<Finding>,
    suppressed: usize,
    read: Read<'r>,
    /// By path; the number of the source, or why it can't be read.
    files: HashMap<PathBuf, Result<usize, String>>,
}

impl<'r> Findings<'r> {
    pub(super) fn new(read: Read<'r>) -> Findings<'r> {
        Findings {
            sources: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            spill: None,
            suppressed: 0,
            read,
            files: HashMap::new(),
        }
    }

    /// Takes a text in; its places begin with the number returned.
    pub(super) fn add(&mut self, name: &str, text: &str) -> usize {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        self.sources.push(Source {
            name: name.to_owned(),
            text: text.into(),
            lines: newlines.map(|(at, _)| at + 1).collect(),
        });
        self.sources.len() - 1
    }

    /// Reads a file as UTF-8, once.
    ///
    /// # Errors
    /// Why not, in words that follow on the path.
    pub(super) fn open(&mut self, path: &Path) -> Result<usize, String> {
        if let Some(known) = self.files.get(path) {
            return known.clone();
        }
        if self.files.len() >= MAX_FILES {
            return Err(format!("it would be file number {}", MAX_FILES + 1));
        }
        let text = (self.read)(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
        let source = text.map(|text| self.add(&path.display().to_string(), &text));
        self.files.insert(path.to_path_buf(), source.clone());
        source
    }

    /// The text of a source.
    pub(super) fn text(&self, source: usize) -> Rc<str> {
        self.sources
            .get(source)
            .map_or_else(|| "".into(), |source| source.text.clone())
    }

    /// `FILE:LINE` of a place, for messages about another one.
    pub(super) fn whereabouts(&self, at: Place) -> String {
        let Some(source) = self.sources.get(at.source) else {
            return String::new();
        };
        let line = source.lines.partition_point(|start| *start <= at.start) + 1;
        format!("{}:{line}", source.name)
    }

    pub(super) fn error(&mut self, at: Place, message: impl Into<String>) -> &mut Finding {
        self.push(at, true, message.into())
    }

    pub(super) fn warn(&mut self, at: Place, message: impl Into<String>) -> &mut Finding {
        self.push(at, false, message.into())
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let found = self.error(fault.at, fault.message);
        found.help = fault.help;
    }

    fn push(&mut self, at: Place, is_error: bool, message: String) -> &mut Finding {
        let found = Finding {
            at,
            message,
            label: String::new(),
            help: Vec::new(),
        };
        let list = match is_error {
            true => &mut self.errors,
            false => &mut self.warnings,
        };
        let index = list.len();
        if index >= MAX_SHOWN {
            self.suppressed += usize::from(is_error);
            return self.spill.insert(found);
        }
        list.push(found);
        #[allow(clippy::indexing_slicing)] // The element pushed on the line before.
        &mut list[index]
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// What was made of the texts and the warnings, if nothing is wrong.
    ///
    /// # Errors
    /// Everything that was found.
    pub(super) fn finish<T>(mut self, made: Option<T>) -> Result<(T, Vec<Warning>), Errors> {
        if made.is_none() && !self.has_errors() {
            // Whoever gives up has said why; should that ever be forgotten, this is better than nothing.
            self.error(Place::default(), "the file can't be used");
        }
        let made = made.filter(|_| !self.has_errors());
        let mut reports: Vec<Report<'_>> = self
            .sources
            .iter()
            .map(|source| Report::new(&source.name, &source.text))
            .collect();
        let errors = self.errors.into_iter().map(|found| (true, found));
        let warnings = self.warnings.into_iter().map(|found| (false, found));
        for (is_error, found) in errors.chain(warnings) {
            let Some(report) = reports.get_mut(found.at.source) else {
                continue;
            };
            let span: Range<usize> = found.at.start..found.at.end;
            let shown = match is_error {
                true => report.error(span, found.message),
                false => report.warn(span, found.message),
            };
            shown.label(found.label);
            for help in found.help {
                shown.with_help(help);
            }
        }
        let all = Report::merged(reports, self.suppressed);
        match made {
            Some(made) => Ok((made, all.into_warnings())),
            None => Err(all),
        }
    }
}
