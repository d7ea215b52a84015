//! Addresses to listen on and addresses of servers.
//!
//! Both are written `host:port` or `unix:/path`. To listen takes an address of this machine, never a name, because a
//! name may mean several; a server may be a name, which is looked up at each connect. Every refusal names the
//! mistake that was probably made: a missing port, an IPv6 address without brackets, twemproxy's `host:port:weight`.
//!
//! The module knows nothing of TOML; the command line uses it too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Permission bits of a listening unix socket when none are given: the owner alone, as memcached has it.
pub const DEFAULT_SOCKET_MODE: u32 = 0o700;

/// The longest path a unix socket may have on Linux, its closing zero byte left out.
const MAX_SOCKET_PATH: usize = 107;

/// Where clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A TCP address. `[::]` means every address of the machine, IPv4 and IPv6; that is also what `:5000` becomes.
    Tcp(SocketAddr),
    /// A TCP address on which another process of the same user may listen, too (`SO_REUSEPORT`), so that one can take
    /// over from another without a moment in which nobody listens.
    Shared(SocketAddr),
    /// A unix socket.
    Unix {
        /// The path of the socket. A socket left there by an earlier process is replaced.
        path: PathBuf,
        /// Its permission bits, such as `0o700`.
        mode: u32,
    },
    /// The socket with this number, which the process was started with. No file can ask for it; see `--listen-sock-fd` in
    /// [`crate::docs::mcrouter`].
    Inherited(i32),
}

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddr {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A host name, looked up at each connect.
    Name {
        /// The name as written.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
    /// The addresses of one server that was found; tried in turn. Never written in a file. None while its name
    /// doesn't resolve.
    Found(Vec<SocketAddr>),
}

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct AddressError {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

fn refuse<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, AddressError> {
    Err(AddressError {
        message: message.into(),
        help: help.into(),
    })
}

impl FromStr for Listen {
    type Err = AddressError;

    /// Reads `127.0.0.1:5000`, `[::1]:5000`, `:5000` (every address) or `unix:/run/ringroad.sock`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix {
                path: socket_path(path)?,
                mode: DEFAULT_SOCKET_MODE,
            });
        }
        if let Ok(addr) = text.parse() {
            return Ok(Self::Tcp(addr));
        }
        let (host, port) = split_port(text, "127.0.0.1:5000")?;
        match host {
            "" | "*" => Ok(Self::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))),
            "localhost" => refuse(
                "a listener needs an address, not a name",
                format!("write \"127.0.0.1:{port}\", and \"[::1]:{port}\" beside it for IPv6"),
            ),
            _ => refuse(
                "a listener needs an address, not a name",
                format!("write an address of this machine, or \":{port}\" for all of them"),
            ),
        }
    }
}

impl FromStr for ServerAddr {
    type Err = AddressError;

    /// Reads `10.0.0.1:11211`, `[fd00::1]:11211`, `cache-0.example:11211` or `unix:/run/memcached.sock`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(socket_path(path)?));
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return if addr.port() == 0 {
                port_zero()
            } else {
                Ok(Self::Tcp(addr))
            };
        }
        if let Some((addr, weight, name)) = nutcracker_form(text) {
            let name = if name.is_empty() {
                String::new()
            } else {
                format!("name = \"{name}\", ")
            };
            return refuse(
                "this is the way nutcracker writes a server",
                format!("write {{ {name}addr = \"{addr}\", weight = {weight} }}"),
            );
        }
        let (host, port) = split_port(text, "10.0.0.1:11211")?;
        if port == 0 {
            return port_zero();
        }
        host_name(host)?;
        Ok(Self::Name {
            host: host.to_owned(),
            port,
        })
    }
}

impl ServerAddr {
    /// The address in a form that is equal for two ways to write the same one, as far as can be told without
    /// looking names up.
    #[must_use]
    pub fn key(&self) -> Self {
        match self {
            Self::Name { host, port } => Self::Name {
                host: host.trim_end_matches('.').to_ascii_lowercase(),
                port: *port,
            },
            _ => self.clone(),
        }
    }

    /// What a server is called that has no name of its own: its address, or the bare path of a unix socket.
    #[must_use]
    pub fn default_name(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            _ => self.to_string(),
        }
    }
}

impl Listen {
    /// Whether both can't be bound at once.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a) | Self::Shared(a), Self::Tcp(b) | Self::Shared(b)) => tcp_clash(*a, *b),
            (Self::Unix { path: a, .. }, Self::Unix { path: b, .. }) => a == b,
            (Self::Inherited(a), Self::Inherited(b)) => a == b,
            _ => false,
        }
    }
}

