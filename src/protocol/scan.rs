//! Where words end, sixteen bytes at a time.
//!
//! The words of commands are short and there are many of them. To compare sixteen bytes at once costs less for them than
//! a search made for long texts, which must be set up, and less than to look at each byte.

/// The place of the first byte that is a space or comes before it in ASCII, as line ends do.
#[inline(always)] // It is a few instructions for each word.
pub fn blank(text: &[u8]) -> Option<usize> {
    search(text, blanks, |byte| byte <= b' ')
}

/// The place of the first space.
#[inline(always)] // As above.
pub fn space(text: &[u8]) -> Option<usize> {
    search(text, spaces, |byte| byte == b' ')
}

#[inline(always)]
fn search(
    text: &[u8],
    in_sixteen: impl Fn(&[u8; 16]) -> u32,
    is: impl Fn(u8) -> bool,
) -> Option<usize> {
    let mut rest = text;
    while let Some((sixteen, tail)) = rest.split_first_chunk() {
        let found = in_sixteen(sixteen);
        if found != 0 {
            return Some(text.len() - rest.len() + found.trailing_zeros() as usize);
        }
        rest = tail;
    }
    let place = rest.iter().position(|byte| is(*byte))?;
    Some(text.len() - rest.len() + place)
}

/// A bit for each byte that is a space or less, the lowest for the first.
#[inline(always)]
fn blanks(bytes: &[u8; 16]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: every x86-64 processor has SSE2, which is all that `up_to` asks for.
    return unsafe { sse2::up_to(bytes, b' ') };
    #[cfg(not(target_arch = "x86_64"))]
    bits(bytes, |byte| byte <= b' ')
}

/// A bit for each space, the lowest for the first byte.
#[inline(always)]
fn spaces(bytes: &[u8; 16]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: as above, for `equal`.
    return unsafe { sse2::equal(bytes, b' ') };
    #[cfg(not(target_arch = "x86_64"))]
    bits(bytes, |byte| byte == b' ')
}

#[cfg(not(target_arch = "x86_64"))]
fn bits(bytes: &[u8; 16], is: impl Fn(u8) -> bool) -> u32 {
    let all = (0..).zip(bytes);
    all.fold(0, |bits, (place, byte)| {
        bits | u32::from(is(*byte)) << place
    })
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8,
    };

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        // One instruction, in the end.
        let all = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((all >> 64) as i64, all as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn equal(bytes: &[u8; 16], byte: u8) -> u32 {
        let found = _mm_cmpeq_epi8(load(bytes), _mm_set1_epi8(byte as i8));
        _mm_movemask_epi8(found) as u32
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn up_to(bytes: &[u8; 16], byte: u8) -> u32 {
        let bytes = load(bytes);
        let least = _mm_min_epu8(bytes, _mm_set1_epi8(byte as i8));
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, least)) as u32
    }
}

/// The words of a text: what is between its spaces, however many those are.
#[derive(Clone, Debug)]
pub struct Words<'a>(&'a [u8]);

/// See [`Words`].
#[inline]
pub fn words(text: &[u8]) -> Words<'_> {
    Words(text)
}

impl<'a> Words<'a> {
    /// What has not been looked at yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let text = self.0;
            let end = space(text).unwrap_or(text.len());
            let (word, rest) = text.split_at_checked(end)?;
            self.0 = rest.get(1..).unwrap_or_default();
            if !word.is_empty() {
                return Some(word);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes among which those that are looked for, and their neighbours, are frequent.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            Just(b' '),
            Just(b'\n'),
            Just(b'!'),
            Just(0x1f),
            Just(0xa0),
            Just(0x80),
            any::<u8>(),
            Just(b'k'),
        ];
        prop::collection::vec(byte, 0..60)
    }

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_each_byte_finds(text in text()) {
            prop_assert_eq!(blank(&text), text.iter().position(|b| *b <= b' '));
            prop_assert_eq!(space(&text), text.iter().position(|b| *b == b' '));
            let split = text.split(|b| *b == b' ').filter(|word| !word.is_empty());
            prop_assert!(words(&text).eq(split));
        }
    }
}
