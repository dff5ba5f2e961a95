//! The settings one by one, as [`Config`] describes them to clap.

use std::{
    error::Error as _,
    ffi::{OsStr, OsString},
};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches as _, error::ErrorKind, parser::ValueSource};

use super::{Config, Limits};

/// The table of the configuration file that [`Limits`] is read from.
pub(super) const LIMITS: &str = "limits";

/// One setting: its name in each layer, its default, and what it takes.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    arg: Arg,
    /// Its key in the file, with its table: `limits.max_breakers`.
    pub(super) key: String,
}

/// Every setting, in the order of [`Config`].
pub(super) fn all() -> Vec<Setting> {
    let limits = Limits::augment_args(Command::new(LIMITS));
    let is_limit = |id: &str| limits.get_arguments().any(|limit| limit.get_id() == id);
    let setting = |arg: &Arg| {
        let id = arg.get_id().as_str();
        let key = if is_limit(id) { format!("{LIMITS}.{id}") } else { id.to_owned() };
        Setting { arg: arg.clone(), key }
    };
    Config::augment_args(Command::new("fuseboard")).get_arguments().map(setting).collect()
}

/// A command with the settings' texts taken as they are, so that [`Setting::check`] can find all errors, and not only
/// clap's first. Its help names the variables and keeps their values to itself.
pub(super) fn unread(command: Command) -> Command {
    all().iter().fold(command, |command, setting| {
        command
            .mut_arg(setting.arg.get_id(), |arg| arg.value_parser(clap::value_parser!(OsString)).hide_env_values(true))
    })
}

/// The configuration that is made of one text for each setting, and of defaults for the others.
pub(super) fn read<'a>(texts: impl IntoIterator<Item = (&'a Setting, &'a OsStr)>) -> Result<Config, clap::Error> {
    let command = Config::augment_args(bare()).mut_args(|arg| arg.env(None));
    let typed = texts.into_iter().map(|(setting, text)| setting.typed(text));
    Config::from_arg_matches(&command.try_get_matches_from(typed)?)
}

impl Setting {
    /// `--max-breakers`.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.arg.get_long().unwrap_or_default())
    }

    /// `FUSEBOARD_MAX_BREAKERS`.
    pub(super) fn variable(&self) -> &str {
        self.arg.get_env().and_then(OsStr::to_str).unwrap_or_default()
    }

    /// What it means, its range, and what zero does.
    #[cfg(test)]
    pub(super) fn help(&self) -> String {
        self.arg.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// The default, as it would be typed.
    pub(super) fn default(&self) -> &OsStr {
        self.arg.get_default_values().first().map_or_else(|| OsStr::new(""), |value| value.as_os_str())
    }

    /// The text that a flag or the environment gives, and which of the two. An empty variable gives nothing.
    pub(super) fn given<'a>(&self, matches: &'a ArgMatches) -> Option<(&'a OsStr, ValueSource)> {
        given(matches, self.arg.get_id().as_str())
    }

    /// Whether a text is a value of this setting; else what would be.
    pub(super) fn check(&self, text: &OsStr) -> Result<(), String> {
        let command = bare().arg(self.arg.clone().env(None));
        let Err(error) = command.try_get_matches_from([self.typed(text)]) else { return Ok(()) };
        Err(match (error.kind(), error.source()) {
            (ErrorKind::InvalidUtf8, _) => "must be UTF-8".to_owned(),
            (_, Some(reason)) => reason.to_string(),
            (_, None) => format!("must be {}, not {text:?}", self.choices()),
        })
    }

    /// `text or json`.
    fn choices(&self) -> String {
        let values = self.arg.get_possible_values();
        values.iter().map(|value| value.get_name()).collect::<Vec<_>>().join(" or ")
    }

    /// The text as it would be typed on the command line.
    fn typed(&self, text: &OsStr) -> OsString {
        let mut typed = OsString::from(self.flag());
        typed.push("=");
        typed.push(text);
        typed
    }
}

/// What a flag or the environment gives for an argument. An empty variable gives nothing, as those who write
/// `FUSEBOARD_THREADS=` mean.
pub(super) fn given<'a>(matches: &'a ArgMatches, id: &str) -> Option<(&'a OsStr, ValueSource)> {
    let source = matches.value_source(id)?;
    let text = matches.get_raw(id)?.next()?;
    match source {
        ValueSource::CommandLine => Some((text, source)),
        ValueSource::EnvVariable if !text.is_empty() => Some((text, source)),
        _ => None,
    }
}

fn bare() -> Command {
    Command::new("fuseboard").no_binary_name(true).disable_help_flag(true)
}
