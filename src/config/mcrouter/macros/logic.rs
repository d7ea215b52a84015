//! Comparisons, truth, kinds of values and casts.

use super::super::findings::Fault;
use super::super::value::{Kind, Value};
use super::{Builtin, Call, Engine, NEED, Outcome, Param, wrong};

const VALUE: &[Param] = &[Param("value", NEED)];
const TWO: &[Param] = &[Param("A", NEED), Param("B", NEED)];

macro_rules! kind_test {
    ($name:literal, $pattern:pat) => {
        Builtin {
            name: $name,
            params: VALUE,
            run: |engine, call| {
                let value = engine.arg(call, "value")?;
                Ok(Value::bool(call.at, matches!(value.kind, $pattern)))
            },
        }
    };
}

pub(super) const LIST: &[Builtin] = &[
    kind_test!("isArray", Kind::List(_)),
    kind_test!("isBool", Kind::Bool(_)),
    kind_test!("isInt", Kind::Int(_)),
    kind_test!("isDouble", Kind::Double(_)),
    kind_test!("isObject", Kind::Map(_)),
    kind_test!("isString", Kind::Text(_)),
    Builtin {
        name: "int",
        params: VALUE,
        run: int,
    },
    Builtin {
        name: "double",
        params: VALUE,
        run: double,
    },
    Builtin {
        name: "str",
        params: VALUE,
        run: str,
    },
    Builtin {
        name: "bool",
        params: VALUE,
        run: bool,
    },
    Builtin {
        name: "equals",
        params: TWO,
        run: |engine, call| {
            let (a, b) = (engine.arg(call, "A")?, engine.arg(call, "B")?);
            engine.charge(call.at, u64::from(a.size()))?;
            Ok(Value::bool(call.at, a == b))
        },
    },
    Builtin {
        name: "less",
        params: TWO,
        run: |engine, call| {
            let (a, b) = (engine.arg(call, "A")?, engine.arg(call, "B")?);
            let order = compare(&a, &b).ok_or_else(|| {
                let (a, b) = (a.what(), b.what());
                Fault::new(call.at, format!("@less: {a} and {b} can't be compared"))
            })?;
            Ok(Value::bool(call.at, order.is_lt()))
        },
    },
    Builtin {
        name: "and",
        params: TWO,
        run: |engine, call| {
            let both = engine.bool_arg(call, "A")? && engine.bool_arg(call, "B")?;
            Ok(Value::bool(call.at, both))
        },
    },
    Builtin {
        name: "or",
        params: TWO,
        run: |engine, call| {
            let one = engine.bool_arg(call, "A")? || engine.bool_arg(call, "B")?;
            Ok(Value::bool(call.at, one))
        },
    },
    Builtin {
        name: "not",
        params: &[Param("A", NEED)],
        run: |engine, call| {
            let value = engine.bool_arg(call, "A")?;
            Ok(Value::bool(call.at, !value))
        },
    },
];

/// The order of two values of one kind; `None` if there is none.
pub(super) fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (&a.kind, &b.kind) {
        (Kind::Text(a), Kind::Text(b)) => Some(a.cmp(b)),
        (Kind::Int(a), Kind::Int(b)) => Some(a.cmp(b)),
        (Kind::Bool(a), Kind::Bool(b)) => Some(a.cmp(b)),
        _ => a.as_number()?.partial_cmp(&b.as_number()?),
    }
}

fn unreadable(call: &Call<'_>, wanted: &str) -> Fault {
    Fault::new(call.at, format!("@{}: this is not {wanted}", call.name))
}

fn int(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "value")?;
    let number = match &value.kind {
        Kind::Int(number) => Some(*number),
        Kind::Bool(value) => Some(i64::from(*value)),
        Kind::Double(number) => {
            let inside = (-9.223_372_036_854_775e18..9.223_372_036_854_775e18).contains(number);
            inside.then_some(number.trunc() as i64)
        }
        Kind::Text(text) => text.trim().parse().ok(),
        _ => return Err(wrong(call, "value", "a number or a text", &value)),
    };
    let number = number.ok_or_else(|| unreadable(call, "a whole number"))?;
    Ok(Value::int(call.at, number))
}

fn double(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "value")?;
    let number = match &value.kind {
        Kind::Text(text) => text.trim().parse().ok(),
        Kind::Bool(value) => Some(f64::from(u8::from(*value))),
        Kind::Int(_) | Kind::Double(_) => value.as_number(),
        _ => return Err(wrong(call, "value", "a number or a text", &value)),
    };
    let number = number.filter(|number| number.is_finite());
    let number = number.ok_or_else(|| unreadable(call, "a number"))?;
    Ok(Value::new(call.at, Kind::Double(number)))
}

fn str(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "value")?;
    let text = match &value.kind {
        Kind::Text(_) => return Ok(value),
        Kind::Int(number) => number.to_string(),
        Kind::Double(number) => number.to_string(),
        Kind::Bool(value) => u8::from(*value).to_string(),
        _ => return Err(wrong(call, "value", "a number or a text", &value)),
    };
    engine.text(call.at, text)
}

fn bool(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "value")?;
    let truth = match &value.kind {
        Kind::Bool(value) => Some(*value),
        Kind::Int(number) => Some(*number != 0),
        Kind::Double(number) => Some(*number != 0.0),
        Kind::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "t" | "true" | "y" | "yes" | "on" => Some(true),
            "0" | "f" | "false" | "n" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => return Err(wrong(call, "value", "a number or a text", &value)),
    };
    let truth = truth.ok_or_else(|| unreadable(call, "true or false"))?;
    Ok(Value::bool(call.at, truth))
}
