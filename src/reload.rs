//! What is read again while the server runs: policies, identities and the administrators' token on SIGHUP, certificates also when
//! their files change. What is wrong changes nothing, and the log says so.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::signal::unix;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{self, SecretHash},
    breaker::Timestamp,
    config::{Config, Identity, ReadAgain},
    engine::{Engine, FilePolicies},
    grpc::{Gate, Keys},
    tls::Tls,
};

/// How often it is looked whether the files of TLS have changed.
const TLS_LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// A token that is shorter can be guessed.
const ADMIN_TOKEN_BYTES_MIN: usize = 32;

/// What reads the configuration again.
#[derive(Debug)]
pub(crate) struct Reload {
    pub(crate) engine: Engine,
    pub(crate) gate: Gate,
    pub(crate) config: Config,
}

impl Reload {
    /// On each SIGHUP from now on.
    pub(crate) fn on_signals(self) -> io::Result<impl Future<Output = ()>> {
        let mut signals = unix::signal(unix::SignalKind::hangup())?;
        Ok(async move {
            while signals.recv().await.is_some() {
                match self.reload().await {
                    Ok(breakers_changed) => tracing::info!(breakers_changed, "policies reloaded"),
                    Err(error) => tracing::error!("policies not reloaded, nothing is changed: {error}"),
                }
            }
        })
    }

    async fn reload(&self) -> Result<u64, String> {
        let admin_token_file = self.config.admin_token_file.path();
        let again = match self.config.file.as_deref() {
            Some(path) => {
                ReadAgain::load(path, self.config.limits.max_policies).map_err(|errors| errors.to_string())?
            }
            None if admin_token_file.is_some() => ReadAgain::default(),
            None => return Err("the server was started without a configuration file".to_owned()),
        };
        let keys = keys(admin_token_file, &again.identities)?;
        let policies = FilePolicies { default: again.policies.default, by_pattern: again.policies.by_pattern };
        let changed = self.engine.load_policies(policies).await.map_err(|error| error.to_string())?;
        if self.gate.is_open() && !keys.is_empty() {
            tracing::warn!("identities take effect at the next start: this one asks nobody who they are");
        }
        self.gate.set(keys);
        Ok(changed)
    }
}

/// Whom the configuration knows.
///
/// # Errors
/// The administrators' token cannot be read, or is too short.
pub(crate) fn keys(admin_token_file: Option<&Path>, identities: &[Identity]) -> Result<Keys, String> {
    let admin = admin_token_file.map(admin_token).transpose()?;
    let certificates = identities.iter().map(|identity| (identity.certificate.clone(), identity.into()));
    Ok(Keys { admin, certificates: certificates.collect::<HashMap<_, _>>() })
}

fn admin_token(path: &Path) -> Result<SecretHash, String> {
    let wrong = |why: String| format!("admin_token_file {}: {why}", PathBuf::from(path).display());
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let token = text.trim();
    if token.len() < ADMIN_TOKEN_BYTES_MIN || token.contains(char::is_whitespace) {
        let how = "make one with `openssl rand -hex 32`";
        return Err(wrong(format!("must hold one word of at least {ADMIN_TOKEN_BYTES_MIN} bytes; {how}")));
    }
    Ok(SecretHash::of(token))
}

impl From<&Identity> for access::Identity {
    fn from(identity: &Identity) -> Self {
        Self {
            name: identity.name.as_str().into(),
            roles: identity.roles,
            prefixes: identity.prefixes.iter().map(|prefix| prefix.as_str().into()).collect(),
            caller: identity.caller.as_str().into(),
            expires: Timestamp::NEVER,
            ended: CancellationToken::new(),
        }
    }
}

/// Reads the files of TLS again on each SIGHUP from now on, and once in a while.
#[expect(clippy::disallowed_methods, reason = "files change in real time, whatever clock the breakers have")]
pub(crate) fn renew(tls: Tls) -> io::Result<impl Future<Output = ()>> {
    let mut signals = unix::signal(unix::SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = signals.recv() => {}
                () = tokio::time::sleep(TLS_LOOK_INTERVAL) => {}
            }
            match tls.reload() {
                Ok(true) => tracing::info!("the TLS certificate is read again; it holds for new connections"),
                Ok(false) => {}
                Err(error) => tracing::error!("the TLS certificate is not read again, the old one stays: {error}"),
            }
        }
    })
}
