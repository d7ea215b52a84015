//! A connection to the endpoint, TCP or unix, and how one is made.
//!
//! Names are resolved once, at the start: a generator that followed DNS would measure something else
//! each time. Of several addresses the first that accepts is used for the whole run.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::Error;
use super::args::Target;

/// How long one attempt to connect may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where to connect, resolved.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Resolves `target` and tries its addresses in turn.
    ///
    /// # Errors
    /// [`Error::Connect`] when the name is unknown or no address accepts a connection.
    pub(super) fn find(target: &Target) -> Result<Self, Error> {
        let failed = |source| Error::connect(target, source);
        let (host, port) = match target {
            Target::Unix(path) => {
                std::os::unix::net::UnixStream::connect(path).map_err(failed)?;
                return Ok(Self::Unix(path.clone()));
            }
            Target::Tcp(host, port) => (host.as_str(), *port),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs().map_err(failed)? {
            match std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(_) => return Ok(Self::Tcp(address)),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The system's, or [`io::ErrorKind::TimedOut`] after [`CONNECT_TIMEOUT`].
    pub(super) async fn connect(&self) -> io::Result<Link> {
        let connecting = async {
            match self {
                Self::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Ok(Link::Tcp(stream))
                }
                Self::Unix(path) => UnixStream::connect(path).await.map(Link::Unix),
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Link {
    /// Over TCP, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Link {
    /// Reads what is there into `buffer`; after a read that did not fill it, the next call costs no
    /// system call until the socket is readable again.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// Writes as much of `bytes` as the socket takes.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
}

/// Allows this process at least `needed` open files, as far as the hard limit goes.
///
/// # Errors
/// [`Error::Usage`] when the hard limit is lower.
pub(super) fn allow_open_files(needed: u64) -> Result<(), Error> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_none_or(|maximum| maximum >= needed) {
        limit.current = Some(needed);
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return Ok(());
        }
    }
    Err(Error::Usage(format!(
        "{needed} open files are needed but only {} allowed; raise the limit (ulimit -n) or lower --connections",
        limit.maximum.unwrap_or(u64::MAX)
    )))
}
