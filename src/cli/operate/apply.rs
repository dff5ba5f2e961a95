//! A file of policies made the server's: what would change, a question, and the changes, each at the version that was read.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::Args;
use fuseboard_client::{Operator, pb};
use prost::Message as _;
use serde_json::{Map, Value};

use super::{
    Failure, Output, Reach, json,
    paint::plain,
    tables::{brief, fields, snake},
    verbs::policies,
};
use crate::{breaker::PolicySpec, config::parse_policies, grpc::convert::to_policy_spec};

/// Something differs.
const DIFFERS: u8 = 1;

/// The file, and how far it reaches.
#[derive(Debug, Args)]
pub(in crate::cli) struct File {
    /// TOML with a [[policy]] for each key or pattern, as in the server's configuration file.
    file: PathBuf,
    /// Delete policies of the API that the file does not have.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    reach: Reach,
}

/// One change, and the version of what it replaces.
struct Change {
    pattern: String,
    version: u64,
    from: Option<Map<String, Value>>,
    /// `None`: it is to be deleted.
    to: Option<pb::Policy>,
}

/// A policy of fields as they are typed, `failure_threshold=3`.
pub(super) fn policy(pattern: &str, fields: &[String]) -> Result<pb::Policy, Failure> {
    let mut text = format!("[[policy]]\npattern = {}\n", toml::Value::String(pattern.to_owned()));
    for field in fields {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| Failure::Misused(format!("{field:?} must be FIELD=VALUE, as open_duration=10s")))?;
        // A number, a boolean or a table is as it is; everything else is a text.
        let is_value = toml::from_str::<toml::Table>(&format!("value = {value}")).is_ok();
        let value = if is_value { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() };
        text.push_str(&format!("{name} = {value}\n"));
    }
    let found = read_fields(&text, pattern, fields)?;
    found.into_iter().next().map(|(_, policy)| policy).ok_or_else(|| Failure::Misused("there is no field".to_owned()))
}

/// Parses a policy given as arguments. An error names the argument, not a line of a file.
fn read_fields(text: &str, pattern: &str, fields: &[String]) -> Result<Vec<(String, pb::Policy)>, Failure> {
    /// Lines before the first field's.
    const LINES_BEFORE: usize = 2;
    let place = std::path::Path::new("policy");
    read(text, place).map_err(|failure| {
        let Failure::Misused(told) = failure else { return failure };
        let argument = |line: &str| {
            let (number, message) = line.strip_prefix("policy:")?.split_once(": ")?;
            let index = number.parse::<usize>().ok()?.checked_sub(LINES_BEFORE + 1);
            let argument = index.map_or(Some(pattern), |index| fields.get(index).map(String::as_str))?;
            Some(format!("{argument:?}: {message}"))
        };
        let lines = told.lines().map(|line| argument(line).unwrap_or_else(|| line.to_owned()));
        Failure::Misused(lines.collect::<Vec<_>>().join("; "))
    })
}

fn read(text: &str, path: &std::path::Path) -> Result<Vec<(String, pb::Policy)>, Failure> {
    let policies = parse_policies(text, path).map_err(|errors| Failure::Misused(errors.to_string()))?;
    if policies.default != PolicySpec::default() {
        let why = "[default_policy] is the server's own: write it into its configuration file";
        return Err(Failure::Misused(format!("{}: {why}", path.display())));
    }
    policies.by_pattern.into_iter().map(|(pattern, spec)| Ok((pattern, message(&spec)?))).collect()
}

/// The server's message and the client's are one, made twice.
fn message(spec: &PolicySpec) -> Result<pb::Policy, Failure> {
    let bytes = to_policy_spec(spec).encode_to_vec();
    pb::Policy::decode(bytes.as_slice()).map_err(|error| Failure::Failed(error.to_string()))
}

impl File {
    pub(super) async fn diff(self) -> Result<u8, Failure> {
        let changes = self.changes(&self.reach.operator()?).await?;
        self.show(&changes)?;
        Ok(if changes.is_empty() { 0 } else { DIFFERS })
    }

    pub(super) async fn apply(self, yes: bool, actor: &str, reason: &str) -> Result<u8, Failure> {
        let operator = self.reach.operator()?;
        let changes = self.changes(&operator).await?;
        self.show(&changes)?;
        if changes.is_empty() {
            return Ok(0);
        }
        if !yes && !asked(changes.len())? {
            return Err(Failure::Failed("nothing was changed".to_owned()));
        }
        for (done, change) in changes.iter().enumerate() {
            let result = change.make(&operator, actor, reason).await;
            result.map_err(|status| {
                let told = super::told(&status);
                Failure::Failed(format!(
                    "{}: {told}; {done} of {} changes were made before",
                    change.pattern,
                    changes.len()
                ))
            })?;
        }
        Ok(0)
    }

