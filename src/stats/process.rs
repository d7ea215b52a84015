//! What the kernel's books say of this process. Where there are no such books, figures are missing.

use std::fs;
use std::path::Path;

/// Figures of this process.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// Bytes in memory.
    pub resident_bytes: Option<u64>,
    /// Bytes of address space.
    pub virtual_bytes: Option<u64>,
    /// Files and sockets that are open.
    pub open_files: Option<u64>,
    /// How many may be open.
    pub max_files: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Process {
    /// As they are now.
    pub(crate) fn now() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let kib = |name: &str| figure(name).map(|kib| kib * 1024);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Process {
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            open_files: count(Path::new("/proc/self/fd")),
            max_files: limit.current,
            threads: figure("Threads:"),
        }
    }
}

/// The open files but for the one that lists them.
fn count(dir: &Path) -> Option<u64> {
    let entries = fs::read_dir(dir).ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

/// CPU seconds of this process, user and system, from the kernel's books; zeros where there are none.
pub fn cpu_seconds() -> (f64, f64) {
    let Ok(text) = std::fs::read_to_string("/proc/self/stat") else {
        return (0.0, 0.0);
    };
    // The command's name may hold spaces; everything after its closing bracket is numbers.
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |i: usize| -> f64 {
        fields
            .get(i)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
            // Linux counts these in hundredths everywhere.
            / 100.0
    };
    (ticks(11), ticks(12))
}

/// Page faults of this process that took no reading, and those that did; zeros where there are no books.
pub(crate) fn faults() -> (u64, u64) {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // As above.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let field = |index: usize| {
        let field = rest.split_whitespace().nth(index);
        field.and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    (field(7), field(9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_is_counted() {
        // Other tests of this process open and close files, too.
        let files = || Process::now().open_files.unwrap();
        let many: Vec<fs::File> = (0..200)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let with = files();
        drop(many);
        assert!(with >= 200, "{with}");
        let process = Process::now();
        assert!(process.resident_bytes.unwrap() > 1 << 20);
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.max_files >= process.open_files);
        assert!(process.threads.unwrap() >= 1);
    }
}
