//! What the benches of the request path share: load, servers that answer it, and a router without sockets.
//!
//! Everything is made from fixed seeds and nothing depends on a clock, an address or a random hash state, so
//! that two runs do exactly the same; the instruction counts rest on that. Every reply is compared with what
//! the client must get: a bench that measures something wrong stops instead.
//!
//! - [`load`]: requests of many clients, turn by turn, with the replies that are right.
//! - [`server`]: memcached as far as that load needs it; it has every item.
//! - [`router`]: `ringroad::worker::core` driven as the socket driver drives it.
//! - [`metered`]: the calls into the core whose instructions are counted.

// Each bench is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod load;
pub mod metered;
pub mod router;
pub mod server;
