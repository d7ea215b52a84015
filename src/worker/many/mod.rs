//! Routes with several children, as dialogues; which rule does what is in [`crate::config::Rule`].
//!
//! Invariants: every child that a rule names gets the request, also those whose reply does not matter any more
//! ([`Handle::answer_early`]); the answer is one of the children's replies as it came, or the answer of a route that
//! leads nowhere. Nothing here knows what the children are.

mod fills;
mod item;
mod single;
mod sizes;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;

use self::fills::Talk;
use self::verdict::{Group, verdict};
use super::dialogue::{Answer, Ask, Handle};
use super::frame::Retained;
use super::leases::paired;
use super::own;
use crate::config::{Failover, KeyedFailover, Rule, Verdict, Verdicts};
use crate::protocol::error::ErrorKind;
use crate::route::many::{Majority, Memory};
use crate::route::orders::Way;
use crate::route::tree::NodeId;

/// What there is to be known of a node, and of the moment.
pub(super) struct Terms {
    pub rule: Arc<Rule>,
    pub children: Vec<NodeId>,
    pub memory: Arc<Memory>,
    /// For rules that go by chance.
    pub random: u64,
    /// Seconds since 1970, for rules that go by the time.
    pub unix: u64,
    /// For rules that go by the key: the server that the first child has for it.
    pub normal: Option<usize>,
    /// For rules that go by the client's address.
    pub client: Option<IpAddr>,
}

/// The answer of a route without children.
fn none() -> Answer {
    Answer::Failed(ErrorKind::NoServer)
}

/// What a route that leads nowhere answers: nothing was found, or stored.
pub(super) fn nothing(what: &Retained) -> Answer {
    let mut text = Vec::new();
    match own::nothing(what.key(), &what.op(), &mut text) {
        Some((kind, line)) => Answer::Line(kind, line.to_vec()),
        None => Answer::Miss,
    }
}

/// Has the children answer a request by the rule.
pub(super) async fn run(handle: Handle, terms: Terms, what: Retained, now: u64) -> Answer {
    handle.ask_at_once();
    // The asks hold a copy each until they are sent.
    handle.holds(what.held());
    let group = Group::of(&what);
    let talk = Talk {
        handle: &handle,
        terms: &terms,
        what: &what,
        group,
    };
    match (&*terms.rule, terms.children.as_slice()) {
        (Rule::WarmUp { exptime }, [cold, warm, ..]) => {
            fills::warm_up(&talk, (*cold, *warm), *exptime).await
        }
        (Rule::Levels(rule), [l1, l2, ..]) => fills::levels(&talk, (*l1, *l2), rule).await,
        (Rule::Sizes(rule), [l1, l2, ..]) => sizes::sizes(&talk, (*l1, *l2), rule).await,
        (Rule::Staging, [warm, staging, ..]) => fills::staging(&talk, (*warm, *staging)).await,
        (Rule::Migrate(rule), [from, to, ..]) => fills::migrate(&talk, (*from, *to), rule).await,
        (Rule::SlowWarmUp(rule), [child, fallback, ..]) => {
            single::slow_warm_up(&talk, (*child, *fallback), rule).await
        }
        (Rule::Latency(rule), [child, ..]) => single::latency(&talk, *child, rule).await,
        (Rule::Blackhole(when), [child, hole, ..]) => {
            single::blackhole(&talk, (*child, *hole), when).await
        }
        (Rule::Client(offset), children) => single::client(&talk, children, *offset).await,
        (Rule::Balance { salt, tries }, children) => {
            single::balance(&talk, children, (salt, *tries)).await
        }
        (Rule::Outstanding(limit), [child, ..]) => {
            let name = Arc::as_ptr(&terms.memory) as usize;
            handle.permit(name, *limit).await;
            talk.pass(*child).await
        }
        (Rule::KeyedFailover(rule), children) => keyed(&talk, children, rule, now).await,
        (rule, children) => all(&talk, rule, children, now).await,
    }
}

/// The first child, and where that fails others, in an order that follows from the key.
async fn keyed(talk: &Talk<'_>, children: &[NodeId], rule: &KeyedFailover, now: u64) -> Answer {
    let memory = &talk.terms.memory;
    if rule.failover.lease_pairing
        && let Some(token) = talk.what.token()
    {
        return store_lease(talk, children, token, now).await;
    }
    // It counts the request.
    memory.order(&rule.failover, children.len());
    let mut way = Way::new(rule, talk.what.key(), children.len(), talk.terms.normal);
    let mut child = 0;
    loop {
        let Some(node) = children.get(child) else {
            return none();
        };
        let answer = talk.pass(*node).await;
        let new = talk.judge(&answer);
        let next = match failures(&rule.failover, talk.group).has(new) {
            true => way.next(child, new),
            false => None,
        };
        match next {
            Some(next) if memory.may_go_on(&rule.failover, new) => child = next,
            _ if rule.failover.lease_pairing => {
                return paired(answer, &memory.leases, child, talk.what.key(), now);
            }
            _ => return answer,
        }
    }
}

