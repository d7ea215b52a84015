//! `tko`: when a server counts as down, and when that is no longer believed.
//!
//! What the keys mean is in [`schema::TKO`]; how it is done in [`crate::upstream::health`] and
//! [`crate::upstream::tko`]. A pool fails open by numbers of its servers, which may be given as a share of them.

use std::time::Duration;

use super::diagnostics::Report;
use super::read::{Entry, Table};
use super::{schema, show_duration};

const MINUTE: Duration = Duration::from_secs(60);

/// When a server counts as down ("technical knock-out") and when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tko {
    /// Whether a server is taken out at all.
    pub enabled: bool,
    /// Timeouts in a row that take a server out. One that can't be connected to, or closes a connection within its first second,
    /// is out at once.
    pub after: u32,
    /// The wait before the first probe; it doubles. Waits are jittered, so that the nodes of a cluster don't
    /// probe in step.
    pub probe_min: Duration,
    /// The longest wait between two probes.
    pub probe_max: Duration,
    /// Probes in a row that a server which is out must answer; at least 1.
    pub recover: u32,
    /// How long it must go on answering them if it was out a short while ago; doubled each time, up to 64 times.
    pub hold_down: Duration,
    /// With how many of a pool's servers out no further ones are taken out.
    pub fail_open: Option<FailOpen>,
}

/// When a pool takes no further servers out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailOpen {
    /// With so many out.
    pub at: Share,
    /// Until there are no more than so many.
    pub until: Share,
}

/// A number of a pool's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded down.
    Percent(u32),
}

impl Share {
    /// Of so many servers.
    #[must_use]
    pub fn of(self, servers: usize) -> u32 {
        match self {
            Share::Count(count) => count,
            Share::Percent(percent) => {
                let share = servers as u64 * u64::from(percent) / 100;
                u32::try_from(share).unwrap_or(u32::MAX)
            }
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Share::Count(count) => write!(f, "{count}"),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FailOpen {
    /// Whether it makes sense can be told without knowing how many servers there are.
    fn needs_no_number(self) -> bool {
        matches!((self.at, self.until), (Share::Count(_), Share::Count(_)))
    }

    /// What is wrong with it for so many servers, if anything.
    #[must_use]
    pub fn fault(self, servers: usize) -> Option<String> {
        let (at, until) = (self.at.of(servers), self.until.of(servers));
        if at == 0 || until == 0 {
            return Some("that is no server at all".to_owned());
        }
        (until > at).then(|| format!("{until} is more than {at}"))
    }
}

impl Default for Tko {
    fn default() -> Self {
        Self {
            enabled: true,
            after: 3,
            probe_min: Duration::from_millis(100),
            probe_max: Duration::from_secs(10),
            recover: 1,
            hold_down: Duration::from_secs(1),
            fail_open: None,
        }
    }
}

/// Reads a pool's `tko`; `servers` is how many servers it has, if it lists them.
pub(super) fn read(report: &mut Report<'_>, pool: &Table<'_, '_>, servers: Option<usize>) -> Tko {
    let mut tko = Tko::default();
    let Some(table) = pool
        .get("tko")
        .and_then(|entry| entry.table(report, &schema::TKO))
    else {
        return tko;
    };
    table.bool(report, "enabled", &mut tko.enabled);
    tko.fail_open = fail_open(report, &table, servers);
    if let Some(after) = table
        .get("after")
        .and_then(|entry| entry.integer(report, 1..=1_000_000))
    {
        tko.after = u32::try_from(after).unwrap_or(u32::MAX);
    }
    if let Some(recover) = table
        .get("recover")
        .and_then(|entry| entry.integer(report, 1..=100))
    {
        tko.recover = u32::try_from(recover).unwrap_or(1);
    }
    let hold_down = Duration::ZERO..=60 * MINUTE;
    table.duration(report, "hold_down", hold_down, &mut tko.hold_down);
    let range = || Duration::from_millis(10)..=60 * MINUTE;
    table.duration(report, "probe_min", range(), &mut tko.probe_min);
    table.duration(report, "probe_max", range(), &mut tko.probe_max);
    if tko.probe_max < tko.probe_min {
        let place = table
            .get("probe_max")
            .or_else(|| table.get("probe_min"))
            .map_or(0..0, |entry| entry.place());
        let (least, most) = (show_duration(tko.probe_min), show_duration(tko.probe_max));
        report
            .error(place, "`probe_max` is shorter than `probe_min`")
            .label(format!("probe_min is {least}, probe_max {most}"));
    }
    tko
}

fn fail_open(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    servers: Option<usize>,
) -> Option<FailOpen> {
    let names = ["fail_open_at", "fail_open_until"];
    let given = names.map(|name| table.get(name));
    let [at, until] = given
        .each_ref()
        .map(|entry| Some(share(report, entry.as_ref()?)));
    let place = match &given {
        [None, None] => return None,
        [Some(_), Some(until)] => until.place(),
        [Some(one), None] | [None, Some(one)] => {
            report.error(
                one.place(),
                "`fail_open_at` and `fail_open_until` go together: one is missing",
            );
            return None;
        }
    };
    let (at, until) = (at??, until??);
    let fail_open = FailOpen { at, until };
    // How many will be found is not known here.
    let servers = servers.or_else(|| fail_open.needs_no_number().then_some(0));
    if let Some(fault) = servers.and_then(|servers| fail_open.fault(servers)) {
        report
            .error(
                place,
                "`fail_open_at` must be at least `fail_open_until`, and that at least 1 server",
            )
            .label(fault);
        return None;
    }
    Some(fail_open)
}

/// A number of servers, or a percentage of them.
fn share(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Share> {
    const WANTED: &str = "a number of servers, or a percentage such as \"30%\"";
    if !entry.is_string() {
        let count = entry.integer(report, 1..=1_000_000)?;
        return u32::try_from(count).ok().map(Share::Count);
    }
    let text = entry.string(report, WANTED)?;
    let percent = text.strip_suffix('%').and_then(|text| text.parse().ok());
    let percent = percent.filter(|percent| (1..=100).contains(percent));
    if percent.is_none() {
        report.error(entry.place(), format!("this must be {WANTED}"));
    }
    percent.map(Share::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down() {
        assert_eq!(Share::Percent(50).of(5), 2);
        assert_eq!(Share::Percent(100).of(5), 5);
        assert_eq!(Share::Percent(10).of(9), 0);
        assert_eq!(Share::Count(7).of(3), 7);
    }

    #[test]
    fn the_bounds_must_make_sense() {
        let fault = |at, until, servers| FailOpen { at, until }.fault(servers);
        assert_eq!(fault(Share::Count(2), Share::Percent(50), 4), None);
        assert!(fault(Share::Count(2), Share::Percent(80), 4).is_some());
        assert!(fault(Share::Percent(20), Share::Percent(10), 4).is_some());
    }
}
