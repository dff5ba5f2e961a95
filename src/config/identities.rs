//! `[[identity]]`: who the owner of a client certificate is.

use serde::Deserialize;
use toml::de::DeValue;

use super::{
    file::{Key, Reader},
    tables::{self, Field, Takes},
};
use crate::{
    access::{ADMIN_TOKEN, Role, Roles},
    words::is_hidden,
};

/// The tables that say who is who.
pub(super) const IDENTITY: &str = "identity";

/// Longest name of a certificate, prefix or caller.
const NAME_BYTES_MAX: usize = 200;

/// Who the owner of a client certificate is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What events, the audit trail and the log call it.
    pub name: String,
    /// A DNS name or URI among the certificate's alternative names.
    pub certificate: String,
    /// What it may do.
    pub roles: Roles,
    /// Only with keys that begin with one of these; empty: with all.
    pub prefixes: Vec<String>,
    /// Whom it may call itself; empty: anybody.
    pub caller: String,
}

const ROLES: [&str; Role::ALL.len()] = {
    let mut names = [""; Role::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Role::ALL[at].name();
        at += 1;
    }
    names
};
const FIELDS: &[Field] = &[
    Field { name: "name", is_required: true, takes: Takes::Text("a string") },
    Field {
        name: "certificate",
        is_required: true,
        takes: Takes::Text("a string, a DNS name or URI of the client certificate"),
    },
    Field { name: "roles", is_required: true, takes: Takes::Some(&ROLES) },
    Field { name: "prefixes", is_required: false, takes: Takes::Texts("an array of strings, as [\"payments/\"]") },
    Field { name: "caller", is_required: false, takes: Takes::Text("a string") },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    certificate: String,
    roles: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    caller: String,
}

/// Reads every `[[identity]]`.
pub(super) fn read<'i>(reader: &mut Reader<'_>, key: &Key<'i>, value: &DeValue<'i>) -> Vec<Identity> {
    let identities = tables::read(reader, IDENTITY, FIELDS, key, value, check);
    identities.into_iter().map(|(_, identity)| identity).collect()
}

fn check(table: Table) -> Result<Identity, String> {
    let Table { name, certificate, roles, prefixes, caller } = table;
    // The field's table has refused every other name.
    let roles: Roles = Role::ALL.into_iter().filter(|role| roles.iter().any(|name| name == role.name())).collect();
    if roles == Roles::default() {
        return Err(format!("{name:?} has no roles: report, read, operate or admin"));
    }
    if roles.has(Role::Admin) && !prefixes.is_empty() {
        return Err(format!("{name:?} has prefixes and the role admin, who could make tokens for all other keys"));
    }
    let is_name = |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(is_hidden);
    if !is_name(&name) || !is_name(&certificate) {
        return Err(format!(
            "name and certificate must be 1 to {NAME_BYTES_MAX} bytes, without control characters or marks of direction"
        ));
    }
    if name == ADMIN_TOKEN {
        return Err(format!("{name:?} is the name of the administrators' token in the audit trail: choose another"));
    }
    let in_alphabet = |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric() || "._-:/".contains(char));
    let is_key = |text: &str| text.len() <= NAME_BYTES_MAX && in_alphabet(text);
    if let Some(other) = prefixes.iter().find(|prefix| prefix.is_empty() || !is_key(prefix)) {
        return Err(format!("prefixes: {other:?} is not the start of a key, made of A-Z a-z 0-9 . _ - : and /"));
    }
    if !is_key(&caller) {
        return Err(format!("caller: {caller:?} is not a caller, made of A-Z a-z 0-9 . _ - : and /"));
    }
    Ok(Identity { name, certificate, roles, prefixes, caller })
}
