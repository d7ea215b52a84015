//! ringroad: one memcached endpoint in front of many memcached servers.

pub mod admin;
pub mod cli;
pub mod config;
pub mod bench;
pub mod app;
pub mod client;
pub mod config;
pub mod hash;
pub mod log;
pub mod protocol;
pub mod log;
pub mod route;
pub mod stats;
pub mod upstream;
pub mod worker;
