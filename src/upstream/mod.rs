//! Connections to memcached servers: queueing, matching replies to requests, health. No sockets.

pub mod conn;
pub mod health;
pub mod keys;
mod matcher;
mod types;
