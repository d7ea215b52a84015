//! How directories and files of the spool are called, as mcrouter calls them.
//!
//! A directory for each hour, `20261120T05-1795150800`; in it files that are begun at most 15 minutes apart,
//! `20261120T050416-1795151056-mcrouter-5000-t9875-0x7fc894a16210`: when, the same in seconds since 1970, service, router,
//! thread, an address. The text is in UTC, so that names sort as times do; whoever wants to know the time reads
//! the seconds. Where mcrouter has an address of its memory, files written here have a number that no process has as an
//! address, so that the two can be told apart: only ringroad's files are locked while they are written.
//!
//! Pure: no files, no clock.

/// A file is written for so many seconds at most.
pub const FILE_SECONDS: u64 = 900;

const HOUR: u64 = 3600;

/// In the number at the end of a file's name: it was written by ringroad.
const OWN: u64 = 0xf << 60;

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// When it was begun, in seconds since 1970.
    pub begun: u64,
    /// Whether ringroad has written it.
    pub is_own: bool,
}

/// Year, month and day of a day since 1970-01-01.
fn civil(day: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that a leap day is the last one; 400 years have 146097 days.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (next_year, month_shown) = match month {
        0..=9 => (0, month + 3),
        _ => (1, month - 9),
    };
    let day = day - (153 * month + 2) / 5 + 1;
    (era * 400 + year + next_year, month_shown, day)
}

fn stamp(epoch: u64, with_minutes: bool) -> String {
    let (year, month, day) = civil(epoch / 86_400);
    let (hour, minute, second) = (epoch / HOUR % 24, epoch / 60 % 60, epoch % 60);
    let date = format!("{year:04}{month:02}{day:02}T{hour:02}");
    match with_minutes {
        true => format!("{date}{minute:02}{second:02}"),
        false => date,
    }
}

/// The directory of what is written at this time, in seconds since 1970.
pub fn dir(epoch: u64) -> String {
    let hour = epoch - epoch % HOUR;
    format!("{}-{hour}", stamp(epoch, false))
}

/// The name of a file begun at this time by this thread; `serial` tells it from others of the same second.
pub fn file(epoch: u64, service: &str, router: &str, thread: u32, serial: u64) -> String {
    let plain = |text: &str| -> String {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        text.chars()
            .map(|c| if good(c) { c } else { '_' })
            .take(64)
            .collect()
    };
    format!(
        "{}-{epoch}-{}-{}-t{thread}-0x{:x}",
        stamp(epoch, true),
        plain(service),
        plain(router),
        serial | OWN
    )
}

fn is_stamp(text: &str, len: usize) -> bool {
    let is_good = |(at, c): (usize, char)| match at {
        8 => c == 'T',
        _ => c.is_ascii_digit(),
    };
    text.len() == len && text.chars().enumerate().all(is_good)
}

/// The hour of a directory, if it is one of a spool.
pub fn parse_dir(name: &str) -> Option<u64> {
    let (text, epoch) = name.split_once('-')?;
    is_stamp(text, 11).then(|| epoch.parse().ok()).flatten()
}

/// What a file's name says, if it is one of a spool.
pub fn parse_file(name: &str) -> Option<Named> {
    if name.contains('/') {
        return None;
    }
    let (text, rest) = name.split_once('-')?;
    let (epoch, rest) = rest.split_once('-')?;
    let (rest, number) = rest.rsplit_once("-0x")?;
    let (_, thread) = rest.rsplit_once("-t")?;
    thread.parse::<u64>().ok().filter(|_| is_stamp(text, 15))?;
    Some(Named {
        begun: epoch.parse().ok()?,
        is_own: u64::from_str_radix(number, 16).ok()? >= OWN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_mcrouter_s() {
        // As a real one has called them.
        assert_eq!(dir(1_795_151_056), "20261120T05-1795150800");
        let name = file(1_795_151_056, "mcrouter", "0", 9875, 0x7fc8_94a1_6210);
        let (ours, rest) = name.rsplit_once("-0x").unwrap();
        assert_eq!(ours, "20261120T050416-1795151056-mcrouter-0-t9875");
        assert_eq!(rest, "f0007fc894a16210");
        let theirs = "20261120T050416-1795151056-mcrouter-0-t9875-0x7fc894a16210";
        let named = |is_own| {
            Some(Named {
                begun: 1_795_151_056,
                is_own,
            })
        };
        assert_eq!(parse_file(theirs), named(false));
        assert_eq!(parse_file(&name), named(true));
        assert_eq!(parse_dir("20261120T05-1795150800"), Some(1_795_150_800));
    }

    #[test]
    fn days_of_leap_years_are_right() {
        for (epoch, want) in [
            (0, "19700101T00"),
            (951_782_400, "20000229T00"),
            (951_868_800, "20000301T00"),
            (1_709_164_799, "20240228T23"),
            (1_709_164_800, "20240229T00"),
            (4_107_542_399, "21000228T23"),
            (4_107_542_400, "21000301T00"),
        ] {
            assert_eq!(stamp(epoch, false), want);
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "",
            "lost+found",
            "20261120T05",
            "20261120T05-x",
            "20261120X05-1",
            ".20261120T050416-1795151056-mcrouter-0-t9875-0x7f.new",
            "20261120T050416-1795151056-mcrouter-0-9875-0x7f",
            "20261120T050416-1795151056-mcrouter-0-t9875-0x7f.old",
            "20261120T050416-x-mcrouter-0-t9875-0x7f",
            "20261120T050416-1795151056-../x-0-t9875-0x7f",
        ] {
            assert_eq!((parse_dir(name), parse_file(name)), (None, None), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_recognised(
            epoch in 0u64..8_000_000_000, service in ".{0,80}", router in ".{0,80}", thread: u32, serial: u64
        ) {
            let name = file(epoch, &service, &router, thread, serial);
            prop_assert!(name.len() < 255 && !name.contains('/'));
            prop_assert_eq!(parse_file(&name), Some(Named { begun: epoch, is_own: true }));
            prop_assert_eq!(parse_dir(&dir(epoch)), Some(epoch - epoch % HOUR));
        }
    }
}
