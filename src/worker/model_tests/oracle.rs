//! What a client may believe about one key, and whether a reply agrees with it.
//!
//! Only one client uses a private key, so a sequential memcached says what its next reply must be. Where a
//! request failed, it may or may not have been executed: the belief is then a *set* of states, and a reply
//! narrows it down. Where nothing can be said (another route, another server) the belief is `None`; then
//! only the value itself is checked: it must be made of records that were written for this very key.

use std::collections::HashMap;
use std::rc::Rc;

/// An item as the oracle sees it; `None` is an absent one.
pub type State = Option<Known>;

#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub flags: u32,
    pub value: Rc<Vec<u8>>,
    /// Changes whenever the server's cas value would.
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    /// With this cas value.
    Cas(u64),
}

/// A command on one item.
#[derive(Clone, Debug)]
pub enum Op {
    Get,
    Put(How, Known),
    Delete,
    Arith {
        incr: bool,
        delta: u64,
        version: u64,
    },
    Touch,
}

impl Op {
    pub fn is_put(&self) -> bool {
        matches!(self, Op::Put(..))
    }
}

/// What a reply says, however it was spelled.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A get found the item; the fields that the reply has.
    Hit {
        flags: Option<u32>,
        value: Option<Vec<u8>>,
        cas: Option<u64>,
    },
    Miss,
    /// STORED, DELETED, TOUCHED, HD
    Done,
    NotStored,
    Exists,
    NotFound,
    Number(u64),
    NotANumber,
    /// SERVER_ERROR
    Failed,
    /// Nothing: the quiet flag hid the common answer.
    Hidden,
    /// Nothing: `noreply` hides every answer.
    Unheard,
}

/// What the circumstances allow.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A server of this key had a fault while the request was under way.
    pub disturbed: bool,
    /// Items may vanish (flush_all, a server that restarts).
    pub vanish: bool,
    /// Items may appear, and a hit need not be where updates go (a pool that only gets fall back on).
    pub appear: bool,
    /// What an update that failed was about may be deleted later, when its server is back (`on_return`).
    pub replays: bool,
    /// Values are stored in parts: one that has lost a part can't be read, but is there.
    pub in_parts: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Belief {
    /// The states it may be in; `None`: anything.
    pub states: Option<Vec<State>>,
    /// Which version a cas value was seen with.
    tokens: HashMap<u64, u64>,
    /// Late effects are possible: nothing is believed until everything has settled.
    pub haunted: bool,
    /// When `states` was learnt (the caller's fingerprint of disturbances).
    pub since: u64,
    pub epoch: u32,
}

/// More possible states than this are as good as none.
const MANY: usize = 12;

impl Belief {
    /// A key that nobody has written yet.
    pub fn absent() -> Belief {
        Belief {
            states: Some(vec![None]),
            ..Belief::default()
        }
    }

    pub fn forget(&mut self) {
        self.states = None;
    }

    pub fn is_certain(&self) -> bool {
        self.states.as_ref().is_some_and(|states| states.len() == 1)
    }

    /// Checks a reply against the belief and learns from it.
    pub fn observe(&mut self, op: &Op, said: &Said, rules: Rules) -> Result<(), String> {
        let learnt = match &self.states {
            None => self.learn(op, said, rules),
            Some(states) => Some(self.narrow(states, op, said, rules)?),
        };
        self.states = learnt;
        if let Some(states) = &mut self.states {
            if rules.vanish && !states.contains(&None) {
                states.push(None);
            }
            let hollow = rules.in_parts && rules.vanish && *said == Said::Miss;
            if states.len() > MANY || (rules.appear && states.contains(&None)) || hollow {
                self.states = None;
            }
        }
        if let Said::Hit { cas: Some(cas), .. } = said
            && let Some([Some(known)]) = self.states.as_deref()
            && known.version != 0
        {
            let version = *self.tokens.entry(*cas).or_insert(known.version);
            if version != known.version {
                return Err(format!("cas {cas} belongs to another version of the item"));
            }
        }
        if self.haunted {
            self.states = None;
        }
        Ok(())
    }

