//! Connections to memcached servers: queueing, matching replies to requests, health, what they are owed. No sockets.

pub mod conn;
pub mod health;
pub mod keys;
mod matcher;
pub mod owed;
mod types;
