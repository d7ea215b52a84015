//! SpookyHash V2 of Bob Jenkins (public domain), as far as mcrouter uses it.
//!
//! mcrouter draws the lots of WeightedCh3, the fractions of shadows and the moving share of migrations
//! from the lower 32 bits of this hash, with one number as both seeds. Messages below 192 bytes take
//! the short form, longer ones the long form. All reads are little-endian.

/// The constant that is "not zero, odd, and not very regular".
const CONST: u64 = 0xdead_beef_dead_beef;
/// From this length on the long form is used.
const LONG_FROM: usize = 192;
/// Bytes per block of the long form: twelve words.
const BLOCK: usize = 96;

/// The lower 32 bits of SpookyHash V2 with both seeds equal to `seed`.
///
/// With seed 0 this is what mcrouter compares with key fractions (`routingKeyHash`).
pub fn spooky32(message: &[u8], seed: u32) -> u32 {
    spooky64(message, u64::from(seed)) as u32
}

/// The first of the two words of SpookyHash V2 with both seeds equal to `seed`.
///
/// With seed 0 this is what mcrouter's macro `hash` makes of a text.
pub fn spooky64(message: &[u8], seed: u64) -> u64 {
    if message.len() < LONG_FROM {
        short(message, seed)
    } else {
        long(message, seed)
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// The two words of 16 bytes.
fn pair(bytes: &[u8; 16]) -> (u64, u64) {
    let number = u128::from_le_bytes(*bytes);
    (number as u64, (number >> 64) as u64)
}

struct Short {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl Short {
    fn mix(&mut self) {
        let Short { a, b, c, d } = self;
        *c = c.rotate_left(50).wrapping_add(*d);
        *a ^= *c;
        *d = d.rotate_left(52).wrapping_add(*a);
        *b ^= *d;
        *a = a.rotate_left(30).wrapping_add(*b);
        *c ^= *a;
        *b = b.rotate_left(41).wrapping_add(*c);
        *d ^= *b;
        *c = c.rotate_left(54).wrapping_add(*d);
        *a ^= *c;
        *d = d.rotate_left(48).wrapping_add(*a);
        *b ^= *d;
        *a = a.rotate_left(38).wrapping_add(*b);
        *c ^= *a;
        *b = b.rotate_left(37).wrapping_add(*c);
        *d ^= *b;
        *c = c.rotate_left(62).wrapping_add(*d);
        *a ^= *c;
        *d = d.rotate_left(34).wrapping_add(*a);
        *b ^= *d;
        *a = a.rotate_left(5).wrapping_add(*b);
        *c ^= *a;
        *b = b.rotate_left(36).wrapping_add(*c);
        *d ^= *b;
    }

    /// The final mix; gives the first of the two words.
    fn end(self) -> u64 {
        let Short {
            mut a,
            mut b,
            mut c,
            mut d,
        } = self;
        for (of_c, of_d, of_a, of_b) in [(15, 52, 26, 51), (28, 9, 47, 54)] {
            d ^= c;
            c = c.rotate_left(of_c);
            d = d.wrapping_add(c);
            a ^= d;
            d = d.rotate_left(of_d);
            a = a.wrapping_add(d);
            b ^= a;
            a = a.rotate_left(of_a);
            b = b.wrapping_add(a);
            c ^= b;
            b = b.rotate_left(of_b);
            c = c.wrapping_add(b);
        }
        d ^= c;
        c = c.rotate_left(32);
        d = d.wrapping_add(c);
        a ^= d;
        d = d.rotate_left(25);
        a = a.wrapping_add(d);
        // What follows changes only the second word, b, which nobody asks for.
        let _ = b;
        a.rotate_left(63)
    }
}

fn short(message: &[u8], seed: u64) -> u64 {
    let mut state = Short {
        a: seed,
        b: seed,
        c: CONST,
        d: CONST,
    };
    let (halves, tail) = message.as_chunks::<16>();
    let (blocks, half) = halves.as_chunks::<2>();
    for [first, second] in blocks {
        let (x, y) = pair(first);
        state.c = state.c.wrapping_add(x);
        state.d = state.d.wrapping_add(y);
        state.mix();
        let (x, y) = pair(second);
        state.a = state.a.wrapping_add(x);
        state.b = state.b.wrapping_add(y);
    }
    if let [only] = half {
        let (x, y) = pair(only);
        state.c = state.c.wrapping_add(x);
        state.d = state.d.wrapping_add(y);
        state.mix();
    }
    state.d = state.d.wrapping_add((message.len() as u64) << 56);
    if tail.is_empty() {
        state.c = state.c.wrapping_add(CONST);
        state.d = state.d.wrapping_add(CONST);
    } else {
        let (low, high) = tail.split_at(tail.len().min(8));
        state.c = state.c.wrapping_add(word(low));
        state.d = state.d.wrapping_add(word(high));
    }
    state.end()
}

/// One step for each of the twelve words, with the word's neighbours by name, as indices that vary
/// would have to be checked.
macro_rules! mix_step {
    ($data:expr, $before2:ident, $before:ident, $this:ident, $after:ident, $after2:ident, $turn:literal) => {
        $this = $this.wrapping_add($data);
        $after2 ^= $before2;
        $before ^= $this;
        $this = $this.rotate_left($turn);
        $before = $before.wrapping_add($after);
    };
}

macro_rules! end_step {
    ($last:ident, $this:ident, $next:ident, $turn:literal) => {
        $last = $last.wrapping_add($this);
        $next ^= $last;
        $this = $this.rotate_left($turn);
    };
}

#[allow(clippy::many_single_char_names)] // Twelve equal words of state have no better names.
fn mix(state: [u64; 12], data: &[u8; BLOCK]) -> [u64; 12] {
    let [
        mut a,
        mut b,
        mut c,
        mut d,
        mut e,
        mut f,
        mut g,
        mut h,
        mut i,
        mut j,
        mut k,
        mut l,
    ] = state;
    let [d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11] = words(data);
    mix_step!(d0, k, l, a, b, c, 11);
    mix_step!(d1, l, a, b, c, d, 32);
    mix_step!(d2, a, b, c, d, e, 43);
    mix_step!(d3, b, c, d, e, f, 31);
    mix_step!(d4, c, d, e, f, g, 17);
    mix_step!(d5, d, e, f, g, h, 28);
    mix_step!(d6, e, f, g, h, i, 39);
    mix_step!(d7, f, g, h, i, j, 57);
    mix_step!(d8, g, h, i, j, k, 55);
    mix_step!(d9, h, i, j, k, l, 54);
    mix_step!(d10, i, j, k, l, a, 22);
    mix_step!(d11, j, k, l, a, b, 46);
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

#[allow(clippy::many_single_char_names)] // As in mix.
fn end_partial(state: [u64; 12]) -> [u64; 12] {
    let [
        mut a,
        mut b,
        mut c,
        mut d,
        mut e,
        mut f,
        mut g,
        mut h,
        mut i,
        mut j,
        mut k,
        mut l,
    ] = state;
    end_step!(l, b, c, 44);
    end_step!(a, c, d, 15);
    end_step!(b, d, e, 34);
    end_step!(c, e, f, 21);
    end_step!(d, f, g, 38);
    end_step!(e, g, h, 33);
    end_step!(f, h, i, 10);
    end_step!(g, i, j, 13);
    end_step!(h, j, k, 38);
    end_step!(i, k, l, 53);
    end_step!(j, l, a, 42);
    end_step!(k, a, b, 54);
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

fn words(block: &[u8; BLOCK]) -> [u64; 12] {
    let (words, _) = block.as_chunks::<8>();
    let mut words = words.iter().map(|bytes| u64::from_le_bytes(*bytes));
    [(); 12].map(|()| words.next().unwrap_or(0))
}

fn long(message: &[u8], seed: u64) -> u64 {
    let mut state = [
        seed, seed, CONST, seed, seed, CONST, seed, seed, CONST, seed, seed, CONST,
    ];
    let (blocks, tail) = message.as_chunks::<BLOCK>();
    for block in blocks {
        state = mix(state, block);
    }
    // The rest, zeros, and in the last byte how long the rest is.
    let mut last = [0; BLOCK];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    last[BLOCK - 1] = tail.len() as u8;
    for (to, from) in state.iter_mut().zip(words(&last)) {
        *to = to.wrapping_add(from);
    }
    for _ in 0..3 {
        state = end_partial(state);
    }
    state[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_give_the_values_of_the_reference() {
        for (key, plain, seeded) in [
            ("", 0x6bf5_0919_u32, 0x6f2b_12a5_u32),
            ("a", 0xa0bb_c9bd, 0xa836_647e),
            ("foo", 0x314f_cf27, 0xa7c9_f4ed),
            ("test_key", 0xdd8a_b51b, 0x535e_1eeb),
            ("key1", 0x4763_4730, 0xbb78_6059),
            ("abcdefgh", 0xa539_eb6e, 0x3c7d_c794),
            ("abcdefghi", 0x5b2b_9088, 0xd30d_a56b),
            ("0123456789abcdef", 0x964b_80ad, 0xd846_141a),
            ("a:b:c:1234567", 0x3f00_8cfb, 0x0e04_5aaf),
            (
                "some_long_key_name_that_is_over_thirty_two_bytes_long",
                0x7579_bed6,
                0xdb9f_7c6f,
            ),
        ] {
            assert_eq!(spooky32(key.as_bytes(), 0), plain, "{key}");
            assert_eq!(spooky32(key.as_bytes(), 0xface_2014), seeded, "{key}");
        }
        for (key, whole) in [
            ("", 0x2327_06fc_6bf5_0919_u64),
            ("a", 0x1a10_8191_a0bb_c9bd),
            ("test_key", 0x7ee3_7c19_dd8a_b51b),
            ("abcdefghi", 0xc07b_3e2b_5b2b_9088),
        ] {
            assert_eq!(spooky64(key.as_bytes(), 0), whole, "{key}");
        }
    }
}
