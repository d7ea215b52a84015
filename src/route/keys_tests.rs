use super::*;
use crate::config;
use crate::route::compile::Snapshot;
use crate::route::exec::{Plan, Sort, Target};
use crate::route::tree::Step;

const POOLS: &str = "[pools.a]\nservers = [\"a:1\"]\n[pools.b]\nservers = [\"b:1\"]\n[pools.c]\nservers = [\"c:1\"]";

fn tree(route: &str) -> Tree {
    let text = format!("route = {route}\n{POOLS}");
    let (config, _) = config::parse("f", &text).unwrap();
    Snapshot::compile(&config).unwrap().tree
}

/// Where a request goes on from the root, with which keys: pools in the order of the ways.
fn ways(tree: &Tree, operation: Operation, key: &str) -> Result<Vec<(u32, String)>, &'static str> {
    let key = key.as_bytes();
    let pool = |from: NodeId, key: &[u8]| match tree.resolve_from(from, key) {
        Step::Pool(pool) => pool,
        _ => 99,
    };
    let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    let node = match tree.resolve(key) {
        Step::Pool(pool) => return Ok(vec![(pool, text(key))]),
        Step::Decide(node) => node,
        Step::Nowhere => return Ok(Vec::new()),
    };
    let mut plan = Plan::of(operation, false, 0);
    match plan.start(tree, node, key, Sort::Get) {
        Some(Target::Rekey(node)) => {
            let Some(Node::Rekey(rekey)) = tree.node(node) else {
                panic!("a target is a node of its kind");
            };
            let request = Request {
                operation,
                prefix: &None,
                key,
            };
            match rekey.ways(tree, request, 7, 1_000_000) {
                Ways::First(all) | Ways::Hit(all) => Ok(all
                    .iter()
                    .map(|way| (pool(way.from, &way.key), text(&way.key)))
                    .collect()),
                Ways::Refused(why) => Err(why),
            }
        }
        Some(Target::Own(_)) => Ok(Vec::new()),
        other => panic!("{other:?}"),
    }
}

fn all(ways: &[(u32, &str)]) -> Result<Vec<(u32, String)>, &'static str> {
    Ok(ways
        .iter()
        .map(|(pool, key)| (*pool, (*key).to_owned()))
        .collect())
}

#[test]
fn keys_without_a_prefix_pass_and_others_lose_it() {
    let tree = tree(
        r#"{ type = "routing-prefix", default = "/e/a/", routes = [{ prefixes = ["/w/a/", "/w/b/"], route = "b" }, { prefixes = ["/e/a/"], route = "a" }] }"#,
    );
    let get = |key| ways(&tree, Operation::Get, key);
    assert_eq!(tree.resolve(b"k"), Step::Pool(0), "no frame, no dialogue");
    assert_eq!(tree.resolve(b"/k/l"), Step::Pool(0));
    assert_eq!(get("/e/a/k"), all(&[(0, "k")]));
    assert_eq!(get("/w/b/k"), all(&[(1, "k")]));
    assert_eq!(get("/*/*/k"), all(&[(0, "k"), (1, "k")]));
    assert_eq!(get("/w/*/k"), all(&[(1, "k")]));
    assert_eq!(get("/x/y/k"), all(&[]), "refused");
}

#[test]
fn a_broadcast_goes_once_to_where_several_trees_send_a_key() {
    let tree = tree(
        r#"{ type = "routing-prefix", default = "/e/a/", routes = [
            { prefixes = ["/e/a/"], route = { type = "prefix", prefixes = { "u:" = "c" }, default = "a" } },
            { prefixes = ["/e/b/"], route = { type = "prefix", prefixes = { "u:" = "c" }, default = { type = "error", message = "RootRoute: No rh found", shown = true } } },
            { prefixes = ["/e/c/"], route = "b" }] }"#
            .replace('\n', "")
            .as_str(),
    );
    let delete = |key| ways(&tree, Operation::Delete, key);
    assert_eq!(delete("/*/*/u:1"), all(&[(2, "u:1"), (1, "u:1")]));
    assert_eq!(
        delete("/e/*/k"),
        all(&[(0, "k"), (1, "k")]),
        "one has no route for it"
    );
    assert_eq!(delete("/e/b/k"), all(&[(99, "k")]), "nor has it alone");
}

