//! Reads a page of another ringroad's admin port, for the commands that ask a running one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Listen;

/// How long a page may take in all.
const LIMIT: Duration = Duration::from_secs(5);

/// The largest page, in bytes.
const MAX_PAGE: usize = 64 << 20;

/// The text of a page.
///
/// # Errors
/// Nobody listens there, what listens speaks no HTTP or has no such page, or it takes more than five seconds.
pub fn get(listen: &Listen, path: &str) -> io::Result<String> {
    let (status, text) = ask(listen, path, LIMIT)?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(io::Error::other(status.to_string()))
    }
}

/// The answer to the request for a page: status and text.
///
/// # Errors
/// Nobody listens there, what listens speaks no HTTP, or it takes longer than `limit` in all.
pub fn ask(listen: &Listen, path: &str, limit: Duration) -> io::Result<(StatusCode, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::time::timeout(limit, connect_and_fetch(listen, path))
            .await
            .unwrap_or_else(|_| {
                let why = format!("no answer within {} s", limit.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            })
    })
}

/// Where a listener is reached from here: one on every address by any of the machine's own.
fn reachable(listen: SocketAddr) -> Vec<SocketAddr> {
    let local = |ip: IpAddr| SocketAddr::new(ip, listen.port());
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![local(Ipv4Addr::LOCALHOST.into())],
        // There may be no IPv6, or nothing but.
        IpAddr::V6(ip) if ip.is_unspecified() => vec![
            local(Ipv6Addr::LOCALHOST.into()),
            local(Ipv4Addr::LOCALHOST.into()),
        ],
        _ => vec![listen],
    }
}

async fn connect_and_fetch(listen: &Listen, path: &str) -> io::Result<(StatusCode, String)> {
    match listen {
        Listen::Tcp(addr) | Listen::Shared(addr) => {
            let stream = TcpStream::connect(reachable(*addr).as_slice()).await?;
            let host = stream.peer_addr()?.to_string();
            fetch(stream, &host, path).await
        }
        Listen::Inherited(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        Listen::Unix { path: socket, .. } => {
            fetch(UnixStream::connect(socket).await?, "localhost", path).await
        }
    }
}

async fn fetch(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
) -> io::Result<(StatusCode, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = Request::get(path)
        .header(header::HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_PAGE)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
