//! A [`Config`] as TOML, every setting written out.
//!
//! It is what the admin port shows as the effective configuration and what `ringroad check --toml` prints: reading it
//! again gives the same `Config`, which a property test holds. Settings that have no value
//! (no weight, no admin port) are left out, as in a file.

use std::fmt::Write as _;
use std::time::Duration;

use super::layout::broken;
use super::{
    Config, Discover, FailOpen, Gutter, Listen, LogFormat, Membership, Pool, Route, Rule, Server,
    Share, Shown, Source, routes, show_duration, show_size,
};

/// The whole file.
pub(super) fn config(config: &Config) -> String {
    let mut text = String::new();
    let listen = list(config.listen.iter().map(listener));
    let workers = config
        .workers
        .map_or("\"auto\"".to_owned(), |workers| workers.to_string());
    line(&mut text, "listen", &listen);
    line(&mut text, "workers", &workers);
    line(&mut text, "flush_all", config.flush_all);
    line(&mut text, "miss_on_get_errors", config.miss_on_get_errors);
    line(&mut text, "leases", config.leases);
    line(&mut text, "introspection", config.introspection);
    line(&mut text, "mcrouter_compat", quoted(config.compat.name()));
    line(&mut text, "group_remote_errors", config.group_remote_errors);
    if let Some(path) = &config.runtime_vars {
        let path = quoted(&path.display().to_string());
        line(&mut text, "runtime_vars_file", path);
    }
    line(&mut text, "drain", quoted(&show_duration(config.drain)));
    line(
        &mut text,
        "shutdown_delay",
        quoted(&show_duration(config.shutdown_delay)),
    );
    let whole = route(config, &config.route);
    line(&mut text, "route", broken("route", &whole));
    for one in &config.pools {
        pool(&mut text, one, &config.pools);
    }
    let limits = &config.limits;
    text.push_str("\n[limits]\n");
    for (key, bytes) in [
        ("max_value", limits.max_value),
        ("max_get_line", limits.max_get_line),
        ("client_bytes", limits.client_bytes),
        ("worker_bytes", limits.worker_bytes),
    ] {
        line(&mut text, key, quoted(&show_size(bytes as u64)));
    }
    line(&mut text, "client_requests", limits.client_requests);
    line(&mut text, "worker_requests", limits.worker_requests);
    line(&mut text, "waiting_requests", limits.waiting_requests);
    let timeout = show_duration(limits.waiting_timeout);
    line(&mut text, "waiting_timeout", quoted(&timeout));
    line(&mut text, "max_connections", limits.max_connections);
    text.push_str("\n[log]\n");
    line(&mut text, "level", quoted(&config.log.level));
    line(
        &mut text,
        "format",
        quoted(LogFormat::name(config.log.format)),
    );
    let dns = &config.dns;
    text.push_str("\n[dns]\n");
    if !dns.servers.is_empty() {
        let servers = dns.servers.iter().map(|addr| quoted(&addr.to_string()));
        line(&mut text, "servers", list(servers));
        let search = dns.search.iter().map(|domain| quoted(domain));
        line(&mut text, "search", list(search));
    }
    line(&mut text, "min_ttl", quoted(&show_duration(dns.min_ttl)));
    line(&mut text, "max_ttl", quoted(&show_duration(dns.max_ttl)));
    if let Some(spool) = &config.spool {
        text.push_str("\n[spool]\n");
        super::spool::render(spool, quoted, |key, value| line(&mut text, key, value));
    }
    if let Some(admin) = &config.admin {
        text.push_str("\n[admin]\n");
        line(&mut text, "listen", list(admin.listen.iter().map(listener)));
    }
    text
}

