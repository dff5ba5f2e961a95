//! Tables that are there once for each thing, `[[identity]]`: their fields checked one by one, then read by serde, with the line of
//! what is wrong.

use serde::{Deserialize, de::IntoDeserializer as _};
use toml::{Spanned, de::DeValue};

use super::{
    error::did_you_mean,
    file::{Key, Reader, describe},
};

/// A field of such a table.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) is_required: bool,
    pub(super) takes: Takes,
}

/// What a field takes: where it is not one of a list, in words that follow "must be".
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// A string.
    Text(&'static str),
    /// An array of strings.
    Texts(&'static str),
    /// One of these strings.
    One(&'static [&'static str]),
    /// An array of these strings.
    Some(&'static [&'static str]),
}

/// Every `[[name]]` with its line. What cannot be read is told, and left out.
pub(super) fn read<'i, T: Deserialize<'i>, Checked>(
    reader: &mut Reader<'_>,
    name: &str,
    fields: &[Field],
    key: &Key<'i>,
    value: &DeValue<'i>,
    check: impl Fn(T) -> Result<Checked, String>,
) -> Vec<(usize, Checked)> {
    let Some(entries) = value.as_array() else {
        reader.error_at(key, format!("{name} must be written as [[{name}]], not as {}", describe(value)));
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        if !has_good_fields(reader, name, fields, entry) {
            continue;
        }
        let table = match T::deserialize(Spanned::clone(entry).into_deserializer()) {
            Ok(table) => table,
            Err(error) => {
                let at = error.span().unwrap_or_else(|| entry.span());
                reader.error(at.start, format!("{name}: {}", error.message().trim()));
                continue;
            }
        };
        match check(table) {
            Ok(checked) => found.push((reader.line(entry.span().start), checked)),
            Err(message) => reader.error_at(entry, format!("{name}: {message}")),
        }
    }
    found
}

/// Whether all fields are there that have to be, and no others, each with a value that it takes. What is wrong is told.
fn has_good_fields(reader: &mut Reader<'_>, name: &str, fields: &[Field], entry: &Spanned<DeValue<'_>>) -> bool {
    let Some(table) = entry.get_ref().as_table() else {
        reader.error_at(entry, format!("{name} must be written as [[{name}]], not as {}", describe(entry.get_ref())));
        return false;
    };
    let called = table.get("name").and_then(|value| value.get_ref().as_str());
    let which = called.map_or_else(|| name.to_owned(), |called| format!("{name} {called:?}"));
    let mut is_good = true;
    for (key, value) in table {
        let field = fields.iter().find(|field| field.name == key.get_ref().as_ref());
        let Some(field) = field else {
            let names = || fields.iter().map(|field| field.name);
            let meant = did_you_mean(key.get_ref(), names());
            let meant =
                if meant.is_empty() { format!(": it has {}", names().collect::<Vec<_>>().join(", ")) } else { meant };
            reader.error_at(key, format!("{which}: {} is not a field of [[{name}]]{meant}", key.get_ref()));
            is_good = false;
            continue;
        };
        if let Some(found) = field.takes.fault(value.get_ref()) {
            reader.error_at(value, format!("{which}: {} must be {}, not {found}", field.name, field.takes.words()));
            is_good = false;
        }
    }
    for field in fields.iter().filter(|field| field.is_required && !table.contains_key(field.name)) {
        reader.error_at(entry, format!("{which} has no {}: it must be {}", field.name, field.takes.words()));
        is_good = false;
    }
    is_good
}

impl Takes {
    /// What it takes, in words that follow "must be".
    fn words(self) -> String {
        let quoted =
            |known: &[&str], between| known.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(between);
        match self {
            Self::Text(words) | Self::Texts(words) => words.to_owned(),
            Self::One(known) => quoted(known, " or "),
            Self::Some(known) => format!("an array of {}", quoted(known, ", ")),
        }
    }

    /// What is found in the place of something that is taken.
    fn fault(self, value: &DeValue<'_>) -> Option<String> {
        let one = |value: &DeValue<'_>, known: Option<&[&str]>| match value {
            DeValue::String(text) if known.is_none_or(|known| known.contains(&text.as_ref())) => None,
            DeValue::String(text) => Some(format!("{text:?}")),
            other => Some(describe(other).to_owned()),
        };
        let known = match self {
            Self::Text(_) | Self::Texts(_) => None,
            Self::One(known) | Self::Some(known) => Some(known),
        };
        match (self, value) {
            (Self::Text(_) | Self::One(_), value) => one(value, known),
            (Self::Texts(_) | Self::Some(_), DeValue::Array(values)) => {
                values.iter().find_map(|value| one(value.get_ref(), known))
            }
            (Self::Texts(_) | Self::Some(_), other) => Some(describe(other).to_owned()),
        }
    }
}
