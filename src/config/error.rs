//! What is wrong with a configuration: everything at once, each with the place where it was written.

use std::fmt;

/// One thing that is wrong, and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}{message}")]
pub struct Error {
    /// Where it was written, with what follows it: `--threads `, `FUSEBOARD_THREADS `, `fuseboard.toml:12: `.
    place: String,
    /// What is wrong and what is allowed; names the key where the place does not.
    message: String,
}

impl Error {
    pub(super) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// Everything that is wrong with a configuration; at least one error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// `value`, where nothing is wrong.
    pub(super) fn none_or<T>(errors: Vec<Error>, value: T) -> Result<T, Self> {
        if errors.is_empty() { Ok(value) } else { Err(Self(errors)) }
    }

    /// The errors: flags and environment first, then the file's in the order of its lines.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Errors {
    /// A line for each.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// ": did you mean …?" where one of `known` is much like `name`, else nothing. Tables are not compared: a limit is often
/// written without its own.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let key = |path: &str| path.rsplit('.').next().unwrap_or(path).to_lowercase().replace('-', "_");
    let name = key(name);
    let scored = known.into_iter().map(|candidate| (strsim::jaro_winkler(&name, &key(candidate)), candidate));
    scored
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map_or_else(String::new, |(_, candidate)| format!(": did you mean {candidate}?"))
}