fn pool(text: &mut String, pool: &Pool, all: &[Pool]) {
    let _ = writeln!(text, "\n[pools.{}]", key(&pool.name));
    match &pool.discover {
        Some(found) => discover(text, found),
        None => {
            let servers = list(pool.servers.iter().map(server));
            line(text, "servers", broken("servers", &servers));
        }
    }
    let placement = &pool.placement;
    line(text, "distribution", quoted(placement.distribution.name()));
    if let Some(hash) = placement.hash {
        line(text, "hash", quoted(&hash.to_string()));
    }
    if let Some(points) = placement.points {
        line(text, "points", points);
    }
    if !placement.salt.is_empty() {
        line(text, "salt", quoted(&placement.salt));
    }
    if let Some(variable) = &placement.weights_variable {
        line(text, "weights_variable", quoted(variable));
    }
    if let Some((open, close)) = placement.tag {
        line(
            text,
            "hash_tag",
            quoted(&format!("{}{}", char::from(open), char::from(close))),
        );
    }
    line(text, "hash_stop", placement.stop);
    if let Some(buckets) = &placement.buckets {
        line(text, "buckets", super::placement::render_buckets(buckets));
    }
    line(text, "timeout", quoted(&show_duration(pool.timeout)));
    line(
        text,
        "connect_timeout",
        quoted(&show_duration(pool.connect_timeout)),
    );
    line(text, "connections", pool.connections);
    line(text, "idle_close", quoted(&show_duration(pool.idle_close)));
    line(text, "coalesce", pool.coalesce);
    line(text, "keep_routing_prefix", pool.keep_routing_prefix);
    line(text, "warm_scaling", pool.warm_scaling.is_some());
    if let Some(window) = pool.warm_scaling {
        line(text, "warm_window", quoted(&show_duration(window)));
    }
    if let Some(on_failure) = pool.on_failure {
        line(text, "on_failure", quoted(on_failure.name()));
    }
    if let Some(Gutter { pool, exptime }) = pool.gutter {
        let name = all.get(pool).map_or("", |pool| &pool.name);
        line(text, "gutter", quoted(name));
        let exptime = Duration::from_secs(exptime.into());
        line(text, "gutter_exptime", quoted(&show_duration(exptime)));
    }
    if let Some(on_return) = pool.on_return {
        line(text, "on_return", quoted(on_return.name()));
    }
    if let Some(name) = &pool.spool {
        line(text, "spool", true);
        line(text, "spool_name", quoted(name));
    }
    if let Some(Shown { pool, first }) = &pool.shown {
        line(text, "shown_as", quoted(pool));
        line(text, "shown_from", first);
    }
    line(text, "tko.after", pool.tko.after);
    line(
        text,
        "tko.probe_min",
        quoted(&show_duration(pool.tko.probe_min)),
    );
    line(
        text,
        "tko.probe_max",
        quoted(&show_duration(pool.tko.probe_max)),
    );
    line(text, "tko.recover", pool.tko.recover);
    line(
        text,
        "tko.hold_down",
        quoted(&show_duration(pool.tko.hold_down)),
    );
    if !pool.tko.enabled {
        line(text, "tko.enabled", false);
    }
    if let Some(FailOpen { at, until }) = pool.tko.fail_open {
        let shown = |share| match share {
            Share::Count(count) => count.to_string(),
            Share::Percent(_) => quoted(&share.to_string()),
        };
        line(text, "tko.fail_open_at", shown(at));
        line(text, "tko.fail_open_until", shown(until));
    }
    line(text, "queue.requests", pool.queue.requests);
    line(
        text,
        "queue.bytes",
        quoted(&show_size(pool.queue.bytes as u64)),
    );
    line(text, "queue.in_flight", pool.queue.in_flight);
}

fn discover(text: &mut String, discover: &Discover) {
    line(text, "discover", list(discover.sources.iter().map(source)));
    let Membership {
        hold,
        hold_top,
        hold_ip,
        max_loss,
        confirm,
    } = discover.membership;
    for (key, value) in [
        ("hold", hold),
        ("hold_top", hold_top),
        ("hold_ip", hold_ip),
        ("confirm", confirm),
    ] {
        let key = format!("membership.{key}");
        line(text, &key, quoted(&show_duration(value)));
    }
    line(text, "membership.max_loss", format_args!("{max_loss:?}"));
}

