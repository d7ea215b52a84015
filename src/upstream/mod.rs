//! Connections to memcached servers: queueing, matching replies to requests, health, what they are owed. No sockets.

pub mod conn;
mod fail_open;
pub mod health;
pub mod keys;
pub mod leases;
mod matcher;
pub mod owed;
pub mod tko;
mod types;
