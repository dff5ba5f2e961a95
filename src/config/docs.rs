//! What is written about the settings is true: their help, `docs/configuration.md` and the example file.
//!
//! `UPDATE_DOCS=1 cargo test --lib config::docs` writes the parts that are made from the settings.

use std::{env, ffi::OsStr, fmt::Write as _, fs, path::Path, time::Duration};

use super::{
    Config,
    file::{self, File},
    layers::toml_value,
    policies,
    setting::{self, LIMITS, Setting},
    value::{format_bytes, parse_bytes, parse_duration},
};
use crate::{
    breaker::PolicySpec,
    limit,
    share::{FairShare, Holder, Pool},
};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fuseboard.example.toml");

/// Compares the part of a document between two lines with what it should be, or writes it.
fn expect_between(path: &str, first: &str, last: &str, expected: &str) {
    let text = fs::read_to_string(path).unwrap();
    let start = text.find(first).unwrap_or_else(|| panic!("{path} has no {first:?}")) + first.len();
    let end = start + text[start..].find(last).unwrap_or_else(|| panic!("{path} has no {last:?}"));
    if text[start..end] == *expected {
        return;
    }
    assert!(env::var_os("UPDATE_DOCS").is_some(), "{path} is stale; with UPDATE_DOCS=1 this test writes it");
    fs::write(path, format!("{}{expected}{}", &text[..start], &text[end..])).unwrap();
}

#[test]
fn the_guide_lists_every_setting() {
    let mut table =
        String::from("\n\n| key in the file, flag, variable | default | meaning, range |\n| --- | --- | --- |\n");
    for setting in setting::all() {
        let (key, flag, variable) = (&setting.key, setting.flag(), setting.variable());
        let (default, help) = (setting.default().display(), setting.help());
        writeln!(table, "| `{key}`<br>`{flag}`<br>`{variable}` | `{default}` | {help}. |").unwrap();
    }
    expect_between(GUIDE, "<!-- settings -->", "\n<!-- end of settings -->", &table);
}

#[test]
fn every_name_follows_from_the_key() {
    for setting in setting::all() {
        let id = setting.key.rsplit('.').next().unwrap();
        assert_eq!(setting.flag(), format!("--{}", id.replace('_', "-")));
        assert_eq!(setting.variable(), format!("FUSEBOARD_{}", id.to_uppercase()));
    }
}

#[test]
fn the_guides_examples_are_good_files() {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let blocks: Vec<&str> = guide.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert_ne!(file::parse(block, Path::new(GUIDE)).unwrap(), File::default(), "{block}");
    }
}