    /// From anything to something.
    fn learn(&self, op: &Op, said: &Said, rules: Rules) -> Option<Vec<State>> {
        match (op, said) {
            (Op::Put(How::Set, known), Said::Done) => Some(vec![Some(known.clone())]),
            (Op::Put(How::Set, known), Said::Hidden) if !rules.disturbed => {
                Some(vec![Some(known.clone())])
            }
            (Op::Delete, Said::Done | Said::NotFound) => Some(vec![None]),
            (
                Op::Get,
                Said::Hit {
                    flags: Some(flags),
                    value: Some(value),
                    ..
                },
            ) if !rules.appear => Some(vec![Some(Known {
                flags: *flags,
                value: Rc::new(value.clone()),
                version: 0,
            })]),
            _ => None,
        }
    }

    fn narrow(
        &self,
        states: &[State],
        op: &Op,
        said: &Said,
        rules: Rules,
    ) -> Result<Vec<State>, String> {
        let mut next: Vec<State> = Vec::new();
        let add = |state: State, next: &mut Vec<State>| {
            if !next.contains(&state) {
                next.push(state);
            }
        };
        let doubtful = match said {
            Said::Failed => true,
            Said::Miss | Said::Hidden | Said::Unheard => rules.disturbed,
            _ => false,
        };
        if doubtful {
            // It may not have been executed, or not yet.
            states.iter().for_each(|s| add(s.clone(), &mut next));
            if rules.replays {
                add(None, &mut next);
            }
        }
        for state in states {
            for (expected, after) in self.outcomes(op, state) {
                if agrees(said, &expected) || (doubtful && *said != Said::Miss) {
                    add(after, &mut next);
                }
            }
        }
        if next.is_empty() {
            let expected: Vec<String> = states
                .iter()
                .flat_map(|state| self.outcomes(op, state))
                .map(|(expected, _)| show(&expected))
                .collect();
            return Err(format!(
                "{op:?} was answered {}, expected {expected:?} ({rules:?})",
                show(said)
            ));
        }
        Ok(next)
    }

    /// What a memcached in this state answers, and its state afterwards.
    fn outcomes(&self, op: &Op, state: &State) -> Vec<(Said, State)> {
        let same = |said| vec![(said, state.clone())];
        match (op, state) {
            (Op::Get, None) => same(Said::Miss),
            (Op::Get, Some(known)) => same(Said::Hit {
                flags: Some(known.flags),
                value: Some(known.value.to_vec()),
                cas: None,
            }),
            (Op::Put(how, new), _) => self.put(*how, new, state),
            (Op::Delete, None) => same(Said::NotFound),
            (Op::Delete, Some(_)) => vec![(Said::Done, None)],
            (Op::Arith { .. } | Op::Touch, None) => same(Said::NotFound),
            (Op::Touch, Some(_)) => same(Said::Done),
            (
                Op::Arith {
                    incr,
                    delta,
                    version,
                },
                Some(known),
            ) => {
                let number = std::str::from_utf8(&known.value)
                    .ok()
                    .and_then(|text| text.parse::<u64>().ok());
                let Some(old) = number else {
                    return same(Said::NotANumber);
                };
                let n = match incr {
                    true => old.wrapping_add(*delta),
                    false => old.saturating_sub(*delta),
                };
                let after = Known {
                    flags: known.flags,
                    value: Rc::new(n.to_string().into_bytes()),
                    version: *version,
                };
                vec![(Said::Number(n), Some(after))]
            }
        }
    }

