//! What a request does, by mcrouter's names: the command, and the group it belongs to.
//!
//! Routes choose by it. Meta commands count as the text commands they stand for: `ms` with `ME` adds, `mg` with a
//! `T` gets and touches. `touch` belongs to no group, which is mcrouter's rule. Lines are as [`super::write`] writes
//! them; this module knows nothing of routes.

use super::meta::words;
use super::request::GetCommand;

/// A kind of request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // Each is the command of its name.
pub enum Operation {
    #[default]
    Get,
    Gets,
    Gat,
    Gats,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Delete,
    Incr,
    Decr,
    Touch,
    LeaseGet,
    LeaseSet,
    Metaget,
}

/// Kinds of requests that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// They look an item up: get, gets, gat, gats, lease-get, metaget.
    GetLike,
    /// They store: set, add, replace, append, prepend, cas, lease-set.
    UpdateLike,
    /// delete
    DeleteLike,
    /// incr, decr
    ArithmeticLike,
}

impl Operation {
    /// How many there are.
    pub const COUNT: usize = 17;

    /// Every operation; `ALL[operation as usize] == operation`.
    pub const ALL: [Operation; Operation::COUNT] = [
        Operation::Get,
        Operation::Gets,
        Operation::Gat,
        Operation::Gats,
        Operation::Set,
        Operation::Add,
        Operation::Replace,
        Operation::Append,
        Operation::Prepend,
        Operation::Cas,
        Operation::Delete,
        Operation::Incr,
        Operation::Decr,
        Operation::Touch,
        Operation::LeaseGet,
        Operation::LeaseSet,
        Operation::Metaget,
    ];

    /// The name of the text command.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Gets => "gets",
            Operation::Gat => "gat",
            Operation::Gats => "gats",
            Operation::Set => "set",
            Operation::Add => "add",
            Operation::Replace => "replace",
            Operation::Append => "append",
            Operation::Prepend => "prepend",
            Operation::Cas => "cas",
            Operation::Delete => "delete",
            Operation::Incr => "incr",
            Operation::Decr => "decr",
            Operation::Touch => "touch",
            Operation::LeaseGet => "lease-get",
            Operation::LeaseSet => "lease-set",
            Operation::Metaget => "metaget",
        }
    }

    /// The group it belongs to.
    pub const fn group(self) -> Option<Group> {
        match self {
            Operation::Get
            | Operation::Gets
            | Operation::Gat
            | Operation::Gats
            | Operation::LeaseGet
            | Operation::Metaget => Some(Group::GetLike),
            Operation::Set
            | Operation::Add
            | Operation::Replace
            | Operation::Append
            | Operation::Prepend
            | Operation::Cas
            | Operation::LeaseSet => Some(Group::UpdateLike),
            Operation::Delete => Some(Group::DeleteLike),
            Operation::Incr | Operation::Decr => Some(Group::ArithmeticLike),
            Operation::Touch => None,
        }
    }

    /// That of a retrieval.
    pub const fn of_get(command: GetCommand) -> Operation {
        match command {
            GetCommand::Get => Operation::Get,
            GetCommand::Gets => Operation::Gets,
            GetCommand::Gat => Operation::Gat,
            GetCommand::Gats => Operation::Gats,
        }
    }

    /// That of a command line. Of a line that is none of them: a get, which changes nothing.
    pub fn of_line(line: &[u8]) -> Operation {
        let mut words = words(line.strip_suffix(b"\r\n").unwrap_or(line));
        let name = words.next().unwrap_or_default();
        match name {
            b"mg" => {
                let (mut cas, mut touches) = (false, false);
                for flag in words.skip(1) {
                    cas |= flag == b"c";
                    touches |= flag.first() == Some(&b'T');
                }
                match (cas, touches) {
                    (false, false) => Operation::Get,
                    (true, false) => Operation::Gets,
                    (false, true) => Operation::Gat,
                    (true, true) => Operation::Gats,
                }
            }
            b"ms" => {
                let mut operation = Operation::Set;
                for flag in words.skip(2) {
                    match flag {
                        [b'C', ..] => return Operation::Cas,
                        [b'M', b'E' | b'e', ..] => operation = Operation::Add,
                        [b'M', b'A' | b'a', ..] => operation = Operation::Append,
                        [b'M', b'P' | b'p', ..] => operation = Operation::Prepend,
                        [b'M', b'R' | b'r', ..] => operation = Operation::Replace,
                        _ => {}
                    }
                }
                operation
            }
            b"md" => Operation::Delete,
            b"ma" => {
                let falls = |flag: &[u8]| matches!(flag, [b'M', b'D' | b'd' | b'-', ..]);
                match words.skip(1).any(falls) {
                    true => Operation::Decr,
                    false => Operation::Incr,
                }
            }
            name => Operation::ALL
                .into_iter()
                .find(|one| one.name().as_bytes() == name)
                .unwrap_or_default(),
        }
    }
}

impl Group {
    /// Every group.
    pub const ALL: [Group; 4] = [
        Group::GetLike,
        Group::UpdateLike,
        Group::DeleteLike,
        Group::ArithmeticLike,
    ];

    /// mcrouter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Group::GetLike => "get_like",
            Group::UpdateLike => "update_like",
            Group::DeleteLike => "delete_like",
            Group::ArithmeticLike => "arithmetic_like",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_operation() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
            let line = format!("{} k 0 0 1\r\n", operation.name());
            assert_eq!(Operation::of_line(line.as_bytes()), operation);
        }
        for (line, want) in [
            ("mg k v", Operation::Get),
            ("mg c v", Operation::Get),
            ("mg k c v", Operation::Gets),
            ("mg k T30 v", Operation::Gat),
            ("mg k v T30 c", Operation::Gats),
            ("ms k 5 T0", Operation::Set),
            ("ms k 5 ME", Operation::Add),
            ("ms k 5 Ma T1", Operation::Append),
            ("ms k 5 MP", Operation::Prepend),
            ("ms k 5 MR", Operation::Replace),
            ("ms k 5 MS", Operation::Set),
            ("ms k 5 C7 ME", Operation::Cas),
            ("md k q", Operation::Delete),
            ("ma k", Operation::Incr),
            ("ma k D5 MI", Operation::Incr),
            ("ma k MD", Operation::Decr),
            ("ma k M- D2", Operation::Decr),
            ("me k", Operation::Get),
        ] {
            let line = format!("{line}\r\n");
            assert_eq!(Operation::of_line(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn touch_belongs_to_no_group() {
        let none = Operation::ALL
            .into_iter()
            .filter(|one| one.group().is_none());
        assert_eq!(none.collect::<Vec<_>>(), [Operation::Touch]);
    }
}
