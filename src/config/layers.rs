//! The layers of the configuration, and which of them each value comes from.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Command, parser::ValueSource};

use super::{
    Config,
    error::{Error, Errors, did_you_mean},
    file::{self, File},
    identities, policies,
    setting::{self, Setting},
    value, webhooks,
};

/// What every variable of ours begins with.
const PREFIX: &str = "FUSEBOARD_";
/// The argument that names the file.
const FILE: &str = "config";
/// The flag and the variable that name the file.
const FILE_NAMES: (&str, &str) = ("--config", "FUSEBOARD_CONFIG");

/// A configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What to tell the operator: it is valid, and yet may not be what was meant.
    pub warnings: Vec<String>,
    chosen: Vec<Chosen>,
    /// The line of each webhook in the file.
    webhook_lines: Vec<usize>,
}

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Origin {
    Flag(String),
    Variable(String),
    File(PathBuf, usize),
    Default,
}

impl Origin {
    /// How an error about the setting begins; it names the key, and the line if it has one.
    fn place(&self, key: &str) -> String {
        match self {
            Self::Flag(name) | Self::Variable(name) => format!("{name} "),
            Self::File(..) => format!("{self}: {key} "),
            Self::Default => format!("{key} "),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => formatter.write_str(name),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// The text of the strongest layer that has one.
#[derive(Clone, Debug)]
struct Chosen {
    setting: Setting,
    text: OsString,
    origin: Origin,
}

/// A command that has [`Config`]'s arguments and one named `config`, changed so that [`load`] can read its matches.
#[must_use]
pub fn unread(command: Command) -> Command {
    setting::unread(command).mut_arg(FILE, |arg| arg.value_parser(clap::value_parser!(OsString)).hide_env_values(true))
}

/// The configuration that the matches of an [`unread`] command make with the file they name.
///
/// # Errors
/// Everything that is wrong in any layer.
pub fn load(matches: &ArgMatches) -> Result<Loaded, Errors> {
    let mut errors = Vec::new();
    let chosen: Vec<Chosen> = setting::all().into_iter().map(|setting| Chosen::typed(setting, matches)).collect();
    for Chosen { setting, text, origin } in &chosen {
        if let Err(message) = setting.check(text) {
            errors.push(Error::new(origin.place(&setting.key), message));
        }
    }
    let path = setting::given(matches, FILE).map(|(path, source)| (PathBuf::from(path), source));
    let file = read_file(path.as_ref(), &mut errors);
    Errors::none_or(errors, ())?;
    let path = path.map(|(path, _)| path);
    let chosen = chosen.into_iter().map(|chosen| chosen.or_from(&file, path.as_deref())).collect();
    combine(chosen, file, path)
}

fn read_file(path: Option<&(PathBuf, ValueSource)>, errors: &mut Vec<Error>) -> File {
    let Some((path, source)) = path else { return File::default() };
    let place = if *source == ValueSource::CommandLine { FILE_NAMES.0 } else { FILE_NAMES.1 };
    file::read(path, &format!("{place} ")).unwrap_or_else(|found| {
        errors.extend(found.iter().cloned());
        File::default()
    })
}

fn combine(mut chosen: Vec<Chosen>, file: File, path: Option<PathBuf>) -> Result<Loaded, Errors> {
    let texts = chosen.iter().map(|chosen| (&chosen.setting, chosen.text.as_os_str()));
    let config = setting::read(texts).map_err(|error| Error::new("", error.to_string()))?;
    let config =
        Config { policies: file.policies, identities: file.identities, webhooks: file.webhooks, file: path, ..config };
    let webhook_lines = file.webhook_lines;
    let too_many = config.file.as_ref().map(|path| config.policies.check_count(path, config.limits.max_policies));
    let too_short = config.file.as_ref().map(|path| config.policies.check_open_durations(path));
    let errors = [
        check_clock(&config, &chosen).err(),
        check_home(&config, &chosen).err(),
        check_tls(&config, &chosen).err(),
        check_network(&config, &chosen).err(),
        too_many.and_then(Result::err),
        too_short.and_then(Result::err),
    ];
    let warnings = config.warnings().into_iter().chain(misspelt_variables(&chosen)).collect();
    if let (Some(home), Some(data_dir)) = (config.home(), chosen.iter_mut().find(|it| it.setting.key == "data_dir")) {
        data_dir.text = home.into();
    }
    Errors::none_or(errors.into_iter().flatten().collect(), Loaded { config, warnings, chosen, webhook_lines })
}

/// Whoever reaches a manual clock can end every open period: it stays on the machine.
fn check_clock(config: &Config, chosen: &[Chosen]) -> Result<(), Error> {
    if !config.manual_clock || config.address.ip().is_loopback() {
        return Ok(());
    }
    let (address, set_by) = (config.address, origin(chosen, "address"));
    Err(Error::new(
        origin(chosen, "manual_clock").place("manual_clock"),
        format!("is for tests and needs a loopback address, as 127.0.0.1:50051; the address is {address} ({set_by})"),
    ))
}

/// Who names a directory wants something kept there.
fn check_home(config: &Config, chosen: &[Chosen]) -> Result<(), Error> {
    let named = chosen.iter().find(|it| it.setting.key == "data_dir" && it.text != value::AUTO);
    let (None, Some(named)) = (config.home(), named) else { return Ok(()) };
    let key = if config.ephemeral { "ephemeral" } else { "manual_clock" };
    Err(Error::new(
        origin(chosen, key).place(key),
        format!(
            "keeps nothing, and yet data_dir is {} ({}): leave out one of them",
            named.text.display(),
            named.origin
        ),
    ))
}

/// A certificate is nothing without its key, nor an authority without a certificate of ours.
fn check_tls(config: &Config, chosen: &[Chosen]) -> Result<(), Error> {
    let (cert, key) = (config.tls_cert.path(), config.tls_key.path());
    if !config.identities.is_empty() && config.tls_client_ca.path().is_none() {
        return Err(Error::new("", "[[identity]] is about client certificates and needs tls_client_ca, which is off"));
    }
    let (given, missing) = match (cert, key, config.tls_client_ca.path()) {
        (Some(_), None, _) => ("tls_cert", "tls_key"),
        (None, Some(_), _) => ("tls_key", "tls_cert"),
        (None, None, Some(_)) => ("tls_client_ca", "tls_cert"),
        _ => return Ok(()),
    };
    Err(Error::new(origin(chosen, given).place(given), format!("needs {missing}, which is off")))
}

/// Who reaches an open port can do whatever it takes: that must be meant.
fn check_network(config: &Config, chosen: &[Chosen]) -> Result<(), Error> {
    // A manual clock has an error of its own there.
    if config.insecure_network || config.manual_clock || config.tls_cert.path().is_some() {
        return Ok(());
    }
    let Some(address) = config.network_addresses().next() else { return Ok(()) };
    let key = if address == config.address { "address" } else { "http_address" };
    Err(Error::new(
        origin(chosen, key).place(key),
        format!(
            "is {address}, which others than this machine can reach, and there is no TLS: set tls_cert and tls_key, or \
             insecure_network where something else protects the network"
        ),
    ))
}

/// Where a setting was written.
fn origin<'a>(chosen: &'a [Chosen], key: &str) -> &'a Origin {
    chosen.iter().find(|chosen| chosen.setting.key == key).map_or(&Origin::Default, |it| &it.origin)
}

impl Chosen {
    /// What a flag or the environment says, else the default.
    fn typed(setting: Setting, matches: &ArgMatches) -> Self {
        let (text, origin) = match setting.given(matches) {
            Some((text, ValueSource::CommandLine)) => (text, Origin::Flag(setting.flag())),
            Some((text, _)) => (text, Origin::Variable(setting.variable().to_owned())),
            None => (setting.default(), Origin::Default),
        };
        Self { text: text.to_owned(), origin, setting }
    }

