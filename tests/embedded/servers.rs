//! The two servers and how to ask them: everything on a connection of its own, read to its end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringroad::embedded::{Handle, Options, Server};

/// A real memcached on a unix socket of its own.
pub struct Real {
    process: Child,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Real {
    pub fn start() -> Option<Real> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("memcached");
        let process = Command::new("memcached")
            .args(["-u", "root", "-t", "1", "-m", "64", "-s"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("skipped: there is no memcached to compare with");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let real = Real {
            process,
            socket,
            _dir: dir,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&real.socket).is_err() {
            assert!(Instant::now() < deadline, "memcached does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(real)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server answers on a connection of its own, and whether all of it is sure to have arrived.
pub struct Reply {
    pub bytes: Vec<u8>,
    pub whole: bool,
}

/// Sends everything, ends the sending side and reads to the end.
fn dialogue<S: Read + Write>(mut stream: S, request: &[u8], end: impl Fn(&S)) -> Reply {
    // A server that closes early may reset the connection and take the last replies along.
    let mut whole = stream.write_all(request).is_ok();
    end(&stream);
    let mut bytes = Vec::new();
    whole &= stream.read_to_end(&mut bytes).is_ok();
    Reply { bytes, whole }
}

pub fn ask_real(real: &Real, request: &[u8]) -> Reply {
    let stream = UnixStream::connect(&real.socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    dialogue(stream, request, |s| {
        let _ = s.shutdown(Shutdown::Write);
    })
}

pub fn ask(addr: SocketAddr, request: &[u8]) -> Reply {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    dialogue(stream, request, |s| {
        let _ = s.shutdown(Shutdown::Write);
    })
}

pub fn embedded() -> Handle {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Server::bind(addr, Options::default())
        .unwrap()
        .start()
        .unwrap()
}
