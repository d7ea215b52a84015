//! In mcrouter's JSON: what its command line has a say in, and pools whose servers differ.

use crate::support::eventually;
use crate::support::router::Ringroad;
use crate::support::scripted::{Act, Scripted};

fn start(servers: &[Scripted], rest: &str, flags: &[&str]) -> Ringroad {
    let addrs: Vec<String> = servers.iter().map(|one| one.addr().to_string()).collect();
    let (all, rest_of) = addrs.split_at(2);
    let text = format!(
        "{{\"pools\": {{\"A\": {{\"servers\": {all:?}}}, \"B\": {{\"servers\": {rest_of:?}}}}}, \"route\": {rest}}}"
    );
    Ringroad::mcrouter(&text, flags)
}

fn servers() -> Vec<Scripted> {
    let answer = |command: &crate::support::scripted::Command| match command.verb() {
        "version" => vec![Act::Serve],
        _ => Act::say("TOUCHED\r\n"),
    };
    (0..3).map(|_| Scripted::start(answer)).collect()
}

fn touches(server: &Scripted) -> Vec<String> {
    let log = server.log();
    let all = log.iter().filter(|command| command.verb() == "touch");
    all.map(|command| command.line.clone()).collect()
}

#[test]
fn a_client_s_address_is_known_if_it_is_to_be_retained() {
    let route = r#"{"type": "OriginalClientHashRoute", "children": ["Pool|A", "PoolRoute|B"]}"#;
    let all = servers();
    let router = start(
        &all,
        route,
        &["--retain-source-ip", "--disable-miss-on-get-errors"],
    );
    router
        .client()
        .ask("touch a 1\r\ntouch b 1\r\n", "TOUCHED\r\nTOUCHED\r\n");
    let own = (ringroad::hash::spooky64(b"127.0.0.1", 0) % 3) as usize;
    assert_eq!(touches(&all[own]), ["touch a 1", "touch b 1"]);
    let without = start(&all, route, &["--disable-miss-on-get-errors"]);
    without
        .client()
        .ask("touch a 1\r\n", "SERVER_ERROR Missing IP\r\n");
}

/// Only the second server of the pool has a shadow, and only one key of the first one's.
#[test]
fn shadows_of_some_servers_and_some_keys() {
    let route = r#"{"type": "PoolRoute", "pool": "A", "shadows": [
        {"target": "PoolRoute|B", "index_range": [1, 2], "key_fraction_range": [0, 1]},
        {"target": "PoolRoute|B", "keys_to_shadow": ["foo", "bar"]}]}"#;
    let all = servers();
    let router = start(&all, route, &[]);
    // By Ch3 of two the first server has these three keys.
    let keys = ["key1", "abcdefgh", "test_key"];
    let mut client = router.client();
    for key in keys.iter().chain(&["foo", "foo|#|more", "a"]) {
        client.ask(format!("touch {key} 1\r\n"), "TOUCHED\r\n");
    }
    assert_eq!(touches(&all[0]), keys.map(|key| format!("touch {key} 1")));
    assert_eq!(
        touches(&all[1]),
        ["touch foo 1", "touch foo|#|more 1", "touch a 1"]
    );
    // The second shadow is around the first one, so that its keys are copied twice.
    eventually("all copies are there", || touches(&all[2]).len() == 5);
    let mut copies = touches(&all[2]);
    copies.sort();
    assert_eq!(
        copies,
        [
            "touch a 1",
            "touch foo 1",
            "touch foo 1",
            "touch foo|#|more 1",
            "touch foo|#|more 1"
        ]
    );
}
