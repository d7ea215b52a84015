//! Questions as they were put to mcrouter 0.36, and its answers.

use super::*;
use crate::config::{Config, Origin};
use crate::introspect::Start;
use crate::route::compile::Snapshot;

fn config(compat: Compat) -> Config {
    let text = r#"{"pools": {"A": {"servers": ["127.0.0.1:21201", "127.0.0.1:21202", "127.0.0.1:21203"]}}, "route": "PoolRoute|A"}"#;
    let settings = mcrouter::Settings::default();
    let (mut config, _) = mcrouter::parse_alone(&settings, "f.json", text).unwrap();
    config.compat = compat;
    config
}

fn instance(config: &Config) -> Instance {
    let options = [
        ("num_proxies", "1"),
        ("ports", "25000"),
        ("config_file", ""),
    ];
    let start = Start {
        is_mcrouter: true,
        options: options.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec(),
        ..Start::default()
    };
    let instance = Instance::new(start, Some(Origin::file("/etc/c.json")));
    instance.applied(Vec::new(), config, false);
    instance
}

fn asked(
    questions: &[&str],
    compat: Compat,
    is_down: &dyn Fn(usize, usize) -> bool,
) -> Vec<String> {
    let config = config(compat);
    let snapshot = Snapshot::compile(&config).unwrap();
    let instance = instance(&config);
    let view = View {
        config: &config,
        snapshot: &snapshot,
        is_down,
    };
    let answer = |question: &&str| answer(question.as_bytes(), &instance, &view);
    let texts = questions.iter().map(answer);
    texts.map(|text| String::from_utf8(text).unwrap()).collect()
}

#[test]
fn the_answers_are_those_of_the_recorded_daemon() {
    for (question, want) in [
        ("version", "36.0.0 mcrouter"),
        ("version()", "36.0.0 mcrouter"),
        ("version(x)", "36.0.0 mcrouter"),
        ("VERSION", "ERROR: unknown command: VERSION"),
        ("nope", "ERROR: unknown command: nope"),
        ("nope(a)", "ERROR: unknown command: nope"),
        ("", "ERROR: unknown command: "),
        ("help", "ERROR: unknown command: help"),
        ("route(get,", "ERROR: unknown command: route(get,"),
        ("config_file", "/etc/c.json"),
        ("config_age", "0"),
        ("options(num_proxies)", "1"),
        ("options(ports)", "25000"),
        ("options(nope)", "ERROR: options: option nope not found"),
        ("options(a,b)", "ERROR: options: 0 or 1 args expected"),
        ("options()", "num_proxies 1\nports 25000\nconfig_file "),
        ("verbosity", "1"),
        (
            "verbosity(0,1)",
            "ERROR: expected at most 1 argument, got 2",
        ),
        ("route(get,foo)", "127.0.0.1:21202"),
        ("route(set,foo)", "127.0.0.1:21202"),
        ("route(cas,foo)", "127.0.0.1:21202"),
        ("route(lease-get,foo)", "127.0.0.1:21202"),
        ("route(append,foo)", "127.0.0.1:21202"),
        ("route(touch,foo)", "127.0.0.1:21202"),
        (
            "route(flushall,foo)",
            "127.0.0.1:21201\r\n127.0.0.1:21202\r\n127.0.0.1:21203",
        ),
        (
            "route(version,foo)",
            "ERROR: route: unknown request version",
        ),
        ("route(nope,foo)", "ERROR: route: unknown request nope"),
        ("route(GET,foo)", "ERROR: route: unknown request GET"),
        ("route(get)", "ERROR: route: 2 args expected"),
        ("route(get,)", "127.0.0.1:21202"),
        ("route()", "ERROR: route: 2 args expected"),
        ("route", "ERROR: route: 2 args expected"),
        ("route(get,foo|#|bar)", "127.0.0.1:21202"),
        ("route(get,foo,bar)", "127.0.0.1:21201"),
        (
            "route_handles(nope,foo)",
            "ERROR: route: unknown request nope",
        ),
        (
            "route_handles(get)",
            "ERROR: route_handles: 2 args expected",
        ),
        ("route_handles", "ERROR: route_handles: 2 args expected"),
    ] {
        let got = asked(&[question], Compat::V0_36, &|_, _| false);
        assert_eq!(got, [want], "{question}");
    }
}

#[test]
fn who_is_out_of_service_is_not_asked() {
    let got = asked(
        &["route(get,foo)", "route(get,foo,bar)"],
        Compat::V0_36,
        &|_, server| server == 1,
    );
    assert_eq!(got, ["", "127.0.0.1:21201"]);
}

#[test]
fn what_later_versions_know_is_known() {
    let questions = [
        "help",
        "pools",
        "global_params",
        "failure_domains(A)",
        "get_bucket(k)",
        "failure_domains(B)",
    ];
    let got = asked(&questions, Compat::Latest, &|_, _| false);
    for (name, ..) in COMMANDS {
        assert!(got[0].contains(&format!("{name}: ")), "{}", got[0]);
    }
    let pools: Value = serde_json::from_str(&got[1]).unwrap();
    let first = "host|pool=A|id=0|ap=127.0.0.1:21201:ascii:plain:notcompressed|timeout=1000ms|keep_routing_prefix=false|msb=0";
    assert_eq!(pools["A"][0], first);
    let domains: Value = serde_json::from_str(&got[3]).unwrap();
    assert_eq!(domains["127.0.0.1:21203"], 0);
    assert_eq!((got[2].as_str(), got[4].as_str()), ("{}", ""));
    assert_eq!(got[5], "ERROR: failure_domains: pool B not found");
}

#[test]
fn the_log_is_told_how_much_to_say() {
    let questions = ["verbosity(0)", "verbosity", "verbosity(x)"];
    let got = asked(&questions, Compat::Latest, &|_, _| false);
    assert_eq!(got, ["1 -> 0", "0", "ERROR: verbosity: x is no number"]);
}
