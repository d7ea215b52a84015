//! What is remembered of a name between two questions: which of its forms resolves, and which kinds of records its
//! servers give.
//!
//! Two things need it. A kind of lookup that has worked before and fails now must not be done without: members would
//! change their names, or lose a family, for the length of a hiccup. And one that never worked and only costs time
//! must not be tried at every question. Nothing here is needed for an answer to be right: it may be lost any time.

use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::Name;

use crate::discovery::FailureKind;

/// Failures in a row after which a kind of lookup that once worked counts as gone.
const PATIENCE: u32 = 10;
/// How long a kind of lookup that never worked and isn't answered is left out.
const PAUSE: Duration = Duration::from_secs(300);
/// After how long the forms before the one that resolves are tried again.
const RECHECK: Duration = Duration::from_secs(300);

/// Of one name.
#[derive(Debug, Default)]
pub(super) struct Memory {
    form: Option<(Name, Instant)>,
    /// SRV records.
    pub srv: Health,
    /// PTR records of its addresses.
    pub ptr: Health,
    /// A records.
    pub v4: Health,
    /// AAAA records.
    pub v6: Health,
    /// The highest ordinal that was found.
    pub highest: Option<u32>,
}

impl Memory {
    /// The forms to try, in this order.
    ///
    /// The one that resolved comes first, and after it only those that would have come before it: a later one that
    /// resolves while nothing is ready behind the right one would bring strangers into the ring.
    pub(super) fn order(&self, forms: &[Name], now: Instant) -> Vec<Name> {
        let Some((known, since)) = &self.form else {
            return forms.to_vec();
        };
        let Some(at) = forms.iter().position(|form| form == known) else {
            return forms.to_vec();
        };
        let before = forms.iter().take(at);
        if now.saturating_duration_since(*since) >= RECHECK {
            return before.chain([known]).cloned().collect();
        }
        [known].into_iter().chain(before).cloned().collect()
    }

    /// This form resolved. `walked` says that those before it were tried, too.
    pub(super) fn resolved(&mut self, form: &Name, walked: bool, now: Instant) {
        match &mut self.form {
            Some((known, _)) if known == form && !walked => {}
            known => *known = Some((form.clone(), now)),
        }
    }
}

/// How a kind of lookup has gone.
#[derive(Debug, Default)]
pub(super) struct Health {
    worked: bool,
    failures: u32,
    paused: Option<Instant>,
}

impl Health {
    /// It gave records.
    pub(super) fn worked(&mut self) {
        *self = Health {
            worked: true,
            ..Health::default()
        };
    }

    /// It was answered, without records.
    pub(super) fn absent(&mut self) {
        self.failures = 0;
    }

    /// It failed while other lookups of the same name went well. Returns whether there's no doing without it.
    pub(super) fn failed(&mut self, kind: FailureKind, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if !self.worked && kind == FailureKind::Timeout {
            self.paused = Some(now + PAUSE);
        }
        self.worked && self.failures <= PATIENCE
    }

    /// Whether to leave it out this time.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused.is_some_and(|until| now < until)
    }

    /// Whether it ever gave records.
    pub(super) fn has_worked(&self) -> bool {
        self.worked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|n| Name::from_ascii(n).unwrap()).collect()
    }

    /// A name that stops resolving must not lead to a later form of it, which may be somebody else's.
    #[test]
    fn later_forms_are_not_tried_once_one_resolved() {
        let forms = names(&["c.a.", "c.b.", "c."]);
        let start = Instant::now();
        let mut memory = Memory::default();
        assert_eq!(memory.order(&forms, start), forms);
        memory.resolved(&forms[1], true, start);
        assert_eq!(memory.order(&forms, start), names(&["c.b.", "c.a."]));
        assert_eq!(
            memory.order(&forms, start + RECHECK),
            names(&["c.a.", "c.b."])
        );
        memory.resolved(&forms[1], true, start + RECHECK);
        assert_eq!(
            memory.order(&forms, start + RECHECK),
            names(&["c.b.", "c.a."])
        );
        let others = names(&["c.x.", "c."]);
        assert_eq!(memory.order(&others, start), others);
    }

    #[test]
    fn what_worked_is_missed_for_a_while_and_what_never_did_is_left_out() {
        let now = Instant::now();
        let mut health = Health::default();
        assert!(!health.failed(FailureKind::Server, now));
        assert!(!health.is_paused(now));
        assert!(!health.failed(FailureKind::Timeout, now));
        assert!(health.is_paused(now));
        assert!(!health.is_paused(now + PAUSE));
        health.worked();
        for _ in 0..PATIENCE {
            assert!(health.failed(FailureKind::Timeout, now));
        }
        assert!(!health.is_paused(now));
        assert!(!health.failed(FailureKind::Timeout, now));
        health.absent();
        assert!(health.failed(FailureKind::Timeout, now));
    }
}
