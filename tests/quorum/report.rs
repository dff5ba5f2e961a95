//! The figures as Markdown tables.

use std::{fmt::Write, time::Duration};

use crate::{
    fault::{Fault, Manner},
    fleet::{Arrangement, Telling},
    grid::{self, FLEETS, RATES, RESTS, Record, SERVICES},
    run::{Asking, Onset, Outcome, Scenario},
    traffic::{Traffic, float},
};

/// Places of the arrangements in a record.
pub(crate) const QUORUM: usize = 0;
const PLAIN: usize = 1;
const OWN: usize = 2;

/// A table's title, head and rows.
struct Table {
    text: String,
}

impl Table {
    fn new(title: &str, head: &[String]) -> Self {
        let mut text = String::new();
        let _ = writeln!(text, "\n**{title}**\n\n| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
        Self { text }
    }

    fn row(&mut self, cells: &[String]) {
        if cells[1..].iter().any(|cell| !cell.is_empty()) {
            let _ = writeln!(self.text, "| {} |", cells.join(" | "));
        }
    }
}

/// Instances vote, and services do.
const VOTERS: [Arrangement; 2] = [Arrangement::DEFAULT[QUORUM], Arrangement::Services];
/// Most calls of a run that compares them.
const VOTING_CALLS_MAX: f64 = 12_000.0;

/// Ways in which a shared breaker is told of outcomes, the one before tallies carried all runs in the middle.
const TELLINGS: [(&str, Telling); 3] = [
    ("one by one", Telling::OneByOne),
    ("trailing run only", Telling::Tallies { runs: false }),
    ("all runs", Telling::Tallies { runs: true }),
];

/// False trips at rest, and what a dead dependency costs, by how outcomes are told.
pub(crate) fn tallies(seeds: u64) -> String {
    let played = |callers: usize, rest: f64, fault: Fault| {
        let mut sums = TELLINGS.map(|_| (0_u32, 0_u32, Vec::<u64>::new()));
        let mut hours = 0.0;
        for rate in &RATES[1..] {
            let lengths = grid::lengths(callers, *rate, 8_000.0);
            let scenario = Scenario { callers, traffic: Traffic::Even, rate: *rate, rest, fault, lengths };
            for seed in 0..seeds {
                let drawn = scenario.draw(seed);
                hours += lengths.total().as_secs_f64() / 3600.0;
                for (sum, (_, telling)) in sums.iter_mut().zip(TELLINGS) {
                    let outcome = drawn.run_told(Arrangement::DEFAULT[QUORUM], telling);
                    sum.0 += outcome.trips_before + if fault == Fault::None { outcome.trips } else { 0 };
                    sum.1 += outcome.isolated_before + outcome.isolated_wrongly;
                    sum.2.extend(outcome.opened.map(|onset| onset.failures));
                }
            }
        }
        (hours, sums)
    };
    let mut text = String::new();
    let names = TELLINGS.map(|(name, _)| name.to_owned());
    let head = ["callers", "calls that fail", "hours"].map(str::to_owned);
    let mut at_rest =
        Table::new("Nothing wrong: openings of the fleet's breaker / callers isolated", &[&head[..], &names].concat());
    for callers in [1, 2, 3, 10, 50] {
        for rest in [0.02, 0.05, 0.1] {
            let (hours, sums) = played(callers, rest, Fault::None);
            let cells = sums.map(|(trips, isolated, _)| format!("{trips} / {isolated}"));
            let of = [callers.to_string(), format!("{:.0} %", rest * 100.0), format!("{hours:.1}")];
            at_rest.row(&[&of[..], &cells].concat());
        }
    }
    text += &at_rest.text;
    let head = ["callers", "runs"].map(str::to_owned);
    let mut down =
        Table::new("Dependency down: failures until the breaker opened (median / most)", &[&head[..], &names].concat());
    for callers in [1, 2, 3, 10, 50] {
        let (_, sums) = played(callers, 0.001, Fault::Down);
        let runs = (RATES.len() as u64 - 1) * seeds;
        let cells = sums.map(|(_, _, mut failures)| {
            failures.sort_unstable();
            match failures.last() {
                Some(most) => format!("{} / {most}, {} opened", failures[failures.len() / 2], failures.len()),
                None => "never".to_owned(),
            }
        });
        down.row(&[&[callers.to_string(), runs.to_string()][..], &cells].concat());
    }
    text + &down.text
}

/// What it makes of faults whether instances or services vote.
pub(crate) fn voters(seeds: u64) -> String {
    let scenarios = grid::voting(VOTING_CALLS_MAX);
    let mut text = String::new();
    for services in SERVICES {
        let head = [
            "fault",
            "runs",
            "opened the fleet's breaker",
            "failures until it opened, median",
            "calls that met the fault, of those that would have",
            "runs in which a healthy caller was refused",
            "good calls of healthy callers refused",
        ];
        let title = format!("Fleets of 10 and 50 instances of {services} services (voters: instance / service)");
        let mut table = Table::new(&title, &texts(&head));
        for fault in Fault::OF_SERVICES {
            let of = scenarios.iter().filter(|(scenario, of)| (scenario.fault, *of) == (fault, services));
            let drawn = of.flat_map(|(scenario, _)| (0..seeds).map(|seed| scenario.draw(seed).of_services(services)));
            let outcomes: Vec<[Outcome; 2]> = drawn.map(|drawn| VOTERS.map(|voters| drawn.run(voters))).collect();
            let each = |cell: &dyn Fn(&mut dyn Iterator<Item = &Outcome>) -> String| {
                join([0, 1].map(|place| cell(&mut outcomes.iter().map(|outcomes| &outcomes[place]))))
            };
            let share_of_runs = |holds: fn(&Outcome) -> bool| {
                each(&|of| percent(float(of.filter(|outcome| holds(outcome)).count()), float(outcomes.len())))
            };
            let ratio = |parts: fn(&Outcome) -> [u64; 2]| {
                each(&|of| {
                    let sums = of.map(parts).fold([0, 0], |sums, parts| [sums[0] + parts[0], sums[1] + parts[1]]);
                    percent(count(sums[0]), count(sums[1]))
                })
            };
            let median = |of: &mut dyn Iterator<Item = &Outcome>| {
                let opened = of.filter_map(|outcome| outcome.opened).map(|onset| failures(&onset)).collect();
                quantiles(opened).map_or_else(|| "-".to_owned(), |[median, ..]| number(median))
            };
            table.row(&[
                fault.name().to_owned(),
                outcomes.len().to_string(),
                share_of_runs(|outcome| outcome.opened.is_some()),
                each(&median),
                ratio(|outcome| [outcome.met, outcome.would_meet]),
                share_of_runs(|outcome| outcome.healthy_callers_refused > 0),
                ratio(|outcome| [outcome.healthy_refused, outcome.healthy_good]),
            ]);
        }
        text += &table.text;
    }
    text
}

/// The tables of the whole grid.
pub(crate) fn tables(records: &[Record]) -> String {
    let mut text = String::new();
    text += &at_rest(records);
    text += &onset(
        "Dependency down: failures of the whole fleet until its breaker opened (median / 90 % / most)",
        records,
        &[Manner::Fast, Manner::Slow],
        failures,
    );
    text += &onset(
        "Dependency down: time until it opened, where calls fail at once (median / 90 % / longest)",
        records,
        &[Manner::Fast],
        |onset| onset.after.as_secs_f64(),
    );
    for (title, fleets) in [("fleets of 2 and 3", 2..=3), ("fleets of 5 and more", 5..=usize::MAX)] {
        let records: Vec<&Record> = records.iter().filter(|record| fleets.contains(&record.scenario.callers)).collect();
        text += &faults(title, &records);
    }
    text += &trips_an_hour(records);
    text += &isolation(records);
    text += &recovery(records);
    text
}

fn at_rest(records: &[Record]) -> String {
    let mut table = Table::new(
        "Nothing wrong (before every fault)",
        &texts(&[
            "calls of each caller",
            "hours",
            "fleet's breaker opened: quorum",
            "plain",
            "callers cut off: quorum",
            "one each",
        ]),
    );
    for rate in RATES {
        for rest in RESTS {
            let of: Vec<&Record> =
                records.iter().filter(|record| record.scenario.rate == rate && record.scenario.rest == rest).collect();
            let hours: f64 = of.iter().map(|record| hours(record.scenario.lengths.before)).sum();
            let sum = |get: &dyn Fn(&Record) -> u32| of.iter().map(|record| get(record)).sum::<u32>().to_string();
            table.row(&[
                format!("{}, {} % fail", rate_name(rate), rest * 100.0),
                format!("{hours:.1}"),
                sum(&|record| record.outcomes[QUORUM].trips_before),
                sum(&|record| record.outcomes[PLAIN].trips_before),
                sum(&|record| record.outcomes[QUORUM].isolated_before),
                sum(&|record| record.outcomes[OWN].trips_before),
            ]);
        }
    }
    table.text
}

fn onset(title: &str, records: &[Record], manners: &[Manner], get: impl Fn(&Onset) -> f64) -> String {
    let head = [vec!["calls of each caller".to_owned()], FLEETS.map(|callers| callers.to_string()).to_vec()].concat();
    let mut table = Table::new(title, &head);
    for (place, name) in [(QUORUM, "quorum"), (PLAIN, "plain")] {
        // A plain breaker does not ask who calls.
        for traffic in Traffic::ALL.into_iter().filter(|traffic| place == QUORUM || *traffic == Traffic::Even) {
            for rate in RATES {
                let cells = FLEETS.map(|callers| {
                    let of = records.iter().filter(|record| {
                        let scenario = &record.scenario;
                        (scenario.callers, scenario.traffic, scenario.fault) == (callers, traffic, Fault::Down)
                            && scenario.rate == rate
                            && manners.contains(&Manner::by(record.seed))
                    });
                    let onsets: Vec<Option<Onset>> = of.map(|record| record.outcomes[place].opened).collect();
                    spread(onsets.iter().flatten().map(&get).collect(), onsets.len())
                });
                let label = format!("{name}, {}, {}", traffic.name(), rate_name(rate));
                table.row(&[vec![label], cells.to_vec()].concat());
            }
        }
    }
    table.text
}

fn faults(title: &str, records: &[&Record]) -> String {
    let mut table = Table::new(
        &format!("By fault, {title} (quorum / plain / one each)"),
        &texts(&[
            "fault",
            "runs",
            "opened the fleet's breaker",
            "failures until it opened, median",
            "calls that met the fault, of those that would have",
            "good calls refused",
            "runs in which a healthy caller was refused",
            "good calls of healthy callers refused",
        ]),
    );
    for fault in Fault::ALL {
        let of: Vec<&&Record> = records.iter().filter(|record| record.scenario.fault == fault).collect();
        if of.is_empty() {
            continue;
        }
        let share_of_runs = |place: usize, holds: &dyn Fn(&Outcome) -> bool| {
            let runs = of.iter().filter(|record| holds(&record.outcomes[place])).count();
            percent(float(runs), float(of.len()))
        };
        let ratio = |place: usize, part: &dyn Fn(&Outcome) -> u64, whole: &dyn Fn(&Outcome) -> u64| {
            let sum = |get: &dyn Fn(&Outcome) -> u64| of.iter().map(|record| get(&record.outcomes[place])).sum::<u64>();
            percent(count(sum(part)), count(sum(whole)))
        };
        let median = |place: usize| {
            let opened = of.iter().filter_map(|record| record.outcomes[place].opened);
            quantiles(opened.map(|onset| failures(&onset)).collect())
                .map_or_else(|| "-".to_owned(), |[median, ..]| number(median))
        };
        table.row(&[
            fault.name().to_owned(),
            of.len().to_string(),
            join([QUORUM, PLAIN].map(|place| share_of_runs(place, &|outcome| outcome.opened.is_some()))),
            join([QUORUM, PLAIN].map(median)),
            join([QUORUM, PLAIN, OWN].map(|place| ratio(place, &|outcome| outcome.met, &|outcome| outcome.would_meet))),
            join(
                [QUORUM, PLAIN, OWN]
                    .map(|place| ratio(place, &|outcome| outcome.good_refused, &|outcome| outcome.good)),
            ),
            join(
                [QUORUM, PLAIN, OWN].map(|place| share_of_runs(place, &|outcome| outcome.healthy_callers_refused > 0)),
            ),
            join(
                [QUORUM, PLAIN, OWN]
                    .map(|place| ratio(place, &|outcome| outcome.healthy_refused, &|outcome| outcome.healthy_good)),
            ),
        ]);
    }
    table.text
}

fn trips_an_hour(records: &[Record]) -> String {
    let head = [vec!["fault".to_owned()], RATES.map(|rate| format!("{} each", rate_name(rate))).to_vec()].concat();
    let mut table =
        Table::new("Faults of callers: how often the fleet's breaker opened, an hour (quorum / plain)", &head);
    for fault in Fault::ALL.into_iter().filter(|fault| !fault.is_of_the_dependency()) {
        let cells = RATES.map(|rate| {
            let of = records.iter().filter(|record| {
                record.scenario.fault == fault && record.scenario.rate == rate && record.scenario.callers > 1
            });
            let (mut length, mut trips) = (0.0, [0, 0]);
            for record in of {
                length += hours(record.scenario.lengths.fault);
                trips[QUORUM] += record.outcomes[QUORUM].trips;
                trips[PLAIN] += record.outcomes[PLAIN].trips;
            }
            join(trips.map(|trips| number(f64::from(trips) / length)))
        });
        table.row(&[vec![fault.name().to_owned()], cells.to_vec()].concat());
    }
    table.text
}

fn isolation(records: &[Record]) -> String {
    let mut table = Table::new(
        "The sick caller itself: when it was cut off by the quorum's breaker (median / 90 % / most)",
        &texts(&[
            "fault",
            "calls of each caller",
            "runs in which it was",
            "failures until then",
            "time until then",
            "last refused after it was well again",
        ]),
    );
    for fault in Fault::OF_ONE {
        for rate in RATES {
            let of: Vec<&Record> = records
                .iter()
                .filter(|record| {
                    record.scenario.fault == fault && record.scenario.rate == rate && record.scenario.callers > 1
                })
                .collect();
            let onsets: Vec<Onset> = of.iter().filter_map(|record| record.outcomes[QUORUM].isolated).collect();
            let last = of.iter().filter(|record| has_time_to_recover(record)).map(|record| &record.outcomes[QUORUM]);
            let last: Vec<f64> = last
                .filter(|outcome| outcome.isolated.is_some())
                .map(|outcome| outcome.last_refusal.as_secs_f64())
                .collect();
            table.row(&[
                fault.name().to_owned(),
                rate_name(rate).to_owned(),
                percent(float(onsets.len()), float(of.len())),
                spread(onsets.iter().map(failures).collect(), onsets.len()),
                spread(onsets.iter().map(|onset| onset.after.as_secs_f64()).collect(), onsets.len()),
                spread(last.clone(), last.len()),
            ]);
        }
    }
    table.text
}

fn recovery(records: &[Record]) -> String {
    let mut table = Table::new(
        "Dependency well again: seconds until the breaker closed, and until nobody was refused (median / 90 % / longest)",
        &texts(&[
            "fault",
            "calls of each caller",
            "rejected callers ask",
            "quorum closed",
            "plain closed",
            "quorum: last refusal",
            "plain: last refusal",
            "one each: last refusal",
        ]),
    );
    for fault in [Fault::Down, Fault::Half, Fault::Cached] {
        for rate in &RATES[..3] {
            for (asking, name) in [(Asking::NextCall, "with the next call"), (Asking::RetryAfter, "after retry_after")]
            {
                let of: Vec<&Record> = records
                    .iter()
                    .filter(|record| {
                        record.scenario.fault == fault
                            && record.scenario.rate == *rate
                            && Asking::by(record.seed) == asking
                            && has_time_to_recover(record)
                    })
                    .collect();
                let closed = |place: usize| {
                    let open: Vec<&Outcome> =
                        of.iter().map(|record| &record.outcomes[place]).filter(|outcome| outcome.open_at_end).collect();
                    let after = open.iter().filter_map(|outcome| outcome.closed_after).map(|after| after.as_secs_f64());
                    spread(after.collect(), open.len())
                };
                let last = |place: usize| {
                    let all: Vec<f64> =
                        of.iter().map(|record| record.outcomes[place].last_refusal.as_secs_f64()).collect();
                    spread(all.clone(), all.len())
                };
                table.row(&[
                    fault.name().to_owned(),
                    rate_name(*rate).to_owned(),
                    name.to_owned(),
                    closed(QUORUM),
                    closed(PLAIN),
                    last(QUORUM),
                    last(PLAIN),
                    last(OWN),
                ]);
            }
        }
    }
    table.text
}

/// How results vary with the share of the known callers that must have evidence. The records hold one outcome a share.
pub(crate) fn shares(records: &[Record], shares: &[f64]) -> String {
    let head = [
        "share",
        "down: failures until open, 3 callers",
        "10",
        "50",
        "200",
        "down: met, of those that would have",
        "opened: 50 % fail",
        "30 % fail",
        "cache",
        "cache, redeployed",
        "zone: opened",
        "zone: good calls of the healthy refused",
        "two sick: opened",
    ];
    let mut table = Table::new("By `share`, fleets of 3, 10, 50 and 200", &texts(&head));
    for (place, share) in shares.iter().enumerate() {
        let of = |fault: Fault| records.iter().filter(move |record| record.scenario.fault == fault);
        let until_open = |callers: usize| {
            let runs: Vec<Option<Onset>> = of(Fault::Down)
                .filter(|record| record.scenario.callers == callers)
                .map(|record| record.outcomes[place].opened)
                .collect();
            spread(runs.iter().flatten().map(failures).collect(), runs.len())
        };
        let opened = |fault: Fault| {
            let runs: Vec<bool> = of(fault).map(|record| record.outcomes[place].opened.is_some()).collect();
            percent(float(runs.iter().filter(|opened| **opened).count()), float(runs.len()))
        };
        let sum =
            |fault: Fault, get: fn(&Outcome) -> u64| count(of(fault).map(|record| get(&record.outcomes[place])).sum());
        table.row(&[
            share.to_string(),
            until_open(3),
            until_open(10),
            until_open(50),
            until_open(200),
            percent(sum(Fault::Down, |outcome| outcome.met), sum(Fault::Down, |outcome| outcome.would_meet)),
            opened(Fault::Half),
            opened(Fault::Third),
            opened(Fault::Cached),
            opened(Fault::CachedRedeployed),
            opened(Fault::Zone),
            percent(
                sum(Fault::Zone, |outcome| outcome.healthy_refused),
                sum(Fault::Zone, |outcome| outcome.healthy_good),
            ),
            opened(Fault::SickTwo),
        ]);
    }
    table.text
}

/// Fleets so busy that the streak which the quorum's breaker asks for has grown.
pub(crate) fn busy(records: &[Record]) -> String {
    let mut table = Table::new(
        "Fleets that have been busy for a whole window, 100 calls a second each (quorum / plain)",
        &texts(&[
            "fault",
            "callers",
            "runs that opened",
            "failures until open, quorum (median / 90 % / most)",
            "plain",
        ]),
    );
    let mut rest = records;
    while let Some(first) = rest.first() {
        let alike = rest.iter().take_while(|record| record.scenario == first.scenario).count();
        let of;
        (of, rest) = rest.split_at(alike);
        let onsets = [QUORUM, PLAIN].map(|place| -> Vec<f64> {
            of.iter().filter_map(|record| record.outcomes[place].opened).map(|onset| failures(&onset)).collect()
        });
        let opened = [QUORUM, PLAIN].map(|place| percent(float(onsets[place].len()), float(of.len())));
        let [quorum, plain] = onsets.map(|onsets| spread(onsets, of.len()));
        let fault = first.scenario.fault.name().to_owned();
        table.row(&[fault, first.scenario.callers.to_string(), join(opened), quorum, plain]);
    }
    table.text
}

// ---- Details -------------------------------------------------------------------------------------------------------

fn failures(onset: &Onset) -> f64 {
    count(onset.failures)
}

/// Whether the run goes on for long enough after the fault that an open period can end.
fn has_time_to_recover(record: &Record) -> bool {
    record.scenario.lengths.after >= Duration::from_secs(60)
}

const fn rate_name(rate: f64) -> &'static str {
    match rate {
        ..0.5 => "1/min",
        0.5..5.0 => "1/s",
        5.0..50.0 => "10/s",
        _ => "100/s",
    }
}

