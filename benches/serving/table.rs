//! Figures as text: Markdown, so that they can go into a report as they are.

use std::fmt::Write as _;

use crate::{
    first_answer::Times,
    load::Sample,
    machine,
    peers::Peer,
    percentile::{median, percentile},
    settings::Settings,
};

/// Where and how it was measured.
pub(crate) fn conditions(settings: &Settings) -> String {
    let Settings { rounds, duration, connections, threads } = settings;
    format!(
        "{}; rounds: {rounds} of {duration:?} each; keep-alive connections on loopback: {connections}, \
         from the same machine, threads: {threads}\n",
        machine::describe(),
    )
}

/// A row per server: rate as the median of the rounds, latencies over all rounds. The first server is the yardstick.
pub(crate) fn throughput(results: &[(&Peer, Vec<Sample>)], first: &str) -> String {
    let mut text = format!(
        "| Server | Guest | requests/s | of {first} | p50 ms | p99 ms | wrong answers |\n|---|---|---:|---:|---:|---:|---:|\n",
    );
    let yardstick = results.first().map_or(f64::NAN, |(_, samples)| rate(samples));
    for (peer, samples) in results {
        let rate = rate(samples);
        let mut latencies: Vec<_> = samples.iter().flat_map(|sample| &sample.latencies).copied().collect();
        latencies.sort_unstable();
        let failures: usize = samples.iter().map(|sample| sample.failures.len()).sum();
        let [p50, p99] = [50, 99].map(|percent| percentile(&latencies, percent).as_secs_f64() * 1e3);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {rate:.0} | {:.2} | {p50:.2} | {p99:.2} | {failures} |",
            peer.server(),
            peer.guest(),
            rate / yardstick,
        );
    }
    text
}

/// A row per file: medians of its times, and how many times sooner than the original it answers.
pub(crate) fn first_answers(cases: &[Vec<Times>]) -> String {
    let mut text = String::from(
        "| Answers of fresh instances | bytes | first, since the start of the process, code cached | sooner | first request | sooner | \
         later requests | sooner |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for times in cases {
        let medians =
            |times: &Times| [&times.from_start, &times.first_request, &times.later_requests].map(|times| median(times));
        let Some(original) = times.first().map(medians) else { continue };
        for row in times {
            let cells = medians(row)
                .into_iter()
                .zip(original)
                .map(|(now, original)| format!(" {now:.2?} | {:.1}x |", original.as_secs_f64() / now.as_secs_f64()));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {} |{}", row.guest, row.bytes, cells.collect::<String>());
        }
    }
    text
}

fn rate(samples: &[Sample]) -> f64 {
    let mut rates: Vec<_> =
        samples.iter().map(|sample| sample.latencies.len() as f64 / sample.elapsed.as_secs_f64()).collect();
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}
