//! mcrouter's preprocessor: macros, constants, variables and its built-in functions.
//!
//! It turns the file's JSON into the JSON that pools and routes are read from. Texts and objects are expanded:
//! `%name%` is a variable, a text that starts with `@` and an object whose `type` names a macro are calls. The
//! notation is in `text`, calls are in `call`; the built-in functions, by subject, in `logic`, `arith`, `collections`, `choice` and `forms`.
//!
//! * A macro's body sees its own parameters and the constants, not its caller's variables.
//! * Variables and constants are expanded when they are first needed, and once.
//! * Whatever is written, it ends: calls nest at most [`MAX_DEPTH`] deep, as in mcrouter, and all of them together
//!   may take [`MAX_STEPS`] steps, of which a value that is made costs one for each value in it.
//!
//! Nothing here knows what a pool or a route is.

mod arith;
mod call;
mod choice;
mod collections;
mod definitions;
mod forms;
mod host;
pub(super) use host::id as host_id;
mod logic;
mod text;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::findings::{Fault, Findings};
use super::json;
use super::value::{Kind, Map, Member, Members, Place, TooLarge, Value};
use call::{Call, missing_argument, wrong};
use definitions::Macro;
use text::Shape;

/// How deep expansions may nest; mcrouter's own bound.
const MAX_DEPTH: u32 = 250;

/// How much all expansions together may do.
const MAX_STEPS: u64 = 5_000_000;

/// Calls that are named below an error.
const MAX_NOTES: usize = 4;

/// A constant that is known before the file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Global {
    Text(String),
    Int(i64),
}

type Outcome = Result<Value, Fault>;

/// Variables, and where to look for others.
struct Scope {
    vars: RefCell<HashMap<Rc<str>, Var>>,
    outer: Option<Rc<Scope>>,
}

#[derive(Clone)]
enum Var {
    Ready(Value),
    /// To be expanded in the scope that holds it.
    Raw(Value),
    /// Being expanded.
    Busy,
}

