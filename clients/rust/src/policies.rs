//! Declares what breakers want, and learns which policy is in force.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use tracing::{debug, error, info, warn};

use crate::{channel::evenly, core::Core, pb, shared::Shared};

/// Bounds one Declare or GetState in the background.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Keeps a request of the longest declarations below the server's 64 KiB.
const DECLARATIONS_MAX: usize = 100;
/// Spreads the clients that ask for a policy that has changed for all of them.
const REFRESH_WITHIN: Duration = Duration::from_secs(1);

impl Shared {
    /// Does what is due while the server can be asked.
    pub(crate) async fn run_policies(&self) {
        loop {
            self.policies_due.notified().await;
            if !self.is_usable() {
                continue;
            }
            self.declare(|core| !core.is_declared.load(Relaxed)).await;
            if self.cores().iter().any(|core| core.policy_due.load(Relaxed)) {
                sleep(evenly(REFRESH_WITHIN)).await;
                for core in &*self.cores() {
                    if core.policy_due.swap(false, Relaxed) {
                        self.ask_policy(core).await;
                    }
                }
            }
        }
    }

    /// Declares everything again, for a new session.
    pub(crate) async fn declare_all(&self) {
        for core in &*self.cores() {
            core.is_declared.store(false, Relaxed);
        }
        self.declare(|_| true).await;
    }

    async fn declare(&self, is_due: impl Fn(&Core) -> bool) {
        let cores = self.cores();
        let due: Vec<_> = cores.iter().filter(|core| core.declared.is_some() && is_due(core)).collect();
        for some in due.chunks(DECLARATIONS_MAX) {
            let Err(status) = self.declare_some(some).await else { continue };
            match status.code() {
                // One of them is at fault and none was taken.
                Code::InvalidArgument | Code::ResourceExhausted => self.declare_each(some).await,
                // The next session declares again.
                _ => return warn!(%status, "could not declare"),
            }
        }
    }

    async fn declare_each(&self, cores: &[&Arc<Core>]) {
        for core in cores {
            match self.declare_some(&[core]).await {
                Err(status) if matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted) => {
                    error!(breaker = core.key, %status, "a policy was refused");
                    core.is_declared.store(true, Relaxed);
                }
                Err(status) => return warn!(%status, "could not declare"),
                Ok(()) => {}
            }
        }
    }

    async fn declare_some(&self, cores: &[&Arc<Core>]) -> Result<(), Status> {
        let declarations = cores.iter().map(|core| pb::Declaration {
            breaker: core.key.clone(),
            policy: core.declared,
            revision: core.revision,
        });
        let request = pb::DeclareRequest { declarations: declarations.collect(), caller: self.options.caller.clone() };
        let response = within(self.connection.api().0.declare(request)).await?.into_inner();
        for (core, declared) in cores.iter().zip(response.declared) {
            core.apply_policy(declared.policy.as_ref());
            if let Some(status) = &declared.status {
                self.apply(core, |view, now| view.apply_status(status, &self.options.caller, None, now));
            }
            if let Some(policy) = declared.policy.filter(|policy| policy.differs_from_declared) {
                info!(breaker = core.key, sources = ?policy.sources, "an operator's policy stands above the declared one");
            }
            core.is_declared.store(true, Relaxed);
        }
        Ok(())
    }

    async fn ask_policy(&self, core: &Core) {
        let request = pb::GetStateRequest { breaker: core.key.clone() };
        match within(self.connection.api().0.get_state(request)).await {
            Ok(response) => core.apply_policy(response.into_inner().policy.as_ref()),
            // It is asked for again at the next change, or by the next session's declaration.
            Err(status) => debug!(breaker = core.key, %status, "could not ask for a policy"),
        }
    }
}

/// An answer within the bound of requests in the background.
async fn within<T>(request: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer within 3 s")))
}
