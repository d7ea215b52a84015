//! OperationSelectorRoute and RoutingGroupRoute: a child for each command or group of them.

use super::Scene;
use super::outcomes::ops;
use super::place::{COMMANDS, Place};

#[test]
fn each_command_has_its_own_route() {
    for own in ["get", "gat", "set", "add", "cas", "delete", "decr", "touch"] {
        let place = Place::mcrouter(&format!(
            "{{\"type\": \"OperationSelectorRoute\", \"default_policy\": \"PoolRoute|A\", \"operation_policies\": {{\"{own}\": \"PoolRoute|B\"}}}}"
        ));
        let mut c = place.client();
        let mut want = [Vec::new(), Vec::new()];
        for (name, ask, line) in COMMANDS {
            c.send(format!("{ask}mn\r\n"));
            c.read_until(b"MN\r\n");
            want[usize::from(name == own)].push(line);
        }
        for (server, want) in want.iter().enumerate() {
            let got = place.lines(server);
            assert_eq!(got.len(), want.len(), "{own}: {got:?}");
            for (got, want) in got.iter().zip(want) {
                let fits = got == want || (want.ends_with(" O") && got.starts_with(want));
                assert!(fits, "{own}: {got} for {want}");
            }
        }
    }
}

#[test]
fn each_group_has_its_own_route_and_touch_is_in_none() {
    for (group, members) in [
        ("get_like", &["get", "gets", "gat", "gats"][..]),
        (
            "update_like",
            &["set", "add", "replace", "append", "prepend", "cas"],
        ),
        ("delete_like", &["delete"]),
        ("arithmetic_like", &["incr", "decr"]),
    ] {
        let place = Place::mcrouter(&format!(
            "{{\"type\": \"RoutingGroupRoute\", \"routing_group_policies\": {{\"{group}\": \"PoolRoute|B\"}}}}"
        ));
        let mut c = place.client();
        let mut count = 0;
        for (name, ask, _) in COMMANDS {
            c.send(format!("{ask}mn\r\n"));
            let answer = String::from_utf8(c.read_until(b"MN\r\n")).unwrap();
            let refused =
                format!("SERVER_ERROR unexpected result mc_res_unknown (0) for {name}\r\nMN\r\n");
            let is_member = members.contains(&name);
            assert_eq!(answer == refused, !is_member, "{group}, {name}: {answer}");
            count += usize::from(is_member);
        }
        assert_eq!(place.counts(), [0, count, 0], "{group}");
    }
}

/// What has no policy of its own goes to the default one, and every answer comes back.
#[test]
fn the_default_policy_is_for_the_rest() {
    for (kind, policies, of_second) in [
        (
            "OperationSelectorRoute",
            r#""operation_policies": {"get": "PoolRoute|p1", "delete": "PoolRoute|p1"}"#,
            &["get k\r\n", "mg k v O1\r\n", "delete k\r\n", "md k O1\r\n"][..],
        ),
        (
            "PrefixPolicyRoute",
            r#""operation_policies": {"touch": "PoolRoute|p1"}"#,
            &["touch k 9\r\n"],
        ),
        (
            "RoutingGroupRoute",
            r#""routing_group_policies": {"arithmetic_like": "PoolRoute|p1"}"#,
            &["incr k 1\r\n", "decr k 1\r\n"],
        ),
    ] {
        let route =
            format!("{{\"type\": \"{kind}\", \"default_policy\": \"PoolRoute|p0\", {policies}}}");
        let scene = Scene::mcrouter(&route, &[None; 2]);
        for op in ops() {
            for answer in op.outcomes() {
                let to = usize::from(of_second.contains(&op.command));
                scene.play(op.command, &[answer; 2], &[to], &[answer.seen]);
            }
        }
        super::all_passes(&format!(
            "{{\"type\": \"{kind}\", \"default_policy\": \"PoolRoute|p0\"}}"
        ));
        super::all_passes(&format!("\"{kind}|PoolRoute|p0\""));
    }
}
