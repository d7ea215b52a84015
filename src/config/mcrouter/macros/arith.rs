//! Arithmetic on whole numbers of 64 bits.
//!
//! What is too large wraps around, as in the machine's arithmetic; a division by zero and a shift by 64 or more bits
//! are errors.

use super::super::findings::Fault;
use super::super::value::Value;
use super::{Builtin, NEED, Param};

const TWO: &[Param] = &[Param("A", NEED), Param("B", NEED)];

macro_rules! binary {
    ($name:literal, $compute:expr) => {
        Builtin {
            name: $name,
            params: TWO,
            run: |engine, call| {
                let (a, b) = (engine.int_arg(call, "A")?, engine.int_arg(call, "B")?);
                let compute: fn(i64, i64) -> Result<i64, &'static str> = $compute;
                compute(a, b)
                    .map(|number| Value::int(call.at, number))
                    .map_err(|why| Fault::new(call.at, format!("@{}: {why}", call.name)))
            },
        }
    };
}

pub(super) const LIST: &[Builtin] = &[
    binary!("add", |a, b| Ok(a.wrapping_add(b))),
    binary!("sub", |a, b| Ok(a.wrapping_sub(b))),
    binary!("mul", |a, b| Ok(a.wrapping_mul(b))),
    binary!("div", |a, b| match b {
        0 => Err("division by zero"),
        b => Ok(a.wrapping_div(b)),
    }),
    binary!("mod", |a, b| match b {
        0 => Err("division by zero"),
        b => Ok(a.wrapping_rem(b)),
    }),
    binary!("bitwiseAnd", |a, b| Ok(a & b)),
    binary!("bitwiseOr", |a, b| Ok(a | b)),
    binary!("bitwiseXor", |a, b| Ok(a ^ b)),
    binary!("bitwiseLeftShift", |a, b| shift(a, b, u64::checked_shl)),
    binary!("bitwiseRightShift", |a, b| shift(a, b, u64::checked_shr)),
    Builtin {
        name: "bitwiseNot",
        params: &[Param("A", NEED)],
        run: |engine, call| {
            let number = engine.int_arg(call, "A")?;
            Ok(Value::int(call.at, !number))
        },
    },
];

/// Shifts do not know of a sign.
fn shift(number: i64, by: i64, shift: fn(u64, u32) -> Option<u64>) -> Result<i64, &'static str> {
    u32::try_from(by)
        .ok()
        .and_then(|by| shift(number as u64, by))
        .map(|number| number as i64)
        .ok_or("a shift is by 0 to 63 bits")
}