/// Port 0 is any free port and clashes with nothing; `[::]` takes IPv4 too.
fn tcp_clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, one: IpAddr| match wide {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => one.is_ipv4(),
        _ => wide == one,
    };
    a.port() != 0 && a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) | Self::Shared(addr) => addr.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Inherited(number) => write!(f, "fd:{number}"),
        }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Found(addrs) => match addrs.as_slice() {
                [] => f.write_str("unresolved"),
                [first, others @ ..] => {
                    write!(f, "{first}")?;
                    others.iter().try_for_each(|addr| write!(f, ", {addr}"))
                }
            },
        }
    }
}

/// Host and port; the host of `[::1]:1` keeps no brackets and is refused, since it would have parsed as an address.
fn split_port<'t>(text: &'t str, example: &str) -> Result<(&'t str, u16), AddressError> {
    if text.is_empty() {
        return refuse("the address is empty", format!("write \"{example}\""));
    }
    if text.starts_with('/') || text.starts_with("./") {
        return refuse(
            "this looks like a path",
            format!("write \"unix:{text}\" for a unix socket"),
        );
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return refuse(
            format!("\"{scheme}://\" is not part of an address"),
            format!("write \"{example}\""),
        );
    }
    let default_port = example.rsplit(':').next().unwrap_or_default();
    if let Ok(v6) = text.parse::<Ipv6Addr>() {
        return refuse(
            "an IPv6 address needs brackets and a port",
            format!("write \"[{v6}]:{default_port}\""),
        );
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        let help = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            format!("write \"127.0.0.1:{text}\"")
        } else {
            format!("write \"{text}:{default_port}\"")
        };
        return refuse("the port is missing", help);
    };
    if host.contains(':') || host.starts_with('[') {
        return refuse(
            format!("\"{host}\" is not an IPv6 address in brackets"),
            format!("write \"{example}\", or \"[::1]:{default_port}\" for IPv6"),
        );
    }
    match port.parse::<u16>() {
        Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => Ok((host, number)),
        _ if port.is_empty() => refuse(
            "the port is missing",
            format!("write \"{host}:{default_port}\""),
        ),
        _ => refuse(
            format!("\"{port}\" is not a port"),
            format!("a port is a number from 1 to 65535, as in \"{host}:{default_port}\""),
        ),
    }
}

fn port_zero<T>() -> Result<T, AddressError> {
    refuse("a server has no port 0", "memcached's usual port is 11211")
}

/// A name that a resolver can be asked for: labels of letters, digits, `-` and `_`.
fn host_name(host: &str) -> Result<(), AddressError> {
    let labels = || host.strip_suffix('.').unwrap_or(host).split('.');
    let numeric = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    if labels().all(numeric) {
        return refuse(
            format!("\"{host}\" is not an IPv4 address"),
            "it is four numbers from 0 to 255, as in 10.0.0.1",
        );
    }
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !labels().all(good) {
        return refuse(
            format!("\"{}\" is not a host name", host.escape_debug()),
            "a name is made of letters, digits, '-', '_' and dots",
        );
    }
    Ok(())
}

fn socket_path(path: &str) -> Result<PathBuf, AddressError> {
    if path.is_empty() || path.ends_with('/') {
        return refuse(
            "the path of the unix socket is missing",
            "write \"unix:/run/ringroad.sock\"",
        );
    }
    if path.starts_with('@') || path.contains('\0') {
        return refuse(
            "abstract unix sockets are not supported",
            "give the socket a path",
        );
    }
    if path.len() > MAX_SOCKET_PATH {
        return refuse(
            format!(
                "the path has {} bytes, a unix socket's may have {MAX_SOCKET_PATH}",
                path.len()
            ),
            "choose a shorter path",
        );
    }
    Ok(Path::new(path).to_path_buf())
}

