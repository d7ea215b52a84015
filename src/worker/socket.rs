//! Sockets of clients and servers, TCP or unix, as the driver uses them.

use std::io::{self, IoSlice, Read};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::buf::Buf;

/// Pieces written in one call, at most. Each is large.
const MAX_PIECES: usize = 32;

/// A client's or server's socket, non-blocking.
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// A socket that tells when it is ready.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn new(socket: Socket) -> io::Result<Stream> {
        Ok(match socket {
            Socket::Tcp(s) => Stream::Tcp(TcpStream::from_std(s)?),
            Socket::Unix(s) => Stream::Unix(UnixStream::from_std(s)?),
        })
    }

    /// The address of the other side.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Stream::Tcp(s) => s.peer_addr().ok().map(|addr| addr.ip().to_canonical()),
            Stream::Unix(_) => None,
        }
    }

    /// Lets the other side see a reset instead of an end when this is dropped. Unix sockets have no such thing.
    pub(super) fn end_with_reset(&self) {
        if let Stream::Tcp(s) = self {
            // Where that fails, the connection simply ends.
            let _ = s.set_zero_linger();
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }

    /// Reads what is there at this moment, without asking to be woken if nothing is.
    pub(super) fn read_now(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => (&*SockRef::from(s)).read(buf),
            Stream::Unix(s) => (&*SockRef::from(s)).read(buf),
        }
    }

    /// Asks to be woken when there is something to read.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => s.poll_read_ready(cx),
            Stream::Unix(s) => s.poll_read_ready(cx),
        }
    }

    /// Reads up to `most` bytes to the end of `buf`.
    pub(super) fn poll_read_to(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut buf = buf.limit(most);
        match self {
            Stream::Tcp(s) => pin!(s.read_buf(&mut buf)).poll(cx),
            Stream::Unix(s) => pin!(s.read_buf(&mut buf)).poll(cx),
        }
    }

    /// Writes the pieces of `out` in one call, as many as fit.
    pub(super) fn poll_write_pieces(
        &mut self,
        cx: &mut Context<'_>,
        out: &Buf,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_PIECES];
        let filled = out.gather(&mut slices);
        let slices = slices.get(..filled).unwrap_or_default();
        match self {
            Stream::Tcp(s) => Pin::new(s).poll_write_vectored(cx, slices),
            Stream::Unix(s) => Pin::new(s).poll_write_vectored(cx, slices),
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(s) => Pin::new(s).poll_write(cx, data),
            Stream::Unix(s) => Pin::new(s).poll_write(cx, data),
        }
    }

    /// For a socket whose connecting has begun: whether that has succeeded.
    pub(super) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (ready, error) = match self {
            Stream::Tcp(s) => (s.poll_write_ready(cx), s.take_error()),
            Stream::Unix(s) => (s.poll_write_ready(cx), s.take_error()),
        };
        match (ready, error) {
            (_, Ok(Some(error)) | Err(error)) => Poll::Ready(Err(error)),
            (ready, Ok(None)) => ready,
        }
    }
}

/// Begins to connect; the socket is non-blocking, so this does not wait.
pub(super) fn open_tcp(addr: std::net::SocketAddr) -> io::Result<Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10)),
    )?;
    begin(socket.connect(&addr.into()))?;
    Ok(Socket::Tcp(socket.into()))
}

/// As [`open_tcp`], for a unix socket.
pub(super) fn open_unix(path: &std::path::Path) -> io::Result<Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::UNIX,
        socket2::Type::STREAM.nonblocking(),
        None,
    )?;
    begin(socket.connect(&socket2::SockAddr::unix(path)?))?;
    Ok(Socket::Unix(socket.into()))
}

/// A connect that goes on in the background is no error.
fn begin(outcome: io::Result<()>) -> io::Result<()> {
    /// `EINPROGRESS` on Linux, which the standard library has no stable name for.
    const IN_PROGRESS: i32 = 115;
    match outcome {
        Err(error)
            if error.raw_os_error() == Some(IN_PROGRESS)
                || error.kind() == io::ErrorKind::WouldBlock =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}
