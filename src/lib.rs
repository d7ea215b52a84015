//! ringroad: one memcached endpoint in front of many memcached servers.

pub mod hash;
pub mod protocol;
