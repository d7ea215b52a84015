//! `stats` and its sub-commands, under memcached's names, so that exporters understand them.
//!
//! Names that only make sense for memcached's own memory management (slab moves, the LRU's segments, the hash
//! table, log workers) are left out; so is what would need the process's own accounting, since a process may
//! hold several embedded servers. `items` and `slabs` show the slab classes memcached would have used.
//! `detail` and `cachedump` are answered as by a memcached where they are switched off (`-X`).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;

use super::VERSION;
use super::item::{Now, PAGE};
use super::store::{Items, Store};
use crate::protocol::meta::words;

/// Appends the answer to `stats args`.
pub fn render(args: &[u8], store: &Store, items: &mut Items, now: Now, out: &mut Vec<u8>) {
    let mut stat = Lines { out };
    match words(args).next() {
        None => general(store, items, now, &mut stat),
        Some(b"settings") => settings(store, items, &mut stat),
        Some(b"items") => item_classes(items, now, &mut stat),
        Some(b"slabs") => slabs(items, &mut stat),
        Some(b"sizes") => sizes(items, &mut stat),
        Some(b"conns") => connections(store, &mut stat),
        Some(b"reset") => {
            items.reset_counters();
            store.traffic().reset();
            stat.out.extend_from_slice(b"RESET\r\n");
            return;
        }
        Some(b"detail") => {
            stat.out
                .extend_from_slice(b"CLIENT_ERROR stats detail not allowed\r\n");
            return;
        }
        Some(b"cachedump") => {
            stat.out
                .extend_from_slice(b"CLIENT_ERROR stats cachedump not allowed\r\n");
            return;
        }
        Some(_) => {
            stat.out.extend_from_slice(b"ERROR\r\n");
            return;
        }
    }
    stat.out.extend_from_slice(b"END\r\n");
}

struct Lines<'a> {
    out: &'a mut Vec<u8>,
}

impl Lines<'_> {
    fn add(&mut self, name: impl Display, value: impl Display) {
        self.out
            .extend_from_slice(format!("STAT {name} {value}\r\n").as_bytes());
    }
}

fn general(store: &Store, items: &Items, now: Now, stat: &mut Lines<'_>) {
    let (options, traffic) = (store.options(), store.traffic());
    let (counters, totals) = (&items.counters, items.counters.totals());
    stat.add("pid", std::process::id());
    stat.add("uptime", now.since(items.started().0));
    stat.add("time", now.0);
    stat.add("version", VERSION);
    stat.add("pointer_size", usize::BITS);
    stat.add("max_connections", options.max_connections);
    stat.add("curr_connections", traffic.connections.load(Relaxed));
    stat.add("total_connections", traffic.accepted.load(Relaxed));
    stat.add("rejected_connections", traffic.rejected.load(Relaxed));
    stat.add("connection_structures", traffic.connections.load(Relaxed));
    for (name, value) in [
        ("cmd_get", counters.get_cmds),
        ("cmd_set", totals.set_cmds),
        ("cmd_flush", counters.flush_cmds),
        ("cmd_touch", counters.touch_cmds),
        ("cmd_meta", counters.meta_cmds),
        ("get_hits", totals.get_hits),
        ("get_misses", counters.get_misses),
        ("get_expired", counters.get_expired),
        ("get_flushed", counters.get_flushed),
        ("delete_misses", counters.delete_misses),
        ("delete_hits", totals.delete_hits),
        ("incr_misses", counters.incr_misses),
        ("incr_hits", totals.incr_hits),
        ("decr_misses", counters.decr_misses),
        ("decr_hits", totals.decr_hits),
        ("cas_misses", counters.cas_misses),
        ("cas_hits", totals.cas_hits),
        ("cas_badval", totals.cas_badval),
        ("touch_hits", totals.touch_hits),
        ("touch_misses", counters.touch_misses),
        ("store_too_large", counters.store_too_large),
        ("store_no_memory", 0),
        ("auth_cmds", 0),
        ("auth_errors", 0),
        ("bytes_read", traffic.bytes_read.load(Relaxed)),
        ("bytes_written", traffic.bytes_written.load(Relaxed)),
        ("limit_maxbytes", options.memory as u64),
        ("accepting_conns", 1),
        ("listen_disabled_num", 0),
        ("time_in_listen_disabled_us", 0),
        ("threads", 1),
        ("conn_yields", 0),
        ("malloc_fails", 0),
        ("bytes", items.bytes()),
        ("curr_items", items.len() as u64),
        ("total_items", counters.total_items),
        ("expired_unfetched", counters.expired_unfetched),
        ("evicted_unfetched", counters.evicted_unfetched),
        ("evicted_active", counters.evicted_active),
        ("evictions", counters.evictions),
        ("reclaimed", counters.reclaimed),
    ] {
        stat.add(name, value);
    }
}

