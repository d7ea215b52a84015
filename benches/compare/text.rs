//! The results as text: Markdown tables that can be read as they are.

use std::fmt::Write as _;

use crate::results::{MemoryRow, Results, Row, Table};
use crate::targets::Verdict;

/// What stands above everything.
pub(crate) fn header(results: &Results) -> String {
    let mut text = format!(
        "All on core {} of {} under {}; medians of {} rounds of {} s in turns; µs per request\n",
        results.core, results.machine, results.policy, results.rounds, results.seconds
    );
    for note in &results.notes {
        // Writing to a string does not fail.
        let _ = writeln!(text, "Note: {note}");
    }
    text
}

/// The result of a workload.
pub(crate) fn table(table: &Table) -> String {
    const HEAD: [&str; 12] = [
        "",
        "CPU µs",
        "÷ gen.",
        "req/s",
        "p50 µs",
        "p99 µs",
        "added µs",
        "gen. CPU",
        "servers µs",
        "req/write",
        "syscalls",
        "instr.",
    ];
    let mut lines: Vec<Vec<String>> = table.rows.iter().map(cells).collect();
    if let Some(subject) = table.row(&table.subject) {
        let others = table
            .rows
            .iter()
            .filter(|row| row.endpoint != subject.endpoint);
        lines.extend(others.map(|row| ratios(subject, row)));
    }
    let mut out = format!("\n**{}** {}\n\n", table.workload, table.about);
    out += &markdown(&HEAD, &lines);
    for problem in &table.problems {
        let _ = writeln!(out, "\nNOT TO BE TRUSTED: {problem}");
    }
    out
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.endpoint.clone(),
        fixed(row.cpu_us),
        fixed(row.cpu_to_generator),
        format!("{:.0}", row.requests_per_s),
        format!("{:.0}", row.p50_us),
        format!("{:.0}", row.p99_us),
        row.added_us.map_or_else(none, |us| format!("{us:.1}")),
        format!("{:.0}%", row.generator_share * 100.0),
        row.servers_us.map_or_else(none, fixed),
        row.requests_per_upstream_write.map_or_else(none, fixed),
        row.syscalls.map_or_else(none, fixed),
        row.instructions
            .map_or_else(none, |count| format!("{count:.0}")),
    ]
}

/// How many times `other`'s figures `subject`'s are.
fn ratios(subject: &Row, other: &Row) -> Vec<String> {
    let both = |a: Option<f64>, b: Option<f64>| {
        let ratio = a.zip(b).filter(|(_, b)| *b > 0.0);
        ratio.map_or_else(none, |(a, b)| fixed(a / b))
    };
    vec![
        format!("÷ {}", other.endpoint),
        fixed(subject.cpu_us / other.cpu_us),
        String::new(),
        fixed(subject.requests_per_s / other.requests_per_s),
        fixed(subject.p50_us / other.p50_us),
        fixed(subject.p99_us / other.p99_us),
        both(subject.added_us, other.added_us),
        String::new(),
        both(subject.servers_us, other.servers_us),
        both(
            subject.requests_per_upstream_write,
            other.requests_per_upstream_write,
        ),
        both(subject.syscalls, other.syscalls),
        both(subject.instructions, other.instructions),
    ]
}

/// The memory of the routers.
pub(crate) fn memory(rows: &[MemoryRow]) -> String {
    const HEAD: [&str; 6] = [
        "",
        "empty MB",
        "idle",
        "after a get",
        "after 64 KiB",
        "all closed",
    ];
    let Some(first) = rows.first() else {
        return String::new();
    };
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.endpoint.clone(),
                format!("{:.1}", row.empty_mb),
                format!("{:.0}", row.idle_bytes),
                format!("{:.0}", row.get_bytes),
                format!("{:.0}", row.large_bytes),
                format!("{:.0}", row.closed_bytes),
            ]
        })
        .collect();
    format!(
        "\n**memory** resident bytes per client connection, {} connections\n\n{}",
        first.connections,
        markdown(&HEAD, &lines)
    )
}

/// The verdicts, and how many there are of each kind.
pub(crate) fn targets(verdicts: &[Verdict]) -> String {
    const HEAD: [&str; 5] = ["", "figure", "bound", "measured", "result"];
    let lines: Vec<_> = verdicts
        .iter()
        .map(|verdict| {
            let sign = if verdict.at_least { '≥' } else { '≤' };
            vec![
                verdict.workload.clone(),
                verdict.figure.clone(),
                format!("{sign} {}", figure(verdict.bound)),
                verdict.measured.map_or_else(none, figure),
                match verdict.reached {
                    Some(true) => "pass",
                    Some(false) => "FAIL",
                    None => "not measured",
                }
                .to_owned(),
            ]
        })
        .collect();
    let count = |reached| verdicts.iter().filter(|v| v.reached == reached).count();
    format!(
        "\n**targets**\n\n{}\n{} passed, {} failed, {} not measured\n",
        markdown(&HEAD, &lines),
        count(Some(true)),
        count(Some(false)),
        count(None)
    )
}

fn none() -> String {
    "-".to_owned()
}

fn fixed(value: f64) -> String {
    format!("{value:.2}")
}

/// A bound, or what is held against it.
fn figure(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        fixed(value)
    }
}

/// A Markdown table whose columns are aligned, the first to the left.
fn markdown(head: &[&str], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        head.get(column)
            .map_or(0, |name| name.chars().count())
            .max(widest)
            .max(2)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let _ = if column == 0 {
                write!(out, "| {cell}{gap} ")
            } else {
                write!(out, "| {gap}{cell} ")
            };
        }
        out.push_str("|\n");
    };
    line(&mut head.iter().copied());
    let rules: Vec<_> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| {
            if column == 0 {
                "-".repeat(*width)
            } else {
                format!("{}:", "-".repeat(width - 1))
            }
        })
        .collect();
    line(&mut rules.iter().map(String::as_str));
    for cells in lines {
        line(&mut cells.iter().map(String::as_str));
    }
    out
}
