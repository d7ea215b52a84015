//! Buffers, and the pool they come from.
//!
//! A connection owns memory only while it has something in flight: an empty [`Buf`] holds none, takes one
//! from the [`BufPool`] at the first byte and gives it back at the last. So ten thousand idle connections
//! cost no buffers, and a busy worker allocates none.
//!
//! Small things are copied into the buffer. A part of a large value ([`LARGE`]) is not: the buffer it was read
//! into is *lent* ([`Lent`]) and a [`Buf`] refers to it, as one *piece* of a chain that is written gathered. The
//! one who read gets the buffer back when the last piece of it has been written ([`Scratch`]).

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use slab::Slab;

mod block;

pub use block::Block;

/// From this many bytes on, a part of a value is referred to instead of copied. An eighth of what is read at a time.
pub const LARGE: usize = 32 * 1024;

/// A piece keeps no more than so many times its own length: a large value at the end of a long command line must not
/// keep all of that.
const KEPT: usize = 8;

/// A buffer that bytes were read into and that pieces may refer to.
pub type Lent = Arc<Block>;

/// A part of a lent buffer.
#[derive(Debug)]
struct Piece {
    bytes: Lent,
    start: usize,
    end: usize,
}

impl Piece {
    fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Gives the buffer back, if nobody else refers to it.
    fn give_back(self, pool: &mut BufPool) {
        if let Ok(block) = Arc::try_unwrap(self.bytes)
            && let Some(bytes) = block.into_vec()
        {
            pool.put(bytes);
        }
    }
}

/// What goes before a [`Buf`]'s own bytes.
#[derive(Debug, Default)]
struct Chain {
    pieces: VecDeque<Piece>,
    len: usize,
}

impl Chain {
    fn push(&mut self, bytes: Lent, start: usize, end: usize) {
        self.len += end - start;
        self.pieces.push_back(Piece { bytes, start, end });
    }

    /// The memory of the buffers that its pieces are in.
    fn held(&self) -> usize {
        let mut last = None;
        let mut held = 0;
        for piece in &self.pieces {
            let buffer = Arc::as_ptr(&piece.bytes);
            if last != Some(buffer) {
                held += piece.bytes.capacity();
            }
            last = Some(buffer);
        }
        held
    }

    /// Drops the first `n` bytes; returns how many of them it did not have.
    fn consume(&mut self, mut n: usize, pool: &mut BufPool) -> usize {
        while n > 0
            && let Some(first) = self.pieces.front_mut()
        {
            let some = n.min(first.end - first.start);
            first.start += some;
            self.len -= some;
            n -= some;
            if first.start == first.end
                && let Some(done) = self.pieces.pop_front()
            {
                done.give_back(pool);
            }
        }
        n
    }
}

/// A byte queue: appended at the back, consumed from the front.
#[derive(Debug, Default)]
pub struct Buf {
    /// Comes before `bytes`; never without pieces.
    chain: Option<Box<Chain>>,
    bytes: Vec<u8>,
    start: usize,
    /// How much it held when it was last emptied: what it will want again.
    usual: usize,
}

impl Buf {
    /// The bytes that wait; if there are pieces, the first of them.
    #[inline]
    pub fn pending(&self) -> &[u8] {
        match &self.chain {
            None => self.own(),
            Some(chain) => chain.pieces.front().map_or(&[], Piece::pending),
        }
    }

    fn own(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Whether there is more than what [`Buf::pending`] returns.
    #[inline]
    pub fn is_gathered(&self) -> bool {
        self.chain.is_some()
    }

    /// Fills `slices` with what waits, in order, as far as there is room; returns how many it filled.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.chain.iter().flat_map(|chain| &chain.pieces);
        let all = pieces
            .map(Piece::pending)
            .chain(std::iter::once(self.own()))
            .filter(|piece| !piece.is_empty());
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        let own = self.bytes.len() - self.start;
        match &self.chain {
            None => own,
            Some(chain) => chain.len + own,
        }
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory held, in bytes: whole buffers, however little of them is used. A buffer that several refer to
    /// counts for each.
    pub fn held(&self) -> usize {
        let pieces = self.chain.as_ref().map_or(0, |chain| chain.held());
        pieces + self.bytes.capacity()
    }

    /// Appends `data`, taking a buffer from `pool` if there is none yet.
    #[inline]
    pub fn push(&mut self, data: &[u8], pool: &mut BufPool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(data.len().max(self.usual));
        }
        self.bytes.extend_from_slice(data);
    }

