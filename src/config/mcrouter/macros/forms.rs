//! Functions that decide what is expanded at all: conditions, loops, definitions, imports.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::super::findings::Fault;
use super::super::value::{Kind, Member, Members, Value};
use super::{
    Builtin, Call, Engine, MAY, NEED, Outcome, Param, Scope, Var, find, host, missing_argument,
    wrong,
};

pub(super) const LIST: &[Builtin] = &[
    Builtin {
        name: "import",
        params: &[Param("path", NEED), Param("default", MAY)],
        run: |engine, call| engine.import(call),
    },
    Builtin {
        name: "if",
        params: &[
            Param("condition", NEED),
            Param("is_true", NEED),
            Param("is_false", NEED),
        ],
        run: |engine, call| {
            let branch = match engine.bool_arg(call, "condition")? {
                true => "is_true",
                false => "is_false",
            };
            engine.arg(call, branch)
        },
    },
    Builtin {
        name: "define",
        params: &[Param("result", NEED)],
        run: |engine, call| engine.arg(call, "result"),
    },
    Builtin {
        name: "defined",
        params: &[Param("name", NEED)],
        run: |engine, call| {
            let name = engine.text_arg(call, "name")?;
            let known = find(&name, call.scope).or_else(|| find(&name, &engine.global));
            let is_known = known.is_some() || &*name == "hostid";
            Ok(Value::bool(call.at, is_known))
        },
    },
    Builtin {
        name: "fail",
        params: &[Param("msg", NEED)],
        run: |engine, call| {
            let message = engine.text_arg(call, "msg")?;
            Err(Fault::new(call.at, &*message))
        },
    },
    Builtin {
        name: "isLocalIp",
        params: &[Param("ip", NEED)],
        run: |engine, call| {
            let ip = engine.text_arg(call, "ip")?;
            engine.charge(call.at, 100)?;
            Ok(Value::bool(call.at, host::is_local(&ip)))
        },
    },
    // Calls of these are told apart before; here they are known as names.
    Builtin {
        name: "macroDef",
        params: &[],
        run: not_here,
    },
    Builtin {
        name: "constDef",
        params: &[],
        run: not_here,
    },
    Builtin {
        name: "transform",
        params: &[],
        run: transform,
    },
    Builtin {
        name: "process",
        params: &[],
        run: process,
    },
    Builtin {
        name: "foreach",
        params: &[],
        run: foreach,
    },
];

fn not_here(_: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let message = format!("{} is written as an object, inside `macros`", call.name);
    Err(Fault::new(call.at, message))
}

/// The name of a loop's variable.
fn name_arg(
    engine: &mut Engine<'_, '_>,
    call: &Call<'_>,
    name: &str,
    default: &str,
) -> Result<Rc<str>, Fault> {
    match call.args.contains_key(name) {
        true => engine.text_arg(call, name),
        false => Ok(default.into()),
    }
}

/// Keys and values of an object, indices and elements of a list.
fn items(call: &Call<'_>, name: &str, value: &Value) -> Result<Vec<(Value, Value)>, Fault> {
    match &value.kind {
        Kind::Map(map) => Ok(map
            .members()
            .iter()
            .map(|(key, member)| (Value::text(call.at, key.clone()), member.value.clone()))
            .collect()),
        Kind::List(list) => Ok((0..)
            .zip(list.items())
            .map(|(index, item)| (Value::int(call.at, index), item.clone()))
            .collect()),
        _ => Err(wrong(call, name, "a list or an object", value)),
    }
}

/// Expands an argument with the variables of a loop.
fn inside(
    engine: &mut Engine<'_, '_>,
    call: &Call<'_>,
    raw: &Value,
    vars: &[(&Rc<str>, &Value)],
) -> Outcome {
    let vars = vars
        .iter()
        .map(|(name, value)| (Rc::clone(name), Var::Ready((*value).clone())));
    let scope = Rc::new(Scope {
        vars: RefCell::new(HashMap::from_iter(vars)),
        outer: Some(Rc::clone(call.scope)),
    });
    engine.expand(raw, &scope)
}

fn raw<'c>(call: &'c Call<'_>, name: &str) -> Result<&'c Value, Fault> {
    call.args
        .get(name)
        .ok_or_else(|| missing_argument(call, name))
}

