//! What the configuration points at: files that `--check-config` reads as a start would, so that a start does not find out.

#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
use std::{fs, path::Path};

use crate::{config::Config, notify, reload, server, tls::Tls};

/// Mode bits by which users outside the owner and its group read, write or enter.
#[cfg(unix)]
const OTHERS: u32 = 0o007;

/// Everything in the files of a configuration that would keep the server from starting. No message contains a secret.
#[must_use]
pub(crate) fn errors(config: &Config) -> Vec<String> {
    let tls = server::tls_files(config).and_then(|files| Tls::load(files).err()).map(|error| error.to_string());
    let admin_token = reload::keys(config.admin_token_file.path(), &config.identities).err();
    let secrets = config.webhooks.iter().filter_map(|webhook| notify::check_secret(webhook).err());
    tls.into_iter().chain(admin_token).chain(secrets.map(|error| error.to_string())).collect()
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
