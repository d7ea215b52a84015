//! Durations and sizes as people write them.
//!
//! A duration is a number and a unit (`250ms`, `1.5s`, `2m`, `1h`), a size a number and a binary unit
//! (`64KiB`, `1MiB`) or plain bytes. Two rules keep a file free of surprises:
//!
//! * a unit that means different things to different people (`MB`, `M`) is refused, with both readings in the message;
//! * what [`show_duration`] and [`show_size`] print, the parsers read back as the same value.
//!
//! The functions know nothing of TOML or of positions; the command line uses them too.

use std::time::Duration;

/// The units of a duration, with their length in nanoseconds. The first name of a length is the one that is printed.
const DURATION_UNITS: &[(&str, u64)] = &[
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("d", 86_400_000_000_000),
];

/// The units of a size, in bytes. The first name of a size is the one that is printed.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("B", 1),
];

/// Reads a duration such as `250ms`, `1.5s`, `2m` or `1h`.
///
/// # Errors
/// A text that says what is wrong and what would be right; it reads on after "is not a duration: ".
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    if unit.is_empty() && !number.is_empty() {
        return Err(format!(
            "the unit is missing; write \"{number}s\" or \"{number}ms\""
        ));
    }
    let nanos = find(DURATION_UNITS, unit)
        .ok_or_else(|| "the units are ms, s, m, h and d, as in \"250ms\" or \"1.5s\"".to_owned())
        .and_then(|scale| scaled(number, scale))?;
    // Whole microseconds: finer means nothing to a timer, and so every duration can be printed and read again.
    Ok(Duration::from_micros(nanos / 1000))
}

/// Reads a size such as `64KiB`, `1.5MiB` or `1048576`; returns bytes.
///
/// # Errors
/// A text that says what is wrong and what would be right; it reads on after "is not a size: ".
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    if unit.is_empty() && !number.is_empty() {
        return scaled(number, 1);
    }
    if let Some(scale) = find(SIZE_UNITS, unit) {
        return scaled(number, scale);
    }
    let decimal = match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" => Some(("KiB", 1_000)),
        "m" | "mb" => Some(("MiB", 1_000_000)),
        "g" | "gb" => Some(("GiB", 1_000_000_000)),
        "t" | "tb" => Some(("TiB", 1_000_000_000_000)),
        _ => None,
    };
    match decimal.and_then(|(binary, scale)| Some((binary, scaled(number, scale).ok()?))) {
        Some((binary, bytes)) => Err(format!(
            "\"{unit}\" may mean powers of 1000 or of 1024; write \"{number}{binary}\", or {bytes} for that many bytes"
        )),
        None => Err("the units are B, KiB, MiB and GiB, as in \"64KiB\"".to_owned()),
    }
}

/// Prints a duration in the largest unit that takes a whole number: `250ms`, `90s`, `1h`.
/// Anything below a microsecond is cut off.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos() / 1000 * 1000;
    if nanos == 0 {
        return "0s".to_owned();
    }
    show(DURATION_UNITS, nanos).unwrap_or_else(|| format!("{}us", nanos / 1000))
}

/// Prints a size in the largest unit that takes a whole number: `64KiB`, `1MiB`, `1000B`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    show(SIZE_UNITS, u128::from(bytes)).unwrap_or_else(|| format!("{bytes}B"))
}

fn show(units: &[(&str, u64)], amount: u128) -> Option<String> {
    let (name, scale) = units
        .iter()
        .find(|(_, scale)| amount.is_multiple_of(u128::from(*scale)))?;
    Some(format!("{}{name}", amount / u128::from(*scale)))
}

/// Number and unit, the blanks around each taken off.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

fn find(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, scale)| *scale)
}

/// `number` (digits, at most one dot, `_` between digits) times `scale`, cut off below one.
/// Decimal arithmetic, because 0.1 as a float is not 0.1.
fn scaled(number: &str, scale: u64) -> Result<u64, String> {
    let digits = number.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    if whole.is_empty() || fraction.contains('.') || number.ends_with('.') {
        return Err("it must start with a number, as in \"1.5s\" or \"64KiB\"".to_owned());
    }
    let too_big = || "the number is too big".to_owned();
    let whole: u64 = whole.parse().map_err(|_| too_big())?;
    let mut value = u128::from(whole) * u128::from(scale);
    let mut place = u128::from(scale);
    for digit in fraction.bytes().map(|b| u128::from(b - b'0')) {
        // What is cut off here is below a millionth of the unit after the sixth digit; nobody writes more.
        value += digit * place / 10;
        place /= 10;
    }
    u64::try_from(value).map_err(|_| too_big())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, micros) in [
            ("250ms", 250_000),
            ("1s", 1_000_000),
            ("1.5s", 1_500_000),
            (" 0.25 s ", 250_000),
            ("2m", 120_000_000),
            ("2min", 120_000_000),
            ("1h", 3_600_000_000),
            ("1d", 86_400_000_000),
            ("500us", 500),
            ("500µs", 500),
            ("0s", 0),
            ("1_000ms", 1_000_000),
            ("10MS", 10_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_micros(micros)),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("1.5MiB", 3 << 19),
            ("64Mi", 64 << 20),
            ("2 GiB", 2 << 30),
            ("512", 512),
            ("512B", 512),
            ("1kib", 1024),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn errors_say_what_to_write_instead() {
        assert!(parse_duration("30").unwrap_err().contains("\"30s\""));
        assert!(
            parse_duration("1 fortnight")
                .unwrap_err()
                .contains("ms, s, m, h")
        );
        assert!(parse_duration("").is_err());
        assert!(parse_duration("-1s").is_err());
        assert!(parse_duration("1.s").is_err());
        assert!(parse_duration("1.2.3s").is_err());
        assert!(parse_duration(".s").is_err());
        assert!(
            parse_duration("99999999999999999999h")
                .unwrap_err()
                .contains("too big")
        );
        let both = parse_size("64MB").unwrap_err();
        assert!(
            both.contains("64MiB") && both.contains("64000000"),
            "{both}"
        );
        assert!(parse_size("1 apple").unwrap_err().contains("KiB"));
        assert!(parse_size("99999999TiB").unwrap_err().contains("too big"));
    }

    proptest! {
        /// What is printed is read back as the same value.
        #[test]
        fn printing_and_reading_agree(micros in 0u64..u64::MAX / 2000, bytes: u64) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }

        /// Whatever is written gets an answer.
        #[test]
        fn any_text_is_answered(text in "\\PC{0,20}|[0-9._]{0,25}[a-zµ]{0,3}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
