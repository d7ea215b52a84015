//! The memory that bytes of sockets are in while others refer to it.
//!
//! What sockets are read into is *mapped*: pages straight from the system, which go back to it when the last reference to
//! them goes. Memory from the allocator would not: buffers of this size come and go by the thousand when clients with
//! large values do not read, and one small thing above them keeps the allocator from giving any of it back. So a spike
//! would stay resident until the process ends. Recycling ([`super::Scratch`]) keeps mapping out of the usual way.
//!
//! Invariant: the process has at most [`MOST`] of them mapped, as the system bounds mappings; what is more is allocated.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::MmapMut;

/// Mapped blocks of the process at most. Linux allows a process 65530 mappings of any kind, unless it is told otherwise.
const MOST: usize = 16 << 10;

static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Bytes that several may refer to.
#[derive(Debug)]
pub struct Block(Memory);

#[derive(Debug)]
enum Memory {
    Allocated(Vec<u8>),
    Mapped(Mapped),
}

#[derive(Debug)]
struct Mapped(MmapMut);

impl Drop for Mapped {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Block {
    /// So many bytes, all 0, to be read into.
    pub(super) fn zeroed(size: usize) -> Block {
        Block(match map(size) {
            Some(mapped) => Memory::Mapped(mapped),
            None => Memory::Allocated(vec![0; size]),
        })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Memory::Allocated(bytes) => bytes,
            Memory::Mapped(mapped) => &mapped.0,
        }
    }

    /// The memory it takes, in bytes.
    pub fn capacity(&self) -> usize {
        match &self.0 {
            Memory::Allocated(bytes) => bytes.capacity(),
            Memory::Mapped(mapped) => mapped.0.len(),
        }
    }

    /// What was made of a buffer is that buffer again.
    pub fn into_vec(self) -> Option<Vec<u8>> {
        match self.0 {
            Memory::Allocated(bytes) => Some(bytes),
            Memory::Mapped(_) => None,
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Allocated(bytes) => bytes,
            Memory::Mapped(mapped) => &mut mapped.0,
        }
    }
}

fn map(size: usize) -> Option<Mapped> {
    if MAPPED.fetch_add(1, Ordering::Relaxed) < MOST
        && let Ok(pages) = MmapMut::map_anon(size)
    {
        return Some(Mapped(pages));
    }
    MAPPED.fetch_sub(1, Ordering::Relaxed);
    None
}

impl From<Vec<u8>> for Block {
    fn from(bytes: Vec<u8>) -> Block {
        Block(Memory::Allocated(bytes))
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_goes_back_and_what_is_made_of_a_buffer_is_it_again() {
        let mut block = Block::zeroed(65536);
        assert_eq!((block.len(), block.capacity()), (65536, 65536));
        block.bytes_mut()[65535] = 1;
        assert_eq!(
            block.iter().map(|byte| usize::from(*byte)).sum::<usize>(),
            1
        );
        assert!(block.into_vec().is_none());
        let block = Block::from(Vec::with_capacity(100));
        assert_eq!((block.len(), block.capacity()), (0, 100));
        assert_eq!(block.into_vec().map(|bytes| bytes.capacity()), Some(100));
        // No mapping has no pages; it is memory all the same.
        assert!(Block::zeroed(0).is_empty());
    }

    #[test]
    fn more_than_the_system_maps_is_allocated() {
        let blocks: Vec<Block> = (0..MOST + 10).map(|_| Block::zeroed(1)).collect();
        let is_mapped = |block: &&Block| matches!(block.0, Memory::Mapped(_));
        assert!(blocks.iter().filter(is_mapped).count() <= MOST);
        assert!(blocks.iter().all(|block| block.as_slice() == [0]));
        drop(blocks);
        assert!(matches!(Block::zeroed(1).0, Memory::Mapped(_)));
    }
}
