//! What was measured: as JSON for programs, as tables for people.

use std::{fs, path::Path, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Result;

/// Latencies from a microsecond to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are valid")
}

/// One server under one load for some seconds.
#[derive(Clone, Serialize)]
pub(crate) struct Measurement {
    /// What it was asked to do.
    pub(crate) scenario: String,
    /// Who was asked.
    pub(crate) server: String,
    /// Decisions and reports answered.
    pub(crate) items: u64,
    /// Those answered by an error, or not at all.
    pub(crate) errors: u64,
    /// Time of the wall.
    pub(crate) seconds: f64,
    /// CPU time that the server used. Absent where its process is not known.
    pub(crate) server_cpu_seconds: Option<f64>,
    /// How long answers took.
    pub(crate) latency: Latency,
}

impl Measurement {
    pub(crate) fn per_second(&self) -> f64 {
        self.items as f64 / self.seconds
    }

    /// Items for each second that the server's core worked. The generator's own speed and other work on the machine
    /// move it little, which is why comparisons use it.
    pub(crate) fn per_core_second(&self) -> Option<f64> {
        self.server_cpu_seconds.map(|cpu| self.items as f64 / cpu)
    }
}

/// Quantiles in microseconds.
#[derive(Clone, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(nanoseconds: &Histogram<u64>) -> Self {
        let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1_000.0;
        Self { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p999_us: at(0.999), max_us: at(1.0) }
    }
}

/// The stretch that is measured: what a generator counts between two looks at the server's CPU time.
pub(crate) struct Tally {
    pub(crate) items: u64,
    pub(crate) errors: u64,
    pub(crate) latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { items: 0, errors: 0, latency: histogram() }
    }

    pub(crate) fn record(&mut self, items: u64, took: Duration) {
        self.items += items;
        self.latency.saturating_record(took.as_nanos() as u64);
    }
}

/// A row of the comparison: one server in one scenario, over all rounds.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) server: String,
    /// Medians over the rounds.
    pub(crate) per_second: f64,
    pub(crate) per_core_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Against the first server of the scenario: the median of the rounds' ratios.
    pub(crate) per_core_second_ratio: f64,
    pub(crate) p99_ratio: f64,
}

/// Medians of measurements that were taken in turns: the n-th of each server of a scenario are of one round.
pub(crate) fn rows(measurements: &[Measurement]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let of = |scenario: &str, server: &str| -> Vec<&Measurement> {
        measurements.iter().filter(|m| m.scenario == scenario && m.server == server).collect()
    };
    for m in measurements {
        if rows.iter().any(|row| row.scenario == m.scenario && row.server == m.server) {
            continue;
        }
        let first = rows.iter().find(|row| row.scenario == m.scenario).map_or(&m.server, |row| &row.server);
        let (mine, theirs) = (of(&m.scenario, &m.server), of(&m.scenario, first));
        let over = |value: &dyn Fn(&Measurement) -> f64| median(mine.iter().map(|m| value(m)).collect());
        let ratio = |value: &dyn Fn(&Measurement) -> f64| {
            median(mine.iter().zip(&theirs).map(|(mine, theirs)| value(mine) / value(theirs)).collect())
        };
        let per_core_second = |m: &Measurement| m.per_core_second().unwrap_or(f64::NAN);
        rows.push(Row {
            scenario: m.scenario.clone(),
            server: m.server.clone(),
            per_second: over(&Measurement::per_second),
            per_core_second: over(&per_core_second),
            p50_us: over(&|m| m.latency.p50_us),
            p99_us: over(&|m| m.latency.p99_us),
            per_core_second_ratio: ratio(&per_core_second),
            p99_ratio: ratio(&|m| m.latency.p99_us),
        });
    }
    rows
}

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| scenario | server | items/s | items per server-core second | ratio | p50 µs | p99 µs | ratio |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        table += &format!(
            "| {} | {} | {} | {} | {:.2} | {:.0} | {:.0} | {:.2} |\n",
            row.scenario,
            row.server,
            thousands(row.per_second),
            thousands(row.per_core_second),
            row.per_core_second_ratio,
            row.p50_us,
            row.p99_us,
            row.p99_ratio,
        );
    }
    table
}

/// Writes what was measured as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, serde_json::to_string_pretty(value)? + "\n")?)
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
