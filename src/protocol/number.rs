//! Numbers on command lines, read exactly as memcached reads them.
//!
//! memcached uses C's `strtol` family and then asks that the number end at white space: so leading tabs and
//! a `+` are accepted, a tab ends a number and whatever follows it is ignored, and `-5` is a valid unsigned
//! number to the C library but not to memcached.

const fn is_space(b: u8) -> bool {
    matches!(b, b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | b' ')
}

/// A few digits and nothing else, which is what nearly all numbers are.
#[inline]
fn short(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |value, b| {
        let digit = b.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + u32::from(digit))
    })
}

/// Sign and magnitude of the leading number; `None` if there is none, it overflows 64 bits, or something
/// other than white space follows it.
fn strto(text: &[u8]) -> Option<(bool, u64)> {
    let mut bytes = text.iter().copied().skip_while(|b| is_space(*b)).peekable();
    let negative = match bytes.peek() {
        Some(b'-') => {
            bytes.next();
            true
        }
        Some(b'+') => {
            bytes.next();
            false
        }
        _ => false,
    };
    let mut value: u64 = 0;
    let mut digits = 0u32;
    for b in bytes {
        match b {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
                digits += 1;
            }
            b if is_space(b) && digits > 0 => break,
            _ => return None,
        }
    }
    (digits > 0).then_some((negative, value))
}

/// An unsigned 64-bit number (`safe_strtoull`): deltas and cas values.
pub fn u64(text: &[u8]) -> Option<u64> {
    match strto(text)? {
        (false, value) => Some(value),
        // C negates modulo 2^64; memcached refuses a minus only if the outcome has the top bit set.
        (true, value) => {
            let wrapped = value.wrapping_neg();
            ((wrapped as i64) >= 0).then_some(wrapped)
        }
    }
}

/// An expiry time (`safe_strtol`): parsed as 64 bits, kept as 32, so that 2^31 seconds mean a negative time.
pub fn i32(text: &[u8]) -> Option<i32> {
    match short(text) {
        Some(value) => Some(value as i32),
        None => signed(text).map(|value| value as i32),
    }
}

fn signed(text: &[u8]) -> Option<i64> {
    match strto(text)? {
        (false, value) => i64::try_from(value).ok(),
        (true, value) => 0i64.checked_sub_unsigned(value),
    }
}

/// A signed 32-bit number as memcached 1.6.45 reads the words its own tokenizer cut: data lengths, and the
/// times of `touch`, `gat`, `gats` and `flush_all`.
///
/// Digits with at most a minus before them, eleven characters in all. 1.6.18 takes more (`+5`, `5\tx`); but a
/// length that one version accepts and another refuses would leave them at different places of the stream.
pub fn strict_i32(text: &[u8]) -> Option<i32> {
    if let Some(value) = short(text) {
        return Some(value as i32);
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if text.len() > 11 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if text == b"-" {
        // A sign and no digits is a zero to its tokenizer.
        return Some(0);
    }
    i32::try_from(signed(text)?).ok()
}

/// An unsigned 64-bit number as memcached 1.6.45 reads the words its own tokenizer cut: deltas and cas values.
/// Digits and nothing else.
pub fn strict_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |value, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Item flags: parsed as 64 bits, kept as 32, which is what memcached does with larger ones.
pub fn flags(text: &[u8]) -> Option<u32> {
    short(text).or_else(|| u64(text).map(|f| f as u32))
}

/// A plain decimal without sign or space, as servers write lengths in replies.
pub fn plain(text: &[u8]) -> Option<usize> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let mut value = 0usize;
    for b in text {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value * 10 + usize::from(b - b'0');
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_are_what_they_are_by_the_longer_way() {
        for value in (0..2000).chain([99_999_998, 999_999_999, 1_000_000_000, 4_294_967_295_i64]) {
            let text = value.to_string();
            let text = text.as_bytes();
            assert_eq!(flags(text), u64(text).map(|value| value as u32));
            assert_eq!(i32(text), signed(text).map(|value| value as i32));
            assert_eq!(strict_i32(text), i32::try_from(value).ok());
        }
        for text in ["", " ", "1 ", "1x", "/", ":"] {
            assert_eq!(short(text.as_bytes()), None);
        }
    }

    #[test]
    fn follows_the_c_library_as_memcached_uses_it() {
        assert_eq!(u64(b"5"), Some(5));
        assert_eq!(u64(b"+5"), Some(5));
        assert_eq!(u64(b"\t5"), Some(5));
        assert_eq!(u64(b"5\tx"), Some(5));
        assert_eq!(u64(b"-0"), Some(0));
        assert_eq!(u64(b"-1"), None);
        assert_eq!(u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(u64(b"18446744073709551616"), None);
        assert_eq!(u64(b""), None);
        assert_eq!(u64(b"abc"), None);
        assert_eq!(u64(b"0x1"), None);
        assert_eq!(u64(b"5x"), None);
        assert_eq!(i32(b"-1"), Some(-1));
        assert_eq!(i32(b"2147483647"), Some(i32::MAX));
        // Asked of memcached 1.6.18: an expiry time of 2^32 + 100 is one of 100.
        assert_eq!(i32(b"2147483648"), Some(i32::MIN));
        assert_eq!(i32(b"4294967396"), Some(100));
        assert_eq!(i32(b"9223372036854775807"), Some(-1));
        assert_eq!(i32(b"9223372036854775808"), None);
        assert_eq!(i32(b"-9223372036854775808"), Some(0));
        assert_eq!(i32(b"-2147483648"), Some(i32::MIN));
        assert_eq!(i32(b"99999999999999999999"), None);
        assert_eq!(strict_i32(b"-"), Some(0));
        assert_eq!(strict_u64(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"-", b"+1", b"1\tx", b"18446744073709551616"] {
            assert_eq!(strict_u64(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(strict_i32(b"-1"), Some(-1));
        assert_eq!(strict_i32(b"00000000005"), Some(5));
        assert_eq!(strict_i32(b"2147483647"), Some(i32::MAX));
        for bad in [
            &b""[..],
            b"--",
            b"+5",
            b"5\tx",
            b"\t5",
            b"000000000005",
            b"2147483648",
        ] {
            assert_eq!(strict_i32(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(flags(b"4294967297"), Some(1));
        assert_eq!(flags(b"-1"), None);
        assert_eq!(plain(b"0012"), Some(12));
        assert_eq!(plain(b"+1"), None);
        assert_eq!(plain(b"99999999999"), None);
    }
}
