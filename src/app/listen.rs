//! Opening the sockets that clients connect to.

use std::io;
use std::path::Path;

use tokio::net::{TcpListener, UnixListener};

use super::AppError;
use crate::config::Listen;
use crate::worker::accept::Listener;

/// Opens a listener.
pub(super) fn listen(address: &Listen) -> Result<Listener, AppError> {
    let fail = |source: io::Error| {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse if matches!(address, Listen::Shared(_)) => {
                "; another process uses it and does not share it: it needs `reuse_port`, too, and the same user"
            }
            io::ErrorKind::AddrInUse => {
                "; another process uses it: stop that or choose another address"
            }
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need privileges, and a socket's directory write permission"
            }
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            _ => "",
        };
        AppError::Listen {
            listen: address.to_string(),
            source,
            hint,
        }
    };
    match address {
        Listen::Tcp(addr) | Listen::Shared(addr) => {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(*addr),
                socket2::Type::STREAM.nonblocking(),
                Some(socket2::Protocol::TCP),
            )
            .map_err(fail)?;
            if addr.is_ipv6() {
                // "[::]" is all addresses, IPv4's included; a specific IPv6 address is only itself.
                socket
                    .set_only_v6(!addr.ip().is_unspecified())
                    .map_err(fail)?;
            }
            socket.set_reuse_address(true).map_err(fail)?;
            let shared = matches!(address, Listen::Shared(_));
            if shared {
                socket.set_reuse_port(true).map_err(fail)?;
            }
            socket.bind(&(*addr).into()).map_err(fail)?;
            socket.listen(4096).map_err(fail)?;
            TcpListener::from_std(socket.into())
                .map(|listener| Listener::Tcp { listener, shared })
                .map_err(fail)
        }
        Listen::Unix { path, mode } => {
            remove_stale(path).map_err(fail)?;
            let listener = UnixListener::bind(path).map_err(fail)?;
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(*mode))
                .map_err(fail)?;
            Ok(Listener::Unix(listener))
        }
    }
}

/// Removes the socket of a process that is gone; anything else at that path is left alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => Err(io::Error::from(io::ErrorKind::AddrInUse)),
                Err(_) => std::fs::remove_file(path),
            }
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file at this path that is no socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a unix socket that this process listened on.
pub(super) fn unlink(address: &Listen) {
    if let Listen::Unix { path, .. } = address {
        // It may be gone already; either way nothing is left to do.
        let _ = std::fs::remove_file(path);
    }
}
