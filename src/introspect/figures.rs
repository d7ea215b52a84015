//! `stats` as mcrouter answers it: its groups, its names, ringroad's figures.
//!
//! A [`Figure`] is a name, the groups that show it, and its value now. What mcrouter counts and ringroad has no
//! equivalent of (fibers, queues between threads, retransmissions) is 0, because exporters fail on a missing name; the
//! table in `docs/mcrouter.md` says which. Rates are averages over up to 240 seconds, see [`Window`](super::tasks::Window).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::instance::{Instance, unix_seconds};
use super::servers::{State, each_server, state, suspects};
use super::tasks::Rates;
use crate::config::Compat;
use crate::stats::latency::{ByFamily, Family};
use crate::stats::process::{Process, cpu_seconds, faults};
use crate::stats::report::Registry;

/// Which groups show a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups(u8);

impl Groups {
    /// `stats`, `stats basic`
    pub const BASIC: Groups = Groups(1);
    /// `stats detailed`
    pub const DETAILED: Groups = Groups(2);
    /// `stats count`
    pub const COUNT: Groups = Groups(4);
    /// `stats ods`
    pub const ODS: Groups = Groups(8);
    /// `stats cmd`
    pub const COMMANDS: Groups = Groups(16);
    /// `stats cmd-error`
    pub const ERRORS: Groups = Groups(32);
    /// `stats timers`
    pub const TIMERS: Groups = Groups(64);
    /// `stats external`
    pub const EXTERNAL: Groups = Groups(128);
    /// `stats all`
    pub const ALL: Groups = Groups(u8::MAX);

    const fn and(self, other: Groups) -> Groups {
        Groups(self.0 | other.0)
    }

    const fn meets(self, other: Groups) -> bool {
        self.0 & other.0 != 0
    }

    fn of(name: &[u8]) -> Option<Groups> {
        Some(match name {
            b"basic" => Groups::BASIC,
            b"detailed" => Groups::DETAILED,
            b"count" => Groups::COUNT,
            b"ods" => Groups::ODS,
            b"cmd" => Groups::COMMANDS,
            b"cmd-error" => Groups::ERRORS,
            b"timers" => Groups::TIMERS,
            b"external" => Groups::EXTERNAL,
            b"all" => Groups::ALL,
            _ => return None,
        })
    }
}

/// A value, which says how it is printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    /// A text.
    Text(String),
    /// A whole number.
    Number(u64),
    /// A number with six digits, as C prints it with `%g`.
    Short(f64),
    /// A number with all its digits.
    Rate(f64),
}

impl Of {
    fn text(&self) -> String {
        match self {
            Of::Text(text) => text.clone(),
            Of::Number(number) => number.to_string(),
            Of::Short(number) => short(*number),
            Of::Rate(number) => number.to_string(),
        }
    }

    /// As it stands in a file.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Of::Text(text) => text.as_str().into(),
            Of::Number(number) => (*number).into(),
            Of::Short(number) | Of::Rate(number) => (*number).into(),
        }
    }
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// mcrouter's name.
    pub name: String,
    /// Who shows it.
    pub groups: Groups,
    /// What it is now.
    pub value: Of,
}

