//! What servers answer to each kind of request, and what mcrouter takes each answer for: its result, how bad that is,
//! whether a failover goes on with it.
//!
//! This is mcrouter's table of results, written down once more for the tests; the program has its own.

/// Breaks the connection.
pub const CLOSES: &str = "closes";
/// Says nothing.
pub const HANGS: &str = "hangs";
pub const LOST: &str = "SERVER_ERROR connection lost\r\n";
pub const LATE: &str = "SERVER_ERROR timeout\r\n";
pub const ERROR: &str = "SERVER_ERROR x\r\n";
pub const BUSY: &str = "SERVER_ERROR 307 busy\r\n";
pub const REFUSED: &str = "CLIENT_ERROR y\r\n";

/// mcrouter's groups of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Get,
    Update,
    Delete,
    Arithmetic,
    /// `touch`
    None,
}

/// An answer of a server.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What the server says.
    pub says: &'static str,
    /// What a client sees of that.
    pub seen: &'static str,
    /// mcrouter's result.
    pub result: &'static str,
}

impl Outcome {
    const fn new(says: &'static str, result: &'static str) -> Outcome {
        let seen = says;
        Outcome { says, seen, result }
    }

    /// One reply is worse than another if this is larger.
    pub fn severity(&self) -> u8 {
        match self.result {
            "deleted" | "found" | "stored" | "exists" => 1,
            "notfound" | "notstored" => 4,
            "timeout" | "connect_error" | "busy" => 5,
            "remote_error" => 7,
            "client_error" => 9,
            "touched" => 10,
            other => panic!("{other}"),
        }
    }

    /// Whether a failover goes on.
    pub fn fails(&self) -> bool {
        matches!(
            self.result,
            "timeout" | "connect_error" | "busy" | "remote_error"
        )
    }

    pub fn is_hit(&self) -> bool {
        matches!(self.result, "found" | "deleted" | "touched")
    }
}

/// What every request may be answered.
const ERRORS: [Outcome; 4] = [
    Outcome::new(ERROR, "remote_error"),
    Outcome {
        says: CLOSES,
        seen: LOST,
        result: "remote_error",
    },
    Outcome::new(BUSY, "busy"),
    Outcome::new(REFUSED, "client_error"),
];

/// No answer; it takes its time.
pub const LATE_ONE: Outcome = Outcome {
    says: HANGS,
    seen: LATE,
    result: "timeout",
};

/// A request, and what it may be answered.
#[derive(Clone, Debug)]
pub struct Op {
    pub command: &'static str,
    pub group: Group,
    /// The answer of no server at all.
    pub default: &'static str,
    own: &'static [Outcome],
}

impl Op {
    /// Everything that may be answered at once.
    pub fn outcomes(&self) -> Vec<Outcome> {
        [self.own, &ERRORS].concat()
    }

    /// All combinations of so many answers.
    pub fn answers(&self, count: usize) -> Vec<Vec<Outcome>> {
        product(&self.outcomes(), count)
    }

    /// The answers that are no errors.
    pub fn own(&self) -> &'static [Outcome] {
        self.own
    }
}

pub fn product(of: &[Outcome], count: usize) -> Vec<Vec<Outcome>> {
    (0..count).fold(vec![Vec::new()], |all, _| {
        let longer = |one: &Vec<Outcome>| {
            let one = one.clone();
            of.iter()
                .map(move |next| [&one[..], &[*next]].concat())
                .collect::<Vec<_>>()
        };
        all.iter().flat_map(longer).collect()
    })
}

const fn op(
    command: &'static str,
    group: Group,
    default: &'static str,
    own: &'static [Outcome],
) -> Op {
    Op {
        command,
        group,
        default,
        own,
    }
}

