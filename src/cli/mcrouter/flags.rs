//! Every flag of mcrouter's command line, those of the standalone program first.
//!
//! A flag that is used is read in `start`; any other says in its [`Role`] what becomes of it. The names in the third
//! place are those of mcrouter's options, which macros and the flavor file use.

use super::getopt::{Describe, Takes};
pub(super) use Kind::{Int, Optional, Plain, Text, Toggle};
pub(super) use Role::{Idle, Later, Refuse, Use};

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// On or off; without a value the opposite of the default.
    Toggle,
    /// A whole number.
    Int,
    /// Any text.
    Text,
    /// It has no value.
    Plain,
    /// A text that may be left out.
    Optional,
}

/// What becomes of a flag; the texts say why, and read on after a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is used.
    Use,
    /// It means nothing here.
    Idle(&'static str),
    /// What it asks for is not done yet; nothing that a client sees gets worse without it.
    Later(&'static str),
    /// What it asks for is not done, and it would be wrong to start without it.
    Refuse(&'static str),
}

/// A flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// The name of mcrouter's option.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The value without the flag.
    pub(super) default: &'static str,
    pub(super) role: Role,
}

impl Describe for Flag {
    fn long(&self) -> &'static str {
        self.long
    }

    fn short(&self) -> Option<char> {
        self.short
    }

    fn takes(&self) -> Takes {
        match self.kind {
            Toggle | Optional => Takes::Optional,
            Int | Text => Takes::Value,
            Plain => Takes::None,
        }
    }
}

pub(super) const fn flag(
    long: &'static str,
    short: Option<char>,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    role: Role,
) -> Flag {
    Flag {
        long,
        short,
        name,
        kind,
        default,
        role,
    }
}

