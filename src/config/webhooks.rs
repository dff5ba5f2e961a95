//! `[[webhook]]`: where events are sent.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::de::DeValue;

use super::{
    file::{Key, Reader},
    policies::check_pattern,
    tables::{self, Field, Takes},
    value::parse_duration,
};
use crate::{
    breaker::Kind,
    engine::EventKind,
    notify::{Shape, Webhook},
};

/// The tables that say where.
pub(super) const WEBHOOK: &str = "webhook";

const NAME_BYTES_MAX: usize = 64;
const WEBHOOKS_MAX: usize = 100;
const RETRY_FOR_DEFAULT: Duration = Duration::from_secs(3600);
const RETRY_FOR_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const FIELDS: &[Field] = &[
    Field { name: "name", is_required: true, takes: Takes::Text("a string") },
    Field { name: "url", is_required: true, takes: Takes::Text("a string that begins with http:// or https://") },
    Field { name: "format", is_required: false, takes: Takes::One(&["cloudevents", "slack"]) },
    Field { name: "patterns", is_required: false, takes: Takes::Texts("an array of strings, as [\"payments/*\"]") },
    Field { name: "kinds", is_required: false, takes: Takes::Texts("an array of strings, as [\"opened\"]") },
    Field { name: "secret_file", is_required: false, takes: Takes::Text("a string, the path of a file") },
    Field { name: "retry_for", is_required: false, takes: Takes::Text("a length of time in quotes, as \"1h\"") },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    url: String,
    #[serde(default)]
    format: Shape,
    #[serde(default)]
    patterns: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
    secret_file: Option<PathBuf>,
    retry_for: Option<String>,
}

/// Reads every `[[webhook]]`, with its line.
pub(super) fn read<'i>(reader: &mut Reader<'_>, key: &Key<'i>, value: &DeValue<'i>) -> Vec<(usize, Webhook)> {
    let webhooks = tables::read(reader, WEBHOOK, FIELDS, key, value, check);
    let mut names: Vec<&str> = webhooks.iter().map(|(_, webhook)| webhook.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        reader.error_at(key, format!("{WEBHOOK}: {:?} is there twice", twice[0]));
    }
    if webhooks.len() > WEBHOOKS_MAX {
        reader.error_at(key, format!("{WEBHOOK}: there may be {WEBHOOKS_MAX}, not {}", webhooks.len()));
    }
    webhooks
}

fn check(table: Table) -> Result<Webhook, String> {
    let Table { name, url, format, patterns, kinds, secret_file, retry_for } = table;
    let in_alphabet = |char: char| char.is_ascii_alphanumeric() || "._-:/".contains(char);
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.chars().all(in_alphabet) {
        return Err(format!("name must be 1 to {NAME_BYTES_MAX} bytes of A-Z a-z 0-9 . _ - : and /, not {name:?}"));
    }
    let uri: http::Uri = url.parse().map_err(|error| format!("{name}: url: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(format!("{name}: url must begin with http:// or https:// and name a host"));
    }
    for pattern in &patterns {
        check_pattern(pattern).map_err(|why| format!("{name}: patterns: {pattern:?} {why}"))?;
    }
    let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::name).chain([EventKind::Deleted.name()]).collect();
    if let Some(other) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(format!("{name}: kinds: {other:?} is none of {}", known.join(", ")));
    }
    let retry_for = match retry_for {
        None => RETRY_FOR_DEFAULT,
        Some(text) => parse_duration(&text).map_err(|why| format!("{name}: retry_for {why}"))?,
    };
    if retry_for > RETRY_FOR_MAX {
        return Err(format!("{name}: retry_for must be 0 to 7 days"));
    }
    Ok(Webhook { name, url, shape: format, patterns, kinds, secret_file, retry_for })
}