fn settings(store: &Store, items: &Items, stat: &mut Lines<'_>) {
    let options = store.options();
    let listening = store.traffic().listening.get();
    stat.add("maxbytes", options.memory);
    stat.add("maxconns", options.max_connections);
    stat.add("tcpport", listening.map_or(0, |addr| addr.port()));
    stat.add("udpport", 0);
    match listening {
        Some(addr) => stat.add("inter", addr.ip()),
        None => stat.add("inter", "NULL"),
    }
    stat.add("verbosity", 0);
    stat.add("oldest", items.flush_at());
    stat.add("evictions", "on");
    stat.add("domain_socket", "NULL");
    stat.add("shutdown_command", "no");
    stat.add("growth_factor", "1.25");
    stat.add("chunk_size", 48);
    stat.add("num_threads", 1);
    stat.add("stat_key_prefix", ":");
    stat.add("detail_enabled", "no");
    stat.add("cas_enabled", "yes");
    stat.add("binding_protocol", "ascii");
    stat.add("auth_enabled_sasl", "no");
    stat.add("auth_enabled_ascii", "no");
    stat.add("item_size_max", options.max_item);
    stat.add("maxconns_fast", "yes");
    stat.add("slab_chunk_max", PAGE / 2);
    stat.add("idle_timeout", 0);
    stat.add("flush_enabled", "yes");
    stat.add("dump_enabled", "no");
}

/// What the items of one slab class come to.
#[derive(Default)]
struct ClassTotal {
    items: usize,
    bytes: usize,
    oldest: u32,
}

fn class_totals(items: &Items) -> BTreeMap<usize, ClassTotal> {
    let mut totals: BTreeMap<usize, ClassTotal> = BTreeMap::new();
    for (key, item) in items.iter() {
        let size = item.size(key.len());
        let total = totals
            .entry(items.classes().of(size))
            .or_insert(ClassTotal {
                oldest: u32::MAX,
                ..ClassTotal::default()
            });
        total.items += 1;
        total.bytes += size;
        total.oldest = total.oldest.min(item.time);
    }
    totals
}

fn item_classes(items: &Items, now: Now, stat: &mut Lines<'_>) {
    for (class, total) in class_totals(items) {
        let mut add =
            |name: &str, value: usize| stat.add(format_args!("items:{class}:{name}"), value);
        add("number", total.items);
        add("age", now.since(total.oldest) as usize);
        add("mem_requested", total.bytes);
        // Evictions are not counted by class; the sums are in the general statistics.
        for name in [
            "evicted",
            "evicted_nonzero",
            "evicted_time",
            "outofmemory",
            "tailrepairs",
            "reclaimed",
            "expired_unfetched",
            "evicted_unfetched",
            "evicted_active",
            "crawler_reclaimed",
            "crawler_items_checked",
            "lrutail_reflocked",
        ] {
            add(name, 0);
        }
    }
}

fn slabs(items: &Items, stat: &mut Lines<'_>) {
    let totals = class_totals(items);
    let mut pages = 0;
    for (class, total) in &totals {
        let chunk = items.classes().chunk(*class);
        let per_page = (PAGE / chunk.max(1)).max(1);
        // An item larger than the largest chunk takes several.
        let used = match total.bytes > total.items * chunk {
            true => total.bytes.div_ceil(chunk.max(1)),
            false => total.items,
        };
        let class_pages = used.div_ceil(per_page);
        pages += class_pages;
        let counted = items.counters.class(*class);
        let mut add = |name: &str, value: u64| stat.add(format_args!("{class}:{name}"), value);
        add("chunk_size", chunk as u64);
        add("chunks_per_page", per_page as u64);
        add("total_pages", class_pages as u64);
        add("total_chunks", (class_pages * per_page) as u64);
        add("used_chunks", used as u64);
        add("free_chunks", (class_pages * per_page - used) as u64);
        add("free_chunks_end", 0);
        add("get_hits", counted.get_hits);
        add("cmd_set", counted.set_cmds);
        add("delete_hits", counted.delete_hits);
        add("incr_hits", counted.incr_hits);
        add("decr_hits", counted.decr_hits);
        add("cas_hits", counted.cas_hits);
        add("cas_badval", counted.cas_badval);
        add("touch_hits", counted.touch_hits);
    }
    stat.add("active_slabs", totals.len());
    stat.add("total_malloced", pages * PAGE);
}

/// Item sizes in steps of 32 bytes.
fn sizes(items: &Items, stat: &mut Lines<'_>) {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for (key, item) in items.iter() {
        *counts
            .entry(item.size(key.len()).next_multiple_of(32))
            .or_default() += 1;
    }
    for (size, count) in counts {
        stat.add(size, count);
    }
}

fn connections(store: &Store, stat: &mut Lines<'_>) {
    let traffic = store.traffic();
    if let Some(addr) = traffic.listening.get() {
        stat.add("0:addr", format_args!("tcp:{addr}"));
        stat.add("0:state", "conn_listening");
    }
    for (id, addr) in traffic.peers() {
        stat.add(format_args!("{id}:addr"), format_args!("tcp:{addr}"));
        stat.add(format_args!("{id}:state"), "conn_read");
    }
}