/// As `%g` of C does: six significant digits, no zeros behind them.
#[must_use]
pub fn short(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return "0".to_owned();
    }
    let magnitude = number.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        let text = format!("{number:.5e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let decimals = (5.0 - magnitude).max(0.0) as usize;
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Commands that are counted, with how: each is a sum of counters of the workers.
const OPERATIONS: &[(&str, &[&str], &[&str])] = &[
    // Name, what is added, what is taken off.
    (
        "get",
        &["cmd_get"],
        &["cmd_gets", "cmd_lease_get", "cmd_metaget"],
    ),
    ("gets", &["cmd_gets"], &[]),
    ("gat", &["cmd_gat"], &[]),
    ("gats", &["cmd_gats"], &[]),
    (
        "set",
        &["cmd_set"],
        &[
            "cmd_add",
            "cmd_replace",
            "cmd_append",
            "cmd_prepend",
            "cmd_cas",
            "cmd_lease_set",
        ],
    ),
    ("add", &["cmd_add"], &[]),
    ("replace", &["cmd_replace"], &[]),
    ("append", &["cmd_append"], &[]),
    ("prepend", &["cmd_prepend"], &[]),
    ("cas", &["cmd_cas"], &[]),
    ("delete", &["cmd_delete"], &[]),
    ("incr", &["cmd_arith"], &["cmd_decr"]),
    ("decr", &["cmd_decr"], &[]),
    ("touch", &["cmd_touch"], &["cmd_gat", "cmd_gats"]),
    ("flushall", &["cmd_flush"], &[]),
    ("lease_get", &["cmd_lease_get"], &[]),
    ("lease_set", &["cmd_lease_set"], &[]),
    ("metaget", &["cmd_metaget"], &[]),
];

/// The commands that 0.36 counts by themselves; all others are `other`.
const OLD: [&str; 5] = ["get", "set", "delete", "lease_get", "lease_set"];

/// All that is counted, by mcrouter's names, since the start; what rates are computed from.
#[must_use]
pub fn counts(registry: &Registry) -> BTreeMap<String, u64> {
    let totals = registry.totals();
    let total = |name: &str| totals.get(name).copied().unwrap_or(0);
    let sum = |names: &[&str]| names.iter().map(|name| total(name)).sum::<u64>();
    let mut counts = BTreeMap::new();
    let mut add = |name: String, value: u64| {
        *counts.entry(name).or_default() += value;
    };
    let mut sent = 0;
    for (name, plus, minus) in OPERATIONS {
        // Counters are read one after the other, so a sum may be behind its parts for a moment.
        let count = sum(plus).saturating_sub(sum(minus));
        sent += count;
        add(format!("cmd_{name}"), count);
        if !OLD.contains(name) {
            add("cmd_other".to_owned(), count);
        }
    }
    let mut times = ByFamily::default();
    for sum in registry.sums().values() {
        times.add_all(&sum.times);
    }
    for family in Family::ALL {
        let answered = times.0.get(family as usize).map_or(0, |one| one.count());
        let name = match family {
            Family::Get => "get",
            Family::Set => "set",
            Family::Delete => "delete",
            Family::Touch | Family::Arith | Family::Other => "other",
        };
        add(format!("cmd_{name}_out"), answered);
        add(format!("cmd_{name}_out_all"), answered);
    }
    for name in ["lease_get", "lease_set"] {
        add(format!("cmd_{name}_out"), 0);
        add(format!("cmd_{name}_out_all"), 0);
    }
    let (mut errors, mut errors_all) = (0, 0);
    for worker in registry.each_worker() {
        for (name, last, all) in worker.results.values() {
            add(format!("result_{name}"), last);
            add(format!("result_{name}_all"), all);
            errors += last;
            errors_all += all;
        }
    }
    add("result_error".to_owned(), errors);
    add("result_error_all".to_owned(), errors_all);
    // mcrouter tells them apart; here a connection that is not up in time has failed like any other.
    add("result_connect_timeout".to_owned(), 0);
    add("result_connect_timeout_all".to_owned(), 0);
    let waiting: u64 = registry.sums().values().map(|sum| sum.get("waiting")).sum();
    let replied = sent.saturating_sub(waiting);
    add("request_sent".to_owned(), sent);
    add("request_replied".to_owned(), replied);
    add("request_error".to_owned(), errors);
    add("request_success".to_owned(), replied.saturating_sub(errors));
    add("failover_all".to_owned(), total("sent_on"));
    counts
}

/// Every figure, in mcrouter's order as far as it has one.
#[must_use]
pub fn all(registry: &Registry, instance: &Instance) -> Vec<Figure> {
    let mut list = List {
        figures: Vec::new(),
        compat: instance.compat(),
    };
    process(registry, instance, &mut list);
    servers(registry, &mut list);
    requests(registry, &mut list);
    configuration(instance, &mut list);
    let counts = counts(registry);
    let rates = instance.window().rates(&counts);
    counted(&counts, &rates, &mut list);
    list.figures
}

struct List {
    figures: Vec<Figure>,
    compat: Compat,
}

impl List {
    fn add(&mut self, groups: Groups, name: impl Into<String>, value: Of) {
        self.figures.push(Figure {
            name: name.into(),
            groups,
            value,
        });
    }

    fn number(&mut self, groups: Groups, name: impl Into<String>, value: u64) {
        self.add(groups, name, Of::Number(value));
    }
}

const BOTH: Groups = Groups::BASIC.and(Groups::DETAILED);

fn process(registry: &Registry, instance: &Instance, list: &mut List) {
    let process = Process::now();
    let (user, system) = cpu_seconds();
    let (minor, major) = faults();
    list.add(BOTH, "version", Of::Text(list.compat.version().to_owned()));
    list.add(
        BOTH,
        "commandargs",
        Of::Text(instance.start.arguments.clone()),
    );
    list.number(BOTH, "pid", u64::from(std::process::id()));
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    list.number(BOTH, "parent_pid", u64::try_from(parent).unwrap_or(0));
    list.number(BOTH, "time", unix_seconds());
    list.number(BOTH, "uptime", registry.uptime());
    list.add(BOTH, "rusage_system", Of::Short(system));
    list.add(BOTH, "rusage_user", Of::Short(user));
    list.number(BOTH, "ps_num_minor_faults", minor);
    list.number(BOTH, "ps_num_major_faults", major);
    list.add(BOTH, "ps_user_time_sec", Of::Short(user));
    list.add(BOTH, "ps_system_time_sec", Of::Short(system));
    list.number(BOTH, "ps_vsize", process.virtual_bytes.unwrap_or(0));
    list.number(Groups::BASIC, "ps_rss", process.resident_bytes.unwrap_or(0));
    for name in [
        "fibers_allocated",
        "fibers_pool_size",
        "fibers_stack_high_watermark",
    ] {
        list.number(Groups::BASIC, name, 0);
    }
    list.number(Groups::BASIC, "num_proxies", registry.workers() as u64);
}

fn servers(registry: &Registry, list: &mut List) {
    let totals = registry.totals();
    let total = |name: &str| totals.get(name).copied().unwrap_or(0);
    let (states, connected): (Vec<State>, u64) = {
        let servers = registry.locked();
        let states = servers.each().map(|(_, figures)| state(figures)).collect();
        let connected = servers.each().map(|(_, figures)| figures.connections.get());
        (states, connected.sum())
    };
    let sums = registry.sums();
    let count = |wanted: State| states.iter().filter(|one| **one == wanted).count() as u64;
    let out = sums.values().filter(|sum| sum.get("down") > 0).count() as u64;
    let opened = total("upstream_connects");
    list.number(BOTH, "num_servers", states.len() as u64);
    list.number(BOTH, "num_servers_new", count(State::New));
    list.number(BOTH, "num_servers_up", count(State::Up));
    list.number(BOTH, "num_servers_down", count(State::Down));
    list.number(BOTH, "num_servers_closed", count(State::Closed));
    list.number(BOTH, "num_clients", total("curr_connections"));
    list.number(BOTH, "num_suspect_servers", out);
    list.number(BOTH, "num_connections_opened", opened);
    list.number(
        BOTH,
        "num_connections_closed",
        opened.saturating_sub(connected),
    );
    for name in [
        "num_ssl_connections_opened",
        "num_ssl_connections_closed",
        "num_connect_retries",
    ] {
        list.number(BOTH, name, 0);
    }
    let tkos = registry.tkos();
    let totals = tkos.totals();
    list.number(BOTH, "num_soft_tko_count", totals.soft);
    list.number(BOTH, "num_hard_tko_count", totals.hard);
    let pools = tkos.pools();
    let entered = pools.iter().map(|(_, figures)| figures.entered).sum();
    let exited = pools.iter().map(|(_, figures)| figures.exited).sum();
    list.number(BOTH, "num_fail_open_state_entered", entered);
    list.number(BOTH, "num_fail_open_state_exited", exited);
    list.number(
        Groups::DETAILED,
        "num_client_connections",
        total("curr_connections"),
    );
    list.number(
        Groups::BASIC,
        "successful_client_connections",
        total("total_connections"),
    );
}

fn requests(registry: &Registry, list: &mut List) {
    let sums = registry.sums();
    let sum = |name: &str| sums.values().map(|sum| sum.get(name)).sum::<u64>();
    let (waiting, written) = (sum("waiting"), sum("writes"));
    let mut times = ByFamily::default();
    for sum in sums.values() {
        times.add_all(&sum.times);
    }
    let average = |families: &[Family]| {
        let of = families
            .iter()
            .filter_map(|family| times.0.get(*family as usize));
        let (count, seconds) = of.fold((0u64, 0.0), |(count, seconds), one| {
            (count + one.count(), seconds + one.seconds())
        });
        if count == 0 {
            0.0
        } else {
            seconds * 1e6 / count as f64
        }
    };
    let timers = Groups::BASIC.and(Groups::TIMERS);
    for name in ["get", "update"] {
        list.number(
            Groups::BASIC,
            format!("outstanding_route_{name}_reqs_queued"),
            0,
        );
        list.number(
            Groups::BASIC,
            format!("outstanding_route_{name}_avg_queue_size"),
            0,
        );
        list.number(
            Groups::BASIC,
            format!("outstanding_route_{name}_avg_wait_time_sec"),
            0,
        );
    }
    for name in [
        "retrans_closed_connections",
        "retrans_per_kbyte_max",
        "client_queue_notify_period",
        "proxy_queue_full",
        "destination_pending_reqs",
        "destination_max_pending_reqs",
    ] {
        list.number(Groups::BASIC, name, 0);
    }
    let totals = registry.totals();
    let turns = totals.get("waiting_requests").copied().unwrap_or(0);
    list.number(Groups::BASIC, "proxy_reqs_waiting", turns);
    let spooled = registry.spool.get().map_or(0, |spool| spool.spooled.get());
    list.number(Groups::BASIC, "asynclog_requests", spooled);
    list.number(Groups::BASIC, "destination_inflight_reqs", waiting);
    list.number(Groups::BASIC, "destination_max_inflight_reqs", waiting);
    list.number(Groups::BASIC, "proxy_reqs_processing", waiting);
    list.number(Groups::DETAILED, "proxy_request_num_outstanding", waiting);
    list.number(Groups::BASIC, "destination_batches_sum", written);
    list.number(Groups::BASIC, "destination_requests_sum", sum("requests"));
    let batch = if written == 0 {
        0.0
    } else {
        sum("requests") as f64 / written as f64
    };
    list.add(Groups::BASIC, "destination_batch_size", Of::Short(batch));
    list.add(timers, "duration_us", Of::Short(average(&Family::ALL)));
    list.add(
        timers,
        "duration_get_us",
        Of::Short(average(&[Family::Get])),
    );
    list.add(
        timers,
        "duration_update_us",
        Of::Short(average(&[Family::Set])),
    );
    for name in ["dev_null_requests", "rate_limited_log_count"] {
        list.number(Groups::DETAILED.and(Groups::COUNT), name, 0);
    }
    list.number(Groups::COUNT, "redirected_lease_set_count", 0);
}

fn configuration(instance: &Instance, list: &mut List) {
    let attempts = instance.attempts();
    let age = unix_seconds().saturating_sub(attempts.last_success);
    list.number(Groups::DETAILED, "config_age", age);
    list.number(
        Groups::DETAILED,
        "config_last_attempt",
        attempts.last_attempt,
    );
    list.number(
        Groups::DETAILED,
        "config_last_success",
        attempts.last_success,
    );
    list.number(Groups::DETAILED, "config_failures", attempts.failures);
    list.number(Groups::DETAILED, "configs_from_disk", attempts.from_disk);
}

fn counted(counts: &BTreeMap<String, u64>, rates: &Rates, list: &mut List) {
    let commands = BOTH
        .and(Groups::ODS)
        .and(Groups::COMMANDS)
        .and(Groups::COUNT)
        .and(Groups::EXTERNAL);
    let outcome = Groups::DETAILED.and(Groups::ODS);
    for (name, count) in counts {
        let rate = Of::Rate(rates.of(name));
        let Some(command) = name.strip_prefix("cmd_") else {
            let errors = match name.starts_with("result_") {
                true => outcome.and(Groups::ERRORS),
                false => outcome,
            };
            list.add(errors, name.clone(), rate);
            list.number(Groups::COUNT, format!("{name}_count"), *count);
            continue;
        };
        let plain = command.strip_suffix("_all").unwrap_or(command);
        let plain = plain.strip_suffix("_out").unwrap_or(plain);
        if list.compat == Compat::V0_36 && plain != "other" && !OLD.contains(&plain) {
            continue;
        }
        list.add(commands, name.clone(), rate);
        if plain == command {
            list.number(commands, format!("{name}_count"), *count);
        }
    }
}

/// Appends the answer to `stats` with these words.
pub fn answer(registry: &Registry, instance: &Instance, words: &[&[u8]], out: &mut Vec<u8>) {
    let mut text = String::new();
    match words {
        [b"servers"] => each_server(registry, instance, &mut text),
        [b"suspect_servers"] => suspects(registry, &mut text),
        [b"version"] => {
            let version = instance.compat().version();
            let _ = write!(text, "STAT mcrouter-version {version}\r\n");
        }
        [] | [_] => {
            let name = words.first().copied().unwrap_or(b"basic");
            let Some(groups) = Groups::of(name) else {
                out.extend_from_slice(b"CLIENT_ERROR bad stats command\r\n");
                return;
            };
            for figure in all(registry, instance) {
                if figure.groups.meets(groups) {
                    let _ = write!(text, "STAT {} {}\r\n", figure.name, figure.value.text());
                }
            }
        }
        _ => {
            out.extend_from_slice(b"CLIENT_ERROR bad stats command\r\n");
            return;
        }
    }
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"END\r\n");
}

/// What `stats` shows of the process as a whole, for files: everything but what depends on who asks.
#[must_use]
pub fn for_files(registry: &Registry, instance: &Instance) -> Value {
    let prefix = instance.prefix();
    let figures = all(registry, instance).into_iter();
    let members = figures.map(|figure| (format!("{prefix}.{}", figure.name), figure.value.json()));
    let mut members: serde_json::Map<String, Value> = members.collect();
    let reloads = registry.reloads.load(Ordering::Relaxed);
    members.insert(format!("{prefix}.ringroad_reloads"), reloads.into());
    Value::Object(members)
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
