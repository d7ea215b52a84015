//! Everything that can go wrong with a request, once: wire text, metric label, log name.
//!
//! The texts of the first group are memcached's own, byte for byte. Those of the second are ringroad's;
//! they all start with `SERVER_ERROR`, so every client library treats them as a server's failure.
//! This module knows nothing of where an error arose.

/// Why a request was refused or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// No such command.
    UnknownCommand,
    /// A command line whose words are missing, too long or not numbers.
    BadFormat,
    /// The data block did not end in `\r\n`.
    BadChunk,
    /// A value over the configured maximum.
    TooLarge,
    /// `incr`/`decr` by something that is not an unsigned 64-bit number.
    BadDelta,
    /// An expiry time that is not a number.
    BadExptime,
    /// A base64 key that does not decode.
    BadKeyEncoding,
    /// A meta flag that comes twice.
    DuplicateFlag,
    /// The same for `ma`, which has its own text.
    InvalidOrDuplicateFlag,
    /// `shutdown`, which a shared endpoint never allows.
    ShutdownDisabled,
    /// `flush_all` without `flush_all = true` in the configuration.
    FlushDisabled,
    /// The server did not answer within the pool's timeout.
    Timeout,
    /// No connection to the server could be made.
    ConnectFailed,
    /// The connection broke after the request had been queued or sent.
    ConnectionLost,
    /// The server is taken out of service after repeated failures (mcrouter calls it TKO).
    MarkedDown,
    /// The destination's queue is full.
    QueueFull,
    /// The server answered something that is not an answer to what was asked.
    BadReply,
    /// The worker is at its memory bound.
    Overloaded,
    /// The route leads to no server.
    NoServer,
    /// A value that is to be stored in parts, whose keys would be longer than keys may be.
    KeyTooLong,
    /// Too many requests wait for their turn, or this one has waited for too long.
    Busy,
}

/// Whose words the errors have that the router answers itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Words {
    /// ringroad's.
    #[default]
    Own,
    /// Those of mcrouter 0.36.
    Mcrouter,
}

impl ErrorKind {
    /// Every kind, in declaration order; `ALL[kind as usize] == kind`.
    pub const ALL: [ErrorKind; 21] = [
        ErrorKind::UnknownCommand,
        ErrorKind::BadFormat,
        ErrorKind::BadChunk,
        ErrorKind::TooLarge,
        ErrorKind::BadDelta,
        ErrorKind::BadExptime,
        ErrorKind::BadKeyEncoding,
        ErrorKind::DuplicateFlag,
        ErrorKind::InvalidOrDuplicateFlag,
        ErrorKind::ShutdownDisabled,
        ErrorKind::FlushDisabled,
        ErrorKind::Timeout,
        ErrorKind::ConnectFailed,
        ErrorKind::ConnectionLost,
        ErrorKind::MarkedDown,
        ErrorKind::QueueFull,
        ErrorKind::BadReply,
        ErrorKind::Overloaded,
        ErrorKind::NoServer,
        ErrorKind::KeyTooLong,
        ErrorKind::Busy,
    ];

