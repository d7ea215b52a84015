//! From the values of mcrouter's flags to what is to be run.
//!
//! The defaults are mcrouter's, also where ringroad's own differ: one thread, probes every 10 to 60 seconds, values
//! of any size. What can't be served as it is written is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use super::flags::{Int, STANDALONE, Toggle};
use super::given::Given;
use super::router_flags::ROUTER;
use crate::config::mcrouter::{BigValues, Settings};
use crate::config::{Compat, Listen, LogFormat, Origin, SpoolFormat, show_duration};
use crate::introspect;

/// What a command line asks for.
#[derive(Debug)]
pub(super) struct Start {
    /// The configuration.
    pub(super) origin: Origin,
    /// Whether its files are watched.
    pub(super) watches: bool,
    /// What is known of the process.
    pub(super) process: introspect::Start,
    /// The file that standard error goes to.
    pub(super) log_path: Option<PathBuf>,
    /// The number of the socket that is to be listened on, if the process was started with one.
    pub(super) inherits: Option<i32>,
    /// What is to be logged.
    pub(super) lines: Vec<String>,
    /// Whether the configuration is only, or first, looked at.
    pub(super) validate: Validate,
}

/// `--validate-config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validate {
    /// It was not given.
    No,
    /// The configuration is looked at, and nothing is run.
    Exit,
    /// It is looked at first.
    Run,
}

/// Makes sense of the flags.
///
/// # Errors
/// Why nothing can be run, in sentences.
pub(super) fn start(mut given: Given) -> Result<Start, String> {
    if !given.refused.is_empty() {
        return Err(given.refused.join("\n"));
    }
    let validate = match given.given("validate-config") {
        None => Validate::No,
        Some("" | "exit") => Validate::Exit,
        Some("run") => Validate::Run,
        Some(other) => return Err(format!("--validate-config={other}: it is exit or run")),
    };
    // Who only looks at a configuration need not say where clients come in.
    let listen = match listen(&mut given) {
        Err(_) if validate == Validate::Exit => vec![Listen::Tcp(crate::config::DEFAULT_LISTEN)],
        listen => listen?,
    };
    let inherits = listen.iter().find_map(|listen| match listen {
        Listen::Inherited(number) => Some(*number),
        _ => None,
    });
    let mut settings = settings(&mut given)?;
    settings.base.listen = listen;
    let process = process(&given, &settings)?;
    let (origin, name) = origin(&given)?;
    let origin = match origin {
        Some(path) => Origin::File {
            path,
            settings: Some(Box::new(settings)),
        },
        None => Origin::Inline {
            name: name.to_owned(),
            text: inline(&given).to_owned(),
            settings: Box::new(settings),
        },
    };
    let log_path = Some(given.text("log-path")).filter(|path| !path.is_empty());
    Ok(Start {
        origin,
        watches: !given.is_on("disable-reload-configs"),
        process,
        log_path: log_path.map(PathBuf::from),
        inherits,
        lines: given.lines,
        validate,
    })
}

/// The file, or how the flag with the JSON is called.
fn origin(given: &Given) -> Result<(Option<PathBuf>, &'static str), String> {
    let config = given.text("config");
    let file = match config.strip_prefix("file:") {
        Some(path) => path,
        None if !config.is_empty() => return Ok((None, "--config")),
        None => given.text("config-file"),
    };
    if !file.is_empty() {
        return Ok((Some(PathBuf::from(file)), ""));
    }
    if !given.text("config-str").is_empty() {
        return Ok((None, "--config-str"));
    }
    Err("there is no configuration: give --config file:PATH".to_owned())
}

