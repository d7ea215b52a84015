//! One deletion as a line: mcrouter's two formats, written and read.
//!
//! ```text
//! v1  ["AS1.0",1795151056.27,"C",["127.0.0.1",11211,"delete key\r\n"]]
//! v2  ["AS2.0",1795151056.27,"C",{"a":{"al":1},"f":"unknown","h":"[127.0.0.1]:11211","k":"key","p":"pool","r":"","s":"mcrouter"}]
//! ```
//!
//! Bytes of keys that are no UTF-8 stand in the text as they are, in mcrouter's files and in these.
//! What is read may have been written by anybody: a line is a deletion of one valid key at one server, or it is refused.
//! So nobody who can write to the directory can have other commands sent. Pure: no files, no clock.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, Visitor};

use crate::config::{ServerAddr, Spool, SpoolFormat};

/// The longest key, memcached's own bound, in bytes.
pub const MAX_KEY: usize = 250;

/// The longest line that is read, in bytes. mcrouter's attributes may be long.
pub const MAX_LINE: usize = 64 << 10;

/// A server as lines name it: as it is configured, not where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its address, its name, or the path of its socket.
    pub host: String,
    /// Its port; 0 for a socket.
    pub port: u16,
}

impl Place {
    /// How a server is named that is configured with this name and address.
    pub fn of(name: &str, addr: &ServerAddr) -> Place {
        let place = |host: &str, port| Place {
            host: host.to_owned(),
            port,
        };
        match addr {
            ServerAddr::Tcp(addr) => place(&addr.ip().to_string(), addr.port()),
            ServerAddr::Name { host, port } => place(host, *port),
            ServerAddr::Unix(path) => place(&path.to_string_lossy(), 0),
            // Its addresses change; its name stays.
            ServerAddr::Found(addrs) => match name.parse() {
                Ok(ServerAddr::Found(_)) | Err(_) => {
                    place(name, addrs.first().map_or(0, std::net::SocketAddr::port))
                }
                Ok(addr) => Place::of(name, &addr),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.as_str(), self.port) {
            (path, 0) if path.starts_with('/') => f.write_str(path),
            (host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// A deletion that could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The server that has to be told.
    pub place: Place,
    /// What is to be deleted.
    pub key: Vec<u8>,
    /// The pool, or what its route calls it here.
    pub pool: String,
}

/// Why a line can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Neither format.
    #[error("it is no line of a spool")]
    Form,
    /// Something else than the deletion of one key.
    #[error("it is not the deletion of one key")]
    Command,
}

/// Whether a key can stand in a text command.
pub fn is_key(key: &[u8]) -> bool {
    let ends = |b: &u8| matches!(b, 0 | b' ' | b'\r' | b'\n');
    (1..=MAX_KEY).contains(&key.len()) && !key.iter().any(ends)
}

/// Appends a deletion as a line, with its end. `millis` is the time since 1970.
pub fn write(deletion: &Deletion, millis: u64, spool: &Spool, out: &mut Vec<u8>) {
    let Deletion { place, key, pool } = deletion;
    let mut fraction = format!("{}.{:03}", millis / 1000, millis % 1000);
    while fraction.ends_with('0') {
        fraction.pop();
    }
    let seconds = fraction.trim_end_matches('.');
    match spool.format {
        SpoolFormat::V1 => {
            out.extend_from_slice(format!("[\"AS1.0\",{seconds},\"C\",[\"").as_bytes());
            escape(place.host.as_bytes(), out);
            out.extend_from_slice(format!("\",{},\"delete ", place.port).as_bytes());
            escape(key, out);
            out.extend_from_slice(b"\\r\\n\"]]\n");
        }
        SpoolFormat::V2 => {
            out.extend_from_slice(
                format!("[\"AS2.0\",{seconds},\"C\",{{\"a\":{{\"al\":1}}").as_bytes(),
            );
            let server = format!("[{}]:{}", place.host, place.port);
            for (name, value) in [
                ("f", spool.flavor.as_bytes()),
                ("h", server.as_bytes()),
                ("k", key),
                ("p", pool.as_bytes()),
                ("r", spool.region.as_bytes()),
                ("s", spool.service_name.as_bytes()),
            ] {
                out.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
                escape(value, out);
                out.push(b'"');
            }
            out.extend_from_slice(b"}]\n");
        }
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => out.push(*byte),
        }
    }
}

/// Text that need not be UTF-8.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes(text.as_bytes().to_vec()))
            }
        }
        deserializer.deserialize_bytes(Any)
    }
}