#[test]
fn other_keys_must_be_keys() {
    let tree = tree(
        r#"{ type = "modify-key", child = "a", ensure_key_prefix = "p:", set_key_suffix = "s" }"#,
    );
    let get = |key: &str| ways(&tree, Operation::Get, key);
    assert_eq!(get("k"), all(&[(0, "p:ks")]));
    assert_eq!(
        get(&"x".repeat(248)),
        Err("ModifyKeyRoute: invalid key: too long")
    );
    let tree = self::tree(r#"{ type = "modify-key", child = "a", replace_key_prefix = "p:" }"#);
    assert_eq!(
        ways(&tree, Operation::Get, "p:"),
        Err("ModifyKeyRoute: invalid key: nothing is left of it")
    );
    assert_eq!(tree.resolve(b"k"), Step::Pool(0), "nothing to change");
}

#[test]
fn copies_are_written_together_and_read_by_host() {
    let route = |more: &str| {
        tree(&format!(
            r#"{{ type = "key-split", child = "a", replicas = 3, {more} }}"#
        ))
    };
    let tree = route("all_sync = true");
    // Host 7 has the copy 1 of 3.
    let three = all(&[(0, "k::1"), (0, "k"), (0, "k::2")]);
    assert_eq!(ways(&tree, Operation::Set, "k"), three);
    assert_eq!(ways(&tree, Operation::Delete, "k"), three);
    assert_eq!(ways(&tree, Operation::Get, "k"), all(&[(0, "k::1")]));
    assert_eq!(ways(&tree, Operation::Incr, "k"), all(&[(0, "k::1")]));
    let long = "x".repeat(250);
    assert_eq!(ways(&tree, Operation::Set, &long), Err(TOO_LONG));
    let tree = route("all_sync = false, first_hit = true");
    assert_eq!(ways(&tree, Operation::Set, "k"), all(&[(0, "k::1")]));
    assert_eq!(ways(&tree, Operation::Get, "k"), three);
}

#[test]
fn what_fails_over_is_marked_behind_a_hash_stop() {
    let tree =
        tree(r#"{ type = "selective-failover", children = ["a", "b"], failover_tag = true }"#);
    let Step::Decide(node) = tree.resolve(b"k") else {
        panic!("it decides on replies");
    };
    let Some(Node::Many { children, .. }) = tree.node(node) else {
        panic!("by a rule");
    };
    assert_eq!(tree.resolve_from(children[0], b"k|#|x"), Step::Pool(0));
    assert_eq!(tree.resolve_from(children[1], b"k"), Step::Pool(1));
    let long = [&b"k|#|"[..], &[b'x'; 240]].concat();
    assert_eq!(
        tree.resolve_from(children[1], &long),
        Step::Pool(1),
        "too long"
    );
    let Some(Node::Rekey(rekey)) = tree.node(children[1]) else {
        panic!("the second one marks keys");
    };
    let request = Request {
        operation: Operation::Get,
        prefix: &None,
        key: b"k|#|x",
    };
    let Ways::First(ways) = rekey.ways(&tree, request, 0, 0) else {
        panic!("there is one way");
    };
    assert_eq!(ways[0].key, b"k|#|x:failover=1");
}

#[test]
fn shards_are_spread_by_host() {
    let tree = tree(
        r#"{ type = "shard-split", child = "a", shards = { "1" = 4, "2" = { parts = 2, fanout_deletes = false }, "3" = { old_parts = 1, parts = 5, start = 2000000 } } }"#,
    );
    assert_eq!(tree.resolve(b"x:9:y"), Step::Pool(0));
    let of = |operation, key| ways(&tree, operation, key);
    assert_eq!(of(Operation::Get, "x:1:y"), all(&[(0, "x:1ca:y")]));
    let four = [(0, "x:1:y"), (0, "x:1aa:y"), (0, "x:1ba:y"), (0, "x:1ca:y")];
    assert_eq!(of(Operation::Delete, "x:1:y"), all(&four));
    assert_eq!(of(Operation::Delete, "x:2:y"), all(&[(0, "x:2aa:y")]));
    assert_eq!(of(Operation::Set, "x:3:y"), all(&[(0, "x:3:y")]), "not yet");
}
