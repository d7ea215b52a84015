//! Sockets that the process was started with.
//!
//! A number on the command line says which. [`claim`] looks at it and makes an owner of it, which waits here until
//! [`inherited`] is asked for it by whoever opens listeners. A configuration holds nothing but the number, so that reading
//! it again neither opens nor closes anything.
//!
//! What can be claimed is a stream socket that is bound to an address and connected to nobody; it may be listening.
//! Standard streams can't: the standard library has them.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use socket2::{SockRef, Type};

use super::BACKLOG;

/// Those that have been claimed and not been taken yet.
static CLAIMED: Mutex<BTreeMap<i32, OwnedFd>> = Mutex::new(BTreeMap::new());

/// A socket that is listened on; it is not blocking.
#[derive(Debug)]
pub(crate) enum Inherited {
    /// Clients come over TCP.
    Tcp(TcpListener),
    /// Clients come from this machine.
    Unix(UnixListener),
}

/// Claims the socket with this number for [`inherited`].
///
/// # Errors
/// There is none that could be listened on, or it has been claimed before: why, in words that go behind the flag's name.
pub(crate) fn claim(number: i32) -> Result<(), String> {
    if number < 3 {
        return Err(format!(
            "{number} is a standard stream; sockets have numbers from 3 on"
        ));
    }
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    if claimed.contains_key(&number) {
        return Err(format!("the descriptor {number} is claimed already"));
    }
    look(number)?;
    // SAFETY: `look` has seen that a socket is open under this number and that it is not closed on exec. Whatever this
    // process opens itself (through std, tokio, socket2 and rustix) is. So it came from whoever started the process, nothing
    // in here owns it, and nothing closes it between the look and this line. It gets no second owner: `CLAIMED` is locked
    // since before the look, and before it is unlocked the socket is closed on exec, too (or closed, if that fails).
    #[allow(unsafe_code)]
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let outcome = can_listen(&socket);
    match outcome {
        Ok(Ok(())) => {
            claimed.insert(number, socket);
            Ok(())
        }
        Ok(Err(why)) => Err(format!("the descriptor {number} {why}")),
        Err(error) => Err(format!("the descriptor {number} can't be used: {error}")),
    }
}

/// The socket with this number, listening.
///
/// # Errors
/// It has not been claimed or has been taken; or what the system says.
pub(crate) fn inherited(number: i32) -> io::Result<Inherited> {
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let socket = claimed.remove(&number);
    let socket = socket.ok_or_else(|| io::Error::other("nobody has claimed this socket"))?;
    let known = SockRef::from(&socket);
    known.set_nonblocking(true)?;
    if !known.is_listener()? {
        known.listen(BACKLOG)?;
    }
    let is_unix = known.local_addr()?.is_unix();
    Ok(match is_unix {
        true => Inherited::Unix(socket.into()),
        false => Inherited::Tcp(socket.into()),
    })
}

/// Whether the process was started with a socket of this number.
fn look(number: i32) -> Result<(), String> {
    let fds = Path::new("/proc/self/fd");
    if !fds.exists() {
        return Err("there is no /proc/self/fd, and sockets can't be told without".to_owned());
    }
    let missing = || format!("the process was started without a descriptor {number}");
    let link = std::fs::read_link(fds.join(number.to_string())).map_err(|_| missing())?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    let flags = info
        .ok()
        .and_then(|info| flags(&info))
        .ok_or_else(missing)?;
    if flags.contains(OFlags::CLOEXEC) {
        return Err(missing());
    }
    if !link.as_os_str().as_encoded_bytes().starts_with(b"socket:") {
        return Err(format!("the descriptor {number} is no socket"));
    }
    Ok(())
}

/// The line `flags:` of a file in `/proc/self/fdinfo`, which is octal.
fn flags(info: &str) -> Option<OFlags> {
    let mut lines = info.lines();
    let octal = lines.find_map(|line| line.strip_prefix("flags:"))?;
    let bits = u32::from_str_radix(octal.trim(), 8).ok()?;
    Some(OFlags::from_bits_retain(bits))
}

