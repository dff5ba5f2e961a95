//! The configuration file: TOML, read with the line of everything in it.
//!
//! A file is wrong as a whole: an unknown key, a setting out of its range or a policy at fault refuses all of it, also
//! where a flag would have won. So a reload of a bad file changes nothing.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{
    error::{Error, Errors, did_you_mean},
    identities::{self, Identity},
    policies::{self, PolicyFile},
    setting::{self, LIMITS, Setting},
    webhooks,
};
use crate::notify::Webhook;

/// A key or value with the place where it stands.
pub(super) type Key<'i> = Spanned<toml::de::DeString<'i>>;

/// A configuration file that is good.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct File {
    /// The settings in it by their key, each as it would be typed, with its line.
    pub(super) settings: BTreeMap<String, (String, usize)>,
    /// The policies in it.
    pub(super) policies: PolicyFile,
    /// The identities in it.
    pub(super) identities: Vec<Identity>,
    /// The webhooks in it.
    pub(super) webhooks: Vec<Webhook>,
    /// The line of each.
    pub(super) webhook_lines: Vec<usize>,
}

/// What of a configuration file takes effect while the server runs.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ReadAgain {
    /// Its policies.
    pub policies: PolicyFile,
    /// Its identities.
    pub identities: Vec<Identity>,
}

impl ReadAgain {
    /// Reads a configuration file again. The whole file is checked, its settings too; these take effect at the next start
    /// only.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or more policies than `max`: then nothing of it is to be used.
    pub fn load(path: &Path, max: usize) -> Result<Self, Errors> {
        let File { policies, identities, .. } = read(path, "the configuration ")?;
        policies.check_count(path, max)?;
        policies.check_open_durations(path)?;
        Ok(Self { policies, identities })
    }
}

/// Reads a file, whose path was given at `place`.
pub(super) fn read(path: &Path, place: &str) -> Result<File, Errors> {
    let text = fs::read_to_string(path)
        .map_err(|error| Error::new(place, format!("names {}, which cannot be read: {error}", path.display())))?;
    parse(&text, path)
}

/// The policies of a file that holds nothing else.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_policies(text: &str, path: &Path) -> Result<PolicyFile, Errors> {
    let file = parse(text, path)?;
    if file == (File { policies: file.policies.clone(), ..File::default() }) {
        return Ok(file.policies);
    }
    Err(Error::new(format!("{}: ", path.display()), "holds more than policies: settings are the server's own").into())
}

/// Reads the text of a file.
pub(super) fn parse(text: &str, path: &Path) -> Result<File, Errors> {
    let mut reader = Reader { text, path: path.to_owned(), errors: Vec::new() };
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in syntax {
        let offset = error.span().map_or(0, |span| span.start);
        match reader.without_value(offset) {
            Some((offset, key)) => {
                reader.error(offset, format!("{key} has no value: write one after the =, or remove the line"));
            }
            None => reader.error(offset, error.message().trim()),
        }
    }
    // One mistake can be several errors of the syntax.
    reader.errors.dedup();
    // What stands behind a syntax error may be anything: telling about it would mislead.
    let file = if reader.errors.is_empty() { reader.file(document.get_ref()) } else { File::default() };
    reader.errors.sort_by_key(|(line, _)| *line);
    Errors::none_or(reader.errors.into_iter().map(|(_, error)| error).collect(), file)
}

/// Reads a document on to its end, and keeps what is wrong.
pub(super) struct Reader<'t> {
    text: &'t str,
    path: PathBuf,
    errors: Vec<(usize, Error)>,
}

impl Reader<'_> {
    fn file<'i>(&mut self, document: &DeTable<'i>) -> File {
        let settings = setting::all();
        let mut file = File::default();
        for (key, value) in document {
            match (key.get_ref().as_ref(), value.get_ref()) {
                (LIMITS, DeValue::Table(limits)) => {
                    for (limit, value) in limits {
                        let name = format!("{LIMITS}.{}", limit.get_ref());
                        self.setting(&settings, &name, limit, value, &mut file);
                    }
                }
                (LIMITS, other) => self.error_at(key, format!("{LIMITS} must be a table, not {}", describe(other))),
                (policies::DEFAULT, value) => file.policies.default = policies::default(self, key, value),
                (policies::BY_PATTERN, value) => file.policies.by_pattern = policies::by_pattern(self, key, value),
                (identities::IDENTITY, value) => file.identities = identities::read(self, key, value),
                (webhooks::WEBHOOK, value) => {
                    (file.webhook_lines, file.webhooks) = webhooks::read(self, key, value).into_iter().unzip();
                }
                (name, _) => self.setting(&settings, name, key, value, &mut file),
            }
        }
        file
    }

    fn setting(
        &mut self,
        settings: &[Setting],
        name: &str,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
        file: &mut File,
    ) {
        let Some(setting) = settings.iter().find(|setting| setting.key == name) else {
            let tables = [LIMITS, policies::DEFAULT, policies::BY_PATTERN, identities::IDENTITY, webhooks::WEBHOOK];
            let known = settings.iter().map(|setting| setting.key.as_str()).chain(tables);
            return self.error_at(key, format!("{name} is not a setting{}", did_you_mean(name, known)));
        };
        let checked = scalar(value.get_ref()).and_then(|text| setting.check(OsStr::new(&text)).map(|()| text));
        match checked {
            Ok(text) => _ = file.settings.insert(name.to_owned(), (text, self.line(value.span().start))),
            Err(message) => self.error_at(value, format!("{name} {message}")),
        }
    }

    /// Where the line begins that is at fault for a syntax error at an offset, and its key, if nothing is written behind its `=`.
    /// The error may be found where the next line begins.
    fn without_value(&self, offset: usize) -> Option<(usize, String)> {
        let end = |from: usize| self.text[from..].find('\n').map_or(self.text.len(), |length| from + length);
        let this = self.text.get(..offset)?.rfind('\n').map_or(0, |index| index + 1);
        let before = self.text[..this.saturating_sub(1)].rfind('\n').map_or(0, |index| index + 1);
        let lines = if offset == this { vec![this, before] } else { vec![this] };
        lines.into_iter().find_map(|start| {
            let (key, value) = self.text[start..end(start)].split_once('=')?;
            let value = value.trim();
            let is_key = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
            let is_empty = value.is_empty() || value.starts_with('#');
            (is_empty && key.trim().chars().all(is_key)).then(|| (start, key.trim().to_owned()))
        })
    }

    /// Keeps an error about something in the file; the message names it.
    pub(super) fn error_at<T>(&mut self, what: &Spanned<T>, message: impl Into<String>) {
        self.error(what.span().start, message);
    }

    pub(super) fn error(&mut self, offset: usize, message: impl Into<String>) {
        let line = self.line(offset);
        self.errors.push((line, Error::new(format!("{}:{line}: ", self.path.display()), message)));
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
    }
}

/// A single value as it would be typed on the command line.
fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => integer(number).map(|number| number.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        other => Err(format!("must be a single value, not {}", describe(other))),
    }
}

pub(super) fn integer(number: &DeInteger<'_>) -> Result<i128, String> {
    i128::from_str_radix(number.as_str(), number.radix()).map_err(|_| format!("is too large a number: {number}"))
}

/// A value's type with its article.
pub(super) fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