#[test]
fn the_examples_of_webhooks_and_identities_are_good_files() {
    for guide in ["/docs/notifications.md", "/docs/security.md"] {
        let path = format!("{}{guide}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let files: Vec<File> = blocks.map(|block| file::parse(block, Path::new(&path)).unwrap()).collect();
        assert!(files.iter().any(|file| !file.webhooks.is_empty() || !file.identities.is_empty()), "{guide}");
    }
}

#[test]
fn the_example_file_shows_every_setting_with_its_help_and_default() {
    let mut expected = String::new();
    for setting in setting::all() {
        let (table, name) = setting.key.split_once('.').unwrap_or(("", &setting.key));
        if !table.is_empty() && !expected.contains(&format!("[{LIMITS}]")) {
            write!(expected, "\n# What is bounded. At a bound there is a clear error, and what is there goes on working.\n[{table}]\n").unwrap();
        }
        write!(expected, "\n{}#{name} = {}\n", comment(&setting.help()), toml_value(setting.default())).unwrap();
    }
    expect_between(EXAMPLE, "# Settings\n", "\n# Policies\n", &expected);
}

/// A text as lines of comments.
fn comment(text: &str) -> String {
    let mut comment = String::from("#");
    let mut width = 1;
    for word in text.split(' ') {
        if width + 1 + word.len() > 100 {
            comment.push_str("\n#");
            width = 1;
        }
        write!(comment, " {word}").unwrap();
        width += 1 + word.len();
    }
    comment + ".\n"
}

#[test]
fn the_example_file_changes_nothing() {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    assert_eq!(file::parse(&text, Path::new(EXAMPLE)).unwrap(), File::default());
}

#[test]
fn the_example_file_shows_the_defaults() {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    let commented_out = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line != "#";
    let lines = text.lines().map(|line| if commented_out(line) { &line[1..] } else { line });
    let file = file::parse(&lines.collect::<Vec<_>>().join("\n"), Path::new(EXAMPLE)).unwrap();
    let settings = setting::all();
    let texts = settings.iter().map(|setting| (setting, OsStr::new(&file.settings[&setting.key].0)));
    assert_eq!(setting::read(texts).unwrap(), Config::default());
    assert_eq!(file.policies.default, policies::complete(&PolicySpec::default()));
    assert!(!file.policies.by_pattern.is_empty());
}

#[test]
fn the_defaults_are_the_engines_and_the_transports() {
    let Config { limits, drain_grace, .. } = Config::default();
    let engine = crate::engine::Limits::default();
    assert_eq!(limits.max_breakers, engine.breakers as usize);
    assert_eq!(limits.max_request_ids, engine.request_ids);
    assert_eq!(limits.max_batch_clients, engine.batch_clients);
    assert_eq!(limits.batch_retention, engine.batch_retention);
    assert_eq!(limits.max_callers, engine.callers);
    assert_eq!(limits.max_policies, engine.policies);
    assert_eq!(limits.max_tokens, engine.tokens);
    assert_eq!(limits.event_log_events, engine.events);
    assert_eq!(limits.max_watchers as u64, engine.watchers);
    assert_eq!(limits.permit_ledger_bytes, engine.ledger_bytes);
    assert_eq!(limits.statistics_bytes, engine.statistics_bytes);
    assert_eq!(limits.max_watch_keys, engine.watch_keys);
    assert_eq!(limits.max_handles, engine.handles);
    assert_eq!(limits.breaker_idle, engine.breaker_idle);
    assert_eq!(FairShare::percent(limits.fair_share_percent), FairShare::default());
    assert_eq!(engine.fair_share, FairShare::default());
    let grpc = crate::grpc::Limits::default();
    assert_eq!(grpc.fair_share, FairShare::default());
    assert_eq!(limits.max_connections, grpc.connections);
    assert_eq!(limits.max_in_flight, grpc.calls);
    assert_eq!(limits.max_connections + limits.max_watchers, grpc.streams);
    assert_eq!(limits.max_connections, grpc.health_watches);
    assert_eq!(limits.unread_bytes, grpc.unread_bytes);
    assert_eq!(limits.max_streams_per_connection, grpc.streams_per_connection);
    assert_eq!(limits.unary_message_bytes, grpc.unary_message_bytes);
    assert_eq!(limits.batch_message_bytes, grpc.batch_message_bytes);
    assert_eq!(limits.header_list_bytes, grpc.header_list_bytes);
    assert_eq!(limits.send_buffer_bytes, grpc.send_buffer_bytes);
    assert_eq!(drain_grace, grpc.drain_grace);
    let http = crate::http::Limits::default();
    assert_eq!(http.fair_share, FairShare::default());
    assert_eq!(limits.max_http_connections, http.connections);
    assert_eq!(limits.max_http_in_flight, http.requests);
    assert_eq!(limits.max_http_streams, http.streams);
    assert_eq!(limits.metrics_breakers, http.metrics_breakers);
}

#[test]
fn every_setting_that_a_refusal_names_exists_and_fixed_limits_name_none() {
    let settings: Vec<String> = setting::all().into_iter().map(|setting| setting.key).collect();
    // `limits.max_breakers` of "…, or raise limits.max_breakers or limits.max_callers".
    let named = |text: &str| -> Vec<String> {
        let rest = text.split_once("raise ").map_or("", |(_, rest)| rest);
        rest.split(' ').filter(|word| word.starts_with("limits.")).map(str::to_owned).collect()
    };
    let mut fixed = Vec::new();
    for limit in limit::ALL {
        let pool = Pool::new(*limit, 0, FairShare::default());
        let refused = pool.add(&Holder::server(), 1).expect_err("there is no room");
        for message in [refused.to_string(), limit.reached(1).to_string()] {
            let named = named(&message);
            assert!(named.iter().all(|name| settings.contains(name)), "{message}");
            assert_eq!(named.len(), limit.settings.len(), "{message}");
            assert_eq!(named.is_empty(), !message.contains("raise"), "{message}");
        }
        if limit.settings.is_empty() {
            fixed.push(limit.name);
        }
        let own = limit.settings == [limit.name];
        assert_eq!(
            own,
            settings.contains(&format!("{LIMITS}.{}", limit.name)),
            "{} is named as its setting",
            limit.name
        );
    }
    let expected = [
        "operator_calls",
        "reflection_streams",
        "unsent_bytes",
        "frame_items",
        "frame_tallies",
        "http_operator_requests",
        "dashboard_sessions",
        "listings",
        "overrides",
        "webhook_tests",
    ];
    assert_eq!(fixed, expected);
}

#[test]
fn no_text_of_the_server_names_a_limit_that_is_no_setting() {
    fn visit(directory: &Path, each: &mut impl FnMut(&Path, &str)) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, each);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                each(&path, &fs::read_to_string(&path).unwrap());
            }
        }
    }
    let settings: Vec<String> = setting::all().into_iter().map(|setting| setting.key).collect();
    let mut seen = 0;
    visit(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut |path, text| {
        for rest in text.split(concat!("raise ", "limits.")).skip(1) {
            let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            let name: String = rest.chars().take_while(|letter| is_name(*letter)).collect();
            assert!(name.is_empty() || settings.contains(&format!("{LIMITS}.{name}")), "{name} in {}", path.display());
            seen += 1;
        }
    });
    assert!(seen > 0);
}

