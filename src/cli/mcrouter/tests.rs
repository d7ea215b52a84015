//! What command lines of mcrouter become.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::mcrouter::Settings;
use crate::config::{Config, Listen, Origin, SpoolFormat};

fn read(args: &[&str]) -> Given {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    Given::read(&args)
}

#[track_caller]
fn started(args: &[&str]) -> Start {
    start::start(read(args)).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// With a port and a configuration, which every start needs.
#[track_caller]
fn settings(args: &[&str]) -> (Settings, Vec<String>) {
    let all = [&["-p", "5000", "-f", "/c.json"], args].concat();
    let start = started(&all);
    let Origin::File { settings, .. } = start.origin else {
        panic!()
    };
    (*settings.unwrap(), start.lines)
}

#[track_caller]
fn base(args: &[&str]) -> Config {
    settings(args).0.base
}

#[track_caller]
fn refused(args: &[&str], why: &str) {
    let error = start::start(read(args)).unwrap_err();
    assert!(error.contains(why), "{args:?}: {error}");
}

#[test]
fn it_is_known_by_its_name_or_its_first_argument() {
    let called = |args: &[&str]| super::called(args.iter().map(OsString::from));
    assert_eq!(called(&["/usr/bin/mcrouter", "-p", "1"]).unwrap().len(), 2);
    assert_eq!(called(&["mcrouter"]), Some(vec![]));
    assert_eq!(called(&["ringroad", "mcrouter", "-V"]).unwrap().len(), 1);
    assert_eq!(called(&["ringroad", "run"]), None);
    assert_eq!(called(&["ringroad"]), None);
    assert_eq!(called(&[]), None);
}

#[test]
fn the_configuration_is_found_in_every_spelling() {
    let path = |args: &[&str]| match started(&[&["-p", "1"], args].concat()).origin {
        Origin::File { path, .. } => path.display().to_string(),
        Origin::Inline { name, text, .. } => format!("{name}={text}"),
    };
    for args in [
        &["--config-file=/c.json"][..],
        &["--config-file", "/c.json"],
        &["-f", "/c.json"],
        &["-f/c.json"],
        &["--config", "file:/c.json"],
        &["--config=file:/c.json", "-f", "/other"],
        &["-f", "/earlier", "-f", "/c.json"],
    ] {
        assert_eq!(path(args), "/c.json", "{args:?}");
    }
    assert_eq!(path(&["--config", "{}"]), "--config={}");
    assert_eq!(path(&["--config-str={}"]), "--config-str={}");
    refused(&["-p", "1"], "there is no configuration");
}

#[test]
fn listeners_are_ports_on_every_address() {
    let listen = |args: &[&str]| -> Vec<String> {
        let all = [&["-f", "/c.json"], args].concat();
        let Origin::File { settings, .. } = started(&all).origin else {
            panic!()
        };
        let base = settings.unwrap().base;
        base.listen.iter().map(Listen::to_string).collect()
    };
    let everywhere = listen(&["-p 5000"]);
    assert!(everywhere == ["[::]:5000"] || everywhere == ["0.0.0.0:5000"]);
    let two = ["-p", "5000, 5001", "--listen-addresses=127.0.0.1,::1"];
    assert_eq!(
        listen(&two),
        [
            "127.0.0.1:5000",
            "[::1]:5000",
            "127.0.0.1:5001",
            "[::1]:5001"
        ]
    );
    assert_eq!(listen(&["--unix-domain-sock", "/m.sock"]), ["unix:/m.sock"]);
    assert_eq!(listen(&["--listen-sock-fd=7", "-p", "1"]), ["fd:7"]);
    assert_eq!(listen(&["--listen-sock-fd=-1", "-p", "1"]).len(), 1);
    refused(&["-f", "/c"], "invalid ports");
    refused(&["-f", "/c", "--listen-sock-fd=-1"], "invalid ports");
    refused(&["-f", "/c", "-p", "x"], "\"x\" is no port");
    refused(&["-f", "/c", "-p", "1,1"], "given twice");
    refused(
        &["-f", "/c", "-p", "1", "--listen-addresses=h"],
        "no address",
    );
}

/// It is claimed by who runs it: a command line that is only read leaves the process's descriptors alone.
#[test]
fn a_socket_that_was_passed_on_is_the_only_one_that_is_listened_on() {
    let all = [
        "-f/c",
        "--listen-sock-fd=7",
        "-p5000",
        "--listen-addresses=::1",
        "--unix-domain-sock=/s",
    ];
    let start = started(&all);
    assert_eq!(start.inherits, Some(7));
    let process = start.process;
    assert_eq!(process.router, "5000");
    let option = ("listen_sock_fd".to_owned(), "7".to_owned());
    assert!(process.options.contains(&option));
    for (line, says) in start.lines.iter().zip([
        "--port has no effect but on the router's name",
        "--listen-addresses has no effect: the socket of --listen-sock-fd alone",
        "--unix-domain-sock has no effect",
    ]) {
        assert!(line.contains(says), "{line}");
    }
    assert_eq!(start.lines.len(), 3);
    assert_eq!(started(&["-f/c", "-p1"]).inherits, None);
    let alone = started(&["-f/c", "--listen-sock-fd=7"]);
    assert_eq!(alone.lines, [""; 0]);
    let looked_at = started(&["-f/c", "--listen-sock-fd=7", "--validate-config"]);
    assert_eq!(looked_at.validate, Validate::Exit);
}

#[test]
fn defaults_are_those_of_mcrouter() {
    let (settings, lines) = settings(&[]);
    assert_eq!(lines, [""; 0]);
    let pool = &settings.pool;
    assert_eq!(pool.timeout, Duration::from_secs(1));
    assert_eq!(pool.connect_timeout, Duration::from_secs(1));
    assert_eq!(pool.tko.after, 3);
    assert_eq!(pool.tko.probe_min, Duration::from_secs(10));
    assert_eq!(pool.tko.probe_max, Duration::from_secs(60));
    assert_eq!(pool.tko.hold_down, Duration::ZERO);
    assert_eq!(pool.queue.requests, 100_000);
    assert_eq!(settings.default_route, "/././");
    assert!(settings.big_values.is_none());
    let spool = settings.base.spool.as_ref().unwrap();
    assert_eq!(spool.dir.to_str(), Some("/var/spool/mcrouter"));
    assert_eq!(spool.format, SpoolFormat::V1);
    assert!(!spool.create_dir && !spool.replay);
    let names = (&*spool.service_name, &*spool.router_name, &*spool.region);
    assert_eq!(names, ("mcrouter", "5000", "."));
    assert_eq!(settings.router_name, "5000");
    let base = &settings.base;
    assert_eq!(base.workers, Some(1));
    assert!(base.miss_on_get_errors && !base.flush_all && base.admin.is_none());
    assert_eq!(base.limits.client_requests, 34_133);
    assert_eq!(base.log.level, "info");
}

#[test]
fn flags_become_settings() {
    let pool = |args: &[&str]| settings(args).0.pool;
    assert_eq!(pool(&["-t", "250"]).timeout, Duration::from_millis(250));
    assert_eq!(pool(&["-t250"]).connect_timeout, Duration::from_millis(250));
    let quick = pool(&[
        "-r",
        "50",
        "--probe-timeout-max=200",
        "--timeouts-until-tko=5",
    ])
    .tko;
    assert_eq!(
        (quick.probe_min, quick.probe_max, quick.after),
        (Duration::from_millis(50), Duration::from_millis(200), 5)
    );
    assert_eq!(
        pool(&["--retry-timeout=70"]).tko.probe_min,
        Duration::from_millis(70)
    );
    assert!(quick.enabled && !pool(&["--disable-tko-tracking"]).tko.enabled);
    assert_eq!(pool(&["--target-max-pending=9"]).queue.requests, 9);
    assert_eq!(pool(&["-v1"]).queue.in_flight, 0);
    assert_eq!(
        pool(&["--target-max-inflight-requests=7"]).queue.in_flight,
        7
    );
    let idle = |flag: &str| pool(&[flag]).idle_close;
    assert_eq!(idle("-v1"), Duration::from_secs(60));
    assert_eq!(
        idle("--reset-inactive-connection-interval=0"),
        Duration::ZERO
    );
    assert_eq!(
        idle("--reset-inactive-connection-interval=90"),
        Duration::from_millis(90)
    );
    assert_eq!(base(&["--num-proxies=4"]).workers, Some(4));
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(base(&["--num-proxies=%CPU_CORES%"]).workers, Some(cores));
    assert_eq!(base(&["--proxy-threads=auto"]).workers, None);
    assert_eq!(base(&["--proxy-threads", "3"]).workers, Some(3));
    assert!(base(&["--enable-flush-cmd"]).flush_all);
    assert!(base(&["--enable-flush-cmd=true"]).flush_all);
    assert!(!base(&["--enable-flush-cmd", "--enable-flush-cmd=0"]).flush_all);
    assert!(!base(&["--disable-miss-on-get-errors"]).miss_on_get_errors);
    assert_eq!(
        base(&["--max-client-outstanding-reqs=10"])
            .limits
            .client_requests,
        10
    );
    let turns = base(&[
        "--proxy-max-inflight-requests=5",
        "--proxy-max-throttled-requests=6",
        "--waiting-request-timeout-ms=7",
    ])
    .limits;
    assert_eq!((turns.worker_requests, turns.waiting_requests), (5, 6));
    assert_eq!(turns.waiting_timeout, Duration::from_millis(7));
    assert_eq!(base(&["-v1"]).limits.worker_requests, 0);
    assert_eq!(base(&["--max-conns=7"]).limits.max_connections, 7);
    assert_eq!(base(&["-v", "2"]).log.level, "debug");
    assert_eq!(base(&["-v0"]).log.level, "warn");
    for text in ["/a/b/", "a/b", "/a/b"] {
        assert_eq!(settings(&["-R", text]).0.default_route, "/a/b/");
    }
    assert!(base(&["--asynclog-disable"]).spool.is_none());
    let spool = base(&[
        "-a",
        "/x",
        "--use-asynclog-version2",
        "-R/r/c/",
        "--service-name=s",
    ]);
    let spool = spool.spool.unwrap();
    assert_eq!(
        (spool.dir.to_str(), spool.format),
        (Some("/x"), SpoolFormat::V2)
    );
    assert_eq!((&*spool.region, &*spool.service_name), ("r", "s"));
    let (timed, _) = settings(&[
        "--cross-region-timeout-ms=9",
        "--within-cluster-timeout-ms=3",
    ]);
    assert_eq!(timed.cross_region, Some(Duration::from_millis(9)));
    assert_eq!(timed.within_cluster, Some(Duration::from_millis(3)));
    assert_eq!(timed.cross_cluster, None);
    let big = [
        "--big-value-split-threshold=10000",
        "--big-value-batch-size=3",
    ];
    let big = settings(&big).0.big_values.unwrap();
    assert_eq!((big.split_threshold, big.batch_size), (10_000, 3));
    let all = [
        "--big-value-split-threshold=10000",
        "--big-value-batch-size=0",
    ];
    assert_eq!(settings(&all).0.big_values.unwrap().batch_size, 0);
    let start = started(&["-p1", "-f/c", "--disable-reload-configs", "-L", "/l"]);
    assert!(!start.watches && start.log_path == Some("/l".into()));
}

#[test]
fn macros_may_ask_for_parameters_and_options() {
    let (settings, _) = settings(&[
        "--config-params=a:1,b:x:y",
        "-t",
        "77",
        "--enable-flush-cmd",
    ]);
    let get = |name: &str| {
        let found = settings.constants.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(get("a"), Some("1"));
    assert_eq!(get("b"), Some("x:y"));
    assert_eq!(get("mcr_opts-server_timeout_ms"), Some("77"));
    assert_eq!(get("mcr_opts-enable_flush_cmd"), Some("1"));
    assert_eq!(get("mcr_opts-asynclog_disable"), Some("0"));
    assert_eq!(get("mcr_opts-default_route"), None, "a text");
    refused(&["-p1", "-f/c", "--config-params=a"], "not NAME:VALUE");
}

#[test]
fn what_has_no_effect_is_said_once_with_the_reason() {
    for (args, line) in [
        (
            &["--debug-fifo-root=/x"][..],
            "--debug-fifo-root means nothing here: there are no debugging pipes",
        ),
        (
            &["--fibers-stack-size=65536"],
            "--fibers-stack-size means nothing here: there are no fibers",
        ),
        (&["-b"], "--background means nothing here"),
        (
            &["-K5"],
            "--keepalive-count means nothing here: keepalive packets are sent",
        ),
        (&["--max-conns=5"], "none is closed for another"),
        (&["-r", "1"], "1 is not possible; it is taken for 10"),
        (
            &["--nonsense"],
            "unrecognized option '--nonsense'; it is ignored",
        ),
        (
            &["-t", "soon"],
            "--server-timeout can't be understood; it is ignored",
        ),
        (&["--enable-flush-cmd=maybe"], "can't be understood"),
        (&["word"], "\"word\" is no flag"),
    ] {
        let (_, lines) = settings(args);
        assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
        assert!(lines[0].contains(line), "{args:?}: {lines:?}");
    }
    // What is as it would be anyway needs no words.
    assert_eq!(
        settings(&["--enable-qos=0", "--stats-logging-interval=10000"]).1,
        [""; 0]
    );
}

#[test]
fn what_it_would_be_wrong_to_start_without_is_refused() {
    for (args, why) in [
        (
            &["--ssl-port=5001"][..],
            "--ssl-port is not supported yet: encrypted",
        ),
        (
            &["--listen-sock-fd=4294967299"],
            "4294967299 is no number that a descriptor",
        ),
        (&["--use-thrift"], "--use-thrift is not supported yet"),
        (&["--num-proxies=0"], "at least one"),
        (&["--keepalive-idle=0"], "at least a second"),
        (&["-i", "-1"], "at least a second"),
        (&["--server-timeout=0"], "must not be 0"),
        (&["--server-timeout=900000"], "up to 10m"),
        (&["--big-value-split-threshold=5"], "from 1024"),
        (&["-R", "/a/"], "is not /REGION/CLUSTER/"),
        (&["--validate-config=maybe"], "it is exit or run"),
        (&["--proxy-threads=many"], "no number of threads"),
    ] {
        refused(&[&["-p1", "-f/c"], args].concat(), why);
    }
    assert!(read(&["--use-thrift=0"]).refused.is_empty());
}

#[test]
fn a_configuration_can_be_looked_at_without_a_port() {
    let validate = |args: &[&str]| started(&[&["-f/c"], args].concat()).validate;
    assert_eq!(validate(&["--validate-config"]), Validate::Exit);
    assert_eq!(validate(&["--validate-config=exit"]), Validate::Exit);
    assert_eq!(validate(&["--validate-config=run", "-p1"]), Validate::Run);
    assert_eq!(validate(&["-p1"]), Validate::No);
}

#[test]
fn a_flavor_file_is_below_the_command_line() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("flavor.json");
    let text = r#"{"options": { // a comment
        "libmcrouter_options": {"server_timeout_ms": "111", "failures_until_tko": 9, "asynclog_disable": true},
        "standalone_options": {"ports": "7", "unknown": 1},
    }}"#;
    std::fs::write(&path, text).unwrap();
    let flavor = format!("file:{}", path.display());
    let (settings, lines) = settings(&[&flavor, "-t", "5"]);
    assert_eq!(settings.pool.timeout, Duration::from_millis(5));
    assert_eq!(settings.pool.tko.after, 9);
    assert!(settings.base.spool.is_none());
    assert_eq!(settings.router_name, "5000", "the command line's port");
    assert!(
        lines.len() == 1 && lines[0].contains("no option unknown"),
        "{lines:?}"
    );
    refused(
        &["-p1", "-f/c", "file:/none.json"],
        "the flavor file /none.json",
    );
}