fn source(source: &Source) -> String {
    let parts = match source {
        Source::Service {
            name,
            port,
            port_name,
            identity,
        } => {
            let mut parts = vec![format!("service = {}", quoted(name))];
            parts.push(format!("port = {port}"));
            if let Some(port_name) = port_name {
                parts.push(format!("port_name = {}", quoted(port_name)));
            }
            parts.push(format!("identity = {}", quoted(identity.name())));
            parts
        }
        Source::Ordinals { pattern, port } => vec![
            format!("ordinals = {}", quoted(&pattern.to_string())),
            format!("port = {port}"),
        ],
        Source::Addresses {
            name,
            port,
            identity,
        } => vec![
            format!("addresses = {}", quoted(name)),
            format!("port = {port}"),
            format!("identity = {}", quoted(identity.name())),
        ],
        Source::File(path) => vec![format!("file = {}", quoted(&path.display().to_string()))],
        Source::Endpoint { host, port } => {
            let addr = match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            };
            vec![format!("endpoint = {}", quoted(&addr))]
        }
    };
    format!("{{ {} }}", parts.join(", "))
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "{key} = {value}");
}

fn listener(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(addr) => quoted(&addr.to_string()),
        Listen::Inherited(_) => quoted(&listen.to_string()),
        Listen::Shared(addr) => {
            format!(
                "{{ tcp = {}, reuse_port = true }}",
                quoted(&addr.to_string())
            )
        }
        Listen::Unix { path, mode } => {
            format!(
                "{{ unix = {}, mode = \"0{mode:03o}\" }}",
                quoted(&path.display().to_string())
            )
        }
    }
}

fn server(server: &Server) -> String {
    let mut parts = vec![format!("addr = {}", quoted(&server.addr.to_string()))];
    if server.name != Server::new(server.addr.clone()).name {
        parts.insert(0, format!("name = {}", quoted(&server.name)));
    }
    if let Some(weight) = server.weight {
        parts.push(format!("weight = {weight:?}"));
    }
    match parts.as_slice() {
        [_] => quoted(&server.addr.to_string()),
        _ => format!("{{ {} }}", parts.join(", ")),
    }
}

/// On one line, however long that is.
fn route(config: &Config, node: &Route) -> String {
    match node {
        Route::Pool(index) => quoted(config.pools.get(*index).map_or("", |pool| &pool.name)),
        Route::Prefix { prefixes, default } => {
            let entries: Vec<String> = prefixes
                .iter()
                .map(|(prefix, node)| {
                    format!(
                        "{} = {}",
                        quoted(&String::from_utf8_lossy(prefix)),
                        route(config, node)
                    )
                })
                .collect();
            let default = route(config, default);
            format!(
                "{{ type = \"prefix\", prefixes = {{ {} }}, default = {default} }}",
                entries.join(", ")
            )
        }
        Route::Failover { children, on } => {
            let children = list(children.iter().map(|child| route(config, child)));
            let on = list(on.iter().map(|reason| quoted(reason.name())));
            format!("{{ type = \"failover\", children = {children}, on = {on} }}")
        }
        Route::Choose(choose) => super::choose_show::render(choose, |child| route(config, child)),
        Route::Keys(keys) => super::keys_show::render(keys, |child| route(config, child)),
        Route::WarmUp {
            cold,
            warm,
            exptime,
        } => {
            let children = [route(config, cold), route(config, warm)];
            routes::many::render(&Rule::WarmUp { exptime: *exptime }, &children)
        }
        Route::BigValue {
            child,
            split_threshold,
            batch_size,
            hide_reply_flag,
        } => {
            let child = route(config, child);
            let threshold = quoted(&show_size(*split_threshold as u64));
            format!(
                "{{ type = \"big-value\", child = {child}, split_threshold = {threshold}, batch_size = {batch_size}, hide_reply_flag = {hide_reply_flag} }}"
            )
        }
        Route::Many { rule, children } => {
            let children: Vec<String> = children.iter().map(|child| route(config, child)).collect();
            routes::many::render(rule, &children)
        }
    }
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A key, in quotes only if it needs them.
pub(super) fn key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        return name.to_owned();
    }
    quoted(name)
}

/// A basic TOML string on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
