//! From TOML to [`Config`]: the top of the file, listeners, limits, log and admin.
//!
//! Reading goes on after an error, with the default in the place of the bad value, so that one run reports all of
//! them; only a file that is not TOML at all is given up at once. Order of the file does not matter, except that
//! pools keep theirs.

use std::time::Duration;

use ::toml::de::{DeTable, DeValue, Error as SyntaxError};

use super::diagnostics::{Errors, Report, Warning, quoted};
use super::discover;
use super::pools::{self, Pools};
use super::read::{Entry, Table, whole};
use super::spool;
use super::{
    Admin, Config, DEFAULT_LISTEN, Limits, Listen, Log, LogFormat, MAX_FILE, Route, compat, routes,
    schema,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Reads and checks a configuration. `name` is the file's name in messages.
///
/// # Errors
/// Everything that is wrong with `text`, or its first syntax error.
pub fn parse(name: &str, text: &str) -> Result<(Config, Vec<Warning>), Errors> {
    let mut report = Report::new(name, text);
    if text.len() as u64 > MAX_FILE {
        report.error(
            0..0,
            format!(
                "the file has {} bytes, more than the {MAX_FILE} that are read",
                text.len()
            ),
        );
        return finish(report, None);
    }
    let config = match DeTable::parse(text) {
        Ok(document) => root(&mut report, document.get_ref()),
        Err(error) => {
            syntax(&mut report, text, &error);
            None
        }
    };
    finish(report, config)
}

/// Like [`parse`], for a file as it was read.
///
/// # Errors
/// Also for bytes that are not UTF-8.
pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<(Config, Vec<Warning>), Errors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(name, text),
        Err(error) => {
            let text = String::from_utf8_lossy(bytes);
            // Up to here the text and the bytes are the same.
            let at = error.valid_up_to();
            let mut report = Report::new(name, &text);
            report
                .error(at..at + 1, "this is not UTF-8")
                .label("save the file as UTF-8");
            finish(report, None)
        }
    }
}

/// The configuration, unless anything was found wrong.
fn finish(report: Report<'_>, config: Option<Config>) -> Result<(Config, Vec<Warning>), Errors> {
    match config {
        Some(config) => report.finish().map(|warnings| (config, warnings)),
        None => Err(report.into_errors()),
    }
}

fn root(report: &mut Report<'_>, document: &DeTable<'_>) -> Option<Config> {
    let table = Table::open(report, &schema::ROOT, document, 0..0);
    let listen = listeners(report, &table);
    let admin = admin(report, &table, &listen);
    let spool = spool::read(report, &table);
    let pools = pools::pools(report, &table);
    let route = pools
        .as_ref()
        .and_then(|pools| route(report, &table, pools));
    let mut flush_all = false;
    table.bool(report, "flush_all", &mut flush_all);
    let mut miss_on_get_errors = true;
    table.bool(report, "miss_on_get_errors", &mut miss_on_get_errors);
    let mut leases = false;
    table.bool(report, "leases", &mut leases);
    let mut introspection = false;
    table.bool(report, "introspection", &mut introspection);
    let compat = compat::read(report, &table);
    let mut group_remote_errors = false;
    table.bool(report, "group_remote_errors", &mut group_remote_errors);
    let runtime_vars = compat::runtime_vars(report, &table);
    let mut drain = Duration::from_secs(10);
    table.duration(report, "drain", Duration::ZERO..=HOUR, &mut drain);
    let mut shutdown_delay = Duration::ZERO;
    table.duration(
        report,
        "shutdown_delay",
        Duration::ZERO..=HOUR,
        &mut shutdown_delay,
    );
    if let Some(entry) = table.get("shutdown_delay")
        && !shutdown_delay.is_zero()
        && shutdown_delay >= drain
    {
        let drain = super::units::show_duration(drain);
        report
            .error(
                entry.place(),
                format!(
                    "`shutdown_delay` leaves no time of the {drain} that `drain` gives the whole"
                ),
            )
            .label(format!("must be shorter than {drain}"))
            .with_help("requests in flight are finished in what is left of `drain` after it");
    }
    let workers = table
        .get("workers")
        .and_then(|entry| workers(report, &entry));
    let limits = limits(report, &table);
    if let (Some(route), Some(entry)) = (&route, table.get("route")) {
        routes::warn_of_thresholds(report, entry.place(), route, limits.max_value);
    }
    let log = log(report, &table);
    let dns = discover::dns(report, &table);
    let pools = pools?.into_checked()?;
    spool::warn_of_unused(report, &table, &pools);
    Some(Config {
        listen: listen.into_iter().map(|(listen, _)| listen).collect(),
        workers,
        pools,
        route: route?,
        limits,
        log,
        admin,
        spool,
        dns,
        flush_all,
        miss_on_get_errors,
        leases,
        introspection,
        compat,
        group_remote_errors,
        runtime_vars,
        drain,
        shutdown_delay,
    })
}