/// Whether this socket can be listened on, or why not. It is closed on exec from now on.
fn can_listen(socket: &OwnedFd) -> io::Result<Result<(), &'static str>> {
    let socket = SockRef::from(socket);
    socket.set_cloexec(true)?;
    if socket.r#type()? != Type::STREAM {
        return Ok(Err("is no stream socket"));
    }
    if socket.peer_addr().is_ok() {
        return Ok(Err("is a connection, and no socket to listen on"));
    }
    let addr = socket.local_addr()?;
    let is_bound = match addr.as_socket() {
        Some(addr) => addr.port() != 0,
        None => addr.is_unix() && !addr.is_unnamed(),
    };
    Ok(match is_bound {
        true => Ok(()),
        false => Err("is not bound to an address"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpStream, UdpSocket};
    use std::os::fd::IntoRawFd as _;
    use std::os::unix::net::UnixStream;

    use socket2::{Domain, Socket};

    use super::*;

    /// Its number, as of a descriptor that came from elsewhere: nobody owns it.
    fn given(socket: impl Into<OwnedFd>) -> i32 {
        let socket = socket.into();
        SockRef::from(&socket).set_cloexec(false).unwrap();
        socket.into_raw_fd()
    }

    #[track_caller]
    fn refused(number: i32, why: &str) {
        let error = claim(number).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn a_bound_socket_is_listened_on_and_a_listening_one_too() {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        bound.bind(&any.into()).unwrap();
        let listening = TcpListener::bind(any).unwrap();
        for socket in [OwnedFd::from(bound), listening.into()] {
            let number = given(socket);
            claim(number).unwrap();
            assert!(claim(number).unwrap_err().contains("claimed already"));
            let Inherited::Tcp(listener) = inherited(number).unwrap() else {
                panic!()
            };
            // It is not blocking, and nobody is there.
            let error = listener.accept().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.set_nonblocking(false).unwrap();
            let (mut served, _) = listener.accept().unwrap();
            client.write_all(b"x").unwrap();
            served.read_exact(&mut [0]).unwrap();
            // Each number has one owner, and one only.
            refused(number, "without a descriptor");
        }
    }

    #[test]
    fn a_unix_socket_is_told_from_tcp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let number = given(UnixListener::bind(&path).unwrap());
        claim(number).unwrap();
        assert!(matches!(inherited(number).unwrap(), Inherited::Unix(_)));
    }

    #[test]
    fn what_is_no_socket_to_listen_on_is_refused() {
        refused(-1, "standard stream");
        refused(2, "standard stream");
        refused(i32::MAX, "without a descriptor 2147483647");
        let file = tempfile::tempfile().unwrap();
        refused(given(file), "is no socket");
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        refused(given(datagrams), "no stream socket");
        let unbound = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        refused(given(unbound), "not bound");
        let unbound = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        refused(given(unbound), "not bound");
        let (one, _other) = UnixStream::pair().unwrap();
        refused(given(one), "is a connection");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        refused(given(client), "is a connection");
    }

    /// A number that somebody in this process owns must not get a second owner.
    #[test]
    fn a_socket_of_the_process_itself_is_left_alone() {
        use std::os::fd::AsRawFd as _;
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        refused(own.as_raw_fd(), "started without a descriptor");
        assert!(inherited(own.as_raw_fd()).is_err());
        TcpStream::connect(own.local_addr().unwrap()).unwrap();
        own.accept().unwrap();
    }

    #[test]
    fn flags_are_octal() {
        let info = "pos:\t0\nflags:\t02000002\nmnt_id:\t9\n";
        let found = flags(info).unwrap();
        assert_eq!(found.contains(OFlags::CLOEXEC), cfg!(target_os = "linux"));
        assert!(!flags("flags: 02\n").unwrap().contains(OFlags::CLOEXEC));
        assert_eq!(flags("flags:\t9\n"), None);
        assert_eq!(flags("pos:\t0\n"), None);
    }
}