fn transform(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let dictionary = engine.arg(call, "dictionary")?;
    let item_name = name_arg(engine, call, "itemName", "item")?;
    let key_name = name_arg(engine, call, "keyName", "key")?;
    let is_map = matches!(dictionary.kind, Kind::Map(_));
    let item_transform = match is_map {
        true => call.args.get("itemTransform"),
        false => Some(raw(call, "itemTransform")?),
    };
    let key_transform = call.args.get("keyTransform").filter(|_| is_map);
    let (mut list, mut members) = (Vec::new(), Members::new());
    for (key, item) in items(call, "dictionary", &dictionary)? {
        let vars = [(&item_name, &item), (&key_name, &key)];
        let keys = match key_transform {
            None => key.clone(),
            Some(raw) => inside(engine, call, raw, &vars)?,
        };
        let value = match item_transform {
            None => item.clone(),
            Some(raw) => inside(engine, call, raw, &vars)?,
        };
        let keys = match &keys.kind {
            _ if !is_map => {
                list.push(value);
                continue;
            }
            Kind::List(several) => several.items().to_vec(),
            _ => vec![keys],
        };
        for key in keys {
            let Some(key) = key.as_text() else {
                return Err(Fault::new(
                    call.at,
                    "transform: `keyTransform` must give a text or a list of texts",
                ));
            };
            let (key_at, value) = (value.at, value.clone());
            members.insert(key.clone(), Member { key_at, value });
        }
    }
    match is_map {
        true => engine.map(call.at, members),
        false => engine.list(call.at, list),
    }
}

fn process(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let dictionary = engine.arg(call, "dictionary")?;
    let mut value = engine.arg(call, "initialValue")?;
    let step = raw(call, "transform")?;
    let item_name = name_arg(engine, call, "itemName", "item")?;
    let key_name = name_arg(engine, call, "keyName", "key")?;
    let value_name = name_arg(engine, call, "valueName", "value")?;
    for (key, item) in items(call, "dictionary", &dictionary)? {
        let vars = [
            (&key_name, &key),
            (&item_name, &item),
            (&value_name, &value),
        ];
        value = inside(engine, call, step, &vars)?;
    }
    Ok(value)
}

fn foreach(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let from = engine.arg(call, "from")?;
    let item_name = name_arg(engine, call, "item", "item")?;
    let key_name = name_arg(engine, call, "key", "key")?;
    let mut top = match call.args.contains_key("top") {
        true => engine.int_arg(call, "top")?,
        false => i64::MAX,
    };
    let is_map = matches!(from.kind, Kind::Map(_));
    let (mut list, mut members) = (Vec::new(), Members::new());
    let mut has_matched = false;
    for (key, item) in items(call, "from", &from)? {
        if top <= 0 {
            break;
        }
        let vars = [(&key_name, &key), (&item_name, &item)];
        if let Some(condition) = call.args.get("where") {
            let matches = inside(engine, call, condition, &vars)?;
            match matches.kind {
                Kind::Bool(true) => {}
                Kind::Bool(false) => continue,
                _ => return Err(wrong(call, "where", "true or false", &matches)),
            }
        }
        top -= 1;
        has_matched = true;
        let used = match call.args.get("use") {
            Some(raw) => Some(inside(engine, call, raw, &vars)?),
            None => None,
        };
        match (used, is_map) {
            (None, true) => {
                if let Some(key) = key.as_text() {
                    let (key_at, value) = (item.at, item.clone());
                    members.insert(key.clone(), Member { key_at, value });
                }
            }
            (None, false) => list.push(item),
            (Some(used), true) => match &used.kind {
                Kind::Map(more) => {
                    engine.charge(call.at, u64::from(used.size()))?;
                    let more = more.members().iter();
                    members.extend(more.map(|(key, member)| (key.clone(), member.clone())));
                }
                _ => return Err(wrong(call, "use", "an object, as `from` is one", &used)),
            },
            (Some(used), false) => match &used.kind {
                Kind::List(more) => {
                    engine.charge(call.at, u64::from(used.size()))?;
                    list.extend_from_slice(more.items());
                }
                _ => return Err(wrong(call, "use", "a list, as `from` is one", &used)),
            },
        }
    }
    if !has_matched && let Some(result) = engine.optional(call, "noMatchResult")? {
        return Ok(result);
    }
    match is_map {
        true => engine.map(call.at, members),
        false => engine.list(call.at, list),
    }
}