/// A function that comes with mcrouter.
struct Builtin {
    name: &'static str,
    /// In the order of the short form.
    params: &'static [Param],
    run: fn(&mut Engine<'_, '_>, &Call<'_>) -> Outcome,
}

/// A parameter and whether it must be given.
struct Param(&'static str, bool);

const NEED: bool = true;
const MAY: bool = false;

enum Import {
    Busy,
    Done(Outcome),
}

/// Expands one configuration.
pub(super) struct Engine<'f, 'r> {
    findings: &'f mut Findings<'r>,
    builtins: HashMap<&'static str, &'static Builtin>,
    macros: HashMap<Rc<str>, Rc<Macro>>,
    global: Rc<Scope>,
    imports: HashMap<String, Import>,
    /// Where paths without `file:` begin.
    dir: Option<PathBuf>,
    depth: u32,
    steps: u64,
    /// Once it has been asked for.
    host_id: Option<u32>,
}

impl<'f, 'r> Engine<'f, 'r> {
    /// With these constants; `dir` is the directory of the main file, if it is one.
    pub(super) fn new(
        findings: &'f mut Findings<'r>,
        globals: impl IntoIterator<Item = (String, Global)>,
        dir: Option<&Path>,
    ) -> Engine<'f, 'r> {
        let at = Place::default();
        let vars = globals.into_iter().map(|(name, value)| {
            let value = match value {
                Global::Text(text) => Value::text(at, text),
                Global::Int(number) => Value::int(at, number),
            };
            (Rc::from(name), Var::Ready(value))
        });
        let lists = [
            logic::LIST,
            arith::LIST,
            collections::LIST,
            choice::LIST,
            forms::LIST,
        ];
        Engine {
            findings,
            builtins: lists
                .into_iter()
                .flatten()
                .map(|builtin| (builtin.name, builtin))
                .collect(),
            macros: HashMap::new(),
            global: Rc::new(Scope {
                vars: RefCell::new(vars.collect()),
                outer: None,
            }),
            imports: HashMap::new(),
            dir: dir.map(Path::to_path_buf),
            depth: 0,
            steps: 0,
            host_id: None,
        }
    }

    /// Expands a whole configuration; its top-level `macros` are taken out.
    pub(super) fn run(mut self, document: &Value) -> Outcome {
        let Some(map) = document.as_map() else {
            let what = document.what();
            return Err(Fault::new(
                document.at,
                format!("a configuration must be an object, not {what}"),
            ));
        };
        let mut rest = map.members().clone();
        if let Some(macros) = rest.remove("macros") {
            self.define(&macros.value)?;
        }
        let rest = self.map(document.at, rest)?;
        let global = Rc::clone(&self.global);
        self.expand(&rest, &global)
    }

    /// Counts steps.
    fn charge(&mut self, at: Place, steps: u64) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS {
            return Err(Fault::new(at, "the macros take too many steps"));
        }
        Ok(())
    }

    fn list(&mut self, at: Place, items: Vec<Value>) -> Outcome {
        let list = Value::list(at, items).map_err(|TooLarge(why)| Fault::new(at, why))?;
        self.charge(at, u64::from(list.size()))?;
        Ok(list)
    }

    fn map(&mut self, at: Place, members: Members) -> Outcome {
        let map = Value::map(at, members).map_err(|TooLarge(why)| Fault::new(at, why))?;
        self.charge(at, u64::from(map.size()))?;
        Ok(map)
    }

    fn text(&mut self, at: Place, text: impl Into<Rc<str>>) -> Outcome {
        let value = Value::text(at, text);
        self.charge(at, u64::from(value.size()))?;
        Ok(value)
    }

    /// Expands a value in a scope.
    fn expand(&mut self, value: &Value, scope: &Rc<Scope>) -> Outcome {
        self.charge(value.at, 1)?;
        if self.depth >= MAX_DEPTH {
            return Err(Fault::new(
                value.at,
                format!("macros and objects are nested more than {MAX_DEPTH} deep"),
            )
            .with_help("does a macro call itself?"));
        }
        self.depth += 1;
        let outcome = match &value.kind {
            Kind::Text(text) => self.expand_text(value, text, scope),
            Kind::Map(map) => self.expand_map(value.at, map, scope),
            Kind::List(list) => self.expand_list(value.at, list.items(), scope),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Double(_) => Ok(value.clone()),
        };
        self.depth -= 1;
        outcome
    }

    fn expand_list(&mut self, at: Place, items: &[Value], scope: &Rc<Scope>) -> Outcome {
        let mut expanded = Vec::with_capacity(items.len());
        for item in items {
            expanded.push(self.expand(item, scope)?);
        }
        self.list(at, expanded)
    }

    fn expand_text(&mut self, value: &Value, text: &str, scope: &Rc<Scope>) -> Outcome {
        if !text.starts_with('@') && !text.contains(['%', '\\']) {
            return Ok(value.clone());
        }
        let shape = text::shape(text).map_err(|why| Fault::new(value.at, why))?;
        match shape {
            Shape::Plain(pieces) => self.join(value.at, &pieces, scope),
            Shape::Call { name, args } => {
                let name = text::pieces(name).map_err(|why| Fault::new(value.at, why))?;
                let name = self.join(value.at, &name, scope)?;
                let Some(name) = name.as_text().cloned() else {
                    return Err(Fault::new(value.at, "the name of a macro must be a text"));
                };
                let args = args
                    .unwrap_or_default()
                    .into_iter()
                    .map(|arg| Value::text(value.at, arg))
                    .collect();
                self.call_short(value.at, &name, args, scope)
            }
        }
    }

    /// Puts a text together; a single variable keeps its type.
    fn join(&mut self, at: Place, pieces: &[text::Piece], scope: &Rc<Scope>) -> Outcome {
        if let [text::Piece::Variable(name)] = pieces {
            return self.variable(at, name, scope);
        }
        let mut joined = String::new();
        for piece in pieces {
            match piece {
                text::Piece::Literal(text) => joined.push_str(text),
                text::Piece::Variable(name) => {
                    let value = self.variable(at, name, scope)?;
                    let Some(text) = value.as_text() else {
                        let what = value.what();
                        return Err(Fault::new(
                            at,
                            format!("%{name}% is {what}; inside a text it must be a text"),
                        )
                        .with_help(format!("write @str(%{name}%)")));
                    };
                    joined.push_str(text);
                }
            }
            self.charge(at, 1 + joined.len() as u64 / 16)?;
        }
        self.text(at, joined)
    }

    fn variable(&mut self, at: Place, name: &str, scope: &Rc<Scope>) -> Outcome {
        if let Some(holder) = find(name, scope).or_else(|| find(name, &self.global)) {
            return self.force(at, name, &holder);
        }
        if name == "hostid" {
            let id = *self.host_id.get_or_insert_with(host::id);
            return Ok(Value::int(at, i64::from(id)));
        }
        let known: Vec<Rc<str>> = self.global.vars.borrow().keys().cloned().collect();
        let near = json::did_you_mean(name, known.iter().map(|name| &**name));
        let fault = Fault::new(at, format!("there is no variable %{name}%"));
        Err(match near.is_empty() {
            true => fault.with_help("a % by itself is written \\\\%"),
            false => fault.with_help(near),
        })
    }

    /// The value of a variable of this scope.
    fn force(&mut self, at: Place, name: &str, holder: &Rc<Scope>) -> Outcome {
        let var = holder.vars.borrow().get(name).cloned();
        match var {
            Some(Var::Ready(value)) => Ok(value),
            Some(Var::Raw(raw)) => {
                let set = |var| holder.vars.borrow_mut().insert(name.into(), var);
                set(Var::Busy);
                let value = self.expand(&raw, holder);
                match &value {
                    Ok(value) => set(Var::Ready(value.clone())),
                    Err(_) => set(Var::Raw(raw)),
                };
                value
            }
            Some(Var::Busy) | None => Err(Fault::new(at, format!("%{name}% is defined by itself"))),
        }
    }

    fn expand_map(&mut self, at: Place, map: &Rc<Map>, scope: &Rc<Scope>) -> Outcome {
        let inner;
        let scope = match map.get("vars") {
            None => scope,
            Some(vars) => {
                let Some(vars) = vars.as_map() else {
                    let what = vars.what();
                    return Err(Fault::new(
                        vars.at,
                        format!("`vars` must be an object, not {what}"),
                    ));
                };
                let vars = vars.members().iter();
                let vars =
                    vars.map(|(name, member)| (name.clone(), Var::Raw(member.value.clone())));
                inner = Rc::new(Scope {
                    vars: RefCell::new(vars.collect()),
                    outer: Some(Rc::clone(scope)),
                });
                &inner
            }
        };
        if let Some(kind) = map.get("type").filter(|kind| kind.as_text().is_some()) {
            let name = self.expand(kind, scope)?;
            if let Some(name) = name.as_text()
                && (self.macros.contains_key(name) || self.builtins.contains_key(&**name))
            {
                return self.call_long(at, name, map, scope);
            }
        }
        let mut members = Members::new();
        for (key, member) in map.members() {
            if &**key == "vars" {
                continue;
            }
            let name = Value::text(member.key_at, key.clone());
            let name = self.expand(&name, scope)?;
            let Some(name) = name.as_text().cloned() else {
                let what = name.what();
                return Err(Fault::new(
                    member.key_at,
                    format!("a key must be a text, not {what}"),
                ));
            };
            let value = self.expand(&member.value, scope)?;
            let key_at = member.key_at;
            members.insert(name, Member { key_at, value });
        }
        self.map(at, members)
    }
}

/// The scope that holds a variable.
fn find(name: &str, scope: &Rc<Scope>) -> Option<Rc<Scope>> {
    let mut at = Some(scope);
    while let Some(scope) = at {
        if scope.vars.borrow().contains_key(name) {
            return Some(Rc::clone(scope));
        }
        at = scope.outer.as_ref();
    }
    None
}

#[cfg(test)]
mod tests;
