//! The admin port: HTTP for people and machines that look after this process.
//!
//! It has a thread and a runtime of its own, so that neither a busy worker keeps a health check waiting nor an
//! admin request a worker. What it shows and does comes through [`Hooks`]; it knows nothing of pools or clients.
//!
//! It is bounded like everything else: connections, header and body sizes, the time a connection may take
//! ([`Bounds`]). It has no password, which is why it listens only where the configuration says so. Requests that
//! change something are refused when a web page of another origin makes a browser send them.

pub mod client;
mod pages;

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::config::Listen;
use crate::listening;
use crate::log::LogHandle;

pub use pages::PAGES;

/// What the pages show and do. Every hook but `reload` must return at once; it runs on the admin thread.
#[derive(Clone)]
pub struct Hooks {
    /// `Ok` when clients may be sent here; otherwise why not (starting, draining).
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The statistics.
    pub stats: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// `Ok` while all threads turn; otherwise which one hangs.
    pub alive: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The statistics for Prometheus, in its text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who is in each pool.
    pub members: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// The configuration in force, as text.
    pub config: Arc<dyn Fn() -> String + Send + Sync>,
    /// Reads the configuration file again; says what came of it. It may block and runs on a thread of its own, never
    /// twice at a time.
    pub reload: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
    /// Changes the log level.
    pub log: LogHandle,
}

/// How much the admin port takes from whoever talks to it.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time. One more closes the oldest of those that ask nothing; if all ask, it is answered 503.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Time for a request's head to arrive, which also ends an idle connection.
    pub head_time: Duration,
    /// Time for a request's body to arrive.
    pub body_time: Duration,
    /// Time a reload may take before the answer is that it is still running.
    pub reload_time: Duration,
    /// Time a connection may live.
    pub lifetime: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 64,
            head: 8 << 10,
            body: 4 << 10,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(5),
            reload_time: Duration::from_secs(30),
            lifetime: Duration::from_secs(120),
        }
    }
}

/// A running admin port. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Server {
    listen: Listen,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens; tells the port if the configuration left it open.
    #[must_use]
    pub fn listen(&self) -> &Listen {
        &self.listen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As long as this listens nobody else takes the path.
        if let Listen::Unix { path, .. } = &self.listen {
            let _ = std::fs::remove_file(path);
        }
        // The thread ends when the sender is gone.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Opens the admin port with the usual bounds.
///
/// # Errors
/// The address can't be bound, or the thread not started.
pub fn start(listen: &Listen, hooks: Hooks) -> io::Result<Server> {
    start_with(listen, hooks, Bounds::default())
}

/// Opens the admin port with bounds of the caller's choice.
///
/// # Errors
/// As for [`start`].
pub fn start_with(listen: &Listen, hooks: Hooks, bounds: Bounds) -> io::Result<Server> {
    let (bound, listen) = bind(listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let pages = Arc::new(pages::Pages::new(hooks, bounds));
    let thread = thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                match bound.listener() {
                    Ok(listener) => {
                        tokio::spawn(accept(listener, pages, bounds));
                        // An error means that the handle was dropped: the same.
                        let _ = stopped.await;
                    }
                    Err(error) => tracing::error!(%error, "the admin port does not work"),
                }
            });
            // A reload that is running on a blocking thread must not hold up the exit.
            runtime.shutdown_background();
        })?;
    Ok(Server {
        listen,
        stop: Some(stop),
        thread: Some(thread),
    })
}

/// A socket that listens already, before there is a runtime.
enum Bound {
    Tcp(TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// Whatever a request comes by.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens the socket; and where it listens, with its port.
fn bind(listen: &Listen) -> io::Result<(Bound, Listen)> {
    match listen {
        Listen::Tcp(addr) | Listen::Shared(addr) => {
            let listener = listening::tcp(*addr, false)?;
            let addr = listener.local_addr()?;
            Ok((Bound::Tcp(listener), Listen::Tcp(addr)))
        }
        Listen::Inherited(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        Listen::Unix { path, mode } => {
            let listener = listening::unix(path, *mode)?;
            Ok((Bound::Unix(listener), listen.clone()))
        }
    }
}

impl Bound {
    fn listener(self) -> io::Result<Listener> {
        Ok(match self {
            Bound::Tcp(listener) => Listener::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Listener::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
            Listener::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// A connection: what ends it, and whether a request of it is being answered.
struct Open {
    task: tokio::task::AbortHandle,
    busy: Arc<AtomicBool>,
}

async fn accept(listener: Listener, pages: Arc<pages::Pages>, bounds: Bounds) {
    let mut open: VecDeque<Open> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // Out of file descriptors, usually: trying again at once would spin.
                tracing::warn!(%error, "the admin port can't accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if open.len() >= bounds.connections {
            open.retain(|one| !one.task.is_finished());
        }
        if open.len() >= bounds.connections {
            // Whoever sends nothing shall not keep health checks out.
            let idle = open
                .iter()
                .position(|one| !one.busy.load(Ordering::Relaxed));
            match idle.and_then(|place| open.remove(place)) {
                Some(one) => one.task.abort(),
                None => {
                    refuse(stream).await;
                    continue;
                }
            }
        }
        let busy = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(serve(stream, Arc::clone(&pages), bounds, Arc::clone(&busy)));
        open.push_back(Open {
            task: task.abort_handle(),
            busy,
        });
    }
}

/// Tells a connection over the bound why it is closed: a fresh socket takes so little at once.
async fn refuse(mut stream: Box<dyn Stream>) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";
    let _ = stream.write(BUSY).await;
}

async fn serve(
    stream: Box<dyn Stream>,
    pages: Arc<pages::Pages>,
    bounds: Bounds,
    busy: Arc<AtomicBool>,
) {
    let service = service_fn(move |request| {
        let pages = Arc::clone(&pages);
        let busy = Arc::clone(&busy);
        async move {
            busy.store(true, Ordering::Relaxed);
            let answer = pages.answer(request).await;
            busy.store(false, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_header_size(bounds.head)
        .max_buf_size((bounds.head * 2).max(8192))
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(bounds.lifetime, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
        Err(_) => tracing::debug!("admin connection closed after its time"),
    }
}

#[cfg(test)]
mod tests;