    /// Appends `data`, which may be part of the `lent` buffer; then, if it is large, it is referred to.
    #[inline]
    pub fn push_part(&mut self, data: &[u8], lent: Option<&Lent>, pool: &mut BufPool) {
        if data.len() >= LARGE
            && let Some(lent) = lent
            && data.len() >= lent.capacity() / KEPT
            && let Some(start) = place_in(lent, data)
        {
            self.chain_own(pool)
                .push(Arc::clone(lent), start, start + data.len());
        } else {
            self.push(data, pool);
        }
    }

    /// Appends everything that waits in `other`.
    pub fn append(&mut self, other: &mut Buf, pool: &mut BufPool) {
        if let Some(theirs) = other.chain.take() {
            let chain = self.chain_own(pool);
            for piece in theirs.pieces {
                chain.push(piece.bytes, piece.start, piece.end);
            }
        }
        if other.len() >= LARGE {
            let (start, bytes) = (other.start, std::mem::take(&mut other.bytes));
            let end = bytes.len();
            other.start = 0;
            self.chain_own(pool)
                .push(Arc::new(bytes.into()), start, end);
        } else {
            self.push(other.own(), pool);
            other.clear(pool);
        }
    }

    /// The chain, with the own bytes at its end, so that pieces may follow.
    fn chain_own(&mut self, pool: &mut BufPool) -> &mut Chain {
        let chain = self.chain.get_or_insert_default();
        let bytes = std::mem::take(&mut self.bytes);
        let (start, end) = (std::mem::take(&mut self.start), bytes.len());
        if start < end {
            chain.push(Arc::new(bytes.into()), start, end);
        } else {
            pool.put(bytes);
        }
        chain
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
    pub fn consume(&mut self, mut n: usize, pool: &mut BufPool) {
        if self.chain.is_some() {
            n = self.consume_pieces(n, pool);
            if self.chain.is_some() {
                return;
            }
        }
        self.start = (self.start + n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.clear(pool);
        } else if self.start >= 64 * 1024 && self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Drops bytes of pieces; returns how many of the `n` are left to be dropped.
    #[cold]
    fn consume_pieces(&mut self, n: usize, pool: &mut BufPool) -> usize {
        let Some(chain) = &mut self.chain else {
            return n;
        };
        let left = chain.consume(n, pool);
        if chain.pieces.is_empty() {
            self.chain = None;
        }
        left
    }

    /// Drops everything and gives the buffer back.
    pub fn clear(&mut self, pool: &mut BufPool) {
        if let Some(chain) = self.chain.take() {
            for piece in chain.pieces {
                piece.give_back(pool);
            }
        }
        self.start = 0;
        self.usual = self.bytes.len().min(USUAL_MAX);
        pool.put(std::mem::take(&mut self.bytes));
    }

    /// Takes the buffer out, with everything before the pending bytes removed. For buffers without pieces, such
    /// as those that are read into.
    pub fn take(&mut self) -> Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        std::mem::take(&mut self.bytes)
    }

    /// The same bytes with room for `total` of them, if that is within reason; for reading into. For buffers
    /// without pieces.
    pub fn room(&mut self, total: usize, pool: &mut BufPool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(total.min(ROOM_MAX));
        }
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let wanted = total.min(ROOM_MAX.max(self.bytes.len().saturating_mul(2)));
        self.bytes
            .reserve_exact(wanted.saturating_sub(self.bytes.len()));
        &mut self.bytes
    }

