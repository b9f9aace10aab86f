//! Figures as text: Markdown, so that they can go into a report as they are.

use std::fmt::Write as _;

use crate::{Row, machine, percentile::median};

/// Where and how it was measured.
pub(crate) fn conditions(rounds: usize, wizer: &str) -> String {
    format!(
        "{}; rounds: {rounds}; Wizer {wizer}, set up as by the CLI of Wasmtime {wizer}, and prewasm, both in one \
         process; gzip level 9, brotli quality 11\n",
        machine::describe(),
    )
}

/// A row per builder, in a group per input. Where a group has no yardstick there are no ratios.
pub(crate) fn snapshots(groups: &[Vec<Row>]) -> String {
    let mut text = String::from(
        "| Snapshot of | by | build ms | ratio | bytes | ratio | gzip | ratio | brotli | ratio | data segments |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for group in groups {
        let yardstick = group.iter().find(|row| row.builder.is_yardstick()).map(figures);
        for row in group {
            let cells = cells(figures(row), yardstick);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {} |{cells} {} |", row.input, row.builder.name(), row.size.data_segments);
        }
    }
    text
}

/// Each figure, and how it compares.
fn cells(figures: [f64; 4], yardstick: Option<[f64; 4]>) -> String {
    let ratio =
        |at: usize| yardstick.map_or_else(|| "–".to_owned(), |yardstick| format!("{:.2}", figures[at] / yardstick[at]));
    (0..figures.len()).map(|at| format!(" {:.0} | {} |", figures[at], ratio(at))).collect()
}

/// Build time in milliseconds; bytes raw, by gzip, by brotli.
fn figures(row: &Row) -> [f64; 4] {
    let size = &row.size;
    let [raw, gzip, brotli] = [size.raw, size.gzip, size.brotli].map(|bytes| bytes as f64);
    [median(&row.times).as_secs_f64() * 1e3, raw, gzip, brotli]
}
