//! Names: what may be asked for, and what a member may be called.
//!
//! A member's name goes into the ring, the log, metrics and pages, so it is held to letters, digits, `_`, `-` and `.`,
//! in lower case. A target directly below the Service is called by its first label, as its pod is; any other target
//! by its whole name. What another member is called has no part in it: a name never changes because somebody came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::rr::Name;

use crate::discovery::{Failure, FailureKind};

/// A host name as it may stand in a configuration, as an absolute name in lower case.
///
/// # Errors
/// It has odd bytes, or labels that are empty or too long, or it is too long.
pub(super) fn host(text: &str) -> Result<Name, Failure> {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let labels: Option<Vec<Vec<u8>>> = labels
        .map(|label| {
            let fits = !label.is_empty() && label.bytes().all(is_plain);
            fits.then(|| label.to_ascii_lowercase().into_bytes())
        })
        .collect();
    let name = labels.and_then(|labels| {
        let labels = labels.iter().map(Vec::as_slice);
        Name::from_labels(labels).ok()
    });
    name.ok_or_else(|| {
        let shown: String = text
            .chars()
            .take(100)
            .flat_map(char::escape_debug)
            .collect();
        Failure::new(
            FailureKind::Unusable,
            format!("`{shown}` is not a host name"),
        )
    })
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// What to call the member that `target` names, below any of `services` or elsewhere. None if it has odd bytes.
pub(super) fn member(target: &Name, services: &[&Name]) -> Option<String> {
    if is_below(target, services) {
        return plain(target.iter().take(1));
    }
    whole(target)
}

/// The whole of a name without its last dot. None if it has odd bytes.
pub(super) fn whole(target: &Name) -> Option<String> {
    plain(target.iter())
}

fn plain<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut name = String::new();
    for label in labels {
        if !label.iter().copied().all(is_plain) {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
    }
    (!name.is_empty()).then_some(name)
}

/// The label of the member whose address points back to `target`, if that lies directly below one of `services`.
pub(super) fn pointed(target: &Name, services: &[&Name]) -> Option<String> {
    is_below(target, services)
        .then(|| plain(target.iter().take(1)))
        .flatten()
}

fn is_below(target: &Name, services: &[&Name]) -> bool {
    services.iter().any(|service| {
        target.num_labels() == service.num_labels().saturating_add(1) && service.zone_of(target)
    })
}

/// The address that a label spells: what stands in for the host name of a pod that has none.
pub(super) fn dashed(label: &str) -> Option<IpAddr> {
    let v4 = || label.replace('-', ".").parse::<Ipv4Addr>().ok();
    let v6 = || label.replace('-', ":").parse::<Ipv6Addr>().ok();
    v4().map(IpAddr::V4).or_else(|| v6().map(IpAddr::V6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn members_are_called_by_their_label_below_the_service_and_by_their_whole_name_elsewhere() {
        let service = name("mc.default.svc.cluster.local.");
        let services = [&service];
        let call = |target: &str| member(&name(target), &services);
        assert_eq!(call("Mc-0.mc.DEFAULT.svc.cluster.local.").unwrap(), "mc-0");
        assert_eq!(call("a.b.mc.default.svc.cluster.local.").unwrap().len(), 32);
        assert_eq!(call("node1.dc1.consul.").unwrap(), "node1.dc1.consul");
        assert_eq!(call("mc.default.svc.cluster.local.").unwrap().len(), 28);
        assert_eq!(call("."), None);
        let odd = Name::from_labels([b"a b".as_slice(), b"c"]).unwrap();
        assert_eq!(member(&odd, &services), None);
        let dot = Name::from_labels([b"a.b".as_slice(), b"c"]).unwrap();
        assert_eq!(member(&dot, &services), None);
        for byte in [0, b'\n', b'"', 0x80, 0xff] {
            let odd = service.prepend_label([byte].as_slice()).unwrap();
            assert_eq!(member(&odd, &services), None);
        }
    }

    #[test]
    fn addresses_point_back_to_members_only_below_the_service() {
        let service = name("mc.default.svc.cluster.local.");
        let call = |target: &str| pointed(&name(target), &[&service]);
        assert_eq!(call("mc-0.mc.default.svc.cluster.local.").unwrap(), "mc-0");
        for other in [
            "mc.default.svc.cluster.local.",
            "a.b.mc.default.svc.cluster.local.",
            "mc-0.other.default.svc.cluster.local.",
            "localhost.",
            ".",
        ] {
            assert_eq!(call(other), None, "{other}");
        }
    }

    #[test]
    fn host_names_are_held_to_plain_labels() {
        assert_eq!(host("Cache_1.x.").unwrap().to_ascii(), "cache_1.x.");
        let long = "a.".repeat(127);
        assert!(host(&long).is_ok());
        for bad in [
            "", ".", "a..b", ".a", "a b", "a\n", "ä", "a\\.b", "*", "a/b", "[::1]",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
        assert!(host(&"a.".repeat(128)).is_err());
        assert!(host(&"x".repeat(64)).is_err());
    }

    #[test]
    fn labels_that_spell_an_address_are_known() {
        assert_eq!(dashed("10-1-2-3").unwrap().to_string(), "10.1.2.3");
        assert_eq!(dashed("fd00--7").unwrap().to_string(), "fd00::7");
        for other in ["mc-0", "1-2-3", "256-1-1-1", "a-b-c-d", ""] {
            assert_eq!(dashed(other), None, "{other}");
        }
    }
}
