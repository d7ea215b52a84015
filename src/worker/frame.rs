//! A request whose route decides on replies, and the command as it is kept to be sent again.

use std::sync::Arc;

use smallvec::SmallVec;

use super::buf::Lent;
use super::core::Routing;
use super::dialogue::Answer;
use super::dispatch::Op;
use super::leases::with_token;
use super::rekey::rewritten;
use crate::protocol::meta::words;
use crate::protocol::operation::Operation;
use crate::protocol::request::GetCommand;
use crate::protocol::{MAX_KEY, exptime, number};
use crate::route::big_value::Update;
use crate::route::exec::{CopyTo, Lifetime, Plan, Sort};
use crate::route::tree::NodeId;
use crate::upstream::conn::{Class, Ticket};

/// A request whose route decides on replies.
#[derive(Debug)]
pub struct Frame {
    pub(super) routing: Arc<Routing>,
    pub(super) plan: Plan,
    /// Who gets the answer.
    pub(super) to: Ticket,
    pub(super) sort: Sort,
    pub(super) retained: Retained,
    /// A value that is to be copied, as far as it has arrived.
    pub(super) copy: Vec<u8>,
    /// Where it is to be copied, and for how long it lives there.
    pub(super) copying: Option<CopyTo>,
    /// The server was asked for flags that the client does not want to see.
    pub(super) added_flags: bool,
    /// What a dialogue answers for it is an item as a server had it.
    pub(super) fetched: bool,
    /// A deletion that is being written down: by which node, and how it failed.
    pub(super) spooling: Option<Box<(NodeId, Answer)>>,
    /// What arrives is too long for the metadata that its flags say it is: its first line. The rest is ignored.
    pub(super) ignored: Option<Box<[u8]>>,
}

impl Frame {
    #[inline]
    pub(super) fn new(
        routing: Arc<Routing>,
        plan: Plan,
        to: Ticket,
        sort: Sort,
        retained: Retained,
    ) -> Frame {
        Frame {
            routing,
            plan,
            to,
            sort,
            retained,
            copy: Vec::new(),
            copying: None,
            added_flags: false,
            fetched: false,
            spooling: None,
            ignored: None,
        }
    }

    /// Bytes of memory it holds.
    pub(super) fn held(&self) -> usize {
        let failure = self.spooling.as_ref().map_or(0, |one| one.1.held());
        size_of::<Frame>() + self.copy.capacity() + self.retained.held() + failure
    }

    /// Whether it has come by a node that puts values together.
    #[inline]
    pub(super) fn has_joined(&self) -> bool {
        self.plan.has_joined()
    }

    /// Whether a value that a get finds now would be put together if it is stored in parts.
    pub(super) fn joins(&self) -> bool {
        self.plan.joins(&self.routing.snapshot.tree)
    }

    /// What it sends where it is now, if that is not what came.
    pub(super) fn shortened(&self) -> Option<Retained> {
        let mut changed: Option<Retained> = None;
        for lifetime in self.plan.lifetimes(&self.routing.snapshot.tree) {
            let was = changed.as_ref().unwrap_or(&self.retained);
            if let Some(is) = was.retimed(lifetime) {
                changed = Some(is);
            }
        }
        changed
    }

    /// What is to be done in a gutter that has been passed by.
    #[cold]
    pub(super) fn deletion(&self, node: NodeId) -> Option<Deletion> {
        Some(Deletion {
            routing: Arc::clone(&self.routing),
            node,
            what: self.retained.deletion()?,
        })
    }

    /// Whether this is the frame of that ticket, and not one that has taken its place. The serial is not
    /// enough: each key of a get has a frame.
    pub(super) fn answers(&self, to: Ticket) -> bool {
        let to = Ticket {
            frame: Ticket::NO_FRAME,
            ..to
        };
        self.to == to
    }
}

/// What is to be deleted in a gutter, because it has been deleted elsewhere.
#[derive(Debug)]
pub struct Deletion {
    pub(super) routing: Arc<Routing>,
    /// The gutter.
    pub(super) node: NodeId,
    pub(super) what: Retained,
}

/// A routing prefix, if there is one.
pub(super) type Prefix = Option<Arc<[u8]>>;

/// A key; short ones, which most are, need no memory of their own.
pub(super) type Key = SmallVec<[u8; 40]>;

/// A command kept so that it can be sent again.
#[derive(Clone, Debug, Default)]
pub(super) struct Retained {
    key: Key,
    /// The routing prefix that has been taken off the key.
    prefix: Prefix,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Get(GetCommand, i32),
    Command {
        class: Class,
        head: Vec<u8>,
        block: Option<Lent>,
        guard: Vec<u8>,
    },
}

