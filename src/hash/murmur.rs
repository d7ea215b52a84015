//! Austin Appleby's MurmurHash64A (version 2) and MurmurHash3_x86_32.
//!
//! The first is what mcrouter's Ch3 and Rendezvous are made of; the second what pymemcache hashes
//! `node-key` with, here in a form that can be fed in parts, so that the part that belongs to the
//! node is hashed once and not at every request.

/// MurmurHash64A.
pub(super) fn murmur64a(data: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = seed ^ (data.len() as u64).wrapping_mul(M);
    let (words, tail) = data.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let number = tail
            .iter()
            .rev()
            .fold(0, |n, byte| (n << 8) | u64::from(*byte));
        hash = (hash ^ number).wrapping_mul(M);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 47)
}

/// MurmurHash3_x86_32 over bytes that come in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Murmur3 {
    hash: u32,
    /// Bytes that do not fill a word yet, the first lowest.
    pending: u32,
    /// How many they are: 0 to 3.
    pending_bytes: u32,
    length: u32,
}

impl Murmur3 {
    pub(super) fn new(seed: u32) -> Murmur3 {
        Murmur3 {
            hash: seed,
            pending: 0,
            pending_bytes: 0,
            length: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u32);
        let (words, tail) = bytes.as_chunks::<4>();
        for word in words {
            let joined = u64::from(self.pending)
                | (u64::from(u32::from_le_bytes(*word)) << (8 * self.pending_bytes));
            self.mix(joined as u32);
            self.pending = (joined >> 32) as u32;
        }
        for byte in tail {
            self.pending |= u32::from(*byte) << (8 * self.pending_bytes);
            self.pending_bytes += 1;
            if self.pending_bytes == 4 {
                self.mix(self.pending);
                self.pending = 0;
                self.pending_bytes = 0;
            }
        }
    }

    fn scramble(word: u32) -> u32 {
        word.wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    }

    fn mix(&mut self, word: u32) {
        self.hash = (self.hash ^ Murmur3::scramble(word))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }

    pub(super) fn finish(&self) -> u32 {
        // No pending bytes are a zero word, which scrambles to zero and changes nothing.
        let mut hash = self.hash ^ Murmur3::scramble(self.pending) ^ self.length;
        hash ^= hash >> 16;
        hash = hash.wrapping_mul(0x85eb_ca6b);
        hash ^= hash >> 13;
        hash = hash.wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }
}

/// MurmurHash3_x86_32 of one piece, seeded with a multiple of the length as libhashkit does.
pub(super) fn murmur3_libhashkit(key: &[u8]) -> u32 {
    let mut state = Murmur3::new(0xdead_beef_u32.wrapping_mul(key.len() as u32));
    state.push(key);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur64a_gives_the_values_of_the_reference() {
        for (key, first, second) in [
            ("", 0x4d40_8de6_2dee_109a_u64, 0x5182_659a_087e_0d30_u64),
            ("a", 0x3d69_61c6_9991_4c7b, 0x6582_31db_7d5e_1d86),
            ("foo", 0x649c_5afd_3a8f_4a03, 0x50c9_bc50_6d80_adfd),
            ("abcdefgh", 0xeb59_8d6a_f4ac_8ab4, 0x5642_358e_72c5_0fd8),
            ("abcdefghi", 0xa1a0_67da_f819_1d25, 0xedbf_a46d_d0a2_04aa),
            (
                "0123456789abcdef",
                0xe49c_1198_7829_b85a,
                0xa41a_e0eb_3cd2_ac5e,
            ),
        ] {
            assert_eq!(murmur64a(key.as_bytes(), 4_193_360_111), first, "{key}");
            assert_eq!(murmur64a(key.as_bytes(), 2_718_281_828), second, "{key}");
        }
    }

    #[test]
    fn murmur3_gives_the_published_values_however_it_is_fed() {
        // From the reference implementation's verification table as collected by its users.
        for (key, seed, expected) in [
            (&b""[..], 0, 0),
            (b"", 1, 0x514e_28b7),
            (b"test", 0, 0xba6b_d213),
            (b"Hello, world!", 0, 0xc036_3e43),
            (
                b"The quick brown fox jumps over the lazy dog",
                0,
                0x2e4f_f723,
            ),
        ] {
            for split in 0..=key.len() {
                let (first, second) = key.split_at(split);
                let mut state = Murmur3::new(seed);
                state.push(first);
                state.push(second);
                assert_eq!(state.finish(), expected, "{key:?} at {split}");
            }
        }
    }
}
