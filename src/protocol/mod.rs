//! memcached's text protocol, without sockets, clocks or routing.
//!
//! [`request`] takes what clients send apart, [`response`] what servers send, [`meta`] the flags of the
//! meta commands, [`number`] the numbers as memcached reads them, [`operation`] what a request does,
//! [`exptime`] changes times to live, [`scan`] finds where words end; [`error`] is the one list of everything
//! that can go wrong, with its wire text, metric label and log name.
//!
//! The reference is memcached 1.6's behaviour. Where 1.6.18 and 1.6.45 differ, the newer is followed.
//! All parsers work on borrowed bytes, allocate nothing, and give the same result however the bytes were
//! split on the way: they are called again with the same bytes plus more until a request is complete.

pub mod error;
pub mod exptime;
pub mod meta;
pub mod number;
pub mod operation;
pub mod request;
pub mod response;
pub mod scan;
pub mod write;

/// The longest key memcached accepts, in bytes (for base64 keys: of the encoded form).
pub const MAX_KEY: usize = 250;
