//! The figures for Prometheus: the page `/metrics`.
//!
//! The numbers are those of `stats` and `/stats`, read when the page is asked for. How many lines there are is bounded
//! by the configuration: what is given for each server is added up over the workers, and times by command are given
//! for pools and not for servers. No key, client or address that a client chooses ever becomes a label.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::latency::Family;
use super::process::{Process, cpu_seconds};
use super::prometheus::Kind::{Counter, Gauge, Histogram};
use super::prometheus::{Kind, Page};
use super::report::{Pool, Registry};
use super::servers::{Id, Sum};
use crate::spool::Figures;

/// What the registry does not know itself.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Clients may be sent here.
    pub ready: bool,
    /// The process is about to end.
    pub draining: bool,
}

/// Counters and gauges of the workers: kind, name in the statistics, name here, what it is.
const TOTALS: &[(Kind, &str, &str, &str)] = &[
    (
        Counter,
        "cmd_meta",
        "ringroad_meta_requests_total",
        "Meta commands of clients; they are among ringroad_requests_total, too.",
    ),
    (
        Counter,
        "get_hits",
        "ringroad_get_hits_total",
        "Keys that clients asked for and that were found.",
    ),
    (
        Counter,
        "get_misses",
        "ringroad_get_misses_total",
        "Keys that clients asked for and that were not found.",
    ),
    (
        Counter,
        "get_errors",
        "ringroad_get_errors_total",
        "Keys of gets that failed and were answered as misses.",
    ),
    (
        Gauge,
        "curr_connections",
        "ringroad_client_connections",
        "Open connections of clients.",
    ),
    (
        Counter,
        "total_connections",
        "ringroad_client_connections_opened_total",
        "Connections of clients since the start.",
    ),
    (
        Counter,
        "closed_connections",
        "ringroad_client_connections_closed_total",
        "Connections that ringroad closed because the client misbehaved or read too slowly.",
    ),
    (
        Counter,
        "bytes_read",
        "ringroad_client_received_bytes_total",
        "Bytes from clients.",
    ),
    (
        Counter,
        "bytes_written",
        "ringroad_client_sent_bytes_total",
        "Bytes to clients.",
    ),
    (
        Counter,
        "client_writes",
        "ringroad_client_writes_total",
        "Write calls to clients.",
    ),
    (
        Counter,
        "upstream_requests",
        "ringroad_upstream_requests_total",
        "Requests sent to servers; keys of gets count each.",
    ),
    (
        Counter,
        "upstream_lines",
        "ringroad_upstream_lines_total",
        "Command lines sent to servers; fewer than requests, because gets share lines.",
    ),
    (
        Counter,
        "upstream_writes",
        "ringroad_upstream_writes_total",
        "Write calls to servers.",
    ),
    (
        Counter,
        "upstream_reads",
        "ringroad_upstream_reads_total",
        "Read calls from servers.",
    ),
    (
        Counter,
        "upstream_connects",
        "ringroad_upstream_connects_total",
        "Connections made to servers.",
    ),
    (
        Counter,
        "upstream_bad_replies",
        "ringroad_upstream_bad_replies_total",
        "Replies that were not what was asked for; each closed its connection.",
    ),
    (
        Counter,
        "sent_on",
        "ringroad_sent_on_total",
        "Requests that went on to another server or pool, as their route or pool says.",
    ),
    (
        Counter,
        "gutter_deletes",
        "ringroad_gutter_deletes_total",
        "Deletions that were done in a gutter, too.",
    ),
    (
        Counter,
        "owed_updates",
        "ringroad_owed_updates_total",
        "Updates that a server may not have seen, remembered until it is back (on_return).",
    ),
    (
        Counter,
        "owed_deletes",
        "ringroad_owed_deletes_total",
        "Keys that were deleted at a server for that when it was back.",
    ),
    (
        Counter,
        "owed_flushes",
        "ringroad_owed_flushes_total",
        "How often all that a server had was deleted for that.",
    ),
    (
        Counter,
        "moved_asked",
        "ringroad_moved_asked_total",
        "Items asked of a key's previous server because its new one had none (warm_scaling).",
    ),
    (
        Counter,
        "moved_hits",
        "ringroad_moved_hits_total",
        "How many of those the previous server had.",
    ),
    (
        Counter,
        "moved_copied",
        "ringroad_moved_copied_total",
        "How many of those were copied to the new server.",
    ),
    (
        Counter,
        "moved_skipped",
        "ringroad_moved_skipped_total",
        "How many were not asked for because too much was under way.",
    ),
    (
        Counter,
        "moved_updates",
        "ringroad_moved_updates_total",
        "Updates of keys whose server has changed, which reach both.",
    ),
    (
        Counter,
        "turns",
        "ringroad_turns_total",
        "Turns of the workers' event loops in which there was something to do.",
    ),
    (
        Gauge,
        "buffered_bytes",
        "ringroad_buffered_bytes",
        "Bytes that the workers hold for clients and servers.",
    ),
    (
        Gauge,
        "waiting_requests",
        "ringroad_waiting_requests",
        "Requests of clients that wait for their turn (limits.worker_requests).",
    ),
];

