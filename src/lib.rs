//! ringroad: one memcached endpoint in front of many memcached servers.

pub mod admin;
pub mod cli;
pub mod config;
pub mod bench;
pub mod hash;
pub mod protocol;
pub mod log;
