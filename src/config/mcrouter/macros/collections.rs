//! Functions on lists, objects and texts.
//!
//! Where a parameter is called `dictionary` it may be a list, an object or a text; the keys of an object come in
//! their own order.

use std::rc::Rc;

use super::super::findings::Fault;
use super::super::value::{Kind, Member, Members, Value};
use super::{Builtin, Call, Engine, MAY, NEED, Outcome, Param, logic, wrong};

const DICTIONARY: &[Param] = &[Param("dictionary", NEED)];

pub(super) const LIST: &[Builtin] = &[
    Builtin {
        name: "keys",
        params: DICTIONARY,
        run: |engine, call| {
            let value = engine.arg(call, "dictionary")?;
            let map = object(call, &value)?;
            let keys = map.keys().map(|key| Value::text(call.at, key.clone()));
            engine.list(call.at, keys.collect())
        },
    },
    Builtin {
        name: "values",
        params: DICTIONARY,
        run: |engine, call| {
            let value = engine.arg(call, "dictionary")?;
            let values = object(call, &value)?.values();
            engine.list(call.at, values.map(|member| member.value.clone()).collect())
        },
    },
    Builtin {
        name: "size",
        params: DICTIONARY,
        run: |engine, call| {
            let value = engine.arg(call, "dictionary")?;
            Ok(Value::int(call.at, size(call, &value)? as i64))
        },
    },
    Builtin {
        name: "empty",
        params: DICTIONARY,
        run: |engine, call| {
            let value = engine.arg(call, "dictionary")?;
            Ok(Value::bool(call.at, size(call, &value)? == 0))
        },
    },
    Builtin {
        name: "merge",
        params: &[Param("params", NEED)],
        run: merge,
    },
    Builtin {
        name: "select",
        params: &[
            Param("dictionary", NEED),
            Param("key", NEED),
            Param("default", MAY),
        ],
        run: select,
    },
    Builtin {
        name: "slice",
        params: &[
            Param("dictionary", NEED),
            Param("from", NEED),
            Param("to", NEED),
        ],
        run: slice,
    },
    Builtin {
        name: "split",
        params: &[Param("dictionary", NEED), Param("delim", NEED)],
        run: |engine, call| {
            let text = engine.text_arg(call, "dictionary")?;
            let delim = engine.text_arg(call, "delim")?;
            engine.charge(call.at, text.len() as u64 / 16)?;
            if delim.is_empty() {
                return Err(Fault::new(call.at, "@split: `delim` is empty"));
            }
            let parts = text.split(&*delim).map(|part| Value::text(call.at, part));
            engine.list(call.at, parts.collect())
        },
    },
    Builtin {
        name: "range",
        params: &[Param("from", NEED), Param("to", NEED)],
        run: |engine, call| {
            let (from, to) = (engine.int_arg(call, "from")?, engine.int_arg(call, "to")?);
            let count = i128::from(to) - i128::from(from) + 1;
            engine.charge(call.at, u64::try_from(count.max(0)).unwrap_or(u64::MAX))?;
            let items = (from..=to).map(|number| Value::int(call.at, number));
            engine.list(call.at, items.collect())
        },
    },
    Builtin {
        name: "contains",
        params: &[Param("dictionary", NEED), Param("key", NEED)],
        run: contains,
    },
    Builtin {
        name: "sort",
        params: DICTIONARY,
        run: sort,
    },
    Builtin {
        name: "set",
        params: &[
            Param("dictionary", NEED),
            Param("key", NEED),
            Param("value", NEED),
        ],
        run: set,
    },
];

/// The members of an object.
pub(super) fn object<'v>(call: &Call<'_>, value: &'v Value) -> Result<&'v Members, Fault> {
    match &value.kind {
        Kind::Map(map) => Ok(map.members()),
        _ => Err(wrong(call, "dictionary", "an object", value)),
    }
}

fn any_kind(call: &Call<'_>, found: &Value) -> Fault {
    wrong(call, "dictionary", "a list, an object or a text", found)
}

fn size(call: &Call<'_>, value: &Value) -> Result<usize, Fault> {
    match &value.kind {
        Kind::Map(map) => Ok(map.members().len()),
        Kind::List(list) => Ok(list.items().len()),
        Kind::Text(text) => Ok(text.len()),
        _ => Err(any_kind(call, value)),
    }
}

fn merge(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let params = engine.arg(call, "params")?;
    let Kind::List(list) = &params.kind else {
        return Err(wrong(call, "params", "a list", &params));
    };
    let mixed = |found: &Value| {
        let what = found.what();
        Fault::new(
            call.at,
            format!("@merge: lists, objects and texts can't be mixed; this is {what}"),
        )
    };
    let Some(first) = list.items().first() else {
        return Err(Fault::new(call.at, "@merge: there is nothing to merge"));
    };
    match &first.kind {
        Kind::List(_) => {
            let mut items = Vec::new();
            for param in list.items() {
                let more = param.as_list().ok_or_else(|| mixed(param))?;
                items.extend_from_slice(more.items());
            }
            engine.list(call.at, items)
        }
        Kind::Map(_) => {
            let mut members = Members::new();
            for param in list.items() {
                let more = param.as_map().ok_or_else(|| mixed(param))?;
                let more = more.members().iter();
                members.extend(more.map(|(key, member)| (key.clone(), member.clone())));
            }
            engine.map(call.at, members)
        }
        Kind::Text(_) => {
            let mut joined = String::new();
            for param in list.items() {
                let text = param.as_text().ok_or_else(|| mixed(param))?;
                engine.charge(call.at, 1 + text.len() as u64 / 16)?;
                joined.push_str(text);
            }
            engine.text(call.at, joined)
        }
        _ => Err(mixed(first)),
    }
}

