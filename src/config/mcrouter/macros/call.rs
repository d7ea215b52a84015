//! Calls of macros and built-in functions, and how these get at their arguments.
//!
//! Arguments are expanded when a function asks for them, in the scope of the caller: that is how a condition leaves one
//! of its branches alone. A macro of the configuration has all of its own expanded before.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::findings::Fault;
use super::super::json;
use super::super::value::{Kind, Map, Place, Value};
use super::definitions::{self, Macro};
use super::{Builtin, Engine, MAX_NOTES, Outcome, Param, Scope};

/// One call; the arguments as they were written, to be expanded in `scope`.
pub(super) struct Call<'c> {
    pub(super) name: &'c str,
    pub(super) at: Place,
    pub(super) args: BTreeMap<&'c str, Value>,
    pub(super) scope: &'c Rc<Scope>,
}

impl Engine<'_, '_> {
    /// `@name(arg,arg)`.
    pub(super) fn call_short(
        &mut self,
        at: Place,
        name: &Rc<str>,
        args: Vec<Value>,
        scope: &Rc<Scope>,
    ) -> Outcome {
        let mac = self.macros.get(name).cloned();
        let builtin = self.builtins.get(&**name).copied();
        let names: Vec<&str> = match (&mac, builtin) {
            (Some(mac), _) => mac.names().collect(),
            (None, Some(builtin)) => builtin.params.iter().map(|Param(name, _)| *name).collect(),
            (None, None) => {
                let known = self.builtins.keys().copied();
                let known = known.chain(self.macros.keys().map(|name| &**name));
                let near = json::did_you_mean(name, known);
                let fault = Fault::new(at, format!("there is no macro @{name}"));
                return Err(match near.is_empty() {
                    true => fault.with_help("a text that starts with @ is written \\\\@…"),
                    false => fault.with_help(near),
                });
            }
        };
        if args.len() > names.len() {
            return Err(Fault::new(
                at,
                format!(
                    "@{name} takes {}, not {}",
                    arguments(names.len()),
                    args.len()
                ),
            ));
        }
        let args = names.into_iter().zip(args).collect();
        self.call(
            mac.as_ref(),
            builtin,
            &Call {
                name,
                at,
                args,
                scope,
            },
        )
    }

    /// `{"type": name, …}`.
    pub(super) fn call_long(
        &mut self,
        at: Place,
        name: &Rc<str>,
        map: &Rc<Map>,
        scope: &Rc<Scope>,
    ) -> Outcome {
        if definitions::is_definition(name) && !self.macros.contains_key(name) {
            return Ok(Value::new(at, Kind::Map(Rc::clone(map))));
        }
        let args = map.members().iter();
        let args = args
            .filter(|(key, _)| !matches!(&***key, "type" | "vars"))
            .map(|(key, member)| (&**key, member.value.clone()))
            .collect();
        let mac = self.macros.get(name).cloned();
        let builtin = self.builtins.get(&**name).copied();
        self.call(
            mac.as_ref(),
            builtin,
            &Call {
                name,
                at,
                args,
                scope,
            },
        )
    }

    fn call(
        &mut self,
        mac: Option<&Rc<Macro>>,
        builtin: Option<&'static Builtin>,
        call: &Call<'_>,
    ) -> Outcome {
        let outcome = match (mac, builtin) {
            (Some(mac), _) => self.call_macro(mac, call),
            (None, Some(builtin)) => {
                let missing = builtin
                    .params
                    .iter()
                    .find(|Param(name, need)| *need && !call.args.contains_key(name));
                match missing {
                    Some(Param(name, _)) => Err(missing_argument(call, name)),
                    None => (builtin.run)(self, call),
                }
            }
            (None, None) => Err(Fault::new(
                call.at,
                format!("there is no macro @{}", call.name),
            )),
        };
        outcome.map_err(|fault| {
            let is_here = fault.at.source == call.at.source && fault.at.start == call.at.start;
            if mac.is_none() && is_here || fault.help.len() >= MAX_NOTES {
                return fault;
            }
            let place = self.findings.whereabouts(call.at);
            fault.with_help(format!("in @{}, called at {place}", call.name))
        })
    }

    /// An argument, expanded; `None` if it was not given.
    pub(super) fn optional(&mut self, call: &Call<'_>, name: &str) -> Result<Option<Value>, Fault> {
        match call.args.get(name) {
            None => Ok(None),
            Some(raw) => self.expand(&raw.clone(), call.scope).map(Some),
        }
    }

    /// An argument, expanded.
    pub(super) fn arg(&mut self, call: &Call<'_>, name: &str) -> Outcome {
        self.optional(call, name)?
            .ok_or_else(|| missing_argument(call, name))
    }

    pub(super) fn int_arg(&mut self, call: &Call<'_>, name: &str) -> Result<i64, Fault> {
        let value = self.arg(call, name)?;
        match value.kind {
            Kind::Int(number) => Ok(number),
            _ => Err(wrong(call, name, "a whole number", &value)),
        }
    }

    pub(super) fn bool_arg(&mut self, call: &Call<'_>, name: &str) -> Result<bool, Fault> {
        let value = self.arg(call, name)?;
        match value.kind {
            Kind::Bool(value) => Ok(value),
            _ => Err(wrong(call, name, "true or false", &value)),
        }
    }

    pub(super) fn text_arg(&mut self, call: &Call<'_>, name: &str) -> Result<Rc<str>, Fault> {
        let value = self.arg(call, name)?;
        value
            .as_text()
            .cloned()
            .ok_or_else(|| wrong(call, name, "a text", &value))
    }
}

pub(super) fn missing_argument(call: &Call<'_>, name: &str) -> Fault {
    Fault::new(call.at, format!("@{}: `{name}` is missing", call.name))
}

pub(super) fn wrong(call: &Call<'_>, name: &str, wanted: &str, found: &Value) -> Fault {
    let what = found.what();
    Fault::new(
        call.at,
        format!("@{}: `{name}` must be {wanted}, not {what}", call.name),
    )
}

fn arguments(count: usize) -> String {
    match count {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("at most {n} arguments"),
    }
}