/// Takes nutcracker's `host:port:weight[ name]` apart.
fn nutcracker_form(text: &str) -> Option<(&str, &str, &str)> {
    let (server, name) = text.split_once(' ').unwrap_or((text, ""));
    let (addr, weight) = server.rsplit_once(':')?;
    let (host, port) = addr.split_once(':')?;
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let plain = |s: &str| !s.contains(['"', '\\']) && !s.chars().any(char::is_control);
    (number(weight) && number(port) && !host.is_empty() && !host.contains(':') && plain(text))
        .then_some((addr, weight, name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listen(text: &str) -> Listen {
        text.parse().unwrap()
    }

    #[test]
    fn listeners() {
        assert_eq!(
            listen("127.0.0.1:5000"),
            Listen::Tcp("127.0.0.1:5000".parse().unwrap())
        );
        assert_eq!(listen("[::]:5000"), listen(":5000"));
        assert_eq!(listen("*:5000"), listen(":5000"));
        assert_eq!(listen("127.0.0.1:0").to_string(), "127.0.0.1:0");
        let unix = Listen::Unix {
            path: "/run/ringroad.sock".into(),
            mode: 0o700,
        };
        assert_eq!(listen("unix:/run/ringroad.sock"), unix);
    }

    #[test]
    fn servers() {
        let parse = |text: &str| text.parse::<ServerAddr>().unwrap();
        assert_eq!(
            parse("10.0.0.1:11211"),
            ServerAddr::Tcp("10.0.0.1:11211".parse().unwrap())
        );
        assert_eq!(parse("[fd00::1]:11211").to_string(), "[fd00::1]:11211");
        let name = ServerAddr::Name {
            host: "cache-0.cache.prod.svc.cluster.local.".into(),
            port: 11211,
        };
        assert_eq!(parse("cache-0.cache.prod.svc.cluster.local.:11211"), name);
        assert_eq!(
            name.key(),
            parse("CACHE-0.cache.prod.svc.cluster.local:11211").key()
        );
        assert_eq!(
            parse("unix:/run/m.sock"),
            ServerAddr::Unix("/run/m.sock".into())
        );
    }

    /// Each mistake gets the help that fits it.
    #[test]
    fn mistakes_are_named() {
        let long = format!("unix:/{}", "x".repeat(120));
        for (text, part) in [
            ("10.0.0.1", "10.0.0.1:11211"),
            ("10.0.0.1:", "10.0.0.1:11211"),
            ("11211", "127.0.0.1:11211"),
            ("fd00::1", "[fd00::1]:11211"),
            ("[fd00::1]", "[::1]:11211"),
            ("10.0.0.256:11211", "four numbers"),
            ("10.0.0.1:99999", "65535"),
            ("10.0.0.1:+11", "65535"),
            ("10.0.0.1:0", "11211"),
            ("/run/m.sock", "unix:/run/m.sock"),
            ("unix:", "unix:/run/"),
            ("unix:@abstract", "path"),
            (long.as_str(), "shorter"),
            ("tcp://10.0.0.1:11211", "write \"10.0.0.1:11211\""),
            (
                "10.0.0.1:11211:1",
                "{ addr = \"10.0.0.1:11211\", weight = 1 }",
            ),
            (
                "10.0.0.1:11211:2 a",
                "{ name = \"a\", addr = \"10.0.0.1:11211\", weight = 2 }",
            ),
            ("has space:11211", "letters"),
            ("-dash:11211", "letters"),
            ("", "write"),
        ] {
            let error = text.parse::<ServerAddr>().unwrap_err();
            assert!(error.help.contains(part), "{text}: {error}");
        }
        for (text, part) in [
            ("localhost:5000", "127.0.0.1:5000"),
            ("cache.example:5000", "\":5000\""),
            ("5000", "127.0.0.1:5000"),
            ("127.0.0.1", "127.0.0.1:5000"),
            (":", "port"),
        ] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn one_process_takes_a_shared_port_once() {
        let addr = "127.0.0.1:1".parse().unwrap();
        assert!(Listen::Shared(addr).clashes(&Listen::Shared(addr)));
        assert!(Listen::Shared(addr).clashes(&listen("0.0.0.0:1")));
    }

    #[test]
    fn clashes() {
        for (a, b, clash) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("0.0.0.0:1", "[::]:1", true),
            (":1", "[::1]:1", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "127.0.0.1:1", false),
        ] {
            assert_eq!(listen(a).clashes(&listen(b)), clash, "{a} {b}");
            assert_eq!(listen(b).clashes(&listen(a)), clash, "{b} {a}");
        }
    }

    proptest! {
        /// Whatever is written is answered, and what is accepted prints as something that means the same.
        #[test]
        fn any_text_is_answered(text in "\\PC{0,30}|[0-9a-f:.\\[\\]]{0,30}|[a-z.-]{1,20}:[0-9]{1,6}") {
            if let Ok(addr) = text.parse::<ServerAddr>() {
                prop_assert_eq!(addr.to_string().parse::<ServerAddr>(), Ok(addr));
            }
            if let Ok(addr) = text.parse::<Listen>() {
                prop_assert_eq!(addr.to_string().parse::<Listen>(), Ok(addr));
            }
        }
    }
}