/// The bounds in a help text: `1` and `10,000,000` of "Breakers. 1 to 10,000,000. Zero is invalid".
fn range(help: &str) -> Option<(&str, &str)> {
    let is_bound = |text: &str| text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(' ');
    help.split(". ")
        .filter_map(|sentence| sentence.split_once(" to "))
        .find(|(least, most)| is_bound(least) && is_bound(most))
}

/// The values just outside a range; no value is below zero.
fn beyond(least: &str, most: &str) -> Vec<String> {
    let outside = |least: u64, most: u64| [least.checked_sub(1), Some(most + 1)].into_iter().flatten();
    if let (Ok(least), Ok(most)) = (least.parse(), most.parse()) {
        return outside(least, most).map(|number: u64| number.to_string()).collect();
    }
    if let (Some(least), Some(most)) = (parse_bytes(least), parse_bytes(most)) {
        return outside(least, most).map(format_bytes).collect();
    }
    let (least, most) = (parse_duration(least).unwrap(), parse_duration(most).unwrap());
    let nanosecond = Duration::from_nanos(1);
    let outside = [least.checked_sub(nanosecond), Some(most + nanosecond)];
    outside.into_iter().flatten().map(|duration| humantime::format_duration(duration).to_string()).collect()
}

#[test]
fn the_ranges_that_help_tells_are_those_that_hold() {
    let takes = |setting: &Setting, text: &str| setting.check(OsStr::new(text)).is_ok();
    let mut without = Vec::new();
    for setting in setting::all() {
        let help = setting.help();
        let Some((least, most)) = range(&help) else {
            without.push(setting.key);
            continue;
        };
        let (least, most) = (least.replace(',', ""), most.replace(',', ""));
        assert!(takes(&setting, &least) && takes(&setting, &most), "{help}");
        for text in beyond(&least, &most) {
            assert!(!takes(&setting, &text), "{text} for {help}");
        }
        assert_eq!(takes(&setting, "0"), help.contains("Zero: "), "{help}");
        assert_eq!(!takes(&setting, "0"), help.contains("Zero is invalid"), "{help}");
    }
    assert_eq!(
        without,
        [
            "address",
            "http_address",
            "data_dir",
            "ephemeral",
            "on_damage",
            "on_clock_jump",
            "manual_clock",
            "tls_cert",
            "tls_key",
            "tls_client_ca",
            "tls_client_auth",
            "insecure_network",
            "admin_token_file",
            "log",
            "log_format",
            "otlp_endpoint"
        ]
    );
}