    /// Puts `bytes` (as from [`Buf::take`]) back with the first `consumed` of them gone.
    pub fn restore(&mut self, bytes: Vec<u8>, consumed: usize, pool: &mut BufPool) {
        self.bytes = bytes;
        self.start = 0;
        self.consume(consumed, pool);
    }
}

/// Gives back what a table held at its largest, if it is much smaller by now. Its ids stay as they are.
pub fn shrink_slab<T>(slab: &mut Slab<T>) {
    if slab.capacity() >= SPARSE && slab.len() < slab.capacity() / 4 {
        slab.shrink_to_fit();
    }
}

/// As [`shrink_slab`], for a queue.
pub fn shrink_queue<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() >= SPARSE && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
}

/// Tables with fewer places are left as they are.
pub(super) const SPARSE: usize = 1024;

/// Where `data` is in the lent buffer, if it is part of it.
fn place_in(lent: &[u8], data: &[u8]) -> Option<usize> {
    let start = data.as_ptr().addr().checked_sub(lent.as_ptr().addr())?;
    (start + data.len() <= lent.len()).then_some(start)
}

/// What sockets are read into. A read whose bytes are still referred to leaves its buffer behind and the next
/// one goes to another; once nobody refers to it, it is used again.
#[derive(Debug)]
pub struct Scratch {
    current: Lent,
    others: Vec<Lent>,
    size: usize,
}

/// Lent buffers that are waited for; further ones are left to those who refer to them.
const KEEP_LENT: usize = 64;

impl Scratch {
    /// For reads of up to `size` bytes.
    pub fn new(size: usize) -> Scratch {
        Scratch {
            current: Arc::new(Block::zeroed(size)),
            others: Vec::new(),
            size,
        }
    }

    /// The space to read into. Nobody refers to it.
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        if Arc::get_mut(&mut self.current).is_none() {
            self.change();
        }
        // Nobody else has it by now.
        match Arc::get_mut(&mut self.current) {
            Some(block) => block.bytes_mut(),
            None => &mut [],
        }
    }

    /// Frees what nobody refers to any more, but for one. To be called now and then, as [`BufPool::shrink`].
    pub fn shrink(&mut self) {
        self.others
            .retain_mut(|other| Arc::get_mut(other).is_none());
    }

    fn change(&mut self) {
        let free = self
            .others
            .iter_mut()
            .position(|other| Arc::get_mut(other).is_some());
        let next = match free {
            Some(place) => self.others.swap_remove(place),
            None => Arc::new(Block::zeroed(self.size)),
        };
        let lent = std::mem::replace(&mut self.current, next);
        if self.others.len() < KEEP_LENT {
            self.others.push(lent);
        }
    }

    /// The buffer that was last read into.
    #[inline]
    pub fn lent(&self) -> &Lent {
        &self.current
    }
}

/// The most that is set aside at once for a value that has been announced, in bytes.
const ROOM_MAX: usize = 1024 * 1024 + 4096;

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
    /// See [`BufPool::allocated`].
    allocated: usize,
}

/// How many small buffers are kept.
const KEEP_SMALL: usize = 1024;
/// How many bytes of large buffers are kept.
const KEEP_LARGE: usize = 8 * 1024 * 1024;
/// How many small buffers, and how many bytes of large ones, are kept for good.
const FLOOR: (usize, usize) = (64, 1024 * 1024);

impl Default for BufPool {
    fn default() -> BufPool {
        BufPool {
            small: Vec::with_capacity(KEEP_SMALL),
            large: Vec::with_capacity(64),
            large_bytes: 0,
            allocated: 0,
        }
    }
}

impl BufPool {
    /// An empty buffer of any capacity, at least `hint` bytes if that is large.
    pub fn take(&mut self, hint: usize) -> Vec<u8> {
        if hint <= SMALL_MAX {
            return match self.small.pop() {
                Some(buf) => buf,
                None => self.allocate(hint.max(SMALL)),
            };
        }
        // One that fits: much larger ones are for others.
        let fits = |buf: &Vec<u8>| (hint..=hint.saturating_mul(4)).contains(&buf.capacity());
        match self.large.iter().rposition(fits) {
            Some(place) => {
                let buf = self.large.swap_remove(place);
                self.large_bytes -= buf.capacity();
                buf
            }
            None => self.allocate(hint.saturating_add(hint / 4)),
        }
    }

