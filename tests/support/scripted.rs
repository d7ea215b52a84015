//! Servers that misbehave on purpose: a small key-value server that speaks the text protocol well until its
//! script says otherwise.
//!
//! A script sees each command with its running number and decides what the server does. Everything a script
//! does not touch is answered as memcached would (get, gets, set, version), so that a router trusts the
//! server and the misbehaviour is the only thing wrong with it. Scripts can be exchanged while it runs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::port::Port;

/// A command as the server received it.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its line, without the line end.
    pub line: String,
    /// Its data block, without the line end.
    pub data: Option<Vec<u8>>,
    /// Its number on this connection, from 0.
    pub number: usize,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl Command {
    /// The words after the command's name.
    pub fn args(&self) -> Vec<&str> {
        self.line
            .split(' ')
            .filter(|w| !w.is_empty())
            .skip(1)
            .collect()
    }

    /// The command's name.
    pub fn verb(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// Whether it reads values.
    pub fn is_get(&self) -> bool {
        matches!(self.verb(), "get" | "gets")
    }
}

/// What the server does with a command.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers as memcached would.
    Serve,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes one at a time.
    Trickle(Vec<u8>),
    /// Sends nothing.
    Ignore,
    /// Waits, then goes on with the next action.
    Wait(Duration),
    /// Closes the connection in order.
    Close,
    /// Resets the connection.
    Reset,
}

impl Act {
    /// Sends this text.
    pub fn say(text: &str) -> Vec<Act> {
        vec![Act::Send(text.as_bytes().to_vec())]
    }
}

type Script = Box<dyn FnMut(&Command) -> Vec<Act> + Send>;

struct Shared {
    script: Mutex<Script>,
    items: Mutex<HashMap<String, (String, Vec<u8>)>>,
    log: Mutex<Vec<Command>>,
    decided: std::sync::atomic::AtomicUsize,
}

/// A running scripted server.
pub struct Scripted {
    port: Port,
    shared: Arc<Shared>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Scripted {
    /// Starts one that follows `script`.
    pub fn start(script: impl FnMut(&Command) -> Vec<Act> + Send + 'static) -> Scripted {
        let port = Port::reserve();
        let listener = port.listen();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            items: Mutex::default(),
            log: Mutex::default(),
            decided: std::sync::atomic::AtomicUsize::new(0),
        });
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (for_thread, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&for_thread);
                if let Ok(stream) = stream {
                    thread::spawn(move || serve(&stream, number, &shared));
                }
            }
        });
        Scripted { port, shared, stop }
    }

    /// One that behaves.
    pub fn well_behaved() -> Scripted {
        Scripted::start(|_| vec![Act::Serve])
    }

    /// Follows another script from the next command on.
    pub fn follow(&self, script: impl FnMut(&Command) -> Vec<Act> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// Behaves from the next command on.
    pub fn behave(&self) {
        self.follow(|_| vec![Act::Serve]);
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Every command received so far.
    pub fn log(&self) -> Vec<Command> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Whether the script has said what to do with every command so far: then another one changes nothing for them.
    pub fn has_decided(&self) -> bool {
        let received = self.log().len();
        self.shared
            .decided
            .load(std::sync::atomic::Ordering::SeqCst)
            >= received
    }

    /// Puts an item there.
    pub fn put(&self, key: &str, value: &[u8]) {
        let mut items = self.shared.items.lock().unwrap();
        items.insert(key.to_owned(), ("0".to_owned(), value.to_vec()));
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        // Wakes the accept loop.
        let _ = TcpStream::connect(self.port.addr());
    }
}

fn serve(stream: &TcpStream, connection: usize, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    for number in 0.. {
        let mut line = Vec::new();
        if !matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            return;
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let length = match words.first() {
            Some(&("set" | "add" | "replace" | "append" | "prepend" | "cas")) => words.get(4),
            Some(&"ms") => words.get(2),
            Some(&"lease-set") => words.get(5),
            _ => None,
        };
        let data = length.and_then(|n| n.parse::<usize>().ok()).map(|n| {
            let mut block = vec![0; n + 2];
            let _ = reader.read_exact(&mut block);
            block.truncate(n);
            block
        });
        let command = Command {
            line,
            data,
            number,
            connection,
        };
        shared.log.lock().unwrap().push(command.clone());
        let acts = shared.script.lock().unwrap()(&command);
        shared
            .decided
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        for act in acts {
            if !perform(&act, &command, stream, shared) {
                return;
            }
        }
    }
}

/// False when the connection is over.
fn perform(act: &Act, command: &Command, mut stream: &TcpStream, shared: &Shared) -> bool {
    match act {
        Act::Serve => stream.write_all(&answer(command, shared)).is_ok(),
        Act::Send(bytes) => stream.write_all(bytes).is_ok(),
        Act::Trickle(bytes) => bytes.chunks(1).all(|b| stream.write_all(b).is_ok()),
        Act::Ignore => true,
        Act::Wait(time) => {
            thread::sleep(*time);
            true
        }
        Act::Close => {
            let _ = stream.shutdown(Shutdown::Both);
            false
        }
        Act::Reset => {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            false
        }
    }
}

fn answer(command: &Command, shared: &Shared) -> Vec<u8> {
    let mut items = shared.items.lock().unwrap();
    let args = command.args();
    match command.verb() {
        "version" => b"VERSION 1.6.45\r\n".to_vec(),
        "mn" => b"MN\r\n".to_vec(),
        "get" | "gets" => {
            let cas = if command.verb() == "gets" { " 1" } else { "" };
            let mut out = Vec::new();
            for key in args {
                if let Some((flags, value)) = items.get(key) {
                    let head = format!("VALUE {key} {flags} {}{cas}\r\n", value.len());
                    out.extend_from_slice(head.as_bytes());
                    out.extend_from_slice(value);
                    out.extend_from_slice(b"\r\n");
                }
            }
            out.extend_from_slice(b"END\r\n");
            out
        }
        "set" => {
            let value = command.data.clone().unwrap_or_default();
            items.insert(args[0].to_owned(), (args[1].to_owned(), value));
            match args.last() {
                Some(&"noreply") => Vec::new(),
                _ => b"STORED\r\n".to_vec(),
            }
        }
        "delete" => match items.remove(args[0]) {
            Some(_) => b"DELETED\r\n".to_vec(),
            None => b"NOT_FOUND\r\n".to_vec(),
        },
        _ => b"ERROR\r\n".to_vec(),
    }
}
