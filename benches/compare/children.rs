//! The processes this program starts, and the certainty that none of them outlives it.
//!
//! Every child is in one registry, which is emptied when `main` returns or panics ([`Guard`]), on
//! Ctrl-C and on SIGTERM; where `setpriv` exists the kernel ends the children even when this program is
//! killed outright. The temporary directory goes the same way.
//!
//! Children must be started from the main thread: the kernel ties that last promise to the thread.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Everything that must be gone at the end.
#[derive(Default)]
struct Registry {
    children: Vec<Child>,
    directory: Option<tempfile::TempDir>,
    closed: bool,
    interrupted: bool,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    children: Vec::new(),
    directory: None,
    closed: false,
    interrupted: false,
});

fn registry() -> MutexGuard<'static, Registry> {
    // A panic elsewhere leaves the registry whole, and is just when it is needed.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends all children when dropped.
pub(crate) struct Guard;

impl Guard {
    /// Makes the temporary directory and begins to listen for signals.
    ///
    /// # Errors
    /// When there can be no temporary directory.
    pub(crate) fn new() -> io::Result<(Self, PathBuf)> {
        let directory = tempfile::Builder::new()
            .prefix("ringroad-compare-")
            .tempdir()?;
        let path = directory.path().to_owned();
        registry().directory = Some(directory);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(end_on_signal)?;
        Ok((Self, path))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        end_all();
    }
}

fn end_all() {
    let mut registry = registry();
    registry.closed = true;
    for child in &mut registry.children {
        // Fails only for a child that has ended already.
        let _ = child.kill();
    }
    for child in &mut registry.children {
        let _ = child.wait();
    }
    registry.children.clear();
    registry.directory = None;
}

fn end_on_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let signals = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        );
        if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
            std::future::poll_fn(|cx| {
                if interrupt.poll_recv(cx).is_ready() {
                    std::task::Poll::Ready(())
                } else {
                    terminate.poll_recv(cx).map(|_| ())
                }
            })
            .await;
            registry().interrupted = true;
            end_all();
            std::process::exit(130);
        }
    });
}

/// Whether a signal is ending this program: whatever fails then fails for that reason.
pub(crate) fn interrupted() -> bool {
    registry().interrupted
}

/// A command that runs `program` so that it dies with this program, where the system can do that.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if has_program("setpriv") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Starts a child and gives its process id.
///
/// # Errors
/// The system's, with the program's name; also when this program is ending.
pub(crate) fn start(command: &mut Command) -> io::Result<u32> {
    let mut registry = registry();
    if registry.closed {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let child = command.spawn().map_err(|error| {
        let program = command.get_program().to_string_lossy();
        io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
    })?;
    let pid = child.id();
    registry.children.push(child);
    Ok(pid)
}

/// Runs a child to its end; gives its status and what it wrote to standard output.
///
/// # Errors
/// The system's; [`io::ErrorKind::TimedOut`] when it takes longer than `limit`, after killing it.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
    command.stdout(std::process::Stdio::piped());
    let pid = start(command)?;
    let stdout = take_stdout(pid);
    let reader = std::thread::spawn(move || {
        let mut out = Vec::new();
        let read = stdout.map(|mut stdout| io::Read::read_to_end(&mut stdout, &mut out));
        read.unwrap_or(Ok(0)).map(|_| out)
    });
    let status = wait(pid, limit)?;
    let out = reader
        .join()
        .map_err(|_| io::Error::other("a reader thread panicked"))??;
    Ok((status, out))
}

/// Waits until child `pid` ends, and forgets it.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when it takes longer than `limit`, after killing it.
pub(crate) fn wait(pid: u32, limit: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match with_child(pid, Child::try_wait) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Err(error)) => return Err(error),
            Some(Ok(Some(status))) => {
                registry().children.retain(|child| child.id() != pid);
                return Ok(status);
            }
            Some(Ok(None)) if Instant::now() > deadline => {
                kill(pid);
                return Err(io::ErrorKind::TimedOut.into());
            }
            Some(Ok(None)) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The standard error of child `pid`, where it was piped and not taken yet.
pub(crate) fn take_stderr(pid: u32) -> Option<ChildStderr> {
    with_child(pid, |child| child.stderr.take())?
}

/// The standard output of child `pid`, where it was piped and not taken yet.
pub(crate) fn take_stdout(pid: u32) -> Option<ChildStdout> {
    with_child(pid, |child| child.stdout.take())?
}

/// How child `pid` ended, if it has.
pub(crate) fn ended(pid: u32) -> Option<ExitStatus> {
    with_child(pid, Child::try_wait)?.ok().flatten()
}

/// Ends child `pid`.
pub(crate) fn kill(pid: u32) {
    with_child(pid, |child| {
        // Fails only for a child that has ended already.
        let _ = child.kill();
        let _ = child.wait();
    });
    registry().children.retain(|child| child.id() != pid);
}

fn with_child<T>(pid: u32, act: impl FnOnce(&mut Child) -> T) -> Option<T> {
    registry()
        .children
        .iter_mut()
        .find(|child| child.id() == pid)
        .map(act)
}

/// Where `name` is in `PATH`, or in the places for administrators' programs that are often not in it.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether `name` can be run.
pub(crate) fn has_program(name: &str) -> bool {
    find_program(name).is_some()
}

/// The last lines of a log file, for messages.
pub(crate) fn tail(path: &Path) -> String {
    const LINES: usize = 8;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    lines
        .get(from..)
        .unwrap_or_default()
        .iter()
        .map(|line| format!("\n    {line}"))
        .collect()
}