/// Counters of the workers that are one metric: name in the statistics, label.
const COMMANDS: &[(&str, &str)] = &[
    ("cmd_get", "get"),
    ("cmd_set", "set"),
    ("cmd_touch", "touch"),
    ("cmd_delete", "delete"),
    ("cmd_arith", "arith"),
    ("cmd_flush", "flush"),
];

/// Of each server: kind, name in the statistics, name here, what it is.
const SERVERS: &[(Kind, &str, &str, &str)] = &[
    (
        Counter,
        "requests",
        "ringroad_server_requests_total",
        "Requests sent to the server; keys of gets count each.",
    ),
    (
        Counter,
        "timeouts",
        "ringroad_server_timeouts_total",
        "Requests that timed out.",
    ),
    (
        Counter,
        "failures",
        "ringroad_server_failures_total",
        "Requests that failed for another reason.",
    ),
    (
        Counter,
        "connects",
        "ringroad_server_connects_total",
        "Connections made to the server.",
    ),
    (
        Counter,
        "downs",
        "ringroad_server_downs_total",
        "How often the server was taken out of service (TKO), by whichever worker.",
    ),
    (
        Gauge,
        "down",
        "ringroad_server_down",
        "Workers that have the server out of service (TKO).",
    ),
    (
        Gauge,
        "connections",
        "ringroad_server_connections",
        "Connections to the server that are ready.",
    ),
    (
        Gauge,
        "waiting",
        "ringroad_server_queue_requests",
        "Requests that wait for an answer of the server.",
    ),
    (
        Gauge,
        "unsent_bytes",
        "ringroad_server_queue_bytes",
        "Bytes that wait to be sent to the server.",
    ),
];

impl Registry {
    /// Everything for Prometheus, in its text format.
    #[must_use]
    pub fn metrics(&self, state: State) -> String {
        let mut page = Page::default();
        self.process_metrics(&mut page, state);
        self.client_metrics(&mut page);
        if let Some(spool) = self.spool.get() {
            spool.look();
            spool_metrics(&mut page, spool);
        }
        let pools = self.pools();
        pool_metrics(&mut page, &pools);
        drop(pools);
        self.tko_metrics(&mut page);
        let servers = self.locked();
        let sums = servers.sums();
        let times = servers.pools(&sums);
        drop(servers);
        let mut metric = page.metric(
            Histogram,
            "ringroad_request_duration_seconds",
            "How long servers took to answer, by pool and command: from the request's queueing to the reading of the answer, or to its timeout.",
        );
        for (pool, times) in &times {
            for (family, times) in Family::ALL.iter().zip(&times.0) {
                metric.times(&[("pool", pool), ("command", family.label())], times);
            }
        }
        server_metrics(&mut page, &sums);
        page.text()
    }

    fn tko_metrics(&self, page: &mut Page) {
        let totals = self.tkos.totals();
        let mut out = page.metric(
            Gauge,
            "ringroad_tko_servers",
            "Servers that are out of service, each address once: soft after timeouts, hard when they can't be connected to.",
        );
        out.sample(&[("kind", "soft")], totals.soft);
        out.sample(&[("kind", "hard")], totals.hard);
        let pools = self.tkos.pools();
        let mut out = page.metric(
            Gauge,
            "ringroad_pool_tko_servers",
            "Servers of a pool with fail_open_at that are out of service.",
        );
        for (pool, figures) in &pools {
            out.sample(&[("pool", pool)], figures.out);
        }
        let mut open = page.metric(
            Gauge,
            "ringroad_pool_fail_open",
            "1 while no further servers of the pool are taken out of service (fail_open_at).",
        );
        for (pool, figures) in &pools {
            open.sample(&[("pool", pool)], u8::from(figures.is_open));
        }
        let mut changes = page.metric(
            Counter,
            "ringroad_pool_fail_open_changes_total",
            "How often that has begun and ended.",
        );
        for (pool, figures) in &pools {
            changes.sample(&[("pool", pool), ("change", "entered")], figures.entered);
            changes.sample(&[("pool", pool), ("change", "exited")], figures.exited);
        }
    }