    #[cold]
    fn allocate(&mut self, capacity: usize) -> Vec<u8> {
        self.allocated = self.allocated.saturating_add(capacity);
        Vec::with_capacity(capacity)
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

impl BufPool {
    /// The memory of the buffers that nobody uses, in bytes.
    pub fn held(&self) -> usize {
        let small: usize = self.small.iter().map(Vec::capacity).sum();
        small + self.large_bytes
    }

    /// How many bytes of fresh buffers there have been since this was last set to 0.
    pub fn allocated(&mut self) -> &mut usize {
        &mut self.allocated
    }

    /// Frees buffers that nobody uses, the large ones first, until those left hold no more than `most` bytes.
    pub fn trim(&mut self, most: usize) {
        let mut held = self.held();
        while held > most
            && let Some(buf) = self.large.pop().or_else(|| self.small.pop())
        {
            held -= buf.capacity();
            if buf.capacity() > SMALL_MAX {
                self.large_bytes -= buf.capacity();
            }
        }
    }

    /// Frees an eighth of the buffers that nobody uses, but for a few. To be called now and then: after a spike the
    /// memory is given back within a minute, and a busy worker loses too few to notice.
    pub fn shrink(&mut self) {
        let spare = self.small.len().saturating_sub(FLOOR.0);
        self.small.truncate(self.small.len() - spare.div_ceil(8));
        if self.large_bytes <= FLOOR.1 {
            return;
        }
        let goal = self.large_bytes - (self.large_bytes - FLOOR.1).div_ceil(8);
        while self.large_bytes > goal
            && let Some(buf) = self.large.pop()
        {
            self.large_bytes -= buf.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_spike_left_behind_is_given_back() {
        let mut pool = BufPool::default();
        for _ in 0..KEEP_SMALL {
            pool.put(Vec::with_capacity(SMALL_MAX));
        }
        for _ in 0..100 {
            pool.put(Vec::with_capacity(LARGE_MAX / 8));
        }
        assert_eq!(
            (pool.small.len(), pool.large_bytes),
            (KEEP_SMALL, KEEP_LARGE)
        );
        pool.shrink();
        assert!(pool.small.len() > KEEP_SMALL * 3 / 4, "not all at once");
        for _ in 0..60 {
            pool.shrink();
        }
        assert_eq!(pool.small.len(), FLOOR.0);
        assert!(pool.large_bytes <= FLOOR.1);
        let held: usize = pool.large.iter().map(Vec::capacity).sum();
        assert_eq!(held, pool.large_bytes);
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut pool = BufPool::default();
        let mut buf = Buf::default();
        buf.push(b"hello", &mut pool);
        buf.consume(2, &mut pool);
        assert_eq!(buf.pending(), b"llo");
        buf.consume(3, &mut pool);
        assert_eq!(buf.held(), 0);
        assert!(buf.is_empty());
        assert!(pool.take(0).capacity() >= SMALL, "it went back to the pool");
    }

    #[test]
    fn a_piece_does_not_keep_a_much_larger_buffer() {
        let mut pool = BufPool::default();
        let mut buf = Buf::default();
        let lent: Lent = Arc::new(vec![0; 4 << 20].into());
        buf.push_part(&lent[..LARGE], Some(&lent), &mut pool);
        assert_eq!((buf.len(), Arc::strong_count(&lent)), (LARGE, 1));
        buf.push_part(&lent[..1 << 20], Some(&lent), &mut pool);
        assert_eq!(Arc::strong_count(&lent), 2);
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
            buf.held() <= SMALL_MAX,
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

    #[test]
    fn a_large_part_is_referred_to_and_its_buffer_is_read_into_again_when_it_is_written() {
        let mut pool = BufPool::default();
        let mut scratch = Scratch::new(LARGE + 100);
        let mut buf = Buf::default();
        scratch.space()[10] = b'a';
        let first = scratch.lent().as_ptr();
        buf.push(b"head", &mut pool);
        let lent = Arc::clone(scratch.lent());
        buf.push_part(&lent[10..LARGE + 10], Some(&lent), &mut pool);
        buf.push(b"tail", &mut pool);
        drop(lent);
        assert_eq!(buf.len(), LARGE + 8);
        let mut slices = [IoSlice::new(&[]); 4];
        buf.gather(&mut slices);
        assert_eq!(slices[1].as_ptr().addr(), first.addr() + 10, "not copied");
        assert_ne!(
            scratch.space().as_ptr(),
            first,
            "what is referred to is not read into"
        );
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(buf.gather(&mut slices), 3);
        assert_eq!(
            (slices[0].len(), slices[1].len(), slices[2].len()),
            (4, LARGE, 4)
        );
        assert_eq!(slices[1][0], b'a');
        buf.consume(LARGE + 6, &mut pool);
        assert_eq!(buf.pending(), b"il");
        assert!(!buf.is_gathered());
        let lent = Arc::clone(scratch.lent());
        scratch.space();
        assert_eq!(scratch.lent().as_ptr(), first);
        drop(lent);
    }

    #[test]
    fn small_parts_and_parts_of_other_buffers_are_copied() {
        let mut pool = BufPool::default();
        let lent: Lent = Arc::new(vec![1; LARGE * 2].into());
        let mut buf = Buf::default();
        buf.push_part(&lent[..LARGE - 1], Some(&lent), &mut pool);
        buf.push_part(&[2; LARGE], Some(&lent), &mut pool);
        buf.push_part(&lent[..LARGE], None, &mut pool);
        assert!(!buf.is_gathered());
        assert_eq!(Arc::strong_count(&lent), 1);
    }

    #[test]
    fn lent_buffers_that_are_waited_for_are_bounded() {
        let mut scratch = Scratch::new(10);
        let held: Vec<Lent> = (0..100)
            .map(|_| {
                scratch.space();
                Arc::clone(scratch.lent())
            })
            .collect();
        assert_eq!(scratch.others.len(), KEEP_LENT);
        drop(held);
    }

    proptest! {
        #[test]
        fn bytes_come_out_in_order(
            steps in prop::collection::vec((0usize..100_000, 0usize..100_000, 0u8..3), 1..30),
        ) {
            let mut pool = BufPool::default();
            let mut buf = Buf::default();
            let (mut written, mut read) = (0u64, 0u64);
            for (push, pop, how) in steps {
                let data: Lent = Arc::new((0..push).map(|i| (written + i as u64) as u8).collect::<Vec<u8>>().into());
                written += push as u64;
                match how {
                    0 => buf.push(&data, &mut pool),
                    1 => buf.push_part(&data, Some(&data), &mut pool),
                    _ => {
                        let mut other = Buf::default();
                        let (one, two) = data.split_at(push / 2);
                        other.push_part(one, Some(&data), &mut pool);
                        other.push_part(two, Some(&data), &mut pool);
                        buf.append(&mut other, &mut pool);
                        prop_assert!(other.is_empty() && other.held() == 0);
                    }
                }
                let mut slices = [IoSlice::new(&[]); 100];
                let n = buf.gather(&mut slices);
                let gathered: usize = slices[..n].iter().map(|slice| slice.len()).sum();
                prop_assert_eq!(gathered, buf.len());
                let mut pop = pop.min(buf.len());
                while pop > 0 {
                    let n = pop.min(buf.pending().len());
                    prop_assert!(n > 0);
                    for b in &buf.pending()[..n] {
                        prop_assert_eq!(*b, read as u8);
                        read += 1;
                    }
                    buf.consume(n, &mut pool);
                    pop -= n;
                }
                prop_assert_eq!(buf.len() as u64, written - read);
            }
            buf.clear(&mut pool);
            prop_assert!(buf.is_empty() && !buf.is_gathered());
        }
    }
}