/// A listener and the bytes of the file that name it.
type Placed = (Listen, std::ops::Range<usize>);

fn listeners(report: &mut Report<'_>, root: &Table<'_, '_>) -> Vec<Placed> {
    let Some(entry) = root.get("listen") else {
        return vec![(Listen::Tcp(DEFAULT_LISTEN), 0..0)];
    };
    let elements = match entry.value {
        // A port by itself is a common first try.
        DeValue::Integer(number) => {
            let port = number.as_str();
            entry
                .wrong_kind(report, "an address or a list of addresses")
                .with_help(format!("write \"127.0.0.1:{port}\" for this machine alone, or \":{port}\" for every address"));
            return Vec::new();
        }
        _ => entry.elements(),
    };
    if elements.is_empty() {
        report
            .error(entry.place(), "`listen` is an empty list")
            .with_help(format!(
                "write an address, or leave `listen` out for \"{DEFAULT_LISTEN}\""
            ));
    }
    let mut found: Vec<Placed> = Vec::new();
    for element in elements {
        let Some(listen) = listener(report, &element) else {
            continue;
        };
        if let Some((earlier, place)) = found.iter().find(|(earlier, _)| earlier.clashes(&listen)) {
            let line = report.line_of(place.start);
            let message = format!("\"{listen}\" clashes with \"{earlier}\" on line {line}");
            clash(report, &element, message, &listen, earlier);
        }
        found.push((listen, element.span));
    }
    found
}

fn clash(
    report: &mut Report<'_>,
    at: &Entry<'_, '_>,
    message: String,
    one: &Listen,
    other: &Listen,
) {
    let error = report.error(at.place(), message);
    if one == other {
        error.label("given twice");
    } else if [one, other]
        .iter()
        .any(|l| matches!(l, Listen::Tcp(addr) | Listen::Shared(addr) if addr.ip().is_unspecified() && addr.is_ipv6()))
    {
        error
            .label("keep one of the two")
            .with_help("\"[::]\" takes every address, IPv4 and IPv6");
    } else {
        error
            .label("keep one of the two")
            .with_help("\"0.0.0.0\" takes every IPv4 address");
    }
}

