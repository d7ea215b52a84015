//! Permits: so many dialogues of a worker may go on at a time, others wait for their turn.
//!
//! Whoever waits is in the queue of its client; clients take turns, so that one with many requests does not hold up the
//! others. A permit that is given back goes to the next one. Nothing here knows what permits are for; they have names.

use std::collections::{HashMap, VecDeque};

use crate::upstream::conn::Ticket;

/// All permits of a worker.
#[derive(Default)]
pub(super) struct Permits {
    by_name: HashMap<usize, Queue>,
    /// Who has got one and has not been told yet.
    pub granted: Vec<Ticket>,
}

#[derive(Default)]
struct Queue {
    held: u32,
    /// Clients with their waiting requests, neither empty; the first one is the next.
    waiting: VecDeque<(u32, VecDeque<Ticket>)>,
}

impl Permits {
    /// Whether there is one left of so many; if not, this one of a client's requests waits for it.
    pub(super) fn ask(&mut self, name: usize, limit: u32, client: u32, to: Ticket) -> bool {
        let queue = self.by_name.entry(name).or_default();
        if queue.held < limit {
            queue.held += 1;
            return true;
        }
        let mut all = queue.waiting.iter_mut();
        match all.find(|(other, _)| *other == client) {
            Some((_, own)) => own.push_back(to),
            None => queue.waiting.push_back((client, VecDeque::from([to]))),
        }
        false
    }

    /// One is given back: who gets it? `None`: nobody waits.
    pub(super) fn next(&mut self, name: usize) -> Option<Ticket> {
        let queue = self.by_name.get_mut(&name)?;
        if let Some((client, mut own)) = queue.waiting.pop_front() {
            let next = own.pop_front();
            if !own.is_empty() {
                queue.waiting.push_back((client, own));
            }
            return next;
        }
        queue.held = queue.held.saturating_sub(1);
        if queue.held == 0 {
            self.by_name.remove(&name);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(request: u32) -> Ticket {
        Ticket {
            request,
            ..Ticket::NOBODY
        }
    }

    #[test]
    fn clients_take_turns_and_each_one_s_requests_stay_in_order() {
        let mut permits = Permits::default();
        assert!(permits.ask(7, 2, 1, ticket(0)) && permits.ask(7, 2, 1, ticket(1)));
        for (client, request) in [(1, 2), (1, 3), (1, 4), (2, 5), (3, 6), (2, 7)] {
            assert!(!permits.ask(7, 2, client, ticket(request)));
        }
        assert!(permits.ask(8, 1, 1, ticket(9)), "other permits are others");
        let order: Vec<u32> = std::iter::from_fn(|| permits.next(7))
            .map(|to| to.request)
            .collect();
        assert_eq!(order, [2, 5, 6, 3, 7, 4]);
        // The two that are left are given back one by one.
        assert_eq!(permits.by_name.len(), 2);
        assert_eq!((permits.next(7), permits.next(8)), (None, None));
        assert!(permits.by_name.is_empty());
        assert_eq!(permits.next(7), None);
    }
}
