//! Which sockets have become ready since the last turn.
//!
//! Each socket's waker puts its number on one list; the first of a turn wakes the worker's task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// A socket's number: its index, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Client(u32),
    Conn(u32),
    /// No socket: servers may have gone out of service or come back.
    Health,
}

#[derive(Default)]
/// The list.
pub(super) struct Ready {
    list: Mutex<ReadyList>,
}

#[derive(Default)]
/// What is on it, and whom to wake.
pub(super) struct ReadyList {
    pub(super) tokens: Vec<Token>,
    pub(super) waker: Option<Waker>,
}

impl Ready {
    // A worker's panic is caught outside; the list itself is valid at every point.
    pub(super) fn lock(&self) -> MutexGuard<'_, ReadyList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket's waker.
pub(super) struct SocketWaker {
    pub(super) token: Token,
    pub(super) ready: Arc<Ready>,
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut list = self.ready.lock();
        list.tokens.push(self.token);
        let waker = list.waker.take();
        drop(list);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
