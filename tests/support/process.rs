//! A child process of a test: its output in a file, signals, an exit that is waited for.
//!
//! Whatever happens to the test, the child is gone when the [`Process`] is dropped. When a test fails, the
//! child's output is printed with it.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::{PATIENCE, eventually};

/// A running child.
pub struct Process {
    child: Child,
    name: String,
    output: PathBuf,
    _dir: tempfile::TempDir,
}

impl Process {
    /// Starts `command`; `name` is for failure messages.
    pub fn start(name: &str, command: Command) -> std::io::Result<Process> {
        Process::start_with(name, command, Stdio::null())
    }

    /// As [`Process::start`], with this standard input.
    pub fn start_with(
        name: &str,
        mut command: Command,
        stdin: impl Into<Stdio>,
    ) -> std::io::Result<Process> {
        let dir = tempfile::tempdir()?;
        let output = dir.path().join("output");
        let file = File::create(&output)?;
        let child = command
            .stdin(stdin)
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Process {
            child,
            name: name.to_owned(),
            output,
            _dir: dir,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, both streams.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// The file with what it writes.
    pub fn output_path(&self) -> PathBuf {
        self.output.clone()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal by name (`TERM`, `HUP`, …).
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.pid()))
            .status()
            .unwrap();
        assert!(status.success(), "cannot send SIG{name} to {}", self.name);
    }

    /// Stops it (SIGSTOP), and waits until every thread has stopped.
    pub fn freeze(&self) {
        self.signal("STOP");
        eventually(&format!("{} stops", self.name), || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                // The state follows the name, which is in parentheses.
                stat.rsplit(')')
                    .next()
                    .is_some_and(|rest| rest.starts_with(" T"))
            })
        });
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < end,
                "{} still runs after {PATIENCE:?}",
                self.name
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until `ready` holds; fails with the output if the process ends before.
    #[track_caller]
    pub fn wait_ready(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        eventually(&format!("{}: {what}", self.name), || {
            if ready() {
                return true;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "{} ended with {status} before it was ready ({what}):\n{}",
                    self.name,
                    self.output()
                );
            }
            false
        });
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|l| l.starts_with("VmRSS:"))
            .expect("VmRSS in /proc/PID/status");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let text = self.output();
            let tail: Vec<&str> = text.lines().rev().take(60).collect();
            eprintln!("--- output of {} ---", self.name);
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}
