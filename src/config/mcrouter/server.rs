//! A server in mcrouter's notation: `host:port[:protocol[:security[:compression]]]`, or `unix:/path` with the same end.

use super::super::{AddressError, ServerAddr};

/// What a server is written as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) addr: ServerAddr,
    /// Its protocol, if it says so.
    pub(super) protocol: Option<String>,
    /// Its transport, if it says so.
    pub(super) security: Option<String>,
}

/// Reads a server.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(super) fn parse(text: &str) -> Result<Written, AddressError> {
    let fields = |rest: &str, at_most: usize| -> Result<Vec<String>, AddressError> {
        let fields: Vec<String> = rest.split(':').map(str::to_owned).collect();
        if fields.len() > at_most || fields.iter().any(String::is_empty) {
            return Err(AddressError {
                message: "this is no server".to_owned(),
                help: "write host:port[:protocol[:security[:compression]]]".to_owned(),
            });
        }
        Ok(fields)
    };
    let (addr, rest) = if let Some(path) = text.strip_prefix("unix:") {
        let (path, rest) = path.split_once(':').unwrap_or((path, ""));
        (format!("unix:{path}"), rest)
    } else {
        // The colons of an IPv6 address are inside of brackets.
        let host_end = match text.starts_with('[') {
            true => text.find(']').unwrap_or(text.len()),
            false => 0,
        };
        let (host, after) = text.split_at(host_end);
        let mut parts = after.splitn(3, ':');
        let rest_of_host = parts.next().unwrap_or("");
        let port = parts.next().map(|port| format!(":{port}"));
        let rest = parts.next().unwrap_or("");
        (
            format!("{host}{rest_of_host}{}", port.unwrap_or_default()),
            rest,
        )
    };
    let addr = addr.parse()?;
    let mut rest = match rest {
        "" => Vec::new(),
        rest => fields(rest, 3)?,
    }
    .into_iter();
    let written = Written {
        addr,
        protocol: rest.next(),
        security: rest.next(),
    };
    match rest.next().as_deref() {
        None | Some("compressed" | "notcompressed") => Ok(written),
        Some(other) => Err(AddressError {
            message: format!("\"{}\" is no compression", other.escape_debug()),
            help: "write compressed or notcompressed, or leave it out".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read() {
        for (text, addr, protocol, security) in [
            ("127.0.0.1:5000", "127.0.0.1:5000", None, None),
            ("[::1]:11211", "[::1]:11211", None, None),
            ("[::1]:11211:ascii", "[::1]:11211", Some("ascii"), None),
            (
                "cache-0.svc:1:ascii:plain:notcompressed",
                "cache-0.svc:1",
                Some("ascii"),
                Some("plain"),
            ),
            ("unix:/run/m.sock", "unix:/run/m.sock", None, None),
            (
                "unix:/run/m.sock:ascii:plain",
                "unix:/run/m.sock",
                Some("ascii"),
                Some("plain"),
            ),
            ("h:1:caret:ssl", "h:1", Some("caret"), Some("ssl")),
        ] {
            let got = parse(text).unwrap();
            assert_eq!(got.addr.to_string(), addr);
            assert_eq!(got.protocol.as_deref(), protocol);
            assert_eq!(got.security.as_deref(), security);
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            "host",
            "host:",
            "host:0",
            "host:99999",
            "::1:11211",
            "[::1]",
            "[::1",
            "h:1:a:b:c:d",
            "h:1:ascii:plain:zipped",
            "h:1::plain",
            "unix:",
            "bad host:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// Whatever is written gets an answer.
        #[test]
        fn any_text_is_answered(text in "(unix:)?\\[?[a-z0-9:.\\]/é]{0,30}") {
            let _ = parse(&text);
        }
    }
}
