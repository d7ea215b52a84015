//! Macros and constants that a configuration defines itself, and imports.
//!
//! `macros` is an object from names to definitions, or a list of such objects; a text in the list (an import) is
//! expanded first. A later definition takes the place of an earlier one, the built-in functions included.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::super::findings::Fault;
use super::super::json;
use super::super::value::{Kind, Place, Value};
use super::{Call, Engine, Import, Outcome, Scope, Var, missing_argument};

/// A macro of the configuration.
pub(super) struct Macro {
    params: Vec<MacroParam>,
    result: Value,
}

struct MacroParam {
    name: Rc<str>,
    default: Option<Value>,
    is_optional: bool,
}

impl Macro {
    /// The names of the parameters, in the order of the short form.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|param| &*param.name)
    }
}

/// Whether a type is that of a definition, which is not expanded where it stands.
pub(super) fn is_definition(kind: &str) -> bool {
    matches!(kind, "macroDef" | "constDef")
}

impl Engine<'_, '_> {
    /// Takes in what `macros` defines.
    pub(super) fn define(&mut self, macros: &Value) -> Result<(), Fault> {
        match &macros.kind {
            Kind::Map(map) => map
                .in_order()
                .into_iter()
                .try_for_each(|(name, member)| self.define_one(name, member.key_at, &member.value)),
            Kind::List(list) => list.items().iter().try_for_each(|item| self.define(item)),
            Kind::Text(_) => {
                let global = Rc::clone(&self.global);
                let expanded = self.expand(macros, &global)?;
                if expanded.as_text().is_some() {
                    return Err(not_macros(&expanded));
                }
                self.define(&expanded)
            }
            _ => Err(not_macros(macros)),
        }
    }

    fn define_one(&mut self, name: &Rc<str>, at: Place, definition: &Value) -> Result<(), Fault> {
        let Some(map) = definition.as_map() else {
            let what = definition.what();
            return Err(Fault::new(
                definition.at,
                format!("the definition of \"{name}\" must be an object, not {what}"),
            ));
        };
        let kind = map.get("type").and_then(Value::as_text);
        let result = || {
            map.get("result").cloned().ok_or_else(|| {
                Fault::new(
                    definition.at,
                    format!("the definition of \"{name}\" has no `result`"),
                )
            })
        };
        match kind.map(|kind| &**kind) {
            Some("constDef") => {
                let var = Var::Raw(result()?);
                self.global.vars.borrow_mut().insert(name.clone(), var);
            }
            Some("macroDef") => {
                let params = match map.get("params") {
                    None => Vec::new(),
                    Some(params) => read_params(params)?,
                };
                let result = result()?;
                let mac = Rc::new(Macro { params, result });
                self.macros.insert(name.clone(), mac);
            }
            _ => {
                return Err(Fault::new(
                    at,
                    format!("\"{name}\" must have the type \"macroDef\" or \"constDef\""),
                ));
            }
        }
        Ok(())
    }

    /// Calls a macro of the configuration.
    pub(super) fn call_macro(&mut self, mac: &Macro, call: &Call<'_>) -> Outcome {
        let mut vars = HashMap::new();
        for param in &mac.params {
            let var = match self.optional(call, &param.name)? {
                Some(value) => Var::Ready(value),
                None => match &param.default {
                    Some(default) => Var::Raw(default.clone()),
                    None if param.is_optional => continue,
                    None => return Err(missing_argument(call, &param.name)),
                },
            };
            vars.insert(param.name.clone(), var);
        }
        let scope = Rc::new(Scope {
            vars: RefCell::new(vars),
            outer: None,
        });
        self.expand(&mac.result, &scope)
    }

    /// The expanded contents of another file.
    pub(super) fn import(&mut self, call: &Call<'_>) -> Outcome {
        let path = self.text_arg(call, "path")?;
        let known = match self.imports.get(&*path) {
            None => None,
            Some(Import::Done(outcome)) => Some(outcome.clone()),
            Some(Import::Busy) => Some(Err(Fault::new(
                call.at,
                format!("\"{path}\" imports itself"),
            ))),
        };
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                self.imports.insert(path.to_string(), Import::Busy);
                let outcome = self.import_file(call.at, &path);
                let done = Import::Done(outcome.clone());
                self.imports.insert(path.to_string(), done);
                outcome
            }
        };
        match self.optional(call, "default") {
            Ok(Some(default)) if outcome.is_err() => Ok(default),
            Err(fault) if outcome.is_err() => Err(fault),
            _ => outcome,
        }
    }

    fn import_file(&mut self, at: Place, path: &str) -> Outcome {
        let full = match (path.strip_prefix("file:"), &self.dir) {
            (Some(path), _) => PathBuf::from(path),
            // Also for a path that begins with a slash, as in mcrouter.
            (None, Some(dir)) => PathBuf::from(format!("{}/{path}", dir.display())),
            (None, None) => {
                return Err(Fault::new(at, format!("can't import \"{path}\""))
                    .with_help("this configuration is no file, so write file:/DIRECTORY/FILE"));
            }
        };
        let source = self
            .findings
            .open(&full)
            .map_err(|why| Fault::new(at, format!("can't import {}: {why}", full.display())))?;
        let value = json::parse(self.findings, source)?;
        let global = Rc::clone(&self.global);
        self.expand(&value, &global)
    }
}

fn not_macros(found: &Value) -> Fault {
    let what = found.what();
    Fault::new(
        found.at,
        format!("`macros` must be an object or a list of objects, not {what}"),
    )
}

fn read_params(params: &Value) -> Result<Vec<MacroParam>, Fault> {
    let Some(list) = params.as_list() else {
        let what = params.what();
        return Err(Fault::new(
            params.at,
            format!("`params` must be a list, not {what}"),
        ));
    };
    let mut read: Vec<MacroParam> = Vec::new();
    for param in list.items() {
        let one = read_param(param)?;
        let is_required = one.default.is_none() && !one.is_optional;
        let after_optional = read
            .last()
            .is_some_and(|last| last.default.is_some() || last.is_optional);
        if is_required && after_optional {
            return Err(Fault::new(
                param.at,
                "a parameter that must be given can't follow one that need not",
            ));
        }
        read.push(one);
    }
    Ok(read)
}

fn read_param(param: &Value) -> Result<MacroParam, Fault> {
    let plain = |name: &Rc<str>| MacroParam {
        name: name.clone(),
        default: None,
        is_optional: false,
    };
    match &param.kind {
        Kind::Text(name) => Ok(plain(name)),
        Kind::Map(map) => {
            let Some(name) = map.get("name").and_then(Value::as_text) else {
                return Err(Fault::new(param.at, "a parameter needs a `name`"));
            };
            let is_optional = match map.get("optional").map(|value| &value.kind) {
                None => false,
                Some(Kind::Bool(is_optional)) => *is_optional,
                Some(_) => return Err(Fault::new(param.at, "`optional` must be true or false")),
            };
            Ok(MacroParam {
                default: map.get("default").cloned(),
                is_optional,
                ..plain(name)
            })
        }
        _ => {
            let what = param.what();
            Err(Fault::new(
                param.at,
                format!("a parameter must be a text or an object, not {what}"),
            ))
        }
    }
}