impl Default for Form {
    fn default() -> Form {
        Form::Get(GetCommand::Get, 0)
    }
}

impl Retained {
    pub(super) fn new(key: &[u8], op: Op<'_>) -> Retained {
        let form = match op {
            Op::Get(command, exptime) => Form::Get(command, exptime),
            Op::Command {
                class,
                head,
                block,
                guard,
            } => Form::Command {
                class,
                head: head.to_vec(),
                block: (!block.is_empty()).then(|| Arc::new(block.to_vec().into())),
                guard: guard.to_vec(),
            },
        };
        Retained {
            key: Key::from_slice(key),
            prefix: None,
            form,
        }
    }

    /// One key of a retrieval.
    #[inline]
    pub(super) fn get(key: impl Into<Key>, command: GetCommand, exptime: i32) -> Retained {
        Retained {
            key: key.into(),
            prefix: None,
            form: Form::Get(command, exptime),
        }
    }

    /// A command with a data block, which ends in `\r\n`.
    pub(super) fn store(class: Class, key: Vec<u8>, head: Vec<u8>, block: Vec<u8>) -> Retained {
        Retained {
            key: key.into(),
            prefix: None,
            form: Form::Command {
                class,
                head,
                block: Some(Arc::new(block.into())),
                guard: Vec::new(),
            },
        }
    }

    /// A command without a data block.
    pub(super) fn line(class: Class, key: Vec<u8>, head: Vec<u8>) -> Retained {
        Retained {
            key: key.into(),
            prefix: None,
            form: Form::Command {
                class,
                head,
                block: None,
                guard: Vec::new(),
            },
        }
    }

    /// A lookup whose reply must be about its key, or another one that is asked for in its place.
    pub(super) fn lookup(class: Class, key: Vec<u8>, asked: &[u8]) -> Retained {
        let name: &[u8] = match class {
            Class::Metaget => b"metaget ",
            _ => b"lease-get ",
        };
        Retained {
            key: key.into(),
            prefix: None,
            form: Form::Command {
                class,
                head: [name, asked, b"\r\n"].concat(),
                block: None,
                guard: asked.to_vec(),
            },
        }
    }

    /// The token of a `lease-set`.
    pub(super) fn token(&self) -> Option<u64> {
        match &self.form {
            Form::Command {
                class: Class::LeaseSet,
                head,
                ..
            } => number::strict_u64(words(head).nth(2)?),
            _ => None,
        }
    }

    /// The same `lease-set` with another token.
    pub(super) fn with_token(mut self, token: u64) -> Retained {
        if let Form::Command { head, .. } = &mut self.form
            && let Some(changed) = with_token(head, token)
        {
            *head = changed;
        }
        self
    }

    pub(super) fn is_lease_set(&self) -> bool {
        let class = match &self.form {
            Form::Get(..) => None,
            Form::Command { class, .. } => Some(*class),
        };
        class == Some(Class::LeaseSet)
    }

    /// A meta command whose reply must carry the opaque `guard`, which is taken out of it.
    pub(super) fn meta(
        key: impl Into<Key>,
        head: Vec<u8>,
        block: Option<Vec<u8>>,
        guard: Vec<u8>,
    ) -> Retained {
        Retained {
            key: key.into(),
            prefix: None,
            form: Form::Command {
                class: Class::Meta { own_opaque: true },
                head,
                block: block.map(|block| Arc::new(block.into())),
                guard,
            },
        }
    }

    /// The same command with another line and block.
    pub(super) fn with(&self, head: Vec<u8>, block: Vec<u8>) -> Retained {
        let (class, guard) = match &self.form {
            Form::Get(..) => (Class::Store, Vec::new()),
            Form::Command { class, guard, .. } => (*class, guard.clone()),
        };
        Retained {
            key: self.key.clone(),
            prefix: self.prefix.clone(),
            form: Form::Command {
                class,
                head,
                block: Some(Arc::new(block.into())),
                guard,
            },
        }
    }

    /// The same command such that what it stores lives as long as this says; `None` if it does already.
    fn retimed(&self, lifetime: Lifetime) -> Option<Retained> {
        let form = match &self.form {
            Form::Get(command, exptime) => {
                let new = match lifetime {
                    Lifetime::AtMost(most) => exptime::at_most(*exptime, most),
                    Lifetime::Set(seconds) => i32::try_from(seconds).unwrap_or(i32::MAX),
                };
                if !command.touches() || new == *exptime {
                    return None;
                }
                Form::Get(*command, new)
            }
            Form::Command {
                class,
                head,
                block,
                guard,
            } => Form::Command {
                class: *class,
                head: match lifetime {
                    Lifetime::AtMost(most) => exptime::shortened(head, most)?,
                    Lifetime::Set(seconds) => exptime::set(head, seconds)?,
                },
                block: block.clone(),
                guard: guard.clone(),
            },
        };
        Some(Retained {
            key: self.key.clone(),
            prefix: self.prefix.clone(),
            form,
        })
    }