fn hours(length: Duration) -> f64 {
    length.as_secs_f64() / 3_600.0
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const fn count(number: u64) -> f64 {
    number as f64
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn join<const N: usize>(cells: [String; N]) -> String {
    cells.join(" / ")
}

fn percent(part: f64, whole: f64) -> String {
    if whole == 0.0 {
        return "-".to_owned();
    }
    let percent = 100.0 * part / whole;
    match percent {
        0.0 => "0 %".to_owned(),
        ..0.1 => format!("{percent:.3} %"),
        ..10.0 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

fn number(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        ..0.1 => format!("{number:.3}"),
        ..10.0 if number.fract() > 0.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Median, nine tenths and most of what was seen, of so many runs; with the share of those that never came so far.
fn spread(seen: Vec<f64>, runs: usize) -> String {
    let never = runs - seen.len();
    let Some(quantiles) = quantiles(seen) else {
        return if runs == 0 { String::new() } else { "never".to_owned() };
    };
    let never = if never == 0 { String::new() } else { format!(", {} never", percent(float(never), float(runs))) };
    quantiles.map(number).join(" / ") + &never
}

fn quantiles(mut seen: Vec<f64>) -> Option<[f64; 3]> {
    seen.sort_unstable_by(f64::total_cmp);
    let last = seen.len().checked_sub(1)?;
    Some([seen[last / 2], seen[last * 9 / 10], seen[last]])
}