fn inline(given: &Given) -> &str {
    match given.text("config") {
        "" => given.text("config-str"),
        text => text,
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// As in mcrouter nothing else is listened on beside a socket that the process was started with.
fn inherited(given: &mut Given) -> Result<Option<Listen>, String> {
    let number = given.int("listen-sock-fd");
    if number < 0 {
        return Ok(None);
    }
    let number = i32::try_from(number).map_err(|_| {
        format!("--listen-sock-fd: {number} is no number that a descriptor can have")
    })?;
    for (long, but) in [
        ("port", " but on the router's name"),
        ("listen-addresses", ""),
        ("unix-domain-sock", ""),
    ] {
        if !given.text(long).is_empty() {
            given.lines.push(format!(
                "--{long} has no effect{but}: the socket of --listen-sock-fd alone is listened on"
            ));
        }
    }
    Ok(Some(Listen::Inherited(number)))
}

fn listen(given: &mut Given) -> Result<Vec<Listen>, String> {
    if let Some(listen) = inherited(given)? {
        return Ok(vec![listen]);
    }
    let mut all = Vec::new();
    let mut addresses = Vec::new();
    for text in list(given.text("listen-addresses")) {
        let plain = text.trim_start_matches('[').trim_end_matches(']');
        let address: IpAddr = plain
            .parse()
            .map_err(|_| format!("--listen-addresses: \"{text}\" is no address"))?;
        addresses.push(address);
    }
    if addresses.is_empty() {
        // A host without IPv6 can't listen on its addresses.
        let has_v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        addresses.push(match has_v6 {
            true => Ipv6Addr::UNSPECIFIED.into(),
            false => Ipv4Addr::UNSPECIFIED.into(),
        });
    }
    for text in list(given.text("port")) {
        let port: u16 = text
            .parse()
            .map_err(|_| format!("--port: \"{text}\" is no port"))?;
        for address in &addresses {
            let listen = Listen::Tcp(SocketAddr::new(*address, port));
            if all.iter().any(|other: &Listen| other.clashes(&listen)) {
                return Err(format!("--port: {listen} is given twice"));
            }
            all.push(listen);
        }
    }
    let path = given.text("unix-domain-sock");
    if !path.is_empty() {
        let listen: Listen = format!("unix:{path}")
            .parse()
            .map_err(|error| format!("--unix-domain-sock: {error}"))?;
        all.push(match listen {
            // As the usual umask leaves it.
            Listen::Unix { path, .. } => Listen::Unix { path, mode: 0o755 },
            tcp => tcp,
        });
    }
    if all.is_empty() {
        return Err("invalid ports".to_owned());
    }
    Ok(all)
}

/// A time in milliseconds, if it is not 0.
fn millis(given: &Given, long: &str) -> Result<Option<Duration>, String> {
    let most = Duration::from_secs(600);
    match u64::try_from(given.int(long)).map(Duration::from_millis) {
        Ok(Duration::ZERO) => Ok(None),
        Ok(time) if time <= most => Ok(Some(time)),
        _ => Err(format!(
            "--{long}: up to {} are possible",
            show_duration(most)
        )),
    }
}

/// A number, moved into the range that is possible, which is said.
fn within(given: &mut Given, long: &str, range: std::ops::RangeInclusive<i64>) -> usize {
    let number = given.int(long);
    let moved = number.clamp(*range.start(), *range.end());
    if moved != number {
        let line = format!("--{long}: {number} is not possible; it is taken for {moved}");
        given.lines.push(line);
    }
    usize::try_from(moved).unwrap_or(0)
}

fn settings(given: &mut Given) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let timeout = millis(given, "server-timeout")?;
    let timeout = timeout.ok_or("--server-timeout must not be 0")?;
    settings.pool.timeout = timeout;
    settings.pool.connect_timeout = timeout;
    settings.within_cluster = millis(given, "within-cluster-timeout-ms")?;
    settings.cross_cluster = millis(given, "cross-cluster-timeout-ms")?;
    settings.cross_region = millis(given, "cross-region-timeout-ms")?;
    let tko = &mut settings.pool.tko;
    tko.enabled = !given.is_on("disable-tko-tracking");
    let initial = match given.given("probe-timeout-initial") {
        None if given.given("retry-timeout").is_some() => "retry-timeout",
        _ => "probe-timeout-initial",
    };
    let probe = |given: &mut Given, long| {
        let millis = within(given, long, 10..=3_600_000);
        Duration::from_millis(millis as u64)
    };
    tko.probe_min = probe(given, initial);
    tko.probe_max = probe(given, "probe-timeout-max").max(tko.probe_min);
    tko.after = u32::try_from(within(given, "timeouts-until-tko", 1..=1_000_000)).unwrap_or(3);
    let idle = within(given, "reset-inactive-connection-interval", 0..=86_400_000);
    settings.pool.idle_close = Duration::from_millis(idle as u64);
    let in_flight = within(given, "target-max-inflight-requests", 0..=1_000_000);
    settings.pool.queue.in_flight = in_flight;
    settings.pool.queue.requests = within(given, "target-max-pending-requests", 1..=1_000_000);
    settings.default_route = route_prefix(given.text("route-prefix"))?;
    settings.unknown_to_default = given.is_on("send-invalid-route-to-default");
    settings.only_gets = given.is_on("allow-only-gets");
    settings.retains_addresses = given.is_on("retain-source-ip");
    settings.big_values = big_values(given)?;
    settings.proxies = within(given, "num-proxies", 0..=1024);
    if settings.proxies == 0 {
        return Err("--num-proxies: at least one is needed".to_owned());
    }
    for long in ["keepalive-interval", "keepalive-idle"] {
        if given.int(long) <= 0 {
            return Err(format!("--{long}: at least a second is needed"));
        }
    }
    settings.service_name = given.text("service-name").to_owned();
    let first = list(given.text("port")).next().unwrap_or("0").to_owned();
    settings.router_name = first;
    for flag in ROUTER
        .iter()
        .filter(|flag| matches!(flag.kind, Int | Toggle))
    {
        let name = format!("mcr_opts-{}", flag.name);
        settings.constants.push((name, given.value(flag)));
    }
    for long in ["config-params", "additional-config-params"] {
        for pair in list(given.text(long)) {
            let Some((name, value)) = pair.split_once(':') else {
                return Err(format!("--{long}: \"{pair}\" is not NAME:VALUE"));
            };
            settings.constants.push((name.to_owned(), value.to_owned()));
        }
    }
    base(given, &mut settings)?;
    spool(given, &mut settings);
    Ok(settings)
}

/// The log of deletions that could not be done.
fn spool(given: &Given, settings: &mut Settings) {
    if given.is_on("asynclog-disable") {
        settings.base.spool = None;
    }
    let Some(spool) = &mut settings.base.spool else {
        return;
    };
    spool.dir = PathBuf::from(given.text("async-dir"));
    if given.is_on("use-asynclog-version2") {
        spool.format = SpoolFormat::V2;
    }
    spool.service_name.clone_from(&settings.service_name);
    spool.router_name.clone_from(&settings.router_name);
    let mut parts = settings.default_route.split('/').skip(1);
    parts
        .next()
        .unwrap_or_default()
        .clone_into(&mut spool.region);
}

fn big_values(given: &Given) -> Result<Option<BigValues>, String> {
    let threshold = given.int("big-value-split-threshold");
    if threshold == 0 {
        return Ok(None);
    }
    let (least, most) = (1 << 10, 128 << 20);
    if !(least..=most).contains(&threshold) {
        return Err(format!(
            "--big-value-split-threshold: from {least} to {most} are possible"
        ));
    }
    let batch = given.int("big-value-batch-size");
    if !(0..=1000).contains(&batch) {
        return Err("--big-value-batch-size: from 0 to 1000 are possible".to_owned());
    }
    Ok(Some(BigValues {
        split_threshold: usize::try_from(threshold).unwrap_or(0),
        batch_size: usize::try_from(batch).unwrap_or(1),
        hide_reply_flag: given.is_on("big-value-hide-reply-flag"),
    }))
}

/// All that is not about pools and routes.
fn base(given: &mut Given, settings: &mut Settings) -> Result<(), String> {
    let base = &mut settings.base;
    base.workers = match given.given("proxy-threads").map(str::trim) {
        None | Some("") => Some(settings.proxies),
        Some("auto") => None,
        Some(text) => match text.parse::<usize>() {
            Ok(threads @ 1..=1024) => Some(threads),
            _ => {
                return Err(format!(
                    "--proxy-threads: \"{text}\" is no number of threads"
                ));
            }
        },
    };
    base.flush_all = given.is_on("enable-flush-cmd");
    base.miss_on_get_errors = given.is_on("disable-miss-on-get-errors");
    base.group_remote_errors = given.is_on("group-remote-errors");
    let compat = given.text("mcrouter-compat");
    base.compat = Compat::of(compat).ok_or_else(|| {
        let names: Vec<&str> = Compat::ALL.iter().map(|one| one.name()).collect();
        format!("--mcrouter-compat={compat}: it is {}", names.join(" or "))
    })?;
    let vars = given.text("runtime-vars-file");
    base.runtime_vars = Some(vars)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let requests = within(given, "max-client-outstanding-reqs", 1..=1_000_000);
    base.limits.client_requests = requests;
    base.limits.worker_requests = within(given, "proxy-max-inflight-requests", 0..=1_000_000);
    base.limits.waiting_requests = within(given, "proxy-max-throttled-requests", 0..=1_000_000);
    let wait = within(given, "waiting-request-timeout-ms", 0..=600_000);
    base.limits.waiting_timeout = Duration::from_millis(wait as u64);
    let most = given.int("max-conns");
    if most > 1 {
        base.limits.max_connections = within(given, "max-conns", 2..=1_000_000);
        given.lines.push(
            "--max-conns: at the bound no more clients are accepted; none is closed for another"
                .to_owned(),
        );
    }
    base.log.format = LogFormat::Human;
    base.log.level = introspect::instance::level(given.int("verbosity")).to_owned();
    Ok(())
}

/// `/region/cluster/`; the outer slashes may be missing.
fn route_prefix(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    match inner.split('/').collect::<Vec<_>>().as_slice() {
        [region, cluster] if !region.is_empty() && !cluster.is_empty() => {
            Ok(format!("/{region}/{cluster}/"))
        }
        _ => Err(format!(
            "--route-prefix: \"{text}\" is not /REGION/CLUSTER/"
        )),
    }
}

/// Standalone flags that are no options of mcrouter.
const NO_OPTIONS: [&str; 11] = [
    "help",
    "version",
    "verbosity",
    "validate_config",
    "proxy_threads",
    "service_name",
    "additional_config_params",
    "gets",
    "skip_sanity_checks",
    "background",
    "mcrouter_compat",
];

/// What is told about the process, and where it is written to.
fn process(given: &Given, settings: &Settings) -> Result<introspect::Start, String> {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut options = vec![
        text("service_name", &settings.service_name),
        text("router_name", &settings.router_name),
        text("flavor_name", "unknown"),
    ];
    for flag in ROUTER.iter().chain(STANDALONE) {
        let known = options.iter().any(|(name, _)| name == flag.name);
        if !known && !NO_OPTIONS.contains(&flag.name) {
            options.push((flag.name.to_owned(), given.value(flag)));
        }
    }
    let dir = |long: &str| {
        let path = given.text(long);
        Some(PathBuf::from(path)).filter(|_| !path.is_empty())
    };
    let age = u64::try_from(given.int("max-dumped-config-age"));
    let age = age.map_err(|_| "--max-dumped-config-age: it is a number of seconds")?;
    let interval = u64::try_from(given.int("stats-logging-interval"));
    let interval =
        interval.map_err(|_| "--stats-logging-interval: it is a number of milliseconds")?;
    Ok(introspect::Start {
        is_mcrouter: true,
        compat: settings.base.compat,
        service: settings.service_name.clone(),
        router: settings.router_name.clone(),
        arguments: String::new(),
        options,
        constants: settings.shown_constants(),
        verbosity: given.int("verbosity"),
        stats_root: dir("stats-root"),
        stats_interval: Duration::from_millis(interval),
        dump_root: dir("config-dump-root"),
        max_dump_age: Duration::from_secs(age),
    })
}