    /// What differs between the file and what the API has set.
    async fn changes(&self, operator: &Operator) -> Result<Vec<Change>, Failure> {
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| Failure::Misused(format!("{}: {error}", self.file.display())))?;
        let wanted = read(&text, &self.file)?;
        let (mut standing, mut of_file) = (BTreeMap::new(), BTreeMap::new());
        for mut entry in policies(operator).await? {
            let version: u64 = entry["version"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
            let pattern = entry["pattern"].as_str().unwrap_or_default().to_owned();
            // Those of the server's file stay as they are; the API's are laid over them.
            if entry["origin"] != "POLICY_ORIGIN_API" {
                of_file.insert(pattern, version);
            } else if let Value::Object(fields) = entry["policy"].take() {
                standing.insert(pattern, (version, fields));
            }
        }
        let mut changes = Vec::new();
        for (pattern, policy) in wanted {
            let fields = object(&policy)?;
            let (version, from) = match standing.remove(&pattern) {
                Some((version, from)) => (version, Some(from)),
                // What was read where the API has none.
                None => (of_file.get(&pattern).copied().unwrap_or_default(), None),
            };
            if from.as_ref() != Some(&fields) {
                changes.push(Change { pattern, version, from, to: Some(policy) });
            }
        }
        let pruned = standing.into_iter().filter(|_| self.prune);
        changes.extend(pruned.map(|(pattern, (version, from))| Change {
            pattern,
            version,
            from: Some(from),
            to: None,
        }));
        Ok(changes)
    }

    fn show(&self, changes: &[Change]) -> Result<(), Failure> {
        let mut screen = self.reach.screen();
        let shown = match screen.output {
            Output::Json => changes.iter().try_for_each(|change| screen.json(&change.told()?)),
            Output::Table if changes.is_empty() => screen.line("nothing to change"),
            Output::Table => changes.iter().try_for_each(|change| screen.line(&change.line()?)),
        };
        crate::cli::read_to_the_end(shown).map_err(|error| Failure::Failed(error.to_string()))
    }
}

/// A policy as the API's JSON.
fn object(policy: &pb::Policy) -> Result<Map<String, Value>, Failure> {
    let entry = pb::PolicyEntry { policy: Some(*policy), ..Default::default() };
    let mut answer = json("AdminService/GetPolicy", &pb::GetPolicyResponse { entry: Some(entry) })?;
    match answer["entry"]["policy"].take() {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// Asks on the terminal; without one nobody can answer.
fn asked(changes: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Misused("there is nobody to ask: say --yes to make these changes".to_owned()));
    }
    eprint!("Make {changes} changes? [y/N] ");
    _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl Change {
    /// `~ payments/*  open_duration 30s → 10s`
    fn line(&self) -> io::Result<String> {
        let to = self.to.as_ref().map(object).transpose().map_err(|failure| io::Error::other(failure.to_string()))?;
        let pattern = plain(&self.pattern);
        let whole = |of: &Map<String, Value>| fields(&Value::Object(of.clone()));
        Ok(match (&self.from, &to) {
            (None, Some(to)) => format!("+ {pattern}  {}", whole(to)),
            (Some(from), None) => format!("- {pattern}  {}", whole(from)),
            (Some(from), Some(to)) => {
                let names: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
                let one =
                    |of: &Map<String, Value>, name: &String| of.get(name).map_or_else(|| "unset".to_owned(), brief);
                let changed = names.into_iter().filter(|name| from.get(*name) != to.get(*name));
                let parts = changed.map(|name| format!("{} {} → {}", snake(name), one(from, name), one(to, name)));
                format!("~ {pattern}  {}", parts.collect::<Vec<_>>().join(", "))
            }
            (None, None) => String::new(),
        })
    }

    fn told(&self) -> io::Result<Value> {
        let to = self.to.as_ref().map(object).transpose().map_err(|failure| io::Error::other(failure.to_string()))?;
        Ok(serde_json::json!({ "pattern": self.pattern, "from": self.from, "to": to }))
    }

    /// Makes it, if nobody has changed it since it was read.
    async fn make(&self, operator: &Operator, actor: &str, reason: &str) -> Result<(), tonic::Status> {
        let (pattern, expected_version) = (self.pattern.clone(), Some(self.version));
        let (actor, reason) = (actor.to_owned(), reason.to_owned());
        match &self.to {
            Some(policy) => {
                let policy = Some(*policy);
                let request = pb::SetPolicyRequest { pattern, policy, expected_version, actor, reason };
                operator.set_policy(request).await.map(drop)
            }
            None => {
                let request = pb::DeletePolicyRequest { pattern, expected_version, actor, reason };
                operator.delete_policy(request).await.map(drop)
            }
        }
    }
}
