//! Opening the sockets that clients connect to.

use std::io;

use tokio::net::{TcpListener, UnixListener};

use super::AppError;
use crate::config::Listen;
use crate::unix_socket;
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
            let listener = unix_socket::bind(path, *mode).map_err(fail)?;
            UnixListener::from_std(listener)
                .map(Listener::Unix)
                .map_err(fail)
        }
    }
}

/// Removes a unix socket that this process listened on.
pub(super) fn unlink(address: &Listen) {
    if let Listen::Unix { path, .. } = address {
        // It may be gone already; either way nothing is left to do.
        let _ = std::fs::remove_file(path);
    }
}