fn listener(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Listen> {
    let DeValue::Table(_) = entry.value else {
        let text = entry.string(report, "an address such as \"127.0.0.1:5000\"")?;
        return match text.parse() {
            Ok(listen) => Some(listen),
            Err(error) => address_error(report, entry, text, &error),
        };
    };
    let table = entry.table(report, &schema::LISTEN)?;
    let mut shared = false;
    table.bool(report, "reuse_port", &mut shared);
    if let Some(tcp) = table.get("tcp") {
        return tcp_listener(report, &table, &tcp, shared);
    }
    if shared && let Some(shared) = table.get("reuse_port") {
        report
            .error(shared.place(), "`reuse_port` goes with `tcp`")
            .label("two processes can't share a unix socket");
        return None;
    }
    let mode = table.get("mode").map(|entry| mode(report, &entry));
    let path = table.require(report, "unix", "unix = \"/run/ringroad.sock\"")?;
    let text = path.string(report, "a path")?;
    let given = format!("unix:{}", text.strip_prefix("unix:").unwrap_or(text));
    match given.parse() {
        Ok(Listen::Unix {
            path,
            mode: default,
        }) => {
            let mode = mode.unwrap_or(Some(default))?;
            Some(Listen::Unix { path, mode })
        }
        Ok(Listen::Tcp(_) | Listen::Shared(_) | Listen::Inherited(_)) => None,
        Err(error) => address_error(report, &path, text, &error),
    }
}

fn tcp_listener(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    tcp: &Entry<'_, '_>,
    shared: bool,
) -> Option<Listen> {
    for (key, why) in [
        ("unix", "a listener is one or the other"),
        ("mode", "only a unix socket has a mode"),
    ] {
        if let Some(other) = table.get(key) {
            report
                .error(other.place(), format!("`{key}` does not go with `tcp`"))
                .label(why);
            return None;
        }
    }
    let text = tcp.string(report, "an address such as \"127.0.0.1:5000\"")?;
    match text.parse() {
        Ok(Listen::Tcp(addr)) if shared && addr.port() == 0 => {
            report
                .error(tcp.place(), "port 0 can't be shared")
                .label("is any free port, so no other process takes the same");
            None
        }
        Ok(Listen::Tcp(addr)) if shared => Some(Listen::Shared(addr)),
        Ok(listen @ Listen::Tcp(_)) => Some(listen),
        Ok(_) => {
            report
                .error(tcp.place(), "this is a unix socket")
                .label("write unix = \"/run/ringroad.sock\", without `tcp`");
            None
        }
        Err(error) => address_error(report, tcp, text, &error),
    }
}

/// Permission bits: a text of octal digits, or a number written in octal. A decimal number is refused, since 660 is not 0o660.
fn mode(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<u32> {
    let (text, value) = match entry.value {
        DeValue::String(text) => (
            text.to_string(),
            u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        ),
        DeValue::Integer(number) if number.radix() == 8 => (
            number.to_string(),
            whole(number).and_then(|mode| u32::try_from(mode).ok()),
        ),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            report
                .error(
                    entry.place(),
                    "`mode` is a decimal number; permissions are octal",
                )
                .label(format!("write \"0{digits}\" or 0o{digits}"));
            return None;
        }
        _ => {
            entry.wrong_kind(report, "permissions such as \"0770\"");
            return None;
        }
    };
    let mode = value.filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        report
            .error(
                entry.place(),
                format!("`mode`: {} is not a set of permissions", quoted(&text)),
            )
            .label("three octal digits, as in \"0770\"");
    }
    mode
}

pub(super) fn address_error<T>(
    report: &mut Report<'_>,
    entry: &Entry<'_, '_>,
    text: &str,
    error: &super::AddressError,
) -> Option<T> {
    report
        .error(
            entry.place(),
            format!("{}: {}", quoted(text), error.message),
        )
        .label(error.help.as_str());
    None
}

