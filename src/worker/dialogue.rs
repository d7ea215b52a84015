//! Dialogues: what takes many requests to answer one, written as an `async fn`.
//!
//! A dialogue is a future that a route starts for one request. It asks through a [`Handle`] and hears an
//! [`Answer`] to each [`Ask`]; what it returns is the answer to the request. `dialogues.rs` polls it when answers
//! have arrived and sends what it asks, along the same routes as a client's requests; it never runs while a
//! connection's replies are being read.
//!
//! A dialogue knows no sockets, clocks or timers and awaits nothing but answers and short pauses. Every ask is answered, if only
//! with a failure. It may end while some are still open; those are forgotten. It is dropped when nobody
//! waits for its answer any more.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::frame::Retained;
use crate::protocol::error::ErrorKind;
use crate::protocol::response::Kind;
use crate::route::exec::Outcome;
use crate::route::tree::NodeId;

/// How long a pause is that somebody else may end, in microseconds.
const PAUSE: u64 = 1000;

/// A dialogue under way.
pub(super) type Dialogue = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A request of a dialogue.
#[derive(Debug)]
pub(super) struct Ask {
    /// The node of the tree where its way begins.
    pub from: NodeId,
    /// The key and the command.
    pub what: Retained,
}

/// How a request ended: one of a dialogue, or the one it was started for.
#[derive(Debug)]
pub(super) enum Answer {
    /// A get found its item: the `VALUE` line and the block.
    Value(Vec<u8>),
    /// A get found nothing.
    Miss,
    /// A line, for meta with its block.
    Line(Kind, Vec<u8>),
    /// An error line of a server or of a route, and what it is to routes.
    Error(Vec<u8>, Outcome),
    /// There was no answer.
    Failed(ErrorKind),
}

impl Answer {
    pub(super) fn held(&self) -> usize {
        match self {
            Answer::Value(bytes) | Answer::Line(_, bytes) | Answer::Error(bytes, _) => bytes.len(),
            Answer::Miss | Answer::Failed(_) => 0,
        }
    }
}

/// What passes between a dialogue and the worker.
#[derive(Debug, Default)]
pub(super) struct Talk {
    next: u32,
    /// Asked and not yet taken by the worker.
    pub asks: VecDeque<(u32, Ask)>,
    /// Pauses begun and not yet taken by the worker, and how long they are in microseconds.
    pub pauses: Vec<(u32, u64)>,
    /// Permits asked for and not yet taken by the worker: whose they are, and how many of them there may be.
    pub permits: Vec<(u32, usize, u32)>,
    /// In the order in which they have arrived.
    answers: VecDeque<(u32, Answer)>,
    /// The answer to the request, given before the dialogue is over.
    pub early: Option<Answer>,
    /// Bytes that the dialogue holds besides.
    holds: usize,
    /// Its asks do not wait until there is room.
    pub at_once: bool,
}

impl Talk {
    fn take(&mut self, mut wanted: impl FnMut(u32) -> bool) -> Option<(u32, Answer)> {
        let place = self
            .answers
            .iter()
            .position(|(number, _)| wanted(*number))?;
        self.answers.remove(place)
    }

    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    /// An ask has its answer.
    pub(super) fn answer(&mut self, number: u32, answer: Answer) {
        self.answers.push_back((number, answer));
    }

    /// Bytes of memory in answers and in the dialogue itself.
    pub(super) fn held(&self) -> usize {
        let answers = self.answers.iter().map(|(_, answer)| answer);
        self.holds + answers.chain(&self.early).map(Answer::held).sum::<usize>()
    }
}

/// A dialogue's way to ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Handle(Arc<Mutex<Talk>>);

impl Handle {
    // Only one thread ever has it; a future that leaves its worker takes its handle along.
    pub(super) fn talk(&self) -> MutexGuard<'_, Talk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is asked from now on is sent at once, or fails at once where a server's queue is full, as a client's requests
    /// do. For dialogues with few asks, of which one may go where nobody answers and must not be in the way of others.
    pub(super) fn ask_at_once(&self) {
        self.talk().at_once = true;
    }

    /// So many bytes are held by the dialogue itself, for the worker's account of its memory.
    pub(super) fn holds(&self, bytes: usize) {
        self.talk().holds = bytes;
    }

    /// Waits for a moment, for what others do. To ask anything instead would be a circle without an end as soon as
    /// the answer is known without asking a server.
    pub(super) fn pause(&self) -> Asked<'_> {
        self.sleep(PAUSE)
    }

    /// Waits for so many microseconds.
    pub(super) fn sleep(&self, micros: u64) -> Asked<'_> {
        Asked {
            handle: self,
            number: self.begin_pause(micros),
        }
    }

    /// Begins to wait; that it is over is had under this number.
    pub(super) fn begin_pause(&self, micros: u64) -> u32 {
        let mut talk = self.talk();
        let number = talk.number();
        talk.pauses.push((number, micros));
        number
    }

    /// Waits until fewer than so many dialogues of this worker hold a permit of that name; this one holds one to its end.
    pub(super) fn permit(&self, name: usize, limit: u32) -> Asked<'_> {
        let mut talk = self.talk();
        let number = talk.number();
        talk.permits.push((number, name, limit));
        Asked {
            handle: self,
            number,
        }
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, ask: Ask) -> Asked<'_> {
        Asked {
            handle: self,
            number: self.begin(ask),
        }
    }

    /// Asks; the answer is had under this number.
    pub(super) fn begin(&self, ask: Ask) -> u32 {
        let mut talk = self.talk();
        let number = talk.number();
        talk.asks.push_back((number, ask));
        number
    }

    /// Waits for the first to arrive of the answers with these numbers, and takes that off the list; `None` if the
    /// list is empty.
    pub(super) fn any<'h>(&'h self, open: &'h mut Vec<u32>) -> Any<'h> {
        Any { handle: self, open }
    }

    /// This is the answer to the request, though the dialogue goes on. What it returns in the end is nobody's.
    pub(super) fn answer_early(&self, answer: Answer) {
        self.talk().early = Some(answer);
    }

    /// Asks for all of these, up to `most` (at least one) at a time, and hears the answers in the order of the
    /// asks. Once `hear` returns false no more is asked; what is open by then is still heard.
    pub(super) async fn ask_all(
        &self,
        asks: impl Iterator<Item = Ask> + Send,
        most: usize,
        mut hear: impl FnMut(Answer) -> bool + Send,
    ) {
        let mut asks = asks.fuse();
        let mut open = VecDeque::new();
        let mut goes_on = true;
        loop {
            while goes_on
                && open.len() < most.max(1)
                && let Some(ask) = asks.next()
            {
                open.push_back(self.ask(ask));
            }
            let Some(first) = open.pop_front() else {
                return;
            };
            goes_on &= hear(first.await);
        }
    }
}

