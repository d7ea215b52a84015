//! How requests failed, in mcrouter's terms: each failure of a request to a server, and what clients got in the end.
//!
//! The difference are requests that failed and went on to another server, and those whose answer nobody waits for. One
//! is written by one worker like other counters; all of it is counted where something has failed already.

use super::Counter;
use crate::protocol::error::ErrorKind;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Failed {
    /// No connection.
    ConnectError,
    /// No answer in time.
    DataTimeout,
    /// `SERVER_ERROR 307`
    Busy,
    /// The server is out of service.
    Tko,
    /// `CLIENT_ERROR`
    ClientError,
    /// It could not be sent.
    LocalError,
    /// Any other error of a server, or of the connection to it.
    RemoteError,
}

impl Failed {
    /// Every kind with mcrouter's name; in declaration order.
    pub const ALL: [(&'static str, Failed); 7] = [
        ("connect_error", Failed::ConnectError),
        ("data_timeout", Failed::DataTimeout),
        ("busy", Failed::Busy),
        ("tko", Failed::Tko),
        ("client_error", Failed::ClientError),
        ("local_error", Failed::LocalError),
        ("remote_error", Failed::RemoteError),
    ];

    /// mcrouter's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Failed::ALL
            .get(self as usize)
            .map_or("unknown", |(name, _)| *name)
    }

    /// That of a failure here.
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Failed {
        match kind {
            ErrorKind::Timeout => Failed::DataTimeout,
            ErrorKind::ConnectFailed => Failed::ConnectError,
            ErrorKind::MarkedDown => Failed::Tko,
            ErrorKind::Busy => Failed::Busy,
            ErrorKind::ConnectionLost | ErrorKind::BadReply => Failed::RemoteError,
            ErrorKind::QueueFull | ErrorKind::Overloaded | ErrorKind::NoServer => {
                Failed::LocalError
            }
            _ => Failed::ClientError,
        }
    }

    /// That of an error line.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Failed {
        if line.starts_with(b"CLIENT_ERROR") {
            Failed::ClientError
        } else if line.starts_with(b"SERVER_ERROR 307") {
            Failed::Busy
        } else {
            Failed::RemoteError
        }
    }
}

/// How often requests failed in each way.
#[derive(Debug, Default)]
pub struct Results {
    last: [Counter; Failed::ALL.len()],
    all: [Counter; Failed::ALL.len()],
}

impl Results {
    /// A client's request ended with this failure, shown or answered as a miss.
    #[cold]
    pub fn ended(&self, failed: Failed) {
        if let Some(counter) = self.last.get(failed as usize) {
            counter.inc();
        }
    }

    /// A request to a server failed.
    #[cold]
    pub fn failed(&self, failed: Failed) {
        if let Some(counter) = self.all.get(failed as usize) {
            counter.inc();
        }
    }

    /// By mcrouter's names: how often requests of clients ended so, and how often requests to servers failed so.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let counts = self.last.iter().zip(&self.all);
        let named = Failed::ALL.iter().zip(counts);
        named.map(|((name, _), (last, all))| (*name, last.get(), all.get()))
    }
}

/// How often requests to a server failed in each way.
#[derive(Debug, Default)]
pub struct ByKind([Counter; Failed::ALL.len()]);

impl ByKind {
    /// So many more failed so.
    #[cold]
    pub fn add(&self, failed: Failed, requests: u64) {
        if let Some(counter) = self.0.get(failed as usize) {
            counter.add(requests);
        }
    }

    /// How often, by kind; in declaration order.
    pub fn values(&self) -> impl Iterator<Item = (Failed, u64)> {
        let counts = self.0.iter().map(Counter::get);
        let kinds = Failed::ALL.iter().map(|(_, failed)| *failed);
        kinds.zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_under_its_name() {
        for (index, (name, failed)) in Failed::ALL.into_iter().enumerate() {
            assert_eq!(failed as usize, index);
            let results = Results::default();
            results.ended(failed);
            results.failed(failed);
            results.failed(failed);
            let counted: Vec<_> = results.values().filter(|(_, last, _)| *last > 0).collect();
            assert_eq!(counted, [(name, 1, 2)]);
            let of_server = ByKind::default();
            of_server.add(failed, 3);
            let counted: Vec<_> = of_server.values().filter(|(_, count)| *count > 0).collect();
            assert_eq!((counted, failed.name()), (vec![(failed, 3)], name));
        }
        assert_eq!(Failed::of_line(b"SERVER_ERROR 307 busy\r\n"), Failed::Busy);
        assert_eq!(Failed::of_line(b"ERROR\r\n"), Failed::RemoteError);
    }
}