fn workers(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<usize> {
    match entry.value {
        DeValue::String(text) if text == "auto" => None,
        DeValue::Integer(_) => {
            let workers = entry.integer(report, 1..=1024)?;
            usize::try_from(workers).ok()
        }
        _ => {
            entry.wrong_kind(report, "\"auto\" or a whole number from 1 to 1024");
            None
        }
    }
}

fn route(report: &mut Report<'_>, root: &Table<'_, '_>, pools: &Pools) -> Option<Route> {
    if let Some(entry) = root.get("route") {
        return routes::route(report, pools, &entry);
    }
    match pools.names() {
        [_] => Some(Route::Pool(0)),
        names => {
            if let Some(only) = pools.only_without_gutters() {
                return Some(Route::Pool(only));
            }
            // Without any pool that error is enough.
            let (_, second) = names.get(1)?;
            let list = names
                .iter()
                .map(|(name, _)| format!("\"{name}\""))
                .collect::<Vec<_>>()
                .join(", ");
            let first = names.first().map_or("", |(name, _)| name);
            report
                .error(second.clone(), "there are several pools, and nothing says which keys go where")
                .label("`route` is missing")
                .with_help(format!("add at the top of the file, to use one pool: route = \"{first}\""))
                .with_help(format!("or to fall back from one to the next: route = {{ type = \"failover\", children = [{list}] }}"))
                .with_help(format!("or to choose by the beginning of the key: route = {{ type = \"prefix\", default = \"{first}\", prefixes = {{ \"user:\" = … }} }}"));
            None
        }
    }
}

fn limits(report: &mut Report<'_>, root: &Table<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    let Some(table) = root
        .get("limits")
        .and_then(|entry| entry.table(report, &schema::LIMITS))
    else {
        return limits;
    };
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    table.size(report, "max_value", KIB..=128 * MIB, &mut limits.max_value);
    table.size(
        report,
        "max_get_line",
        2 * KIB..=64 * MIB,
        &mut limits.max_get_line,
    );
    table.usize(
        report,
        "client_requests",
        1..=1_000_000,
        &mut limits.client_requests,
    );
    table.size(
        report,
        "client_bytes",
        64 * KIB..=GIB,
        &mut limits.client_bytes,
    );
    table.size(
        report,
        "worker_bytes",
        MIB..=64 * GIB,
        &mut limits.worker_bytes,
    );
    for (key, target) in [
        ("worker_requests", &mut limits.worker_requests),
        ("waiting_requests", &mut limits.waiting_requests),
    ] {
        table.usize(report, key, 0..=1_000_000, target);
    }
    table.duration(
        report,
        "waiting_timeout",
        Duration::ZERO..=Duration::from_secs(600),
        &mut limits.waiting_timeout,
    );
    table.usize(
        report,
        "max_connections",
        1..=1_000_000,
        &mut limits.max_connections,
    );
    limits
}

fn log(report: &mut Report<'_>, root: &Table<'_, '_>) -> Log {
    let mut log = Log::default();
    let Some(table) = root
        .get("log")
        .and_then(|entry| entry.table(report, &schema::LOG))
    else {
        return log;
    };
    if let Some(entry) = table.get("level")
        && let Some(text) = entry.string(report, "a level such as \"info\"")
    {
        match crate::log::check_filter(text) {
            Ok(()) => log.level = text.to_owned(),
            Err(why) => {
                report
                    .error(entry.place(), format!("`level`: {why}"))
                    .label("not a level or a list of module=level");
            }
        }
    }
    if let Some(entry) = table.get("format")
        && let Some(format) = entry.choice(report, "a log format", LogFormat::ALL, |format| {
            format.to_string()
        })
    {
        log.format = format;
    }
    log
}

fn admin(report: &mut Report<'_>, root: &Table<'_, '_>, listeners: &[Placed]) -> Option<Admin> {
    let table = root.get("admin")?.table(report, &schema::ADMIN)?;
    let entry = table.require(report, "listen", "listen = \"127.0.0.1:5001\"")?;
    let place = entry.place();
    let mut listen: Vec<Placed> = Vec::new();
    for entry in &entry.elements() {
        let own = listener(report, entry)?;
        if matches!(own, Listen::Shared(_)) {
            report
                .error(entry.place(), "the admin port can't be shared")
                .label("a process that takes over opens it when the other one has ended");
            return None;
        }
        let mut all = listeners.iter().chain(&listen);
        if let Some((other, place)) = all.find(|(other, _)| other.clashes(&own)) {
            let whose = match place.end {
                0 => "the default of `listen`".to_owned(),
                _ => format!("`listen` on line {}", report.line_of(place.start)),
            };
            let what = format!("\"{own}\" clashes with \"{other}\", {whose}");
            clash(report, entry, what, &own, other);
        }
        listen.push((own, entry.place()));
    }
    if listen.is_empty() {
        report
            .error(place, "`listen` is an empty list")
            .label("without an admin port leave out the whole table");
        return None;
    }
    let listen = listen.into_iter().map(|(listen, _)| listen).collect();
    Some(Admin { listen })
}

/// The parser's own words, with a hint where they lead astray.
fn syntax(report: &mut Report<'_>, text: &str, error: &SyntaxError) {
    let mut span = error.span().unwrap_or(0..0);
    let message = error.message();
    let mut hint = None;
    let found = text.get(span.clone()).unwrap_or("").trim();
    let is_word = found.len() > 1 && found.starts_with(|c: char| c.is_alphabetic() || c == '/')
        || message.starts_with("string values must be quoted") && !found.is_empty();
    if message.starts_with("duplicate key") {
        hint = Some("given before; each key and each [table] may stand once".to_owned());
    } else if message.starts_with("key with no value") {
        // What `key: value` looks like to the parser.
        let start = text
            .get(..span.start)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |newline| newline + 1);
        let line = text
            .get(start..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or("");
        if let Some(colon) = line.find(':').filter(|_| !line.contains('=')) {
            span = start + colon..start + colon + 1;
            hint = Some("write `key = value`, not `key: value`".to_owned());
        }
    } else if is_word && !found.contains(['"', '\'', '\n', '`']) {
        hint = Some(format!("text is written in quotes: \"{found}\""));
    }
    let diagnostic = report.error(span, format!("this is not valid TOML: {message}"));
    if let Some(hint) = hint {
        diagnostic.label(hint);
    }
}
