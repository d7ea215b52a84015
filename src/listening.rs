//! Sockets to listen on, for clients and for the admin port.

mod inherited;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

pub(crate) use inherited::{Inherited, claim, inherited};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Opens a TCP socket that is not blocking; `shared` lets other processes of the same user listen there, too. `[::]` is every
/// address of the machine, IPv4's included, and on a machine without IPv6 those alone.
///
/// # Errors
/// The address is taken, is not the machine's, or needs privileges.
pub(crate) fn tcp(addr: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    /// `EAFNOSUPPORT` on Linux, which the standard library has no name for.
    const NO_FAMILY: i32 = 97;
    match open(addr, shared) {
        Err(error)
            if addr.is_ipv6()
                && addr.ip().is_unspecified()
                && error.raw_os_error() == Some(NO_FAMILY) =>
        {
            open((Ipv4Addr::UNSPECIFIED, addr.port()).into(), shared)
        }
        outcome => outcome,
    }
}

fn open(addr: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    if addr.is_ipv6() {
        // A specific IPv6 address is only itself.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a unix socket that is not blocking, with these permission bits. The socket of a process that is gone is replaced; anything
/// else at that path is left alone.
///
/// # Errors
/// A process listens there, something else is there, or it can't be made.
pub(crate) fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => match UnixStream::connect(path) {
            Ok(_) => Err(io::Error::from(io::ErrorKind::AddrInUse)),
            Err(_) => std::fs::remove_file(path),
        },
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file at this path that is no socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
