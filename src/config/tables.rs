//! Tables that are there once for each thing, `[[identity]]`: read by serde, with the line of what is wrong.

use serde::{Deserialize, de::IntoDeserializer as _};
use toml::{Spanned, de::DeValue};

use super::file::{Key, Reader, describe};

/// Every `[[name]]`, with where it stands. What cannot be read is told, and left out.
pub(super) fn read<'i, T: Deserialize<'i>, Checked>(
    reader: &mut Reader<'_>,
    name: &str,
    key: &Key<'i>,
    value: &DeValue<'i>,
    check: impl Fn(T) -> Result<Checked, String>,
) -> Vec<Checked> {
    let Some(entries) = value.as_array() else {
        reader.error_at(key, format!("{name} must be written as [[{name}]], not as {}", describe(value)));
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let table = match T::deserialize(Spanned::clone(entry).into_deserializer()) {
            Ok(table) => table,
            Err(error) => {
                let at = error.span().unwrap_or_else(|| entry.span());
                reader.error(at.start, format!("{name}: {}", error.message().trim()));
                continue;
            }
        };
        match check(table) {
            Ok(checked) => found.push(checked),
            Err(message) => reader.error_at(entry, format!("{name}: {message}")),
        }
    }
    found
}