    fn put(&self, how: How, new: &Known, state: &State) -> Vec<(Said, State)> {
        let stored = |known: Known| (Said::Done, Some(known));
        let joined = |old: &Known, parts: [&[u8]; 2]| Known {
            flags: old.flags,
            value: Rc::new(parts.concat()),
            version: new.version,
        };
        vec![match (how, state) {
            (How::Set, _) | (How::Add, None) | (How::Replace, Some(_)) => stored(new.clone()),
            (How::Append, Some(old)) => stored(joined(old, [&old.value, &new.value])),
            (How::Prepend, Some(old)) => stored(joined(old, [&new.value, &old.value])),
            (How::Cas(_), None) => (Said::NotFound, None),
            (How::Cas(token), Some(old)) => match self.tokens.get(&token) {
                Some(version) if old.version != 0 => match *version == old.version {
                    true => stored(new.clone()),
                    false => (Said::Exists, state.clone()),
                },
                _ => return vec![stored(new.clone()), (Said::Exists, state.clone())],
            },
            _ => (Said::NotStored, state.clone()),
        }]
    }
}

fn agrees(said: &Said, expected: &Said) -> bool {
    match (said, expected) {
        (
            Said::Hit { flags, value, .. },
            Said::Hit {
                flags: true_flags,
                value: true_value,
                ..
            },
        ) => (flags.is_none() || flags == true_flags) && (value.is_none() || value == true_value),
        (Said::Hidden, Said::Done | Said::Number(_) | Said::Miss) => true,
        (Said::Unheard, _) => true,
        // `ma` without `v` says HD.
        (Said::Done, Said::Number(_)) => true,
        _ => said == expected,
    }
}

/// Large values shortened.
fn show(said: &Said) -> String {
    match said {
        Said::Hit { flags, value, cas } => {
            let value = value.as_ref().map(|value| {
                let head = value.get(..value.len().min(60)).unwrap_or_default();
                format!("{} bytes {}", value.len(), head.escape_ascii())
            });
            format!("Hit {flags:?} {value:?} {cas:?}")
        }
        said => format!("{said:?}"),
    }
}

/// The records of a value: `[key writer.number padding]` and the padding.
pub fn record(key: &[u8], writer: u64, number: u64, padding: usize) -> Vec<u8> {
    const FILL: &[u8] = b"\r\nEND\r\nVALUE x 0 1\r\nSERVER_ERROR \0\xff HD ";
    let mut out = b"[".to_vec();
    out.extend_from_slice(key);
    out.extend_from_slice(format!(" {writer}.{number} {padding}]").as_bytes());
    let start = (writer + number) as usize;
    out.extend((0..padding).map(|i| FILL[(start + i) % FILL.len()]));
    out
}

/// Takes a value apart: the writers and numbers of its records; an error if it is not made of records of
/// this key. `whole` is false for the beginning of a value.
pub fn records(key: &[u8], value: &[u8], whole: bool) -> Result<Vec<(u64, u64)>, String> {
    let mut found = Vec::new();
    let mut rest = value;
    let wrong = |rest: &[u8]| {
        let head = rest.get(..rest.len().min(80)).unwrap_or_default();
        Err(format!(
            "a value of {} has {}",
            key.escape_ascii(),
            head.escape_ascii()
        ))
    };
    while !rest.is_empty() {
        let head = [&b"["[..], key, b" "].concat();
        if !rest.starts_with(&head) {
            return match !whole && head.starts_with(rest) {
                true => Ok(found),
                false => wrong(rest),
            };
        }
        let Some(end) = rest.iter().position(|b| *b == b']') else {
            return if whole { wrong(rest) } else { Ok(found) };
        };
        let words = std::str::from_utf8(&rest[head.len()..end]).unwrap_or_default();
        let numbers: Vec<u64> = words
            .split([' ', '.'])
            .filter_map(|word| word.parse().ok())
            .collect();
        let [writer, number, padding] = numbers[..] else {
            return wrong(rest);
        };
        let full = record(key, writer, number, padding as usize);
        if rest.starts_with(&full) {
            rest = &rest[full.len()..];
        } else if !whole && full.starts_with(rest) {
            rest = b"";
        } else {
            return wrong(rest);
        }
        found.push((writer, number));
    }
    Ok(found)
}
