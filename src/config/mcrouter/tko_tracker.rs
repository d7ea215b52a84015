//! `tko_tracker` of a pool: with how many of its servers out no further ones are taken out.
//!
//! An upper and a lower threshold, each as a number of servers (`num_tko_threshold_…`) or as a percentage of them
//! (`percent_tko_threshold_…`, rounded down); where both are given, the number holds. Both must be there, come out as
//! at least one server, and the lower must not be above the upper.

use super::super::{FailOpen, Share};
use super::findings::Findings;
use super::json::did_you_mean;
use super::value::{Kind, Map, Value};
use crate::config::diagnostics::quoted;

const FIELDS: [&str; 4] = [
    "num_tko_threshold_upper",
    "num_tko_threshold_lower",
    "percent_tko_threshold_upper",
    "percent_tko_threshold_lower",
];

/// Reads the object for a pool of so many servers.
pub(super) fn read(findings: &mut Findings<'_>, value: &Value, servers: usize) -> Option<FailOpen> {
    let Some(map) = value.as_map() else {
        let what = value.what();
        findings.error(
            value.at,
            format!("`tko_tracker` must be an object, not {what}"),
        );
        return None;
    };
    for (key, member) in map.members() {
        if !FIELDS.contains(&&**key) {
            let near = did_you_mean(key, FIELDS.iter().copied());
            let message = format!("`tko_tracker` has no field {}; it is ignored", quoted(key));
            findings.warn(member.key_at, message).label(near);
        }
    }
    let upper = threshold(findings, map, value, "upper");
    let lower = threshold(findings, map, value, "lower");
    let (at, until) = (upper?, lower?);
    let fail_open = FailOpen { at, until };
    if let Some(fault) = fail_open.fault(servers) {
        findings
            .error(
                value.at,
                format!("the thresholds of `tko_tracker` make no sense for {servers} servers"),
            )
            .label(fault);
        return None;
    }
    Some(fail_open)
}

fn threshold(findings: &mut Findings<'_>, map: &Map, value: &Value, which: &str) -> Option<Share> {
    let [number, percent] = ["num", "percent"].map(|kind| format!("{kind}_tko_threshold_{which}"));
    let (given, most) = match (map.get(&number), map.get(&percent)) {
        (Some(given), _) => (given, u32::MAX),
        (None, Some(given)) => (given, 100),
        (None, None) => {
            let message = format!("`tko_tracker` needs `{number}` or `{percent}`");
            findings.error(value.at, message);
            return None;
        }
    };
    let whole = match &given.kind {
        Kind::Int(whole) => u32::try_from(*whole).ok(),
        _ => None,
    };
    let Some(whole) = whole.filter(|whole| (1..=most).contains(whole)) else {
        let what = match most {
            100 => "a percentage from 1 to 100",
            _ => "a number of servers, at least 1",
        };
        findings.error(given.at, format!("the threshold must be {what}"));
        return None;
    };
    Some(match most {
        100 => Share::Percent(whole),
        _ => Share::Count(whole),
    })
}
