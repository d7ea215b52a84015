//! Ways of requests through routes, outcome by outcome.

use super::super::tree::Reasons;
use super::*;

const UPDATE: Sort = Sort::Update { len: 0 };

fn failover(on: Reasons) -> Tree {
    Tree::new(vec![
        Node::Pool(0),
        Node::Pool(1),
        Node::Failover {
            children: vec![0, 1],
            on,
            on_update: on,
            gutter: false,
        },
    ])
}

#[test]
fn failover_goes_on_only_for_its_reasons_and_ends_with_the_last_child() {
    let tree = failover(Reasons::default().with(Reason::Timeout));
    let mut plan = Plan::default();
    assert_eq!(plan.start(&tree, 2, b"k", Sort::Get), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Failed(Reason::Connect)),
        Next::Answer
    );
    assert_eq!(plan.start(&tree, 2, b"k", Sort::Get), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Failed(Reason::Timeout)),
        Next::Ask(Target::Pool(1))
    );
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Failed(Reason::Timeout)),
        Next::Answer
    );
    assert_eq!(plan.start(&tree, 2, b"k", Sort::Get), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Miss),
        Next::Answer
    );
}

#[test]
fn updates_may_go_on_for_fewer_reasons_than_gets() {
    let tree = Tree::new(vec![
        Node::Pool(0),
        Node::Pool(1),
        Node::Failover {
            children: vec![0, 1],
            on: Reasons::default()
                .with(Reason::Connect)
                .with(Reason::Closed),
            on_update: Reasons::default().with(Reason::Connect),
            gutter: false,
        },
    ]);
    let mut plan = Plan::default();
    for (sort, reason, goes_on) in [
        (Sort::Get, Reason::Closed, true),
        (Sort::Get, Reason::Connect, true),
        (UPDATE, Reason::Closed, false),
        (UPDATE, Reason::Connect, true),
    ] {
        plan.start(&tree, 2, b"k", sort);
        let next = plan.next(&tree, b"k", sort, Outcome::Failed(reason));
        assert_eq!(
            next == Next::Ask(Target::Pool(1)),
            goes_on,
            "{sort:?} {reason:?}"
        );
    }
}

#[test]
fn what_goes_to_a_gutter_is_shortened_and_what_does_not_is_noted() {
    let connect = Reasons::NONE.with(Reason::Connect);
    let tree = Tree::new(vec![
        Node::Pool(0),
        Node::Pool(1),
        Node::Shorten {
            child: 1,
            exptime: 60,
        },
        Node::Failover {
            children: vec![0, 2],
            on: connect,
            on_update: connect,
            gutter: true,
        },
    ]);
    let mut plan = Plan::default();
    for outcome in [Outcome::Done, Outcome::Failed(Reason::Timeout)] {
        plan.start(&tree, 3, b"k", UPDATE);
        assert_eq!(plan.lifetimes(&tree).next(), None);
        assert_eq!(plan.next(&tree, b"k", UPDATE, outcome), Next::Answer);
        assert_eq!(plan.take_passed_by(), Some(2));
        assert_eq!(plan.take_passed_by(), None);
    }
    plan.start(&tree, 3, b"k", Sort::Get);
    plan.next(&tree, b"k", Sort::Get, Outcome::Miss);
    assert_eq!(plan.take_passed_by(), None, "gets delete nothing");
    plan.start(&tree, 3, b"k", UPDATE);
    let failed = Outcome::Failed(Reason::Connect);
    assert_eq!(
        plan.next(&tree, b"k", UPDATE, failed),
        Next::Ask(Target::Pool(1))
    );
    assert_eq!(plan.lifetimes(&tree).next(), Some(Lifetime::AtMost(60)));
    assert_eq!(plan.next(&tree, b"k", UPDATE, failed), Next::Answer);
    assert_eq!(plan.take_passed_by(), None);
}

#[test]
fn warm_up_asks_the_warm_pool_on_a_miss_and_copies_its_hit() {
    let tree = Tree::new(vec![
        Node::Pool(0),
        Node::Pool(1),
        Node::WarmUp {
            cold: 0,
            warm: 1,
            exptime: 60,
        },
    ]);
    let mut plan = Plan::default();
    assert_eq!(plan.start(&tree, 2, b"k", Sort::Get), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Miss),
        Next::Ask(Target::Pool(1))
    );
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Hit),
        Next::AnswerAndCopy((0, 60))
    );
    assert_eq!(plan.start(&tree, 2, b"k", Sort::Get), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Hit),
        Next::Answer
    );
    assert_eq!(plan.start(&tree, 2, b"k", UPDATE), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", UPDATE, Outcome::Done),
        Next::Answer,
        "updates go to the cold pool"
    );
}

