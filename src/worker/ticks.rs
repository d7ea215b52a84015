//! What time brings: requests that give up, connections to be made or closed, clients that stall.

use super::core::Core;
use super::destinations::{State, begin_connecting};
use crate::protocol::error::ErrorKind;
use crate::upstream::conn::Ticket;

impl Core {
    /// Handles everything that is due. To be called when [`Core::next_tick`] has come.
    pub fn tick(&mut self) {
        let now = self.now;
        self.timer = u64::MAX;
        let ids: Vec<u32> = self.conns.iter().map(|(id, _)| id as u32).collect();
        for id in ids {
            self.tick_conn(id, now);
        }
        if self.budget_at <= now {
            self.enforce_budget();
        }
        self.timer = self.timer.min(self.budget_at);
        if self.turns.due <= now {
            self.give_turns();
        }
        self.timer = self.timer.min(self.turns.due);
        if self.settle_at <= now {
            self.settle_all();
        }
        self.timer = self.timer.min(self.settle_at);
        self.dialogues.end_pauses(now, &mut self.later);
        self.timer = self.timer.min(self.dialogues.next_pause());
        self.run_later();
        self.count_outcomes();
    }

    fn tick_conn(&mut self, id: u32, now: u64) {
        let mut given_up = Vec::new();
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        let latency = &up.stats.latency;
        let due = up.conn.expire(
            now,
            |to| given_up.push(to),
            |timing, requests| latency.record(timing, now, requests.into()),
        );
        if !given_up.is_empty() {
            up.stats.failed(ErrorKind::Timeout, given_up.len());
        }
        let stuck = up.conn.stuck_since(now.saturating_sub(up.timeout));
        // Requests that end with the connection have had no answer either, though their time is not over.
        let due = match stuck && up.conn.is_waited_for() {
            true => due.max(1),
            false => due,
        };
        let (state, timeout, destination_id) = (up.state, up.timeout, up.destination);
        let hides_errors = up.hides_errors;
        for to in given_up {
            if to != Ticket::NOBODY {
                self.fail_in(hides_errors, to, ErrorKind::Timeout);
            }
        }
        let connect_timeout = match self.destinations.get(destination_id as usize) {
            Some(Some(destination)) => destination.spec.connect_timeout,
            _ => timeout,
        };
        match state {
            State::Waiting { until } if until <= now => {
                if let Some(up) = self.conns.get_mut(id as usize) {
                    begin_connecting(up, id, now.saturating_add(connect_timeout), &mut self.todo);
                }
            }
            State::Connecting { deadline } | State::Probing { deadline } if deadline <= now => {
                self.todo.close.push(id);
                let why = match state {
                    State::Probing { .. } => {
                        "connected, but it did not answer `version` within connect_timeout"
                    }
                    _ => "no connection within connect_timeout",
                };
                self.break_conn(id, ErrorKind::ConnectFailed, why);
            }
            State::Ready { .. } | State::Metered { .. } => {
                let out = self.count_timeouts(destination_id, due);
                if out || stuck {
                    self.todo.close.push(id);
                    self.break_conn(id, ErrorKind::Timeout, "no answers within the timeout");
                } else {
                    self.close_if_idle(id);
                }
            }
            _ => {}
        }
        self.arm(id);
    }

    /// Makes sure of a tick when the connection next needs one.
    fn arm(&mut self, id: u32) {
        let Some(up) = self.conns.get(id as usize) else {
            return;
        };
        let patience = up.is_ready().then_some(up.timeout);
        let mut at = up.conn.next_event(patience).unwrap_or(u64::MAX);
        at = at.min(match up.state {
            State::Waiting { until } => until,
            State::Connecting { deadline } | State::Probing { deadline } => deadline,
            State::Ready { .. } | State::Metered { .. } => up.idle.look_at,
            State::Idle => u64::MAX,
        });
        self.timer = self.timer.min(at);
    }
}