    /// The reply line, with its line end.
    pub const fn wire(self) -> &'static [u8] {
        match self {
            ErrorKind::UnknownCommand => b"ERROR\r\n",
            ErrorKind::BadFormat => b"CLIENT_ERROR bad command line format\r\n",
            ErrorKind::BadChunk => b"CLIENT_ERROR bad data chunk\r\n",
            ErrorKind::TooLarge => b"SERVER_ERROR object too large for cache\r\n",
            ErrorKind::BadDelta => b"CLIENT_ERROR invalid numeric delta argument\r\n",
            ErrorKind::BadExptime => b"CLIENT_ERROR invalid exptime argument\r\n",
            ErrorKind::BadKeyEncoding => b"CLIENT_ERROR error decoding key\r\n",
            ErrorKind::DuplicateFlag => b"CLIENT_ERROR duplicate flag\r\n",
            ErrorKind::InvalidOrDuplicateFlag => b"CLIENT_ERROR invalid or duplicate flag\r\n",
            ErrorKind::ShutdownDisabled => b"SERVER_ERROR: shutdown not enabled\r\n",
            ErrorKind::FlushDisabled => b"SERVER_ERROR flush_all is disabled\r\n",
            ErrorKind::Timeout => b"SERVER_ERROR timeout\r\n",
            ErrorKind::ConnectFailed => b"SERVER_ERROR connect failed\r\n",
            ErrorKind::ConnectionLost => b"SERVER_ERROR connection lost\r\n",
            ErrorKind::MarkedDown => b"SERVER_ERROR server is down\r\n",
            ErrorKind::QueueFull => b"SERVER_ERROR too many requests queued\r\n",
            ErrorKind::BadReply => b"SERVER_ERROR bad reply from server\r\n",
            ErrorKind::Overloaded => b"SERVER_ERROR router is out of memory\r\n",
            ErrorKind::NoServer => b"SERVER_ERROR no server for this key\r\n",
            ErrorKind::KeyTooLong => b"SERVER_ERROR key too long for a value in parts\r\n",
            ErrorKind::Busy => b"SERVER_ERROR busy\r\n",
        }
    }

    /// The reply line in these words, with its line end. What memcached itself would say is the same in all.
    pub const fn wire_in(self, words: Words) -> &'static [u8] {
        match (words, self) {
            (Words::Own, _) => self.wire(),
            (Words::Mcrouter, ErrorKind::FlushDisabled) => b"SERVER_ERROR Command disabled\r\n",
            (Words::Mcrouter, ErrorKind::ConnectFailed) => b"SERVER_ERROR connection error\r\n",
            (Words::Mcrouter, ErrorKind::Busy) => b"SERVER_ERROR 307 busy\r\n",
            (Words::Mcrouter, ErrorKind::MarkedDown) => b"SERVER_ERROR unavailable\r\n",
            (Words::Mcrouter, ErrorKind::ConnectionLost | ErrorKind::BadReply) => {
                b"SERVER_ERROR remote error\r\n"
            }
            (
                Words::Mcrouter,
                ErrorKind::QueueFull
                | ErrorKind::Overloaded
                | ErrorKind::NoServer
                | ErrorKind::KeyTooLong,
            ) => b"SERVER_ERROR local error\r\n",
            (Words::Mcrouter, _) => self.wire(),
        }
    }

    /// The value of the `error` label in statistics, and the name in logs.
    pub const fn label(self) -> &'static str {
        match self {
            ErrorKind::UnknownCommand => "unknown_command",
            ErrorKind::BadFormat => "bad_format",
            ErrorKind::BadChunk => "bad_chunk",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::BadDelta => "bad_delta",
            ErrorKind::BadExptime => "bad_exptime",
            ErrorKind::BadKeyEncoding => "bad_key_encoding",
            ErrorKind::DuplicateFlag => "duplicate_flag",
            ErrorKind::InvalidOrDuplicateFlag => "invalid_or_duplicate_flag",
            ErrorKind::ShutdownDisabled => "shutdown_disabled",
            ErrorKind::FlushDisabled => "flush_disabled",
            ErrorKind::Timeout => "timeout",
            ErrorKind::ConnectFailed => "connect_failed",
            ErrorKind::ConnectionLost => "connection_lost",
            ErrorKind::MarkedDown => "marked_down",
            ErrorKind::QueueFull => "queue_full",
            ErrorKind::BadReply => "bad_reply",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::NoServer => "no_server",
            ErrorKind::KeyTooLong => "key_too_long",
            ErrorKind::Busy => "busy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_every_text_is_one_line_a_client_can_parse() {
        let mut labels = std::collections::HashSet::new();
        for (i, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, i);
            assert!(labels.insert(kind.label()));
            assert_eq!(kind.wire_in(Words::Own), kind.wire());
            let theirs = kind.wire_in(Words::Mcrouter);
            assert!(theirs.ends_with(b"\r\n") && !theirs.ends_with(b"\n\r\n"));
            let wire = kind.wire();
            assert_eq!(wire.iter().filter(|b| **b == b'\n').count(), 1);
            assert!(wire.ends_with(b"\r\n"));
            assert!(
                wire.starts_with(b"ERROR")
                    || wire.starts_with(b"CLIENT_ERROR")
                    || wire.starts_with(b"SERVER_ERROR")
            );
        }
    }
}