    fn process_metrics(&self, page: &mut Page, state: State) {
        page.metric(
            Gauge,
            "ringroad_build_info",
            "The program that runs; always 1.",
        )
        .sample(
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                ("arch", std::env::consts::ARCH),
            ],
            1,
        );
        page.single(
            Gauge,
            "ringroad_ready",
            "1 when clients may be sent here, as /readyz says.",
            u8::from(state.ready),
        );
        page.single(
            Gauge,
            "ringroad_draining",
            "1 when the process is about to end.",
            u8::from(state.draining),
        );
        page.single(
            Gauge,
            "ringroad_workers",
            "Worker threads.",
            self.workers.len(),
        );
        page.single(
            Counter,
            "ringroad_workers_replaced_total",
            "Workers that were replaced after a panic.",
            self.replaced_workers.load(Ordering::Relaxed),
        );
        let silence = self.beats().map(|(_, age)| age.as_secs_f64());
        page.single(
            Gauge,
            "ringroad_silence_seconds",
            "How long ago the thread that has not turned for longest did; each turns once a second at least.",
            silence.fold(0.0, f64::max),
        );
        let mut reloads = page.metric(
            Counter,
            "ringroad_config_reloads_total",
            "Configurations since the start that were applied, and that were refused.",
        );
        reloads.sample(&[("result", "ok")], self.reloads.load(Ordering::Relaxed));
        reloads.sample(
            &[("result", "failed")],
            self.failed_reloads.load(Ordering::Relaxed),
        );
        let (at, succeeded) = self.last_reload();
        page.single(
            Gauge,
            "ringroad_config_last_reload_successful",
            "0 when the last configuration that was read is not in force because it is wrong.",
            u8::from(succeeded),
        );
        page.single(
            Gauge,
            "ringroad_config_last_reload_success_timestamp_seconds",
            "When a configuration was last applied, that of the start included.",
            at,
        );
        let (user, system) = cpu_seconds();
        page.single(
            Counter,
            "process_cpu_seconds_total",
            "Processor time, user and system.",
            user + system,
        );
        page.single(
            Gauge,
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
            self.started_at as f64 / 1e3,
        );
        let process = Process::now();
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory in use.",
                process.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Address space in use.",
                process.virtual_bytes,
            ),
            (
                "process_open_fds",
                "Open files and sockets.",
                process.open_files,
            ),
            (
                "process_max_fds",
                "How many files and sockets may be open.",
                process.max_files,
            ),
            ("process_threads", "Threads.", process.threads),
        ] {
            if let Some(value) = value {
                page.single(Gauge, name, help, value);
            }
        }
    }

    fn client_metrics(&self, page: &mut Page) {
        let totals = self.totals();
        let total = |name: &str| totals.get(name).copied().unwrap_or(0);
        let mut requests = page.metric(Counter, "ringroad_requests_total", "Requests of clients by what they do; keys of gets count each, meta commands count with the text commands that do the same.");
        for (name, label) in COMMANDS {
            requests.sample(&[("command", label)], total(name));
        }
        let mut errors = page.metric(
            Counter,
            "ringroad_errors_total",
            "Requests that were refused or failed, by reason.",
        );
        for (kind, count) in self.errors() {
            errors.sample(&[("kind", kind)], count);
        }
        for (kind, name, shown, help) in TOTALS {
            page.single(*kind, shown, help, total(name));
        }
        page.single(
            Gauge,
            "ringroad_client_connections_max",
            "The most connections of clients (limits.max_connections).",
            self.max_connections.load(Ordering::Relaxed),
        );
    }
}