/// Each flag of the program is known, and its default is one of its values.
#[test]
fn the_tables_are_sound() {
    let flags = given::all();
    for (index, flag) in flags.iter().enumerate() {
        let same = |other: &Flag| {
            other.long == flag.long || flag.short.is_some() && other.short == flag.short
        };
        assert_eq!(flags.iter().position(same), Some(index), "--{}", flag.long);
        match flag.kind {
            flags::Int => assert!(flag.default.parse::<i64>().is_ok(), "--{}", flag.long),
            flags::Toggle => assert!(["0", "1"].contains(&flag.default), "--{}", flag.long),
            _ => {}
        }
    }
    assert!(flags.len() > 150);
    let help = help();
    assert!(
        flags
            .iter()
            .all(|flag| help.contains(&format!("--{}", flag.long)))
    );
}

proptest! {
    /// Whatever is typed gets an answer.
    #[test]
    fn any_command_line_is_answered(
        index in prop::collection::vec(0usize..160, 0..6),
        values in prop::collection::vec("[0-9a-z:/,.%{}-]{0,12}", 6),
    ) {
        let flags = given::all();
        let args: Vec<String> = index
            .iter()
            .zip(&values)
            .filter_map(|(index, value)| Some(format!("--{}={value}", flags.get(*index)?.long)))
            .collect();
        let _ = start::start(Given::read(&args));
    }
}