/// The flags of the program.
#[rustfmt::skip] // A table: a line each.
pub(super) const STANDALONE: &[Flag] = &[
    flag("log-path", Some('L'), "log_file", Text, "", Use),
    flag("carbon-router-name", None, "carbon_router_name", Text, "Memcache", Idle("there is one protocol")),
    flag("listen-addresses", None, "listen_addresses", Text, "", Use),
    flag("port", Some('p'), "ports", Text, "", Use),
    flag("ssl-port", None, "ssl_ports", Text, "", Refuse("encrypted connections are not supported")),
    flag("tls-ticket-key-seed-path", None, "tls_ticket_key_seed_path", Text, "", Later("connections are not encrypted")),
    flag("server-pem-cert-path", None, "server_pem_cert_path", Text, "", Later("connections are not encrypted")),
    flag("server-pem-key-path", None, "server_pem_key_path", Text, "", Later("connections are not encrypted")),
    flag("server-pem-ca-path", None, "server_pem_ca_path", Text, "", Later("connections are not encrypted")),
    flag("ssl-require-peer-certs", None, "ssl_require_peer_certs", Toggle, "0", Later("connections are not encrypted")),
    flag("ssl-use-ktls12", None, "ssl_use_ktls12", Toggle, "0", Later("connections are not encrypted")),
    flag("tls-prefer-ocb-cipher", None, "tls_prefer_ocb_cipher", Toggle, "0", Later("connections are not encrypted")),
    flag("listen-sock-fd", None, "listen_sock_fd", Int, "-1", Use),
    flag("unix-domain-sock", None, "unix_domain_sock", Text, "", Use),
    flag("max-conns", None, "max_conns", Int, "0", Use),
    flag("tcp-listen-backlog", None, "tcp_listen_backlog", Int, "4096", Idle("it is 4096, as far as the system allows")),
    flag("max-client-outstanding-reqs", None, "max_client_outstanding_reqs", Int, "34133", Use),
    flag("reqs-per-read", None, "reqs_per_read", Int, "0", Idle("mcrouter ignores it, too")),
    flag("retain-source-ip", None, "retain_source_ip", Toggle, "0", Use),
    flag("enable-server-compression", None, "enable_server_compression", Toggle, "0", Idle("memcached's protocol has no compression")),
    flag("client-timeout", None, "client_timeout_ms", Int, "1000", Idle("a client that does not read its replies is bounded by bytes, not by time")),
    flag("server-load-interval-ms", None, "server_load_interval_ms", Int, "0", Idle("memcached's protocol has no place for the load")),
    flag("tfo-queue-size", None, "tfo_queue_size", Int, "100000", Idle("TCP fast open is not used")),
    flag("enable-pass-through-mode", None, "enable_pass_through_mode", Toggle, "0", Idle("memcached's protocol is always passed through as it is")),
    flag("tcp-zero-copy-threshold", None, "tcp_zero_copy_threshold", Int, "0", Idle("large values are not copied anyway")),
    flag("acl-checker-enable", None, "acl_checker_enable", Toggle, "0", Idle("it belongs to a service that only Meta has")),
    flag("acl-checker-enforce", None, "acl_checker_enforce", Toggle, "0", Idle("it belongs to a service that only Meta has")),
    flag("prefix-acl-checker-enable", None, "prefix_acl_checker_enable", Toggle, "0", Idle("it belongs to a service that only Meta has")),
    flag("server-ssl-service-identity", None, "server_ssl_service_identity", Text, "memcache", Later("connections are not encrypted")),
    flag("num-listening-sockets", None, "num_listening_sockets", Int, "1", Idle("one thread accepts, which is enough")),
    flag("remote-thread", None, "remote_thread", Toggle, "0", Idle("each connection stays on one thread")),
    flag("enable-qos", None, "enable_qos", Toggle, "0", Idle("packets are not marked")),
    flag("default-qos-class", None, "default_qos_class", Int, "0", Idle("packets are not marked")),
    flag("default-qos-path", None, "default_qos_path", Int, "0", Idle("packets are not marked")),
    flag("use-thrift", None, "use_thrift", Toggle, "0", Refuse("only memcached's protocol is spoken")),
    flag("thrift-port", None, "thrift_port", Int, "0", Refuse("only memcached's protocol is spoken")),
    flag("thrift-listen-sock-fd", None, "thrift_listen_sock_fd", Int, "-1", Refuse("only memcached's protocol is spoken")),
    flag("core-multiplier", None, "core_multiplier", Int, "0", Idle("threads are chosen with --num-proxies")),
    flag("core-multiplier-threshold", None, "core_multiplier_threshold", Int, "0", Idle("threads are chosen with --num-proxies")),
    flag("key-client-binding-enable", None, "key_client_binding_enable", Toggle, "0", Idle("it belongs to a service that only Meta has")),
    flag("key-client-binding-nonlookaside-enable", None, "key_client_binding_nonlookaside_enable", Toggle, "0", Idle("it belongs to a service that only Meta has")),
    flag("key-client-binding-nonlookaside-verifier", None, "key_client_binding_nonlookaside_verifier", Text, "ucache", Idle("it belongs to a service that only Meta has")),
    flag("postprocess-logging-route", None, "postprocess_logging_route", Toggle, "0", Idle("it belongs to a service that only Meta has")),
    flag("help", Some('h'), "help", Plain, "", Use),
    flag("version", Some('V'), "version", Plain, "", Use),
    flag("verbosity", Some('v'), "verbosity", Int, "1", Use),
    flag("validate-config", None, "validate_config", Optional, "", Use),
    flag("proxy-threads", None, "proxy_threads", Text, "", Use),
    flag("service-name", None, "service_name", Text, "mcrouter", Use),
    flag("additional-config-params", None, "additional_config_params", Text, "", Use),
    flag("mcrouter-compat", None, "mcrouter_compat", Text, "latest", Use),
    flag("gets", None, "gets", Toggle, "0", Idle("mcrouter ignores it, too")),
    flag("skip-sanity-checks", None, "skip_sanity_checks", Toggle, "0", Idle("mcrouter ignores it, too")),
    flag("background", Some('b'), "background", Plain, "", Idle("it stays in the foreground; a service manager does the rest")),
    flag("dump_preprocessed_config_enabled", None, "dump_preprocessed_config_enabled", Toggle, "0", Later("the configuration is dumped as it was read")),
    flag("max_preprocessed_config_history", None, "max_preprocessed_config_history", Int, "0", Later("the configuration is dumped as it was read")),
];