    /// What the file says, where so far it is the default.
    fn or_from(self, file: &File, path: Option<&Path>) -> Self {
        match (&self.origin, file.settings.get(&self.setting.key), path) {
            (Origin::Default, Some((text, line)), Some(path)) => {
                Self { text: text.into(), origin: Origin::File(path.to_owned(), *line), ..self }
            }
            _ => self,
        }
    }

    /// `key = value # origin`, without the table's name.
    fn line(&self) -> String {
        let name = self.setting.key.rsplit('.').next().unwrap_or_default();
        format!("{name} = {} # {}", toml_value(&self.text), self.origin)
    }
}

/// A number or boolean bare, anything else in quotes.
pub(super) fn toml_value(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    match text.replace('_', "").parse::<u64>() {
        Ok(number) => number.to_string(),
        Err(_) if text == "true" || text == "false" => text.into_owned(),
        Err(_) => toml::Value::String(text.into_owned()).to_string(),
    }
}

/// Variables that look like a setting's name and are none. Others beside ours may begin alike (Kubernetes sets
/// `FUSEBOARD_PORT` for a service of that name), so only a near miss is told, and it is no error.
fn misspelt_variables(chosen: &[Chosen]) -> Vec<String> {
    let known: Vec<&str> = chosen.iter().map(|chosen| chosen.setting.variable()).chain([FILE_NAMES.1]).collect();
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown = names.filter(|name| name.starts_with(PREFIX) && !known.contains(&name.as_str()));
    let warn = |name: String| {
        // Compared without the prefix: it would make all of them alike.
        let candidates = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
        let suggestion = did_you_mean(&name[PREFIX.len()..], candidates);
        let meant = suggestion.strip_prefix(": did you mean ")?;
        Some(format!("{name} is set, but is not a setting: did you mean {PREFIX}{meant}"))
    };
    unknown.filter_map(warn).collect()
}

impl Loaded {
    /// Where a setting was written, as errors about it begin: `--tls-cert: `, `fuseboard.toml:3: `.
    #[must_use]
    pub fn place(&self, key: &str) -> String {
        match origin(&self.chosen, key) {
            Origin::Default => String::new(),
            written => format!("{written}: "),
        }
    }