/// Sends a `lease-set` to the child that has given its lease, with that one's token; without failover.
async fn store_lease(talk: &Talk<'_>, children: &[NodeId], token: u64, now: u64) -> Answer {
    let given = talk.terms.memory.leases.take(talk.what.key(), token, now);
    let (child, token) = given.unwrap_or((0, token));
    let what = talk.what.clone().with_token(token);
    let Some(from) = children.get(child).copied() else {
        return none();
    };
    talk.handle.ask(Ask { from, what }).await
}

/// The rules for a list of children.
async fn all(talk: &Talk<'_>, rule: &Rule, children: &[NodeId], now: u64) -> Answer {
    let (handle, what, group) = (talk.handle, talk.what, talk.group);
    let memory = &talk.terms.memory;
    let begin = |from: &NodeId| handle.begin(talk.ask_of(*from));
    match rule {
        Rule::AllSync => {
            let mut open: Vec<u32> = children.iter().map(begin).collect();
            let mut worst: Option<(Verdict, Answer)> = None;
            while let Some(answer) = handle.any(&mut open).await {
                let new = verdict(&answer, group);
                let is_worse = |(old, _): &(Verdict, Answer)| new.severity() > old.severity();
                if worst.as_ref().is_none_or(is_worse) {
                    worst = Some((new, answer));
                }
            }
            worst.map_or_else(none, |(_, answer)| answer)
        }
        Rule::AllAsync => {
            let mut open: Vec<u32> = children.iter().map(begin).collect();
            handle.answer_early(nothing(what));
            rest(handle, &mut open).await
        }
        Rule::AllInitial | Rule::Shadow(_) => {
            let mut children = children.iter();
            let first = children.next();
            let mut open: Vec<u32> = children.map(begin).collect();
            let Some(first) = first else {
                return none();
            };
            let answer = handle.any(&mut vec![begin(first)]).await;
            handle.answer_early(answer.unwrap_or_else(none));
            rest(handle, &mut open).await
        }
        Rule::AllFastest => {
            let mut open: Vec<u32> = children.iter().map(begin).collect();
            while let Some(answer) = handle.any(&mut open).await {
                if open.is_empty() || !verdict(&answer, group).fails_over() {
                    handle.answer_early(answer);
                    return rest(handle, &mut open).await;
                }
            }
            none()
        }
        Rule::AllMajority => {
            let mut open: Vec<u32> = children.iter().map(begin).collect();
            let mut majority = Majority::new(open.len());
            while let Some(answer) = handle.any(&mut open).await {
                if majority.add(verdict(&answer, group), answer) {
                    break;
                }
            }
            handle.answer_early(majority.winner().unwrap_or_else(none));
            rest(handle, &mut open).await
        }
        Rule::MissFailover { best } => {
            let moves_on = matches!(group, Group::Get | Group::Delete);
            let mut found: Option<(Verdict, Answer)> = None;
            for child in children {
                let Some(answer) = handle.any(&mut vec![begin(child)]).await else {
                    break;
                };
                let new = verdict(&answer, group);
                if new.is_hit() || !moves_on {
                    return answer;
                }
                let is_worse = |(old, _): &(Verdict, Answer)| new.severity() > old.severity();
                if !*best || !found.as_ref().is_some_and(is_worse) {
                    found = Some((new, answer));
                }
            }
            found.map_or_else(none, |(_, answer)| answer)
        }
        Rule::Failover(rule) => {
            let pairs = rule.lease_pairing.then_some(&memory.leases);
            if pairs.is_some()
                && let Some(token) = what.token()
            {
                return store_lease(talk, children, token, now).await;
            }
            let mut last = None;
            let order = memory.order(rule, children.len());
            for (tries, child) in (1..).zip(&order) {
                let Some(node) = children.get(*child) else {
                    break;
                };
                let Some(answer) = handle.any(&mut vec![begin(node)]).await else {
                    break;
                };
                let new = verdict(&answer, group);
                memory.heard(rule, *child, new);
                if !failures(rule, group).has(new)
                    || tries == order.len()
                    || !memory.may_go_on(rule, new)
                {
                    return match pairs {
                        Some(leases) => paired(answer, leases, *child, what.key(), now),
                        None => answer,
                    };
                }
                last = Some(answer);
            }
            last.unwrap_or_else(none)
        }
        // It has not the children that it needs.
        _ => none(),
    }
}

/// What counts as a failure of such a command.
const fn failures(rule: &Failover, group: Group) -> Verdicts {
    match group {
        Group::Get => rule.gets,
        Group::Update => rule.updates,
        Group::Delete => rule.deletes,
        Group::Arithmetic | Group::Other => Verdicts::DEFAULT,
    }
}

