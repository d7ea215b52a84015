//! Questions about the router itself, which gets of certain keys are.
//!
//! The worker adds what it alone knows, which servers are out of service, and has the rest answered by
//! [`Local`](super::core::Local). The answer is a value like any other. Meta gets are answered with a miss: mcrouter has
//! none, and what flags such an item has cannot be said.

use super::core::{Core, Routing};
use super::dialogue::Answer;
use super::dispatch::Op;
use crate::introspect::View;
use crate::protocol::request::GetCommand;
use crate::route::introspect::PREFIX;
use crate::upstream::conn::Ticket;

impl Core {
    /// Answers a question.
    #[cold]
    pub(super) fn introspect(&mut self, routing: &Routing, to: Ticket, key: &[u8], op: &Op<'_>) {
        let question = match op {
            Op::Get(GetCommand::Get, _) => key.strip_prefix(PREFIX),
            _ => None,
        };
        let (Some(question), Some(config)) = (question, routing.snapshot.shown.as_deref()) else {
            return self.answer_nothing(to, key, op);
        };
        let destinations = &self.destinations;
        let is_down = |pool: usize, server: usize| {
            let id = routing
                .destinations
                .get(pool)
                .and_then(|all| all.get(server));
            let known = id.and_then(|id| destinations.get(*id as usize));
            known.is_some_and(|one| one.as_ref().is_some_and(|one| one.down))
        };
        let view = View {
            config,
            snapshot: &routing.snapshot,
            is_down: &is_down,
        };
        let text = self.local.introspect(question, &view);
        let mut value = Vec::with_capacity(key.len() + text.len() + 32);
        value.extend_from_slice(b"VALUE ");
        value.extend_from_slice(key);
        value.extend_from_slice(b" 0 ");
        value.extend_from_slice(itoa::Buffer::new().format(text.len()).as_bytes());
        value.extend_from_slice(b"\r\n");
        value.extend_from_slice(&text);
        value.extend_from_slice(b"\r\n");
        self.hub().conclude(to, Answer::Value(value));
    }
}