    /// The same for a webhook, by its index.
    #[must_use]
    pub fn webhook_place(&self, index: usize) -> String {
        let place = self.config.file.as_ref().zip(self.webhook_lines.get(index));
        place.map_or_else(String::new, |(path, line)| format!("{}:{line}: ", path.display()))
    }

    /// The configuration as a TOML file, with where each value comes from as a comment.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let is_limit = |chosen: &&Chosen| chosen.setting.key.contains('.');
        let mut toml = String::new();
        for chosen in self.chosen.iter().filter(|chosen| !is_limit(chosen)) {
            push(&mut toml, &chosen.line());
        }
        push(&mut toml, &format!("\n[{}]", setting::LIMITS));
        for chosen in self.chosen.iter().filter(is_limit) {
            push(&mut toml, &chosen.line());
        }
        self.push_policies(&mut toml);
        self.push_identities(&mut toml);
        self.push_webhooks(&mut toml);
        toml
    }

    fn push_identities(&self, toml: &mut String) {
        for identity in &self.config.identities {
            let roles: Vec<&str> = identity.roles.iter().map(|role| role.name()).collect();
            push(toml, &format!("\n[[{}]]\nname = {:?}", identities::IDENTITY, identity.name));
            push(toml, &format!("certificate = {:?}\nroles = {roles:?}", identity.certificate));
            push(toml, &format!("prefixes = {:?}\ncaller = {:?}", identity.prefixes, identity.caller));
        }
    }

    fn push_webhooks(&self, toml: &mut String) {
        for webhook in &self.config.webhooks {
            let (name, format, receiver) = (&webhook.name, webhook.shape.name(), webhook.receiver());
            let is_whole = webhook.url.trim_end_matches('/') == receiver;
            let hidden = if is_whole { "" } else { " # the rest is not printed: it may be a secret" };
            push(toml, &format!("\n[[{}]]\nname = {name:?}\nurl = {receiver:?}{hidden}", webhooks::WEBHOOK));
            push(toml, &format!("format = {format:?}"));
            push(toml, &format!("patterns = {:?}\nkinds = {:?}", webhook.patterns, webhook.kinds));
            push(toml, &format!("retry_for = {:?}", value::format_duration(webhook.retry_for)));
            if let Some(path) = &webhook.secret_file {
                push(toml, &format!("secret_file = {:?}", path.display().to_string()));
            }
        }
    }

    fn push_policies(&self, toml: &mut String) {
        let file = self.config.file.as_deref().map_or_else(String::new, |path| path.display().to_string());
        let written = &self.config.policies.default;
        push(toml, &format!("\n[{}]", policies::DEFAULT));
        for (name, value) in policies::lines(&policies::complete(written)) {
            let is_written = policies::lines(written).any(|(other, _)| other == name);
            push(toml, &format!("{name} = {value} # {}", if is_written { &file } else { "default" }));
        }
        for (pattern, spec) in &self.config.policies.by_pattern {
            push(toml, &format!("\n[[{}]] # {file}\npattern = {pattern:?}", policies::BY_PATTERN));
            for (name, value) in policies::lines(spec) {
                push(toml, &format!("{name} = {value}"));
            }
        }
    }
}

fn push(toml: &mut String, line: &str) {
    // Writing to a string cannot fail.
    _ = writeln!(toml, "{line}");
}