#[test]
fn nested_failovers_climb_back_up() {
    let all = Reasons::default()
        .with(Reason::Timeout)
        .with(Reason::Connect);
    let tree = Tree::new(vec![
        Node::Pool(0),
        Node::Pool(1),
        Node::Pool(2),
        Node::Failover {
            children: vec![0, 1],
            on: all,
            on_update: all,
            gutter: false,
        },
        Node::Failover {
            children: vec![3, 2],
            on: all,
            on_update: all,
            gutter: false,
        },
    ]);
    let mut plan = Plan::default();
    let failed = Outcome::Failed(Reason::Timeout);
    assert_eq!(plan.start(&tree, 4, b"k", Sort::Get), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, failed),
        Next::Ask(Target::Pool(1))
    );
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, failed),
        Next::Ask(Target::Pool(2))
    );
    assert_eq!(plan.next(&tree, b"k", Sort::Get, failed), Next::Answer);
}

fn in_parts(child: NodeId) -> Node {
    Node::BigValue {
        child,
        threshold: 100,
        batch: 10,
        hide_flag: false,
    }
}

#[test]
fn only_values_over_the_threshold_are_split_and_only_metadata_is_joined() {
    let tree = Tree::new(vec![Node::Pool(0), in_parts(0)]);
    let mut plan = Plan::default();
    let pool = Some(Target::Pool(0));
    for (len, want) in [(0, pool), (100, pool), (101, Some(Target::Split(1)))] {
        assert_eq!(plan.start(&tree, 1, b"k", Sort::Update { len }), want);
        assert!(plan.is_over());
    }
    assert_eq!(plan.start(&tree, 1, b"k", Sort::Get), pool);
    assert!(plan.joins(&tree));
    let mut plain = plan.clone();
    assert_eq!(
        plain.next(&tree, b"k", Sort::Get, Outcome::Hit),
        Next::Answer
    );
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Metadata),
        Next::Join(1, None)
    );
    // What came of it is the answer, whatever its flags.
    assert!(!plan.joins(&tree));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Hit),
        Next::Answer
    );
}

#[test]
fn a_failover_sees_how_the_parts_of_a_value_went() {
    let on = Reasons::default().with(Reason::Miss).with(Reason::Timeout);
    let tree = Tree::new(vec![
        Node::Pool(0),
        Node::Pool(1),
        in_parts(0),
        in_parts(1),
        Node::Failover {
            children: vec![2, 3],
            on,
            on_update: on,
            gutter: false,
        },
    ]);
    let mut plan = Plan::default();
    let big = Sort::Update { len: 1000 };
    assert_eq!(plan.start(&tree, 4, b"k", big), Some(Target::Split(2)));
    assert_eq!(
        plan.next(&tree, b"k", big, Outcome::Failed(Reason::Timeout)),
        Next::Ask(Target::Split(3))
    );
    assert_eq!(plan.next(&tree, b"k", big, Outcome::Done), Next::Answer);
    assert_eq!(plan.start(&tree, 4, b"k", Sort::Get), Some(Target::Pool(0)));
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Metadata),
        Next::Join(2, None)
    );
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Miss),
        Next::Ask(Target::Pool(1))
    );
    assert!(plan.joins(&tree));
}

#[test]
fn metadata_from_the_warm_pool_is_copied_and_joined() {
    let tree = Tree::new(vec![
        Node::Pool(0),
        Node::Pool(1),
        Node::WarmUp {
            cold: 0,
            warm: 1,
            exptime: 60,
        },
        in_parts(2),
    ]);
    let mut plan = Plan::default();
    plan.start(&tree, 3, b"k", Sort::Get);
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Miss),
        Next::Ask(Target::Pool(1))
    );
    assert_eq!(
        plan.next(&tree, b"k", Sort::Get, Outcome::Metadata),
        Next::Join(3, Some((0, 60)))
    );
}
