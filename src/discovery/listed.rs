//! A member as a list names it: a file or a configuration endpoint, whose host names may still have to be resolved.

use std::net::SocketAddr;

use super::{Identity, Sighting};
use crate::config::ServerAddr;

/// A member of a list, before its host name is resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What the ring hashes: the name that the list gives, else the address as written.
    pub name: String,
    /// [`Identity::Ip`] if there is nothing but an IP address, else [`Identity::Configured`].
    pub identity: Identity,
    /// An address or a host name, never a unix socket.
    pub addr: ServerAddr,
    /// Its weight, if the list gives one; finite and not negative.
    pub weight: Option<f64>,
}

impl Listed {
    /// The host and port that have to be resolved; none if the address is there already.
    #[must_use]
    pub fn to_resolve(&self) -> Option<(&str, u16)> {
        match &self.addr {
            ServerAddr::Name { host, port } => Some((host, *port)),
            _ => None,
        }
    }

    /// What a source shows of it: with the address that the list gives, else with those that its host name has.
    #[must_use]
    pub fn sighting(&self, resolved: Vec<SocketAddr>) -> Sighting {
        Sighting {
            name: self.name.clone(),
            identity: self.identity,
            addrs: match self.addr {
                ServerAddr::Tcp(addr) => vec![addr],
                _ => resolved,
            },
            weight: self.weight,
        }
    }
}
