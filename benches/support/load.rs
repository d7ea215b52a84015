//! What the clients of a bench ask, turn by turn, and what they must be answered.
//!
//! Keys have 24 bytes and values 100, as in the load generator's defaults; keys are drawn from 100 000 by a
//! generator with a fixed seed. A [`Load`] has a few turns that are different from one another and are
//! repeated in a circle: enough that no branch predictor or cache knows the next key, few enough to stay small.

/// Length of every value, in bytes.
pub const VALUE: usize = 100;
/// How many keys there are.
const KEYS: u64 = 100_000;
/// How many turns a load has before it begins again.
const TURNS: usize = 16;
/// The load generator's filler; any bytes would do.
const FILLER: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// Random numbers that are the same every time (xorshift64*).
pub struct Rng(u64);

impl Rng {
    /// The numbers that follow from `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed | 1)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    /// A key.
    pub fn key(&mut self) -> String {
        format!("bench:k{:017}", self.below(KEYS))
    }
}

/// Appends the value that every server holds under `key`: `VALUE` bytes that no other key has.
pub fn value(key: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(key);
    while out.len() < start + VALUE {
        out.extend_from_slice(FILLER);
    }
    out.truncate(start + VALUE);
}

/// What a client does in a turn.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// `get` of this many keys.
    Get(usize),
    /// `set`
    Set,
    /// One request in ten a `set`, the others a `get` of one key.
    GetOrSet,
    /// `mg` for the value.
    MetaGet,
    /// `mg` for the value with the client's own opaque and the key returned.
    MetaGetOpaque,
    /// `ms`
    MetaSet,
}

/// One turn: what each client sends and what it must receive.
pub struct Turn {
    /// Per client.
    pub requests: Vec<Vec<u8>>,
    /// Per client.
    pub replies: Vec<Vec<u8>>,
}

/// A repeated load.
pub struct Load {
    /// How many clients there are.
    pub clients: usize,
    /// Requests of all clients in one turn; a get of many keys is one.
    pub requests: usize,
    turns: Vec<Turn>,
}

impl Load {
    /// `clients` that each send `depth` requests at once per turn.
    pub fn new(clients: usize, depth: usize, ask: Ask) -> Load {
        let mut rng = Rng::new(0x7269_6e67_726f_6164);
        let turns = (0..TURNS)
            .map(|_| {
                let mut turn = Turn {
                    requests: vec![Vec::new(); clients],
                    replies: vec![Vec::new(); clients],
                };
                for (request, reply) in turn.requests.iter_mut().zip(&mut turn.replies) {
                    for _ in 0..depth {
                        one(&mut rng, ask, request, reply);
                    }
                }
                turn
            })
            .collect();
        Load {
            clients,
            requests: clients * depth,
            turns,
        }
    }

    /// The turns, for ever.
    pub fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().cycle()
    }
}

/// Appends one request and its reply.
fn one(rng: &mut Rng, ask: Ask, request: &mut Vec<u8>, reply: &mut Vec<u8>) {
    match ask {
        Ask::Get(count) => {
            request.extend_from_slice(b"get");
            for _ in 0..count {
                let key = rng.key();
                request.push(b' ');
                request.extend_from_slice(key.as_bytes());
                reply.extend_from_slice(format!("VALUE {key} 0 {VALUE}\r\n").as_bytes());
                value(key.as_bytes(), reply);
                reply.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"\r\n");
            reply.extend_from_slice(b"END\r\n");
        }
        Ask::Set => {
            let key = rng.key();
            request.extend_from_slice(format!("set {key} 0 0 {VALUE}\r\n").as_bytes());
            value(key.as_bytes(), request);
            request.extend_from_slice(b"\r\n");
            reply.extend_from_slice(b"STORED\r\n");
        }
        Ask::GetOrSet => {
            let ask = if rng.below(10) == 0 {
                Ask::Set
            } else {
                Ask::Get(1)
            };
            one(rng, ask, request, reply);
        }
        Ask::MetaGet => {
            let key = rng.key();
            request.extend_from_slice(format!("mg {key} v\r\n").as_bytes());
            reply.extend_from_slice(format!("VA {VALUE}\r\n").as_bytes());
            value(key.as_bytes(), reply);
            reply.extend_from_slice(b"\r\n");
        }
        Ask::MetaGetOpaque => {
            let key = rng.key();
            let opaque = rng.below(1 << 20);
            request.extend_from_slice(format!("mg {key} v k O{opaque}\r\n").as_bytes());
            reply.extend_from_slice(format!("VA {VALUE} k{key} O{opaque}\r\n").as_bytes());
            value(key.as_bytes(), reply);
            reply.extend_from_slice(b"\r\n");
        }
        Ask::MetaSet => {
            let key = rng.key();
            request.extend_from_slice(format!("ms {key} {VALUE}\r\n").as_bytes());
            value(key.as_bytes(), request);
            request.extend_from_slice(b"\r\n");
            reply.extend_from_slice(b"HD\r\n");
        }
    }
}
