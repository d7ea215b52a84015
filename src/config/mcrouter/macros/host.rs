//! What mcrouter's macros may ask about the host: its id, and whether an address is its own.
//!
//! mcrouter takes the first address of the host that is neither loopback nor link-local and hashes it. Here it is
//! the address that packets to elsewhere would leave from, which on a host with one address is the same; the hash
//! of an IPv4 address is mcrouter's. Both questions are put to the system by sockets that send nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// An id of this host that is the same at each start; 0 if it has no address.
pub(in super::super) fn id() -> u32 {
    // Addresses that documentation may use: nobody is asked, only the way there is looked up.
    let targets = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let own = targets.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        let own = socket.local_addr().ok()?.ip();
        (!own.is_loopback() && !own.is_unspecified()).then_some(own)
    });
    own.map_or(0, hash)
}

fn hash(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => hash_v4(v4),
        IpAddr::V6(v6) => crate::hash::spooky32(&v6.octets(), 0),
    }
}

/// FNV-1 over the bytes as signed numbers, mixed with the number of the address family.
fn hash_v4(address: Ipv4Addr) -> u32 {
    let hashed = address.octets().iter().fold(0x811c_9dc5_u32, |hash, byte| {
        hash.wrapping_mul(0x0100_0193) ^ i32::from(*byte as i8) as u32
    });
    crate::hash::mix(2, u64::from(hashed)) as u32
}

/// Whether an address is one of this host's; what is no address is not.
pub(super) fn is_local(text: &str) -> bool {
    let Ok(address) = text.parse::<IpAddr>() else {
        return false;
    };
    !address.is_unspecified() && UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from mcrouter 0.36.
    #[test]
    fn the_id_of_an_address_is_that_of_mcrouter() {
        for (address, id) in [
            ([10, 244, 1, 7], 1_269_154_689),
            ([10, 0, 0, 1], 3_131_136_340),
            ([10, 0, 0, 2], 146_342_521),
            ([192, 168, 1, 10], 2_220_865_485),
            ([172, 17, 0, 2], 1_314_283_611),
            ([8, 8, 8, 8], 519_355_964),
            ([10, 9, 8, 7], 3_861_243_157),
        ] {
            assert_eq!(hash_v4(address.into()), id, "{address:?}");
        }
    }

    #[test]
    fn the_host_is_always_the_same() {
        assert_eq!(id(), id());
        assert!(is_local("127.0.0.1"));
        assert!(!is_local("192.0.2.77") && !is_local("localhost") && !is_local(""));
    }
}