/// Waits for what does not matter any more: the children that have been asked are to be asked to the end.
pub(super) async fn rest(handle: &Handle, open: &mut Vec<u32>) -> Answer {
    while handle.any(open).await.is_some() {}
    // It has been answered.
    Answer::Miss
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::Dialogue;
    use super::*;
    use crate::protocol::response::Kind;
    use crate::route::exec::Outcome;
    use crate::route::tree::Reason;
    use crate::upstream::conn::Class;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    /// Three children under a rule; their answers arrive as given, by child. Returns the answer, how many answers it
    /// took, and whether more were waited for.
    fn heard(rule: Rule, get: bool, answers: Vec<(u32, Answer)>) -> (Option<Answer>, usize, bool) {
        let handle = Handle::default();
        let what = match get {
            true => Retained::get(b"k".to_vec(), crate::protocol::request::GetCommand::Get, 0),
            false => Retained::line(Class::Touch, b"k".to_vec(), b"touch k 0\r\n".to_vec()),
        };
        let mut dialogue: Dialogue = Box::pin(run(
            handle.clone(),
            Terms {
                rule: Arc::new(rule),
                children: vec![0, 1, 2],
                memory: Arc::default(),
                random: 0,
                unix: 0,
                normal: None,
                client: None,
            },
            what,
            0,
        ));
        let mut numbers = std::collections::HashMap::new();
        let mut given = answers.into_iter();
        let mut count = 0;
        loop {
            let polled = Pin::new(&mut dialogue).poll(&mut Context::from_waker(Waker::noop()));
            if let Some(early) = handle.talk().early.take() {
                return (Some(early), count, polled.is_pending());
            }
            if let Poll::Ready(answer) = polled {
                return (Some(answer), count, false);
            }
            numbers.extend(
                handle
                    .talk()
                    .asks
                    .split_off(0)
                    .into_iter()
                    .map(|(number, ask)| (ask.from, number)),
            );
            let Some((child, answer)) = given.next() else {
                return (None, count, true);
            };
            count += 1;
            handle.talk().answer(numbers[&child], answer);
        }
    }

    fn line(text: &str) -> Answer {
        Answer::Line(Kind::NotFound, text.as_bytes().to_vec())
    }

    fn text(answer: Option<Answer>) -> String {
        match answer.unwrap() {
            Answer::Line(_, bytes) | Answer::Value(bytes) => String::from_utf8(bytes).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn of_equally_bad_replies_the_first_to_arrive_is_the_answer() {
        let all = vec![(2, line("c")), (0, line("a")), (1, line("b"))];
        let (answer, count, _) = heard(Rule::AllSync, false, all);
        assert_eq!((text(answer).as_str(), count), ("c", 3));
    }

    #[test]
    fn the_fastest_is_the_first_that_does_not_fail() {
        let failed = || Answer::Failed(ErrorKind::Timeout);
        let (answer, count, goes_on) = heard(
            Rule::AllFastest,
            true,
            vec![(1, failed()), (2, Answer::Miss)],
        );
        assert!(matches!(answer, Some(Answer::Miss)) && count == 2 && goes_on);
        let error = Answer::Error(
            b"SERVER_ERROR last\r\n".to_vec(),
            Outcome::Failed(Reason::Error),
        );
        let (answer, count, goes_on) = heard(
            Rule::AllFastest,
            true,
            vec![(1, failed()), (2, failed()), (0, error)],
        );
        assert!(matches!(answer, Some(Answer::Error(..))) && count == 3 && !goes_on);
    }

    #[test]
    fn the_first_child_s_reply_ends_an_all_initial_and_nothing_an_all_async() {
        let (answer, count, goes_on) = heard(
            Rule::AllInitial,
            false,
            vec![(1, line("b")), (0, line("a"))],
        );
        assert_eq!((text(answer).as_str(), count, goes_on), ("a", 2, true));
        let (answer, count, goes_on) = heard(Rule::AllAsync, false, Vec::new());
        assert_eq!(
            (text(answer).as_str(), count, goes_on),
            ("NOT_FOUND\r\n", 0, true)
        );
    }

    #[test]
    fn a_majority_does_not_wait_for_the_rest() {
        let (answer, count, goes_on) = heard(
            Rule::AllMajority,
            false,
            vec![(2, line("c")), (1, line("b"))],
        );
        assert_eq!((text(answer).as_str(), count, goes_on), ("b", 2, true));
    }

    #[test]
    fn a_miss_leads_on_and_the_best_reply_may_be_the_answer() {
        let failed = || Answer::Failed(ErrorKind::Timeout);
        for (best, want_miss) in [(true, true), (false, false)] {
            let all = vec![(0, failed()), (1, Answer::Miss), (2, failed())];
            let (answer, count, _) = heard(Rule::MissFailover { best }, true, all);
            assert_eq!(
                (matches!(answer, Some(Answer::Miss)), count),
                (want_miss, 3)
            );
        }
        let (answer, count, _) = heard(
            Rule::MissFailover { best: false },
            false,
            vec![(0, line("a"))],
        );
        assert_eq!(
            (text(answer).as_str(), count),
            ("a", 1),
            "a touch stays where it is"
        );
    }
}