    /// The same command for another key, without its routing prefix; `None` if no server takes that.
    pub(super) fn rekeyed(&self, key: Vec<u8>, prefix: Prefix) -> Option<Retained> {
        let form = match &self.form {
            form if key[..] == self.key[..] => form.clone(),
            Form::Get(command, exptime) => Form::Get(*command, *exptime),
            Form::Command {
                class,
                head,
                block,
                guard,
            } => {
                // An empty one may still get its prefix back.
                let word: &[u8] = if key.is_empty() { b"-" } else { &key };
                let (head, guard) = rewritten(*class, head, guard, word)?;
                Form::Command {
                    class: *class,
                    head,
                    block: block.clone(),
                    guard,
                }
            }
        };
        Some(Retained {
            key: key.into(),
            prefix,
            form,
        })
    }

    /// The same command with this routing prefix taken off its key.
    pub(super) fn under(mut self, prefix: &Prefix) -> Retained {
        self.prefix.clone_from(prefix);
        self
    }

    /// The routing prefix that has been taken off its key.
    pub(super) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The same command with its routing prefix at the beginning of the key again; `None` if it is too long then.
    pub(super) fn whole(&self) -> Option<Retained> {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let key = [prefix, &self.key].concat();
        (key.len() <= MAX_KEY)
            .then(|| self.rekeyed(key, None))
            .flatten()
    }

    /// If it deletes: what deletes the item whatever the circumstances are.
    pub(super) fn deletion(&self) -> Option<Retained> {
        match &self.form {
            Form::Command {
                class: Class::Delete,
                ..
            } => Some(self.clone()),
            Form::Command {
                class: Class::Meta { .. },
                head,
                ..
            } if head.starts_with(b"md ") => {
                let body = head.strip_suffix(b"\r\n").unwrap_or(head);
                let mut words = words(body).skip(1);
                let mut line = b"md ".to_vec();
                line.extend_from_slice(words.next()?);
                if words.any(|word| word == b"b") {
                    line.extend_from_slice(b" b");
                }
                line.extend_from_slice(b" O0\r\n");
                let guard = b"0".to_vec();
                let deletion = Retained::meta(self.key.clone(), line, None, guard);
                Some(Retained {
                    prefix: self.prefix.clone(),
                    ..deletion
                })
            }
            _ => None,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.key.len()
            + match &self.form {
                Form::Get(..) => 0,
                Form::Command { head, block, .. } => {
                    head.len() + block.as_ref().map_or(0, |block| block.len())
                }
            }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The data block, to be referred to.
    pub(super) fn block(&self) -> Option<&Lent> {
        match &self.form {
            Form::Get(..) => None,
            Form::Command { block, .. } => block.as_ref(),
        }
    }

    pub(super) fn is_text_get(&self) -> bool {
        matches!(self.form, Form::Get(..))
    }

    pub(super) fn op(&self) -> Op<'_> {
        match &self.form {
            Form::Get(command, exptime) => Op::Get(*command, *exptime),
            Form::Command {
                class,
                head,
                block,
                guard,
            } => Op::Command {
                class: *class,
                head,
                block: block.as_ref().map_or(&[], |block| block.as_slice()),
                guard,
            },
        }
    }
}

impl Op<'_> {
    /// Its way along a route, which begins now.
    #[inline]
    pub(super) fn plan(&self, now: u64) -> Plan {
        let meta = match self {
            Op::Get(..) => false,
            Op::Command { class, .. } => matches!(class, Class::Meta { .. }),
        };
        Plan::of(self.operation(), meta, now)
    }

    /// What it does.
    pub(super) fn operation(&self) -> Operation {
        match self {
            Op::Get(command, _) => Operation::of_get(*command),
            Op::Command { head, .. } => Operation::of_line(head),
        }
    }

    /// What it is to routes. `splits` says whether any of them stores values in parts.
    pub(super) fn sort(&self, key: &[u8], splits: bool) -> Sort {
        match self {
            Op::Get(..) => Sort::Get,
            Op::Command { head, .. } if head.starts_with(b"mg ") => Sort::Get,
            Op::Command {
                class: Class::LeaseGet | Class::Metaget,
                ..
            } => Sort::Get,
            Op::Command {
                class, head, block, ..
            } => Sort::Update {
                len: if splits && !block.is_empty() && Update::of(*class, head, key).is_some() {
                    block.len().saturating_sub(2)
                } else {
                    0
                },
            },
        }
    }
}
