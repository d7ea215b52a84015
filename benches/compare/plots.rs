//! A picture of each workload's result: one SVG file with bars.
//!
//! Two panels each: what a request costs in CPU time, and how many requests a second the core answers; at a
//! fixed rate the latency stands in the place of the second. No more is drawn than the tables say.

use std::fmt::Write as _;
use std::path::Path;

use crate::results::{Results, Row, Table};

const BAR: f64 = 26.0;
const GAP: f64 = 10.0;
const NAME_WIDTH: f64 = 140.0;
const BAR_WIDTH: f64 = 210.0;
const VALUE_WIDTH: f64 = 70.0;
const MARGIN: f64 = 20.0;
const TOP: f64 = 78.0;
const SPACE: f64 = 24.0;

/// Bars beside each other.
struct Panel<'a> {
    title: &'a str,
    bars: Vec<(&'a str, f64)>,
    digits: usize,
}

/// Writes a file per workload into `directory`, which is made where it isn't there.
///
/// # Errors
/// When that cannot be written.
pub(crate) fn write(results: &Results, directory: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot write plots to {}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(failed)?;
    for table in &results.tables {
        let file = directory.join(format!("{}.svg", table.workload));
        std::fs::write(file, svg(results, table)).map_err(failed)?;
    }
    Ok(())
}

fn svg(results: &Results, table: &Table) -> String {
    let bars = |figure: fn(&Row) -> Option<f64>| {
        let rows = table.rows.iter();
        rows.filter_map(|row| Some((row.endpoint.as_str(), figure(row)?)))
            .collect::<Vec<_>>()
    };
    let cpu = Panel {
        title: "CPU time per request, µs (less is better)",
        bars: bars(|row| Some(row.cpu_us)),
        digits: 2,
    };
    let paced = table.rows.iter().any(|row| row.added_us.is_some());
    let other = if paced {
        Panel {
            title: "median latency, µs (less is better)",
            bars: bars(|row| Some(row.p50_us)),
            digits: 1,
        }
    } else {
        Panel {
            title: "requests/s, whole core (more is better)",
            bars: bars(|row| Some(row.requests_per_s)),
            digits: 0,
        }
    };
    let panel_width = NAME_WIDTH + BAR_WIDTH + VALUE_WIDTH;
    let width = 2.0 * MARGIN + 2.0 * panel_width + SPACE;
    let height = TOP + table.rows.len() as f64 * (BAR + GAP) + 34.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"28\" font-size=\"16\" font-weight=\"bold\">{}: {}</text>\n",
        escaped(&table.workload),
        escaped(&table.about)
    );
    draw(&cpu, MARGIN, &mut out);
    draw(&other, MARGIN + panel_width + SPACE, &mut out);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<text x=\"{MARGIN}\" y=\"{}\" font-size=\"11\" fill=\"#666666\">medians of {} rounds of {} s, one core, {}, {}</text>\n</svg>\n",
        height - 12.0,
        results.rounds,
        results.seconds,
        escaped(&results.policy),
        escaped(&results.machine)
    );
    out
}

fn draw(panel: &Panel<'_>, left: f64, out: &mut String) {
    let most = panel
        .bars
        .iter()
        .map(|(_, value)| *value)
        .fold(0.0, f64::max);
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "<text x=\"{left}\" y=\"{}\" fill=\"#444444\">{}</text>",
        TOP - 18.0,
        panel.title
    );
    for (number, (name, value)) in panel.bars.iter().enumerate() {
        let y = TOP + number as f64 * (BAR + GAP);
        let length = if most > 0.0 {
            BAR_WIDTH * value / most
        } else {
            0.0
        };
        let start = left + NAME_WIDTH;
        let middle = y + BAR / 2.0 + 4.5;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{start:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>\n\
             <text x=\"{:.1}\" y=\"{middle:.1}\">{value:.*}</text>",
            start - 8.0,
            escaped(name),
            length.max(1.0),
            colour(name),
            start + length.max(1.0) + 6.0,
            panel.digits
        );
    }
}

/// The same colour for the same endpoint in all pictures.
fn colour(name: &str) -> &'static str {
    match name {
        "ringroad" => "#1f6fb4",
        "nutcracker" => "#d9822b",
        "mux" => "#7f8c8d",
        "direct" => "#b8bec2",
        other if other.starts_with("ringroad") => "#6fa8d6",
        _ => "#c9a26b",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
