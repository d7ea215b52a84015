//! Ports that no other test takes, in this process or in one that runs beside it.
//!
//! A TCP port is reserved by holding the UDP port of the same number: the servers under test use no UDP, and
//! the kernel gives it to one holder only and takes it back when that one dies. The numbers lie below the
//! kernel's ephemeral range, so that no outgoing connection can sit on one while a server is down.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A TCP port on loopback, ours until dropped.
pub struct Port {
    number: u16,
    _held: UdpSocket,
}

impl Port {
    /// Reserves a port that nothing listens on.
    pub fn reserve() -> Port {
        let start = (std::process::id() as u16).wrapping_mul(97) % COUNT;
        for _ in 0..COUNT {
            let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % COUNT;
            let number = FIRST + offset;
            let Ok(held) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok() {
                return Port {
                    number,
                    _held: held,
                };
            }
        }
        panic!("no free TCP port between {FIRST} and {}", FIRST + COUNT);
    }

    /// Listens on it.
    ///
    /// A process that another test starts at this moment holds all sockets of this one until it becomes another program,
    /// also the one that [`Port::reserve`] has tried the number with.
    pub fn listen(&self) -> TcpListener {
        let end = std::time::Instant::now() + super::PATIENCE;
        loop {
            match TcpListener::bind(self.addr()) {
                Err(error)
                    if error.kind() == ErrorKind::AddrInUse && std::time::Instant::now() < end =>
                {
                    std::thread::yield_now();
                }
                listener => return listener.unwrap(),
            }
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address on 127.0.0.1.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}
