//! JSON values with their places, as the preprocessor and the readers pass them around.
//!
//! Values are shared, not copied: a list that a macro returns a thousand times is one list. What that would do to
//! whoever walks it is bounded here: a container knows how deep it is and how many values a walk through it
//! meets, however they are shared, and one over [`MAX_DEPTH`] or [`MAX_SIZE`] is never made. So no recursion over
//! a value can run out of stack, and no configuration of a few bytes can become gigabytes.
//!
//! Members of an object are in the order of their keys, and of two with one key the later one counts, as in mcrouter.

use std::collections::BTreeMap;
use std::rc::Rc;

/// How deep lists and objects may nest.
pub(super) const MAX_DEPTH: u32 = 200;

/// How large a value may be: each value counts for 1, each text for one more per 16 bytes.
pub(super) const MAX_SIZE: u32 = 4 << 20;

/// Bytes of one of the sources of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of the source.
    pub(super) source: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value and where it was written; for what a macro has made, where the macro was called.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) at: Place,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Rc<str>),
    List(Rc<List>),
    Map(Rc<Map>),
}

/// A list that is not too large.
#[derive(Debug)]
pub(super) struct List {
    items: Vec<Value>,
    extent: Extent,
}

/// An object that is not too large.
#[derive(Debug)]
pub(super) struct Map {
    members: Members,
    extent: Extent,
}

/// The members of an object.
pub(super) type Members = BTreeMap<Rc<str>, Member>;

/// A member of an object.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key_at: Place,
    pub(super) value: Value,
}

/// Over one of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge(pub(super) &'static str);

#[derive(Clone, Copy, Debug)]
struct Extent {
    depth: u32,
    size: u32,
}

impl Extent {
    fn of<'v>(values: impl Iterator<Item = &'v Value>) -> Result<Extent, TooLarge> {
        let mut all = Extent { depth: 0, size: 1 };
        for value in values {
            let one = value.extent();
            all.depth = all.depth.max(one.depth);
            all.size = all.size.saturating_add(one.size);
        }
        all.depth += 1;
        if all.depth > MAX_DEPTH {
            return Err(TooLarge("lists and objects are nested too deep"));
        }
        if all.size > MAX_SIZE {
            return Err(TooLarge("this grows too large"));
        }
        Ok(all)
    }
}

impl List {
    pub(super) fn items(&self) -> &[Value] {
        &self.items
    }
}

impl Map {
    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.members.get(key).map(|member| &member.value)
    }

    /// The members as they stand in the file; what a macro has made, by its keys.
    pub(super) fn in_order(&self) -> Vec<(&Rc<str>, &Member)> {
        let mut list: Vec<_> = self.members.iter().collect();
        list.sort_by_key(|(_, member)| member.key_at);
        list
    }
}

impl Value {
    pub(super) fn new(at: Place, kind: Kind) -> Value {
        Value { at, kind }
    }

    pub(super) fn null(at: Place) -> Value {
        Value::new(at, Kind::Null)
    }

    pub(super) fn bool(at: Place, value: bool) -> Value {
        Value::new(at, Kind::Bool(value))
    }

    pub(super) fn int(at: Place, value: i64) -> Value {
        Value::new(at, Kind::Int(value))
    }

    pub(super) fn text(at: Place, text: impl Into<Rc<str>>) -> Value {
        Value::new(at, Kind::Text(text.into()))
    }

    pub(super) fn list(at: Place, items: Vec<Value>) -> Result<Value, TooLarge> {
        let extent = Extent::of(items.iter())?;
        Ok(Value::new(at, Kind::List(Rc::new(List { items, extent }))))
    }

    pub(super) fn map(at: Place, members: Members) -> Result<Value, TooLarge> {
        let extent = Extent::of(members.values().map(|member| &member.value))?;
        let map = Map { members, extent };
        Ok(Value::new(at, Kind::Map(Rc::new(map))))
    }

    fn extent(&self) -> Extent {
        match &self.kind {
            Kind::List(list) => list.extent,
            Kind::Map(map) => map.extent,
            Kind::Text(text) => Extent {
                depth: 0,
                size: u32::try_from(text.len() / 16).map_or(u32::MAX, |size| size + 1),
            },
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Double(_) => {
                Extent { depth: 0, size: 1 }
            }
        }
    }

    /// How large it is; see [`MAX_SIZE`].
    pub(super) fn size(&self) -> u32 {
        self.extent().size
    }

    pub(super) fn as_text(&self) -> Option<&Rc<str>> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&Rc<Map>> {
        match &self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&Rc<List>> {
        match &self.kind {
            Kind::List(list) => Some(list),
            _ => None,
        }
    }

    /// A number, whole or not.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self.kind {
            Kind::Int(number) => Some(number as f64),
            Kind::Double(number) => Some(number),
            _ => None,
        }
    }

    /// What it is, after "not".
    pub(super) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Int(_) => "a number",
            Kind::Double(_) => "a number with a fraction",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "an object",
        }
    }
}

/// Equal in content; the places do not matter, and 1 equals 1.0.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Null, Kind::Null) => true,
            (Kind::Bool(a), Kind::Bool(b)) => a == b,
            (Kind::Int(a), Kind::Int(b)) => a == b,
            (Kind::Text(a), Kind::Text(b)) => a == b,
            (Kind::List(a), Kind::List(b)) => a.items == b.items,
            (Kind::Map(a), Kind::Map(b)) => {
                let plain =
                    |(key, member): (&Rc<str>, &Member)| (key.clone(), member.value.clone());
                a.members.len() == b.members.len()
                    && a.members.iter().map(plain).eq(b.members.iter().map(plain))
            }
            _ => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_as_often_as_it_would_be_walked() {
        let at = Place::default();
        let mut value = Value::int(at, 1);
        let mut levels = 0;
        while let Ok(next) = Value::list(at, vec![value.clone(), value.clone()]) {
            value = next;
            levels += 1;
        }
        assert_eq!(levels, 21, "2 to the 22 values are the bound");
        assert!(value.size() <= MAX_SIZE);
    }

    #[test]
    fn nesting_has_a_bound() {
        let at = Place::default();
        let mut value = Value::null(at);
        for _ in 0..MAX_DEPTH {
            value = Value::list(at, vec![value]).unwrap();
        }
        assert_eq!(
            Value::list(at, vec![value]).unwrap_err(),
            TooLarge("lists and objects are nested too deep")
        );
    }
}