/// An ask on its way.
#[derive(Debug)]
pub(super) struct Asked<'h> {
    handle: &'h Handle,
    number: u32,
}

impl Future for Asked<'_> {
    type Output = Answer;

    /// The worker polls whenever there is an answer, so no waker is kept.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        match self.handle.talk().take(|number| number == self.number) {
            Some((_, answer)) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}

/// Several asks on their way.
#[derive(Debug)]
pub(super) struct Any<'h> {
    handle: &'h Handle,
    open: &'h mut Vec<u32>,
}

impl Future for Any<'_> {
    type Output = Option<Answer>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Answer>> {
        if self.open.is_empty() {
            return Poll::Ready(None);
        }
        let taken = self
            .handle
            .talk()
            .take(|number| self.open.contains(&number));
        match taken {
            Some((taken, answer)) => {
                self.open.retain(|number| *number != taken);
                Poll::Ready(Some(answer))
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::GetCommand;
    use std::task::Waker;

    fn ask(key: &[u8]) -> Ask {
        Ask {
            from: 0,
            what: Retained::get(key.to_vec(), GetCommand::Get, 0),
        }
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes what has been asked: numbers and keys.
    fn taken(handle: &Handle) -> Vec<(u32, Vec<u8>)> {
        let asks = handle.talk().asks.split_off(0);
        asks.into_iter()
            .map(|(number, ask)| (number, ask.what.key().to_vec()))
            .collect()
    }

    #[test]
    fn answers_are_heard_in_the_order_of_the_asks_however_they_arrive() {
        let handle = Handle::default();
        let mut heard = Vec::new();
        let keys = [b"a", b"b", b"c", b"d"];
        let asks = keys.iter().map(|key| ask(*key));
        {
            let mut all = Box::pin(handle.ask_all(asks, 3, |answer| {
                heard.push(answer.held());
                true
            }));
            assert!(poll(all.as_mut()).is_pending());
            let asked = taken(&handle);
            assert_eq!(asked.len(), 3, "no more than three at a time");
            handle.talk().answer(asked[2].0, Answer::Value(vec![0; 3]));
            handle.talk().answer(asked[1].0, Answer::Value(vec![0; 2]));
            assert_eq!(handle.talk().held(), 5);
            assert!(poll(all.as_mut()).is_pending());
            assert_eq!(taken(&handle), [], "the first one is still open");
            handle.talk().answer(asked[0].0, Answer::Value(vec![0; 1]));
            assert!(poll(all.as_mut()).is_pending());
            let last = taken(&handle);
            assert_eq!(last[0].1, b"d");
            handle.talk().answer(last[0].0, Answer::Miss);
            assert!(poll(all.as_mut()).is_ready());
        }
        assert_eq!(heard, [1, 2, 3, 0]);
        assert_eq!(handle.talk().held(), 0);
    }

    #[test]
    fn one_that_has_heard_enough_asks_no_more_and_hears_the_rest() {
        let handle = Handle::default();
        let mut heard = 0;
        {
            let asks = (0..100).map(|_| ask(b"k"));
            let mut all = Box::pin(handle.ask_all(asks, 2, |_| {
                heard += 1;
                false
            }));
            assert!(poll(all.as_mut()).is_pending());
            let asked = taken(&handle);
            handle.talk().answer(asked[0].0, Answer::Miss);
            assert!(poll(all.as_mut()).is_pending());
            assert_eq!(taken(&handle), []);
            handle.talk().answer(asked[1].0, Answer::Miss);
            assert!(poll(all.as_mut()).is_ready());
        }
        assert_eq!(heard, 2);
    }

    #[test]
    fn a_single_ask_and_several_rounds() {
        let handle = Handle::default();
        handle.holds(7);
        let own = handle.clone();
        let mut dialogue: Dialogue = Box::pin(async move {
            match own.ask(ask(b"first")).await {
                Answer::Miss => own.ask(ask(b"second")).await,
                other => other,
            }
        });
        assert!(poll(Pin::new(&mut dialogue)).is_pending());
        let asked = taken(&handle);
        handle.talk().answer(asked[0].0, Answer::Miss);
        assert!(poll(Pin::new(&mut dialogue)).is_pending());
        let asked = taken(&handle);
        assert_eq!(asked[0].1, b"second");
        let lost = Answer::Failed(ErrorKind::ConnectionLost);
        handle.talk().answer(asked[0].0, lost);
        let Poll::Ready(Answer::Failed(ErrorKind::ConnectionLost)) = poll(Pin::new(&mut dialogue))
        else {
            panic!("it ends with the last answer");
        };
        assert_eq!(handle.talk().held(), 7);
    }
}