fn spool_metrics(page: &mut Page, spool: &Figures) {
    page.single(
        Counter,
        "ringroad_spool_deletes_total",
        "Deletions that failed and were written to the spool; only with a spool, as all of these.",
        spool.spooled.get(),
    );
    let mut failed = page.metric(
        Counter,
        "ringroad_spool_failures_total",
        "Deletions that could not be written to the spool and were answered with their error: queue, too many waited; write, the directory or the disk.",
    );
    failed.sample(&[("reason", "queue")], spool.queue_full.get());
    failed.sample(&[("reason", "write")], spool.write_failed.get());
    for (kind, name, help, count) in [
        (
            Counter,
            "ringroad_spool_dropped_total",
            "Deletions that were removed undelivered with the oldest files, at the bound.",
            &spool.dropped,
        ),
        (
            Counter,
            "ringroad_spool_displaced_total",
            "Files of the spool that somebody removed or moved while they were written; what was in one that was removed is written again.",
            &spool.displaced,
        ),
        (
            Counter,
            "ringroad_spool_replayed_total",
            "Deletions of the spool that this process delivered.",
            &spool.replayed,
        ),
        (
            Counter,
            "ringroad_spool_unreadable_total",
            "Lines of the spool that are no deletions.",
            &spool.unreadable,
        ),
        (
            Gauge,
            "ringroad_spool_bytes",
            "Bytes of the spool's files.",
            &spool.bytes,
        ),
        (
            Gauge,
            "ringroad_spool_files",
            "How many files the spool has.",
            &spool.files,
        ),
        (
            Gauge,
            "ringroad_spool_max_bytes",
            "The most bytes that the spool's files may have (spool.max_bytes).",
            &spool.max_bytes,
        ),
        (
            Gauge,
            "ringroad_spool_at_bound",
            "1 while the spool is as full as it may be: the next file makes the oldest go.",
            &spool.at_bound,
        ),
    ] {
        page.single(kind, name, help, count.get());
    }
}

fn pool_metrics(page: &mut Page, pools: &BTreeMap<String, Pool>) {
    let mut info = page.metric(Gauge, "ringroad_pool_info", "What a pool's placement was computed from, in short: keys go to the same servers where it is the same; always 1.");
    for (name, pool) in pools {
        if let Some(digest) = pool.digest {
            let digest = format!("{digest:016x}");
            info.sample(&[("pool", name), ("ring_digest", &digest)], 1);
        }
    }
    let mut members = page.metric(Gauge, "ringroad_pool_members", "Servers in a pool's ring by state: listed in the file; present, found by discovery; absent, no longer found and keeping their places.");
    for (name, pool) in pools {
        match &pool.discovery {
            None => members.sample(&[("pool", name), ("state", "listed")], pool.servers),
            Some(found) => {
                let present = pool.servers.saturating_sub(found.absent);
                members.sample(&[("pool", name), ("state", "present")], present);
                members.sample(&[("pool", name), ("state", "absent")], found.absent);
            }
        }
    }
    let mut age = page.metric(Gauge, "ringroad_discovery_age_seconds", "How long ago the source of a pool's servers that has not answered for longest did; missing while one never has.");
    for (name, pool) in pools {
        if let Some(seconds) = pool.discovery_age() {
            age.sample(&[("pool", name)], seconds);
        }
    }
    let found = || {
        pools
            .iter()
            .filter_map(|(name, pool)| Some((name, pool.discovery.as_ref()?)))
    };
    let mut answers = page.metric(
        Counter,
        "ringroad_discovery_answers_total",
        "Answers of the sources of a pool's servers.",
    );
    for (name, discovery) in found() {
        let count = discovery.counts.get("answers").copied().unwrap_or(0);
        answers.sample(&[("pool", name)], count);
    }
    for (prefix, metric, help) in [
        (
            "failed_",
            "ringroad_discovery_failures_total",
            "Attempts to ask a source that failed, by reason.",
        ),
        (
            "change_",
            "ringroad_discovery_changes_total",
            "What discovery changed, by kind.",
        ),
        (
            "notice_",
            "ringroad_discovery_notices_total",
            "Things that a person should know of the answers of sources, by kind.",
        ),
    ] {
        let mut metric = page.metric(Counter, metric, help);
        for (name, discovery) in found() {
            for (what, count) in &discovery.counts {
                if let Some(kind) = what.strip_prefix(prefix) {
                    metric.sample(&[("pool", name), ("kind", kind)], count);
                }
            }
        }
    }
}

