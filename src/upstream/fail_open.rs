//! How many servers of a pool may be out of service before it *fails open*.
//!
//! With [`Bounds::upper`] of a pool's servers out, no further ones are taken out: if that many seem to be dead, what is
//! wrong may be something else, and a pool of which nothing is asked is of no use. It ends when their number has
//! dropped to [`Bounds::lower`]. The pool counts addresses, not the workers that talk to them. Who adds and removes
//! them is [`super::tko`].

use std::sync::{Mutex, MutexGuard, PoisonError};

/// When a pool fails open; numbers of servers that are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// With so many no further ones are taken out; at least 1.
    pub upper: u32,
    /// Until there are no more than so many; at most `upper`.
    pub lower: u32,
}

/// What a pool that fails open shows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Servers that are out.
    pub out: u32,
    /// No further ones are taken out.
    pub is_open: bool,
    /// How often that has begun.
    pub entered: u64,
    /// How often that has ended.
    pub exited: u64,
}

/// One pool's servers that are out.
#[derive(Debug, Default)]
pub(super) struct PoolTko(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    name: String,
    bounds: Option<Bounds>,
    figures: PoolFigures,
}

impl PoolTko {
    /// None of this pool's is out yet.
    pub(super) fn new(name: &str) -> PoolTko {
        PoolTko(Mutex::new(State {
            name: name.to_owned(),
            ..State::default()
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bounds; none if the pool does not fail open any more.
    pub(super) fn set(&self, bounds: Option<Bounds>) {
        let mut state = self.state();
        state.bounds = bounds;
        state.settle();
    }

    /// One more is out, unless the pool fails open.
    pub(super) fn try_add(&self) -> bool {
        let mut state = self.state();
        if state.figures.is_open {
            return false;
        }
        state.add();
        true
    }

    /// One more is out.
    pub(super) fn add(&self) {
        self.state().add();
    }

    /// One fewer is.
    pub(super) fn remove(&self) {
        let mut state = self.state();
        state.figures.out = state.figures.out.saturating_sub(1);
        state.settle();
    }

    pub(super) fn figures(&self) -> PoolFigures {
        self.state().figures
    }
}

impl State {
    fn add(&mut self) {
        self.figures.out += 1;
        self.settle();
    }

    /// Opens or closes it.
    fn settle(&mut self) {
        let out = self.figures.out;
        let is_full = self.bounds.is_some_and(|bounds| out >= bounds.upper);
        let may_stay = self.bounds.is_some_and(|bounds| out > bounds.lower);
        if is_full && !self.figures.is_open {
            self.figures.is_open = true;
            self.figures.entered += 1;
            tracing::warn!(
                pool = self.name,
                out,
                "so many servers of the pool are out that no further ones are taken out (fail open)"
            );
        } else if self.figures.is_open && !is_full && !may_stay {
            self.figures.is_open = false;
            self.figures.exited += 1;
            tracing::info!(
                pool = self.name,
                out,
                "servers of the pool are taken out again as they fail"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_upper_bound_and_closes_at_the_lower() {
        let pool = PoolTko::new("p");
        pool.set(Some(Bounds { upper: 3, lower: 1 }));
        assert!(pool.try_add() && pool.try_add() && pool.try_add());
        assert!(!pool.try_add(), "a fourth stays");
        pool.remove();
        assert!(!pool.try_add(), "two are still out");
        pool.remove();
        assert!(pool.try_add());
        let figures = pool.figures();
        assert_eq!((figures.out, figures.is_open), (2, false));
        assert_eq!((figures.entered, figures.exited), (1, 1));
    }

    #[test]
    fn other_bounds_hold_at_once() {
        let pool = PoolTko::new("p");
        pool.add();
        pool.add();
        assert!(!pool.figures().is_open);
        pool.set(Some(Bounds { upper: 2, lower: 2 }));
        assert!(!pool.try_add());
        pool.set(None);
        assert!(pool.try_add());
        assert_eq!((pool.figures().entered, pool.figures().exited), (1, 1));
    }
}