const VALUE: [Outcome; 2] = [
    Outcome::new("VALUE k 7 1\r\nx\r\nEND\r\n", "found"),
    Outcome::new("END\r\n", "notfound"),
];
const VALUE_CAS: [Outcome; 2] = [
    Outcome::new("VALUE k 7 1 9\r\nx\r\nEND\r\n", "found"),
    Outcome::new("END\r\n", "notfound"),
];
const STORED: [Outcome; 2] = [
    Outcome::new("STORED\r\n", "stored"),
    Outcome::new("NOT_STORED\r\n", "notstored"),
];
const CAS: [Outcome; 3] = [
    Outcome::new("STORED\r\n", "stored"),
    Outcome::new("EXISTS\r\n", "exists"),
    Outcome::new("NOT_FOUND\r\n", "notfound"),
];
const DELETED: [Outcome; 2] = [
    Outcome::new("DELETED\r\n", "deleted"),
    Outcome::new("NOT_FOUND\r\n", "notfound"),
];
const NUMBER: [Outcome; 2] = [
    Outcome::new("5\r\n", "stored"),
    Outcome::new("NOT_FOUND\r\n", "notfound"),
];
const TOUCHED: [Outcome; 2] = [
    Outcome::new("TOUCHED\r\n", "touched"),
    Outcome::new("NOT_FOUND\r\n", "notfound"),
];

/// One request of each group, in the text protocol.
pub const KINDS: [Op; 5] = [
    op("get k\r\n", Group::Get, "END\r\n", &VALUE),
    op(
        "set k 7 5 1\r\nx\r\n",
        Group::Update,
        "NOT_STORED\r\n",
        &STORED,
    ),
    op("delete k\r\n", Group::Delete, "NOT_FOUND\r\n", &DELETED),
    op("incr k 1\r\n", Group::Arithmetic, "NOT_FOUND\r\n", &NUMBER),
    op("touch k 9\r\n", Group::None, "NOT_FOUND\r\n", &TOUCHED),
];

/// All the others.
const OTHERS: [Op; 12] = [
    op("gets k\r\n", Group::Get, "END\r\n", &VALUE_CAS),
    op("gat 5 k\r\n", Group::Get, "END\r\n", &VALUE),
    op("gats 5 k\r\n", Group::Get, "END\r\n", &VALUE_CAS),
    op(
        "add k 7 5 1\r\nx\r\n",
        Group::Update,
        "NOT_STORED\r\n",
        &STORED,
    ),
    op(
        "replace k 7 5 1\r\nx\r\n",
        Group::Update,
        "NOT_STORED\r\n",
        &STORED,
    ),
    op(
        "append k 7 5 1\r\nx\r\n",
        Group::Update,
        "NOT_STORED\r\n",
        &STORED,
    ),
    op(
        "prepend k 7 5 1\r\nx\r\n",
        Group::Update,
        "NOT_STORED\r\n",
        &STORED,
    ),
    op(
        "cas k 7 5 1 3\r\nx\r\n",
        Group::Update,
        "NOT_STORED\r\n",
        &CAS,
    ),
    op("decr k 1\r\n", Group::Arithmetic, "NOT_FOUND\r\n", &NUMBER),
    op(
        "mg k v O1\r\n",
        Group::Get,
        "EN O1\r\n",
        &[
            Outcome::new("VA 1 O1\r\nx\r\n", "found"),
            Outcome::new("EN\r\n", "notfound"),
        ],
    ),
    op(
        "ms k 1 O1\r\nx\r\n",
        Group::Update,
        "NS O1\r\n",
        &[
            Outcome::new("HD O1\r\n", "stored"),
            Outcome::new("NS O1\r\n", "notstored"),
        ],
    ),
    op(
        "md k O1\r\n",
        Group::Delete,
        "NF O1\r\n",
        &[
            Outcome::new("HD O1\r\n", "deleted"),
            Outcome::new("NF O1\r\n", "notfound"),
        ],
    ),
];

/// Every request.
pub fn ops() -> Vec<Op> {
    [&KINDS[..], &OTHERS].concat()
}