impl Bytes {
    fn text(self) -> Result<String, Unreadable> {
        String::from_utf8(self.0).map_err(|_| Unreadable::Form)
    }
}

#[derive(serde::Deserialize)]
struct V2 {
    h: Bytes,
    k: Bytes,
    #[serde(default)]
    p: Bytes,
}

/// Reads a line without its end.
///
/// # Errors
/// [`Unreadable`]: it is not one.
pub fn read(line: &[u8]) -> Result<Deletion, Unreadable> {
    type Line<T> = (Bytes, IgnoredAny, IgnoredAny, T);
    if let Ok((version, _, _, (host, port, command))) =
        serde_json::from_slice::<Line<(Bytes, u16, Bytes)>>(line)
    {
        if version.0 != b"AS1.0" {
            return Err(Unreadable::Form);
        }
        let key = command.0.strip_prefix(b"delete ");
        let key = key.and_then(|key| key.strip_suffix(b"\r\n"));
        let place = Place {
            host: host.text()?,
            port,
        };
        return checked(place, key.unwrap_or_default().to_vec(), String::new());
    }
    let (version, _, _, V2 { h, k, p }) =
        serde_json::from_slice::<Line<V2>>(line).map_err(|_| Unreadable::Form)?;
    if version.0 != b"AS2.0" {
        return Err(Unreadable::Form);
    }
    let server = h.text()?;
    let (host, port) = server
        .strip_prefix('[')
        .and_then(|rest| rest.rsplit_once("]:"))
        .ok_or(Unreadable::Form)?;
    let place = Place {
        host: host.to_owned(),
        port: port.parse().map_err(|_| Unreadable::Form)?,
    };
    checked(place, k.0, String::from_utf8_lossy(&p.0).into_owned())
}