/// The position that an index means; a negative one counts from the end.
fn position(index: i64, len: usize) -> Option<usize> {
    let index = match index {
        0.. => index,
        _ => index.checked_add(i64::try_from(len).ok()?)?,
    };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn select(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "dictionary")?;
    let key = engine.arg(call, "key")?;
    let (found, shown) = match (&value.kind, &key.kind) {
        (Kind::Map(map), Kind::Text(key)) => (map.get(key).cloned(), format!("\"{key}\"")),
        (Kind::List(list), Kind::Int(index)) => {
            let items = list.items();
            let found = position(*index, items.len()).and_then(|at| items.get(at).cloned());
            (found, index.to_string())
        }
        (Kind::Map(_), _) => return Err(wrong(call, "key", "a text, for an object", &key)),
        (Kind::List(_), _) => return Err(wrong(call, "key", "a whole number, for a list", &key)),
        _ => return Err(wrong(call, "dictionary", "a list or an object", &value)),
    };
    if let Some(found) = found {
        return Ok(found);
    }
    engine
        .optional(call, "default")?
        .ok_or_else(|| Fault::new(call.at, format!("@select: there is no {shown}")))
}

fn slice(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "dictionary")?;
    if let Kind::Map(map) = &value.kind {
        let (from, to) = (engine.text_arg(call, "from")?, engine.text_arg(call, "to")?);
        let members = map.members().iter();
        let inside = members.filter(|(key, _)| (&from..=&to).contains(key));
        let inside = inside.map(|(key, member)| (key.clone(), member.clone()));
        return engine.map(call.at, inside.collect());
    }
    engine.charge(call.at, u64::from(value.size()))?;
    let (from, to) = (engine.int_arg(call, "from")?, engine.int_arg(call, "to")?);
    let inside = |index: usize| i64::try_from(index).is_ok_and(|at| (from..=to).contains(&at));
    match &value.kind {
        Kind::List(list) => {
            let items = list.items().iter().enumerate();
            let items = items.filter(|(index, _)| inside(*index));
            engine.list(call.at, items.map(|(_, item)| item.clone()).collect())
        }
        Kind::Text(text) => {
            let bytes = text.bytes().enumerate();
            let bytes = bytes.filter(|(index, _)| inside(*index));
            let bytes: Vec<u8> = bytes.map(|(_, byte)| byte).collect();
            let text = String::from_utf8(bytes)
                .map_err(|_| Fault::new(call.at, "@slice: this cuts a character in two"))?;
            engine.text(call.at, text)
        }
        _ => Err(any_kind(call, &value)),
    }
}

fn contains(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "dictionary")?;
    let key = engine.arg(call, "key")?;
    let found = match (&value.kind, &key.kind) {
        (Kind::Map(map), Kind::Text(key)) => map.get(key).is_some(),
        (Kind::Text(text), Kind::Text(part)) => {
            engine.charge(call.at, u64::from(value.size()))?;
            text.contains(&**part)
        }
        (Kind::List(list), _) => {
            engine.charge(call.at, u64::from(value.size()))?;
            list.items().contains(&key)
        }
        (Kind::Map(_) | Kind::Text(_), _) => return Err(wrong(call, "key", "a text", &key)),
        _ => return Err(any_kind(call, &value)),
    };
    Ok(Value::bool(call.at, found))
}

fn sort(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "dictionary")?;
    let Kind::List(list) = &value.kind else {
        return Err(wrong(call, "dictionary", "a list", &value));
    };
    let mut items = list.items().to_vec();
    // All must be comparable with one of them; then they are with each other.
    if let Some(first) = items.first()
        && let Some(odd) = items
            .iter()
            .find(|item| logic::compare(first, item).is_none())
    {
        let (first, odd) = (first.what(), odd.what());
        return Err(Fault::new(
            call.at,
            format!("@sort: {first} and {odd} can't be compared"),
        ));
    }
    items.sort_by(|a, b| logic::compare(a, b).unwrap_or(std::cmp::Ordering::Equal));
    engine.list(call.at, items)
}

fn set(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "dictionary")?;
    let key = engine.arg(call, "key")?;
    let new = engine.arg(call, "value")?;
    match (&value.kind, &key.kind) {
        (Kind::Map(map), Kind::Text(key)) => {
            let mut members = map.members().clone();
            let key_at = new.at;
            members.insert(Rc::clone(key), Member { key_at, value: new });
            engine.map(call.at, members)
        }
        (Kind::List(list), Kind::Int(index)) => {
            let mut items = list.items().to_vec();
            let at = position(*index, items.len());
            let Some(item) = at.and_then(|at| items.get_mut(at)) else {
                return Err(Fault::new(call.at, format!("@set: there is no {index}")));
            };
            *item = new;
            engine.list(call.at, items)
        }
        (Kind::Map(_), _) => Err(wrong(call, "key", "a text, for an object", &key)),
        (Kind::List(_), _) => Err(wrong(call, "key", "a whole number, for a list", &key)),
        _ => Err(wrong(call, "dictionary", "a list or an object", &value)),
    }
}
