//! Where requests go without looking at a reply.

use super::*;
use crate::config;
use crate::route::compile::Snapshot;
use crate::route::exec::{Lifetime, Plan, Sort, Target};
use crate::route::tree::{Step, Tree};

fn tree(route: &str) -> Tree {
    let pools: String = ["a", "b", "c"]
        .iter()
        .map(|p| format!("[pools.{p}]\nservers = [\"{p}:1\"]\n"))
        .collect();
    let text = format!("route = {route}\n{pools}");
    let (config, _) = config::parse("f", &text).unwrap();
    Snapshot::compile(&config).unwrap().tree
}

fn begin(tree: &Tree, operation: Operation, key: &[u8]) -> (Plan, Option<Target>) {
    let mut plan = Plan::of(operation, false, 0);
    let target = match tree.resolve(key) {
        Step::Pool(pool) => Some(Target::Pool(pool)),
        Step::Decide(node) => plan.start(tree, node, key, Sort::Get),
        Step::Nowhere => None,
    };
    (plan, target)
}

#[test]
fn by_hash_keys_go_where_the_selector_says() {
    let tree = tree(
        "{ type = \"hash\", distribution = \"ch3\", salt = \"s\", hash_stop = true, children = [\"a\", \"b\", \"c\"] }",
    );
    let placement = crate::hash::Placement {
        salt: "s".to_owned(),
        stop: true,
        ..crate::hash::Placement::of(crate::hash::Distribution::Ch3)
    };
    let nodes: Vec<_> = (0..3)
        .map(|index| crate::hash::Node::at(index.to_string(), 1))
        .collect();
    let selector = Selector::new(&placement, &nodes).unwrap();
    let mut seen = [0; 3];
    for number in 0..300 {
        let key = format!("key{number}|#|x");
        let want = selector.select(key.as_bytes());
        assert_eq!(tree.resolve(key.as_bytes()), Step::Pool(want as u32));
        seen[want] += 1;
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}

#[test]
fn by_chance_every_child_has_its_turn_for_one_key() {
    let tree = tree("{ type = \"random\", children = [\"a\", \"b\", \"c\"] }");
    let mut seen = [0; 3];
    for _ in 0..3000 {
        let Step::Pool(pool) = tree.resolve(b"k") else {
            panic!()
        };
        seen[pool as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count > 700), "{seen:?}");
}

#[test]
fn the_host_s_child_is_chosen_once() {
    let route = "{ type = \"host\", children = [\"a\", \"b\", \"c\"] }";
    let (one, two) = (tree(route), tree(route));
    let Step::Pool(pool) = one.resolve(b"k") else {
        panic!("costs nothing")
    };
    for key in [&b"x"[..], b"y", b"z"] {
        assert_eq!(one.resolve(key), Step::Pool(pool));
        assert_eq!(two.resolve(key), Step::Pool(pool));
    }
}

#[test]
fn a_command_goes_before_its_group_and_that_before_the_default() {
    let tree = tree(
        "{ type = \"operation\", default = \"a\", operations = { get_like = \"b\", gets = \"c\", arithmetic_like = { type = \"null\" } } }",
    );
    for operation in Operation::ALL {
        let (plan, target) = begin(&tree, operation, b"k");
        assert!(plan.is_over(), "it has no say in the reply");
        match operation {
            Operation::Gets => assert_eq!(target, Some(Target::Pool(2))),
            Operation::Get
            | Operation::Gat
            | Operation::Gats
            | Operation::LeaseGet
            | Operation::Metaget => {
                assert_eq!(target, Some(Target::Pool(1)));
            }
            Operation::Incr | Operation::Decr => {
                let Some(Target::Own(node)) = target else {
                    panic!("{target:?}")
                };
                assert_eq!(tree.node(node), Some(&Node::Own(Own::Nothing)));
            }
            _ => assert_eq!(target, Some(Target::Pool(0)), "{operation:?}"),
        }
    }
}

#[test]
fn without_a_default_it_is_an_error_that_names_the_command() {
    let tree = tree("{ type = \"operation\", operations = { get_like = \"a\" } }");
    let (_, target) = begin(&tree, Operation::Touch, b"k");
    let Some(Target::Own(node)) = target else {
        panic!("{target:?}")
    };
    let want = error(
        "SERVER_ERROR unexpected result mc_res_unknown (0) for touch\r\n",
        None,
        true,
    );
    assert_eq!(tree.node(node), Some(&want));
}

#[test]
fn times_to_live_change_from_the_outside_in() {
    let tree = tree(
        "{ type = \"exptime\", exptime = \"1h\", child = { type = \"exptime\", exptime = \"1m\", action = \"min\", child = { type = \"exptime\", exptime = 0, action = \"min\", child = \"a\" } } }",
    );
    let (plan, target) = begin(&tree, Operation::Set, b"k");
    assert_eq!(target, Some(Target::Pool(0)));
    let lifetimes: Vec<Lifetime> = plan.lifetimes(&tree).collect();
    assert_eq!(lifetimes, [Lifetime::Set(3600), Lifetime::AtMost(60)]);
}

#[test]
fn only_the_allowed_keys_have_a_hash_stop() {
    let tree = tree("{ type = \"hash-stop\", child = \"a\", prefixes = [\"u:\"] }");
    for key in ["k", "u:1|#|x", "x|#", "u:|#|"] {
        assert_eq!(tree.resolve(key.as_bytes()), Step::Pool(0), "{key}");
    }
    for key in ["k|#|x", "|#|", "U:1|#|"] {
        assert!(
            matches!(tree.resolve(key.as_bytes()), Step::Decide(_)),
            "{key}"
        );
    }
}