fn server_metrics(page: &mut Page, sums: &BTreeMap<Id, Sum>) {
    for (kind, name, shown, help) in SERVERS {
        let mut metric = page.metric(*kind, shown, help);
        for (id, sum) in sums {
            metric.sample(&[("pool", &id.pool), ("server", &id.server)], sum.get(name));
        }
    }
    let mut metric = page.metric(Histogram, "ringroad_server_request_duration_seconds", "How long the server took to answer: from the request's queueing to the reading of the answer, or to its timeout.");
    for (id, sum) in sums {
        let labels = [("pool", id.pool.as_str()), ("server", id.server.as_str())];
        metric.times(&labels, &sum.times.together());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::report::Discovery;
    use crate::stats::{Destination, latency::Timing};
    use std::sync::Arc;
    use std::time::Instant;

    /// A registry that has something to show in every metric.
    fn registry() -> Registry {
        let registry = Registry::new(2);
        let figures = Arc::new(Destination::default());
        figures.latency.record(Timing::new(b"get k", 0), 70, 3);
        let id = Id {
            pool: "a \"pool\"".to_owned(),
            server: "10.0.0.1:11211".to_owned(),
        };
        registry.locked().open(id, figures);
        registry.pools().insert(
            "p".to_owned(),
            Pool {
                servers: 3,
                digest: Some(0xff),
                discovery: Some(Discovery {
                    answered: vec![Some(Instant::now())],
                    absent: 1,
                    counts: BTreeMap::from([
                        ("answers".to_owned(), 4),
                        ("failed_timeout".to_owned(), 1),
                        ("change_joined".to_owned(), 2),
                        ("notice_odd".to_owned(), 1),
                    ]),
                }),
            },
        );
        registry.spool.get_or_init(Default::default).replayed.add(5);
        registry
    }

    const STATE: State = State {
        ready: true,
        draining: false,
    };

    #[test]
    fn the_figures_are_those_of_the_statistics() {
        let registry = registry();
        registry.workers[0].worker.cmd_get.add(3);
        registry.workers[1].worker.cmd_get.add(4);
        registry.reloaded(false);
        let text = registry.metrics(STATE);
        for line in [
            "ringroad_ready 1",
            "ringroad_requests_total{command=\"get\"} 7",
            "ringroad_config_reloads_total{result=\"failed\"} 1",
            "ringroad_config_last_reload_successful 0",
            "ringroad_pool_info{pool=\"p\",ring_digest=\"00000000000000ff\"} 1",
            "ringroad_spool_replayed_total 5",
            "ringroad_pool_members{pool=\"p\",state=\"present\"} 2",
            "ringroad_pool_members{pool=\"p\",state=\"absent\"} 1",
            "ringroad_discovery_failures_total{pool=\"p\",kind=\"timeout\"} 1",
            "ringroad_discovery_changes_total{pool=\"p\",kind=\"joined\"} 2",
            "ringroad_request_duration_seconds_count{pool=\"a \\\"pool\\\"\",command=\"get\"} 3",
            "ringroad_server_request_duration_seconds_bucket{pool=\"a \\\"pool\\\"\",server=\"10.0.0.1:11211\",le=\"0.0001\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_counter_of_the_workers_is_shown() {
        let shown = |name: &str| {
            TOTALS.iter().any(|(_, known, ..)| *known == name)
                || COMMANDS.iter().any(|(known, _)| *known == name)
        };
        // Single commands of those that are counted together, for mcrouter's names.
        let parts = [
            "gets",
            "gat",
            "gats",
            "add",
            "replace",
            "append",
            "prepend",
            "cas",
            "decr",
            "lease_get",
            "lease_set",
            "metaget",
        ];
        let is_part = |name: &str| {
            name.strip_prefix("cmd_")
                .is_some_and(|name| parts.contains(&name))
        };
        for (name, _) in crate::stats::Worker::default().values() {
            // The sum of those by kind.
            assert!(shown(name) || name == "errors" || is_part(name), "{name}");
        }
    }

    #[test]
    fn a_server_has_a_bounded_number_of_lines() {
        let text = registry().metrics(STATE);
        let lines = text.lines().filter(|line| line.contains("10.0.0.1"));
        assert_eq!(lines.count(), 28, "the number in the reference");
    }

    #[test]
    fn the_reference_lists_the_metrics() {
        let text = registry().metrics(STATE);
        let mut table = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(help) = line.strip_prefix("# HELP ") else {
                continue;
            };
            let (name, help) = help.split_once(' ').unwrap();
            let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
            table += &format!("| `{name}` | {kind} | {help} |\n");
        }
        let page = include_str!("../docs/metrics.md");
        assert!(page.contains(&table), "the table should be\n\n{table}");
    }
}
