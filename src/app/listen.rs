//! Opening the sockets that clients connect to.

use std::io;

use tokio::net::{TcpListener, UnixListener};

use super::AppError;
use crate::config::Listen;
use crate::listening::{self, Inherited};
use crate::worker::accept::Listener;

/// Why an address can't be listened on, and what to do.
pub(super) fn failed(address: &Listen, source: io::Error) -> AppError {
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
}

/// Opens a listener.
pub(super) fn listen(address: &Listen) -> Result<Listener, AppError> {
    let fail = |source| failed(address, source);
    match address {
        Listen::Tcp(addr) | Listen::Shared(addr) => {
            let shared = matches!(address, Listen::Shared(_));
            let listener = listening::tcp(*addr, shared).map_err(fail)?;
            TcpListener::from_std(listener)
                .map(|listener| Listener::Tcp { listener, shared })
                .map_err(fail)
        }
        Listen::Inherited(number) => listening::inherited(*number)
            .and_then(inherited)
            .map_err(fail),
        Listen::Unix { path, mode } => {
            let listener = listening::unix(path, *mode).map_err(fail)?;
            UnixListener::from_std(listener)
                .map(Listener::Unix)
                .map_err(fail)
        }
    }
}

fn inherited(socket: Inherited) -> io::Result<Listener> {
    Ok(match socket {
        Inherited::Tcp(listener) => Listener::Tcp {
            listener: TcpListener::from_std(listener)?,
            shared: false,
        },
        Inherited::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
    })
}

/// Removes a unix socket that this process listened on.
pub(super) fn unlink(address: &Listen) {
    if let Listen::Unix { path, .. } = address {
        // It may be gone already; either way nothing is left to do.
        let _ = std::fs::remove_file(path);
    }
}
