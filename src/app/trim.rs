//! When freed memory goes back to the system.
//!
//! The C library keeps what lies between pieces that are in use, so the memory of ten thousand clients that have left stays
//! with the process for good. To ask for it back takes a look at all there is; it is done when many have left and no more
//! are leaving, on the control thread.

/// Fewer clients are not worth it.
const MANY: u64 = 256;

/// How many seconds later it is done once more: buffers are let go little by little.
const ONCE_MORE: u32 = 30;

/// Looks at the number of clients once a second.
#[derive(Debug, Default)]
pub(super) struct Trim {
    most: u64,
    last: u64,
    /// Seconds until it is done once more.
    again: Option<u32>,
}

impl Trim {
    /// So many clients there are now. Returns whether memory is to be given back.
    fn is_due(&mut self, clients: u64) -> bool {
        self.most = self.most.max(clients);
        let leaves = clients < std::mem::replace(&mut self.last, clients);
        if self.most >= MANY && clients <= self.most / 2 && !leaves {
            self.most = clients;
            self.again = Some(ONCE_MORE);
            return true;
        }
        self.again = self.again.map(|left| left.saturating_sub(1));
        self.again.take_if(|left| *left == 0).is_some()
    }

    /// Gives memory back if many of the clients have left.
    pub(super) fn look(&mut self, clients: u64) {
        if self.is_due(clients) {
            trim();
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    #[allow(unsafe_code)]
    // SAFETY: it asks for nothing of its caller and may be called by any thread at any time (malloc_trim(3)); it takes
    // nothing but pages that nobody has memory in.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries' allocators do this by themselves, or have no way to be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_many_have_left_and_once_more_later() {
        let mut trim = Trim::default();
        for clients in [0, 300, 10_000, 5_001, 4_000, 2_000, 1_000] {
            assert!(!trim.is_due(clients), "{clients}");
        }
        assert!(trim.is_due(1_000));
        let later = (0..100).filter(|_| trim.is_due(1_000)).count();
        assert_eq!(later, 1);
        trim.is_due(500);
        assert!(trim.is_due(500));
    }

    #[test]
    fn for_a_few_nothing_is_done() {
        let mut trim = Trim::default();
        let clients = [0, MANY - 1, 0, 0, MANY - 1, 1, 1];
        assert!(clients.into_iter().all(|clients| !trim.is_due(clients)));
    }
}