fn checked(place: Place, key: Vec<u8>, pool: String) -> Result<Deletion, Unreadable> {
    match is_key(&key) && !place.host.is_empty() {
        true => Ok(Deletion { place, key, pool }),
        false => Err(Unreadable::Command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spool(format: SpoolFormat) -> Spool {
        let mut spool = Spool::new("/x");
        spool.format = format;
        spool.service_name = "mcrouter".to_owned();
        spool
    }

    fn deletion(host: &str, port: u16, key: &[u8], pool: &str) -> Deletion {
        Deletion {
            place: Place {
                host: host.to_owned(),
                port,
            },
            key: key.to_vec(),
            pool: pool.to_owned(),
        }
    }

    fn line(deletion: &Deletion, millis: u64, format: SpoolFormat) -> String {
        let mut out = Vec::new();
        write(deletion, millis, &spool(format), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn lines_are_mcrouter_s_to_the_byte() {
        let dead = deletion("127.0.0.1", 1, b"dead1", "A");
        assert_eq!(
            line(&dead, 1_795_151_056_270, SpoolFormat::V1),
            "[\"AS1.0\",1795151056.27,\"C\",[\"127.0.0.1\",1,\"delete dead1\\r\\n\"]]\n"
        );
        assert_eq!(
            line(&dead, 1_795_151_056_005, SpoolFormat::V2),
            "[\"AS2.0\",1795151056.005,\"C\",{\"a\":{\"al\":1},\"f\":\"unknown\",\"h\":\"[127.0.0.1]:1\",\"k\":\"dead1\",\"p\":\"A\",\"r\":\"\",\"s\":\"mcrouter\"}]\n"
        );
        let whole = line(
            &deletion("::1", 11211, b"\"\\", ""),
            1_795_151_000_000,
            SpoolFormat::V1,
        );
        assert_eq!(
            whole,
            "[\"AS1.0\",1795151000,\"C\",[\"::1\",11211,\"delete \\\"\\\\\\r\\n\"]]\n"
        );
    }

    #[test]
    fn lines_of_a_real_mcrouter_are_read() {
        let seen = br#"["AS1.0",1795151392.5210001,"C",["127.0.0.1",21299,"delete foo\r\n"]]"#;
        assert_eq!(read(seen), Ok(deletion("127.0.0.1", 21299, b"foo", "")));
        // With attributes, in any order, with what a later version may add.
        let seen = br#"["AS2.0", 1.5, "C", {"x":[1], "s":"m", "r":"", "k":"a\u00e9", "h":"[fd00::1]:5", "p":"B", "f":"", "a":{"al":1,"z":{}}}]"#;
        assert_eq!(read(seen), Ok(deletion("fd00::1", 5, "aé".as_bytes(), "B")));
    }

    #[test]
    fn only_the_deletion_of_a_key_is_read() {
        let long = format!(
            r#"["AS1.0",1,"C",["h",1,"delete {}\r\n"]]"#,
            "k".repeat(251)
        );
        for (text, want) in [
            ("", Unreadable::Form),
            ("[]", Unreadable::Form),
            ("{}", Unreadable::Form),
            (
                r#"["AS1.0",1795151056.27,"C",["127.0.0.1",11211,"del"#,
                Unreadable::Form,
            ),
            (
                r#"["AS3.0",1,"C",["h",1,"delete k\r\n"]]"#,
                Unreadable::Form,
            ),
            (r#"["AS1.0",1,"C",{"h":"[h]:1","k":"k"}]"#, Unreadable::Form),
            (
                r#"["AS2.0",1,"C",["h",1,"delete k\r\n"]]"#,
                Unreadable::Form,
            ),
            (
                r#"["AS1.0",1,"C",["h",70000,"delete k\r\n"]]"#,
                Unreadable::Form,
            ),
            (r#"["AS2.0",1,"C",{"h":"h:1","k":"k"}]"#, Unreadable::Form),
            (r#"["AS2.0",1,"C",{"h":"[h]:x","k":"k"}]"#, Unreadable::Form),
            (r#"["AS1.0",1,"C",["h",1,"delete k"]]"#, Unreadable::Command),
            (
                r#"["AS1.0",1,"C",["h",1,"delete k 0\r\n"]]"#,
                Unreadable::Command,
            ),
            (
                r#"["AS1.0",1,"C",["h",1,"delete \r\n"]]"#,
                Unreadable::Command,
            ),
            (
                r#"["AS1.0",1,"C",["h",1,"flush_all\r\n"]]"#,
                Unreadable::Command,
            ),
            (
                r#"["AS1.0",1,"C",["h",1,"delete k\r\nflush_all\r\n"]]"#,
                Unreadable::Command,
            ),
            (
                r#"["AS2.0",1,"C",{"h":"[h]:1","k":"k\r\nflush_all"}]"#,
                Unreadable::Command,
            ),
            (
                r#"["AS1.0",1,"C",["",1,"delete k\r\n"]]"#,
                Unreadable::Command,
            ),
            (&long, Unreadable::Command),
        ] {
            assert_eq!(read(text.as_bytes()), Err(want), "{text}");
        }
    }

    #[test]
    fn a_server_is_called_what_it_is_configured_as() {
        for (name, addr, want) in [
            ("x", "10.0.0.1:11211", "10.0.0.1:11211"),
            ("x", "cache-0.example:11211", "cache-0.example:11211"),
            ("x", "[::1]:5", "[::1]:5"),
            ("x", "unix:/run/m.sock", "/run/m.sock"),
        ] {
            assert_eq!(Place::of(name, &addr.parse().unwrap()).to_string(), want);
        }
        let found = ServerAddr::Found(vec![([10, 1, 1, 1], 7).into()]);
        assert_eq!(
            Place::of("cache-0.a:11", &found).to_string(),
            "cache-0.a:11"
        );
        assert_eq!(Place::of("cache-0", &found).to_string(), "cache-0:7");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            host in "[a-z0-9.:_-]{1,30}|/[a-z/]{0,20}", port: u16, millis in 0u64..9_000_000_000_000,
            key in proptest::collection::vec(1u8..=0xff, 1..=250), pool in ".{0,20}", v2: bool
        ) {
            let mut key = key;
            key.retain(|b| is_key(&[*b]));
            prop_assume!(!key.is_empty());
            let format = if v2 { SpoolFormat::V2 } else { SpoolFormat::V1 };
            let mut one = deletion(&host, port, &key, &pool);
            let mut out = Vec::new();
            write(&one, millis, &spool(format), &mut out);
            prop_assert_eq!(out.pop(), Some(b'\n'));
            prop_assert!(!out.contains(&b'\n') && out.len() < MAX_LINE);
            if !v2 {
                // That format does not have it.
                one.pool.clear();
            }
            prop_assert_eq!(read(&out), Ok(one));
        }

        #[test]
        fn anything_is_read_or_refused(line: Vec<u8>) {
            if let Ok(one) = read(&line) {
                prop_assert!(is_key(&one.key));
            }
        }

        #[test]
        fn half_a_line_is_no_line(key in "[a-z]{1,40}", at in 0usize..60) {
            let mut out = Vec::new();
            write(&deletion("h", 1, key.as_bytes(), "p"), 1, &spool(SpoolFormat::V1), &mut out);
            out.pop();
            let half = &out[..at.min(out.len() - 1)];
            prop_assert_eq!(read(half), Err(Unreadable::Form));
        }
    }
}
