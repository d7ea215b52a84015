//! `ringroad members`: who is in each pool.

use std::fmt::Write as _;
use std::io::Write;

use super::{Failure, MembersArgs, open_config};
use crate::app::members::{self, MemberReport, PoolReport};
use crate::config::{Config, Server, ServerAddr};

/// Lists the members of each pool; text or JSON on `out`, what is amiss on `err`.
///
/// # Errors
/// The file can't be read or used, or there is no such pool.
pub fn members(
    args: &MembersArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let (_, config) = open_config(args.config.as_deref(), err)?;
    let (config, mut reports) = known(config, err)?;
    if let Some(name) = &args.pool {
        super::explain::find_pool(&config, name)?;
        reports.retain(|report| report.pool == *name);
    }
    if args.json {
        writeln!(out, "{:#}", serde_json::json!(reports))?;
        return Ok(());
    }
    for report in &reports {
        out.write_all(in_words(report).as_bytes())?;
    }
    Ok(())
}

/// The configuration with the servers that are known, and what is known of them: from the ringroad that runs with
/// it if it can be asked, else by asking the sources from here. Files without `discover` need neither.
pub(super) fn known(
    mut config: Config,
    err: &mut dyn Write,
) -> Result<(Config, Vec<PoolReport>), Failure> {
    let resolve = |config: &Config| {
        members::resolve(config).map_err(|error| Failure::Runtime(error.to_string()))
    };
    if config.pools.iter().all(|pool| pool.discover.is_none()) {
        return resolve(&config);
    }
    let reports = match members::ask(&config) {
        Ok(reports) => reports,
        Err(why) => {
            writeln!(err, "note: {why}; asking the sources from here")?;
            return resolve(&config);
        }
    };
    for pool in &mut config.pools {
        if pool.discover.is_some()
            && let Some(report) = reports.iter().find(|report| report.pool == pool.name)
        {
            pool.servers = report.members.iter().map(server).collect();
        }
    }
    Ok((config, reports))
}

fn server(member: &MemberReport) -> Server {
    Server {
        name: member.name.clone(),
        addr: ServerAddr::Found(member.addresses.clone()),
        weight: member.weight,
    }
}

fn in_words(report: &PoolReport) -> String {
    let mut text = String::new();
    let digest = match &report.digest {
        Some(digest) => format!("ring {digest}"),
        None => "no servers have been found".to_owned(),
    };
    let _ = writeln!(text, "pool {}  ({digest})", report.pool);
    for source in &report.sources {
        let age = match source.age_seconds {
            Some(age) => format!("answered {} ago", ago(age)),
            None => "never answered".to_owned(),
        };
        let _ = writeln!(text, "  {}: {age}", source.source);
        if let Some(why) = &source.failing {
            let _ = writeln!(text, "    failing: {why}");
        }
    }
    let mut rows = vec![["name", "address", "identity", "state", "age", "keys"].map(str::to_owned)];
    for member in &report.members {
        let state = match (member.absent_seconds, member.leaves_in_seconds) {
            (Some(since), Some(left)) => {
                format!(
                    "{} for {}, leaves in {}",
                    member.state,
                    ago(since),
                    ago(left)
                )
            }
            _ => member.state.clone(),
        };
        rows.push([
            member.name.clone(),
            member.address.clone(),
            member.identity.clone(),
            state,
            member.age_seconds.map_or("-".to_owned(), ago),
            format!("{:.1} %", member.share * 100.0),
        ]);
    }
    if rows.len() > 1 {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..6).map(width).collect();
        for row in &rows {
            let mut line = String::from(" ");
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, " {cell:<width$} ");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// A length of time in its largest unit.
fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn listed_servers_need_nobody_to_be_asked() {
        let text = "[pools.a]\nservers = [\"h0:1\", { name = \"x\", addr = \"10.0.0.1:2\" }]\n";
        let (config, _) = config::parse("f", text).unwrap();
        let mut err = Vec::new();
        let (_, reports) = known(config, &mut err).unwrap();
        assert!(err.is_empty());
        let shown = in_words(&reports[0]);
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert!(lines[0].starts_with(&["pool", "a"]), "{shown}");
        assert_eq!(
            lines[2][..4],
            ["h0:1", "h0:1", "listed", "listed"],
            "{shown}"
        );
        assert_eq!(lines[3][..2], ["x", "10.0.0.1:2"], "{shown}");
    }

    #[test]
    fn absent_members_and_failing_sources_are_plain_to_see() {
        let report = PoolReport {
            pool: "a".to_owned(),
            digest: Some("00ff".to_owned()),
            sources: vec![members::SourceReport {
                source: "service c".to_owned(),
                age_seconds: Some(130),
                failing: Some("timeout, 3 times: c".to_owned()),
            }],
            members: vec![MemberReport {
                name: "c-0".to_owned(),
                identity: "srv".to_owned(),
                address: "10.0.0.1:11211".to_owned(),
                addresses: Vec::new(),
                state: "absent".to_owned(),
                age_seconds: Some(7300),
                absent_seconds: Some(30),
                leaves_in_seconds: Some(570),
                weight: None,
                share: 0.25,
            }],
        };
        let shown = in_words(&report);
        for part in [
            "pool a  (ring 00ff)",
            "service c: answered 2 min ago",
            "failing: timeout, 3 times: c",
            "absent for 30 s, leaves in 9 min",
            "2 h",
            "25.0 %",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
