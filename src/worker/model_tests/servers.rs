//! The servers of a run: they execute what has reached them, and the faults that are put into them.

use super::memcached::{Asked, Store};
use super::plan::{Fault, Lie, Rng};
use super::sim::Sim;
use crate::upstream::conn::STREAM_ABOVE;

/// A memcached and what is wrong with it at the moment.
pub struct Server {
    pub store: Store,
    pub refuses: bool,
    pub hangs: bool,
    pub stalled: bool,
    /// The most bytes that come from it in a turn, smooth or not.
    pub trickles: Option<usize>,
    pub lie: Option<(Lie, u64)>,
}

impl Sim {
    pub fn fault(&mut self, server: usize, fault: Fault, rng: &mut Rng) {
        if !self.env.setup.allows(fault) {
            return;
        }
        let index = server % self.servers.len();
        let server = &mut self.servers[index];
        match fault {
            Fault::Refuse => server.refuses = !server.refuses,
            Fault::Hang => server.hangs = !server.hangs,
            Fault::Stall => server.stalled = !server.stalled,
            Fault::Lie(Lie::BreakOff) => {
                // Whichever of them has a large value.
                for (server, injected) in self.servers.iter_mut().zip(&mut self.env.injected) {
                    server.lie = Some((Lie::BreakOff, rng.next()));
                    *injected += 1;
                }
            }
            Fault::Lie(lie) => server.lie = Some((lie, rng.next())),
            Fault::Restart => {
                if rng.one_in(2) {
                    server.store.items.clear();
                }
                self.drop_links(index, rng);
            }
            Fault::Drop => self.drop_links(index, rng),
            Fault::Unasked => {
                self.core.set_now(self.now);
                for id in 0..self.links.len() {
                    let quiet = self
                        .core
                        .conns
                        .get(id)
                        .is_some_and(|up| up.is_ready() && up.conn.expects_nothing());
                    if quiet && self.links[id].as_ref().is_some_and(|l| l.server == index) {
                        let bytes = *rng.pick(&[&b"END\r\n"[..], b"STORED\r\n", b"x"]);
                        self.core.conn_bytes(id as u32, bytes);
                        let closed = self.core.todo.close.contains(&(id as u32));
                        assert!(closed, "unasked bytes were taken for an answer");
                    }
                }
            }
        }
        self.env.injected[index] += 1;
    }

    fn drop_links(&mut self, server: usize, rng: &mut Rng) {
        for link in self.links.iter_mut().flatten() {
            if link.server == server {
                link.eof = true;
                link.to_server.clear();
                if rng.one_in(2) {
                    let keep = rng.below(link.to_router.len() + 1);
                    link.to_router.truncate(keep);
                }
            }
        }
    }

    /// The servers answer some of what they have read.
    pub fn serve(&mut self, rng: &mut Rng) {
        for id in 0..self.links.len() {
            if self.smooth || !rng.one_in(3) {
                self.serve_link(id, false, rng);
            }
        }
    }

    pub fn serve_link(&mut self, id: usize, closing: bool, rng: &mut Rng) {
        let Some(Some(link)) = self.links.get_mut(id) else {
            return;
        };
        let server = &mut self.servers[link.server];
        if link.eof || (server.stalled && !closing) {
            return;
        }
        let mut at = 0;
        while at < link.to_server.len() {
            if !self.smooth && rng.one_in(20) {
                break;
            }
            let drops_first = matches!(server.lie, Some((Lie::DropBefore, _)));
            if drops_first && rng.one_in(2) {
                // Not even executed.
                server.lie = None;
                self.env.injected[link.server] += 1;
                link.eof = true;
                break;
            }
            let Some(answer) = server.store.execute(&link.to_server[at..]) else {
                break;
            };
            self.moved = true;
            at += answer.used;
            let mut bytes = answer.bytes;
            if let Some((lie, detail)) = server.lie
                && let Some(lied) = untrue(lie, &bytes, &answer.asked, &server.store, detail)
            {
                server.lie = None;
                self.env.injected[link.server] += 1;
                bytes = lied;
                link.eof = matches!(
                    lie,
                    Lie::DropBefore | Lie::DropAfter | Lie::DropHalfWay | Lie::BreakOff
                );
            }
            link.to_router.extend(bytes);
            if link.eof {
                break;
            }
        }
        link.to_server.drain(..at);
        if link.eof {
            link.to_server.clear();
        }
    }

    /// All faults end.
    pub fn heal(&mut self) {
        for (n, server) in self.servers.iter_mut().enumerate() {
            if server.refuses || server.hangs || server.stalled || server.lie.is_some() {
                self.env.injected[n] += 1;
            }
            server.refuses = false;
            server.hangs = false;
            server.stalled = false;
            server.trickles = None;
            server.lie = None;
        }
        for client in &mut self.clients {
            client.reading = true;
            client.woken = true;
        }
    }
}

/// What a server says instead of the truth; `None` if this lie does not fit the command.
fn untrue(lie: Lie, truth: &[u8], asked: &Asked, store: &Store, detail: u64) -> Option<Vec<u8>> {
    let mut rng = Rng(detail);
    match lie {
        Lie::ServerError => Some(b"SERVER_ERROR out of memory\r\n".to_vec()),
        Lie::Garbage => Some(match rng.below(4) {
            0 => b"rubbish\r\n".to_vec(),
            1 => b"VALUE\r\n".to_vec(),
            2 => vec![b'x'; 5000],
            _ => b"VALUE k 0 99999999999\r\n".to_vec(),
        }),
        Lie::WrongKey => {
            let Asked::Get(keys) = asked else {
                return None;
            };
            // Another user's value, complete and well-formed.
            let mut others: Vec<&Vec<u8>> = store
                .items
                .keys()
                .filter(|key| !keys.contains(key))
                .collect();
            others.sort();
            let other = others.get(rng.below(others.len()))?;
            let mut out = Vec::new();
            store.value(other, false, &mut out);
            out.extend_from_slice(b"END\r\n");
            Some(out)
        }
        Lie::WrongOpaque => {
            let at = truth.windows(2).position(|w| w == b" O")?;
            let line = truth.iter().position(|b| *b == b'\n')?;
            if *asked != Asked::Meta || at > line {
                return None;
            }
            let mut out = truth.to_vec();
            out.splice(at + 2..at + 2, *b"9");
            Some(out)
        }
        Lie::WrongKind => match asked {
            Asked::Get(_) => Some(b"STORED\r\n".to_vec()),
            Asked::Line | Asked::Version => Some(b"END\r\n".to_vec()),
            Asked::Meta => Some(b"STORED\r\n".to_vec()),
        },
        Lie::BadEnd => {
            let header = truth.iter().position(|b| *b == b'\n')?;
            let line = std::str::from_utf8(&truth[..header - 1]).ok()?;
            let words: Vec<&str> = line.split(' ').collect();
            let len: usize = match words[0] {
                "VALUE" => words[3].parse().ok()?,
                "VA" => words[1].parse().ok()?,
                _ => return None,
            };
            let mut out = truth.to_vec();
            out[header + 1 + len + rng.below(2)] = b'x';
            Some(out)
        }
        Lie::DropBefore => Some(Vec::new()),
        Lie::DropAfter => Some(truth.to_vec()),
        Lie::BreakOff if truth.len() <= STREAM_ABOVE => None,
        Lie::DropHalfWay | Lie::BreakOff => Some(truth[..rng.below(truth.len())].to_vec()),
    }
}
