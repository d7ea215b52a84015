//! A DNS server, over UDP and TCP, that answers whatever a test wants: right, wrong, garbage or nothing.
//!
//! A function turns each question into a [`Reaction`]. What is too long for UDP is cut short as servers do it, with
//! part of the records and the flag; TCP then gives all. Questions are counted, so that a test can say what a lookup
//! cost. The server ends with its value.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What UDP carries, as the client says with EDNS by default.
const UDP_SIZE: usize = 1232;

/// A question that arrived.
#[derive(Clone)]
pub struct Asked {
    pub name: String,
    pub kind: RecordType,
    pub is_tcp: bool,
    pub message: Message,
}

/// What to do with a question.
pub enum Reaction {
    /// Answer, cut short if need be.
    Answer(Message),
    /// Send these bytes as they are.
    Bytes(Vec<u8>),
    /// One after the other.
    All(Vec<Reaction>),
    /// Nothing.
    Silence,
    /// Close the connection; over UDP nothing.
    Close,
}

type Handler = dyn FnMut(&Asked) -> Reaction + Send;

/// The server.
pub struct Rogue {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    end: Arc<AtomicBool>,
}

impl Rogue {
    pub fn start(handler: impl FnMut(&Asked) -> Reaction + Send + 'static) -> Rogue {
        Rogue::start_at(Ipv4Addr::LOCALHOST.into(), 0, handler)
    }

    /// At this address; port 0 is any.
    pub fn start_at(
        ip: IpAddr,
        port: u16,
        handler: impl FnMut(&Asked) -> Reaction + Send + 'static,
    ) -> Rogue {
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind((ip, port)).ok()?;
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .expect("no port is free for both UDP and TCP");
        let rogue = Rogue {
            addr: udp.local_addr().unwrap(),
            asked: Arc::default(),
            end: Arc::default(),
        };
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(handler));
        let serve = Serve {
            handler,
            asked: rogue.asked.clone(),
            end: rogue.end.clone(),
        };
        udp.set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        tcp.set_nonblocking(true).unwrap();
        let of_udp = serve.clone();
        std::thread::spawn(move || of_udp.udp(&udp));
        std::thread::spawn(move || serve.tcp(&tcp));
        rogue
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The questions so far, and forgets them.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Serve {
    handler: Arc<Mutex<Handler>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    end: Arc<AtomicBool>,
}

impl Serve {
    fn react(&self, bytes: &[u8], is_tcp: bool) -> Reaction {
        let message = Message::from_vec(bytes).unwrap();
        assert!(message.metadata.recursion_desired);
        let query = message.queries[0].clone();
        let asked = Asked {
            name: query.name().to_ascii(),
            kind: query.query_type(),
            is_tcp,
            message,
        };
        self.asked.lock().unwrap().push(asked.clone());
        let mut handler = self.handler.lock().unwrap();
        handler(&asked)
    }

    fn udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while !self.end.load(Ordering::Relaxed) {
            let Ok((len, peer)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            self.send_udp(socket, peer, self.react(&buffer[..len], false));
        }
    }

    fn send_udp(&self, socket: &UdpSocket, peer: SocketAddr, reaction: Reaction) {
        let bytes = match reaction {
            Reaction::Answer(message) => {
                let mut bytes = message.to_vec().unwrap();
                let mut cut = message;
                while bytes.len() > UDP_SIZE {
                    cut.metadata.truncation = true;
                    cut.additionals.clear();
                    let half = cut.answers.len() / 2;
                    cut.answers.truncate(half);
                    bytes = cut.to_vec().unwrap();
                }
                bytes
            }
            Reaction::Bytes(bytes) => bytes,
            Reaction::All(reactions) => {
                for reaction in reactions {
                    self.send_udp(socket, peer, reaction);
                }
                return;
            }
            Reaction::Silence | Reaction::Close => return,
        };
        let _ = socket.send_to(&bytes, peer);
    }

    fn tcp(self, listener: &TcpListener) {
        while !self.end.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    let serve = self.clone();
                    std::thread::spawn(move || serve.connection(stream));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn connection(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nonblocking(false).ok()?;
        loop {
            let mut len = [0; 2];
            stream.read_exact(&mut len).ok()?;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut bytes).ok()?;
            if self.end.load(Ordering::Relaxed) {
                return None;
            }
            let reaction = self.react(&bytes, true);
            send_tcp(&mut stream, reaction)?;
        }
    }
}

fn send_tcp(stream: &mut TcpStream, reaction: Reaction) -> Option<()> {
    let bytes = match reaction {
        Reaction::Answer(message) => message.to_vec().unwrap(),
        Reaction::Bytes(bytes) => bytes,
        Reaction::All(reactions) => {
            for reaction in reactions {
                send_tcp(stream, reaction)?;
            }
            return Some(());
        }
        Reaction::Silence => return Some(()),
        Reaction::Close => return None,
    };
    let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    stream.write_all(&len).ok()?;
    stream.write_all(&bytes).ok()
}

/// An absolute name.
pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A record's data from its text: an address, or `CNAME x.`, `PTR x.`, `SRV port x.`, `TXT x`.
pub fn data(text: &str) -> RData {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["CNAME", target] => RData::CNAME(CNAME(name(target))),
        ["PTR", target] => RData::PTR(PTR(name(target))),
        ["SRV", port, target] => RData::SRV(SRV::new(0, 50, port.parse().unwrap(), name(target))),
        ["TXT", text] => RData::TXT(TXT::new(vec![(*text).to_owned()])),
        [ip] => match ip.parse().unwrap() {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        },
        _ => panic!("no record: {text}"),
    }
}

/// A record with a time to live of 30 s.
pub fn record(owner: &str, text: &str) -> Record {
    Record::from_rdata(name(owner), 30, data(text))
}

impl Asked {
    /// An empty answer.
    pub fn reply(&self) -> Message {
        let mut reply = self.message.clone();
        reply.metadata.message_type = MessageType::Response;
        reply.additionals.clear();
        reply.edns = None;
        reply
    }

    /// The records of these that belong to the question, or no such name if none has its name.
    pub fn of(&self, zone: &[(&str, &str)]) -> Reaction {
        let mine = zone.iter().filter(|(owner, _)| *owner == self.name);
        let mine: Vec<Record> = mine.map(|(owner, text)| record(owner, text)).collect();
        let mut reply = self.reply();
        if mine.is_empty() {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        let fits = |r: &Record| [self.kind, RecordType::CNAME].contains(&r.record_type());
        reply.add_answers(mine.into_iter().filter(fits));
        Reaction::Answer(reply)
    }

    /// An answer with this code.
    pub fn code(&self, code: ResponseCode) -> Reaction {
        let mut reply = self.reply();
        reply.metadata.response_code = code;
        Reaction::Answer(reply)
    }

    /// No records of this type.
    pub fn empty(&self) -> Reaction {
        Reaction::Answer(self.reply())
    }

    /// An answer with these records.
    pub fn with(&self, records: impl IntoIterator<Item = Record>) -> Reaction {
        let mut reply = self.reply();
        reply.add_answers(records);
        Reaction::Answer(reply)
    }

    pub fn is(&self, name: &str, kind: RecordType) -> bool {
        self.name == name && self.kind == kind
    }
}
