//! What the configuration points at: files that `--check-config` reads as a start would, so that a start does not find out.

#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
use std::{fs, path::Path};

use crate::{
    config::{Config, Loaded},
    notify, reload, server,
    tls::Tls,
};

/// Mode bits by which users outside the owner and its group read, write or enter.
#[cfg(unix)]
const OTHERS: u32 = 0o007;

/// Everything in the files of a configuration that would keep the server from starting, each with the place where the file is named. No
/// message contains a secret.
#[must_use]
pub(crate) fn errors(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let tls = server::tls_files(config).map_or_else(Vec::new, |files| Tls::errors(&files));
    let tls = tls.into_iter().map(|error| format!("{}{error}", loaded.place(error.setting)));
    let admin_token = reload::keys(config.admin_token_file.path(), &config.identities).err();
    let admin_token = admin_token.map(|error| format!("{}{error}", loaded.place("admin_token_file")));
    let secrets = config.webhooks.iter().enumerate().filter_map(|(index, webhook)| {
        let error = notify::check_secret(webhook).err()?;
        Some(format!("{}{error}", loaded.webhook_place(index)))
    });
    tls.chain(admin_token).chain(secrets).collect()
}

/// Secrets and state that every user of the machine can reach.
#[must_use]
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let secrets = config.webhooks.iter().filter_map(|webhook| Some(("secret_file", webhook.secret_file.as_deref()?)));
    let admin_token = config.admin_token_file.path().map(|path| ("admin_token_file", path));
    let key = config.tls_key.path().map(|path| ("tls_key", path));
    let directory = config.home().map(|path| ("data_dir", path));
    let all = admin_token.into_iter().chain(key).chain(directory).chain(secrets);
    all.filter_map(|(setting, path)| open_to_others(setting, path)).collect()
}

#[cfg(unix)]
fn open_to_others(setting: &str, path: &Path) -> Option<String> {
    // What cannot be read is an error, or is created by the start.
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & OTHERS != 0).then(|| {
        format!(
            "{setting} {path} is accessible to every user of the machine (mode {:o}); run `chmod o= {path}`",
            mode & 0o777
        )
    })
}

#[cfg(not(unix))]
fn open_to_others(_: &str, _: &Path) -> Option<String> {
    None
}
