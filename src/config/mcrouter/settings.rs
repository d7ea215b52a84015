//! What mcrouter's command line contributes to the meaning of a configuration.

use std::time::Duration;

use super::super::keys::split_prefix;
use super::super::{Config, OnReturn, Pool, Queue, Spool, Tko, show_duration};
use super::macros::Global;

/// The command line's part of a configuration; the defaults are mcrouter's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Listeners, workers, limits and all else that is neither pools nor routes.
    pub base: Config,
    /// What a pool is that says nothing but its servers.
    pub pool: Pool,
    /// The prefix whose route serves keys without one: `/region/cluster/`.
    pub default_route: String,
    /// Whether keys with an unknown prefix go where those without one go.
    pub unknown_to_default: bool,
    /// Whether nothing but gets is routed.
    pub only_gets: bool,
    /// The timeout for pools of the same region and cluster, if it is another one.
    pub within_cluster: Option<Duration>,
    /// The timeout for pools of the same region and another cluster, if it is another one.
    pub cross_cluster: Option<Duration>,
    /// The timeout for pools of another region, if it is another one.
    pub cross_region: Option<Duration>,
    /// Whether routes may know the addresses of clients.
    pub retains_addresses: bool,
    /// Whether everything goes through a big-value route.
    pub big_values: Option<BigValues>,
    /// Constants for macros: `config-params`, and `mcr_opts-…` for each option.
    pub constants: Vec<(String, String)>,
    /// The constant `router-name`.
    pub router_name: String,
    /// The constant `service-name`.
    pub service_name: String,
    /// The constant `num-proxies`.
    pub proxies: usize,
}

/// A big-value route around everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BigValues {
    /// The largest value that is stored as it is, in bytes.
    pub split_threshold: usize,
    /// Parts on their way at a time.
    pub batch_size: usize,
    /// Whether clients see flags without the bit that marks a value in parts.
    pub hide_reply_flag: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        let mut pool = Pool::new("", Vec::new());
        pool.tko = Tko {
            after: 3,
            probe_min: Duration::from_secs(10),
            probe_max: Duration::from_secs(60),
            recover: 1,
            hold_down: Duration::ZERO,
            ..Tko::default()
        };
        // mcrouter deletes nothing on its own. Whoever wants that converts the file and says so.
        pool.on_return = Some(OnReturn::Trust);
        pool.queue = Queue {
            requests: 100_000,
            ..Queue::default()
        };
        let listen = vec![super::super::Listen::Tcp(super::super::DEFAULT_LISTEN)];
        let mut base = Config::single_pool(listen, pool.clone());
        base.pools.clear();
        base.leases = true;
        // mcrouter has no bound of its own: what is too large or too many is for memcached or the system to say.
        base.limits.max_value = 128 << 20;
        base.limits.client_requests = 34_133;
        base.limits.max_connections = 1_000_000;
        base.introspection = true;
        base.spool = Some(spool());
        Settings {
            base,
            pool,
            default_route: "/././".to_owned(),
            unknown_to_default: false,
            only_gets: false,
            within_cluster: None,
            cross_cluster: None,
            cross_region: None,
            retains_addresses: false,
            big_values: None,
            constants: Vec::new(),
            router_name: "5000".to_owned(),
            service_name: "mcrouter".to_owned(),
            proxies: 1,
        }
    }
}

/// mcrouter's spool: its directory must be there, and nobody replays it.
fn spool() -> Spool {
    let mut spool = Spool::new("/var/spool/mcrouter");
    spool.create_dir = false;
    spool.replay = false;
    "mcrouter".clone_into(&mut spool.service_name);
    "5000".clone_into(&mut spool.router_name);
    ".".clone_into(&mut spool.region);
    spool
}

impl Settings {
    /// Region and cluster of the default route.
    pub(super) fn locality(&self) -> (&str, &str) {
        split_prefix(&self.default_route).unwrap_or_default()
    }

    /// A pool's timeout, which its region and cluster may override.
    pub(super) fn timeout(&self, own: Duration, place: Option<(&str, &str)>) -> Duration {
        let (region, cluster) = self.locality();
        let other = match place {
            None => None,
            Some(place) if place == (region, cluster) => self.within_cluster,
            Some((same, _)) if same == region => self.cross_cluster,
            Some(_) => self.cross_region,
        };
        other.unwrap_or(own)
    }

    /// The constants that macros may use.
    pub(super) fn globals(&self) -> Vec<(String, Global)> {
        let (region, cluster) = self.locality();
        let text = |name: &str, value: &str| (name.to_owned(), Global::Text(value.to_owned()));
        let int = |name: &str, value: i64| (name.to_owned(), Global::Int(value));
        let proxies = i64::try_from(self.proxies).unwrap_or(i64::MAX);
        let mut globals = vec![
            text("default-route", &self.default_route),
            text("default-region", region),
            text("default-cluster", cluster),
            text("router-name", &self.router_name),
            text("service-name", &self.service_name),
            text("router-info-name", "Memcache"),
            int("service-router-capable", 0),
            int("num-proxies", proxies),
        ];
        globals.extend(self.constants.iter().map(|(name, value)| text(name, value)));
        globals
    }

    /// The same as texts.
    pub fn shown_constants(&self) -> Vec<(String, String)> {
        let text = |global: Global| match global {
            Global::Text(text) => text,
            Global::Int(number) => number.to_string(),
        };
        let all = self.globals().into_iter();
        all.map(|(name, value)| (name, text(value))).collect()
    }

    /// Why a timeout can't be used, if so.
    pub(super) fn check_timeout(timeout: Duration) -> Result<(), String> {
        let most = Duration::from_secs(600);
        if (Duration::from_millis(1)..=most).contains(&timeout) {
            return Ok(());
        }
        Err(format!("from 1 ms to {} are possible", show_duration(most)))
    }
}
