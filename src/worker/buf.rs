//! Buffers, and the pool they come from.
//!
//! A connection owns memory only while it has something in flight: an empty [`Buf`] holds none, takes one
//! from the [`BufPool`] at the first byte and gives it back at the last. So ten thousand idle connections
//! cost no buffers, and a busy worker allocates none.

/// A byte queue: appended at the back, consumed from the front.
#[derive(Debug, Default)]
pub struct Buf {
    bytes: Vec<u8>,
    start: usize,
    /// How much it held when it was last emptied: what it will want again.
    usual: usize,
}

impl Buf {
    /// The bytes that wait.
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory held, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends `data`, taking a buffer from `pool` if there is none yet.
    #[inline]
    pub fn push(&mut self, data: &[u8], pool: &mut BufPool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(data.len().max(self.usual));
        }
        self.bytes.extend_from_slice(data);
    }

    /// The buffer to append to, taken from `pool` if there is none yet.
    #[inline]
    pub fn back(&mut self, pool: &mut BufPool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(self.usual);
        }
        &mut self.bytes
    }

    /// Drops the first `n` bytes; the buffer goes back to `pool` when none are left.
    pub fn consume(&mut self, n: usize, pool: &mut BufPool) {
        self.start = (self.start + n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.clear(pool);
        } else if self.start >= 64 * 1024 && self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Drops everything and gives the buffer back.
    pub fn clear(&mut self, pool: &mut BufPool) {
        self.start = 0;
        self.usual = self.bytes.len().min(USUAL_MAX);
        pool.put(std::mem::take(&mut self.bytes));
    }

    /// Takes the buffer out, with everything before the pending bytes removed.
    pub fn take(&mut self) -> Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        std::mem::take(&mut self.bytes)
    }

    /// Puts `bytes` (as from [`Buf::take`]) back with the first `consumed` of them gone.
    pub fn restore(&mut self, bytes: Vec<u8>, consumed: usize, pool: &mut BufPool) {
        self.bytes = bytes;
        self.start = 0;
        self.consume(consumed, pool);
    }
}

/// Capacity of a fresh small buffer, in bytes.
const SMALL: usize = 2048;
/// Buffers up to this size are kept as small ones.
const SMALL_MAX: usize = 16 * 1024;
/// One huge value does not make the next, small one ask for as much, in bytes.
const USUAL_MAX: usize = 256 * 1024;
/// A larger one is freed at once: it was for one huge value.
const LARGE_MAX: usize = 4 * 1024 * 1024;

/// Recycled buffers of one worker, bounded in bytes.
#[derive(Debug)]
pub struct BufPool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    large_bytes: usize,
}

/// How many small buffers are kept.
const KEEP_SMALL: usize = 1024;
/// How many bytes of large buffers are kept.
const KEEP_LARGE: usize = 8 * 1024 * 1024;

impl Default for BufPool {
    fn default() -> BufPool {
        BufPool {
            small: Vec::with_capacity(KEEP_SMALL),
            large: Vec::with_capacity(64),
            large_bytes: 0,
        }
    }
}

impl BufPool {
    /// An empty buffer of any capacity, at least `hint` bytes if that is large.
    pub fn take(&mut self, hint: usize) -> Vec<u8> {
        if hint <= SMALL_MAX {
            return self
                .small
                .pop()
                .unwrap_or_else(|| Vec::with_capacity(hint.max(SMALL)));
        }
        // One that fits: much larger ones are for others.
        let fits = |buf: &Vec<u8>| (hint..=hint.saturating_mul(4)).contains(&buf.capacity());
        match self.large.iter().rposition(fits) {
            Some(place) => {
                let buf = self.large.swap_remove(place);
                self.large_bytes -= buf.capacity();
                buf
            }
            None => Vec::with_capacity(hint.saturating_add(hint / 4)),
        }
    }

    /// Gives a buffer back; it is emptied.
    pub fn put(&mut self, mut buf: Vec<u8>) {
        let capacity = buf.capacity();
        if capacity == 0 {
            return;
        }
        buf.clear();
        if capacity <= SMALL_MAX {
            if self.small.len() < KEEP_SMALL {
                self.small.push(buf);
            }
        } else if capacity <= LARGE_MAX && self.large_bytes + capacity <= KEEP_LARGE {
            self.large_bytes += capacity;
            self.large.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut pool = BufPool::default();
        let mut buf = Buf::default();
        buf.push(b"hello", &mut pool);
        buf.consume(2, &mut pool);
        assert_eq!(buf.pending(), b"llo");
        buf.consume(3, &mut pool);
        assert_eq!(buf.capacity(), 0);
        assert!(buf.is_empty());
        assert!(pool.take(0).capacity() >= SMALL, "it went back to the pool");
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = BufPool::default();
        for _ in 0..100 {
            pool.put(Vec::with_capacity(1 << 20));
        }
        assert!(pool.large_bytes <= KEEP_LARGE);
        pool.put(Vec::with_capacity(LARGE_MAX + 1));
        assert!(pool.large.iter().all(|b| b.capacity() <= LARGE_MAX));
    }

    #[test]
    fn a_busy_connection_gets_as_large_a_buffer_as_it_used_before() {
        let mut pool = BufPool::default();
        let mut buf = Buf::default();
        let mut capacities = Vec::new();
        for _ in 0..4 {
            for _ in 0..200 {
                buf.push(&[0; 200], &mut pool);
            }
            capacities.push(buf.bytes.capacity());
            buf.consume(40_000, &mut pool);
        }
        assert_eq!(capacities[1], capacities[0]);
        assert_eq!(capacities[3], capacities[0]);
        assert_eq!(pool.large.len(), 1, "the same one each time");
        buf.push(&[0; 10], &mut pool);
        buf.consume(10, &mut pool);
        buf.push(&[0; 10], &mut pool);
        assert!(
            buf.capacity() <= SMALL_MAX,
            "and a small one when it is less busy"
        );
    }

    #[test]
    fn a_large_buffer_is_not_given_to_a_much_smaller_use() {
        let mut pool = BufPool::default();
        pool.put(Vec::with_capacity(1 << 20));
        pool.put(Vec::with_capacity(100_000));
        assert!(pool.take(50_000).capacity() < 200_000);
        assert!(pool.take(50_000).capacity() < 200_000);
        assert!(pool.take(900_000).capacity() == 1 << 20);
        assert_eq!(pool.large_bytes, 0);
    }

    proptest! {
        #[test]
        fn bytes_come_out_in_order(steps in prop::collection::vec((0usize..100_000, 0usize..100_000), 1..30)) {
            let mut pool = BufPool::default();
            let mut buf = Buf::default();
            let (mut written, mut read) = (0u64, 0u64);
            for (push, pop) in steps {
                let data: Vec<u8> = (0..push).map(|i| (written + i as u64) as u8).collect();
                written += push as u64;
                buf.push(&data, &mut pool);
                let n = pop.min(buf.len());
                for b in &buf.pending()[..n] {
                    prop_assert_eq!(*b, read as u8);
                    read += 1;
                }
                buf.consume(n, &mut pool);
                prop_assert_eq!(buf.len() as u64, written - read);
            }
        }
    }
}
