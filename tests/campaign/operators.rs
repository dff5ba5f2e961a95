//! Operators: they look, hold breakers in a state, reset them and change policies under the load.

use std::{sync::Arc, time::Duration};

use fuseboard::pb::{
    ClearOverrideRequest, DeleteBreakerRequest, DeletePolicyRequest, GetServerInfoRequest, GetStateRequest,
    ListBreakersRequest, ListPoliciesRequest, OverrideMode, Policy, ResetRequest, SetOverrideRequest, SetPolicyRequest,
    State,
};
use rand::Rng;
use tokio::{task::JoinSet, time};
use tonic::Code;

use crate::{
    Result,
    world::{World, any_breaker, bump, key, seconds},
};

const OPERATORS: usize = 2;
/// Between two acts of an operator.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn start(world: &Arc<World>, tasks: &mut JoinSet<Result<()>>) {
    (0..OPERATORS).for_each(|number| drop(tasks.spawn(operate(Arc::clone(world), number))));
}

async fn operate(world: Arc<World>, number: usize) -> Result<()> {
    let (mut service, mut operator) = (world.service().await?, world.operator().await?);
    let actor = format!("operator-{number}");
    let because = || "campaign".to_owned();
    while !world.is_stopped() {
        let breaker = key(any_breaker());
        let group = format!("campaign/{}/*", rand::rng().random_range(0..10));
        let act = rand::rng().random_range(0..100);
        match act {
            0..20 => {
                let modes = [OverrideMode::ForcedOpen, OverrideMode::ForcedClosed, OverrideMode::Shadow];
                let request = SetOverrideRequest {
                    breaker,
                    mode: modes[act % modes.len()].into(),
                    actor: actor.clone(),
                    reason: because(),
                    expire_after: seconds(1 + act as i64 % 3),
                };
                world.expect("SetOverride", operator.set_override(request).await, &[]);
            }
            20..30 => {
                let request = ClearOverrideRequest { breaker, actor: actor.clone(), reason: because() };
                world.expect("ClearOverride", operator.clear_override(request).await, &[Code::NotFound]);
            }
            30..45 => {
                let request = ResetRequest { breaker, actor: actor.clone(), reason: because() };
                world.expect("Reset", service.reset(request).await, &[Code::NotFound]);
            }
            45..48 => {
                let policy = Policy { open_duration: seconds(1 + act as i64 % 3), ..Policy::default() };
                let request = SetPolicyRequest {
                    pattern: group,
                    policy: Some(policy),
                    expected_version: None,
                    actor: actor.clone(),
                    reason: because(),
                };
                world.expect("SetPolicy", operator.set_policy(request).await, &[]);
            }
            48..50 => {
                let request = DeletePolicyRequest {
                    pattern: group,
                    expected_version: None,
                    actor: actor.clone(),
                    reason: because(),
                };
                world.expect("DeletePolicy", operator.delete_policy(request).await, &[Code::NotFound]);
            }
            50..52 => {
                // Only one that nobody declared: the next call makes it anew as it was.
                let breaker = key(any_breaker() / 5 * 5 + 4);
                let request = DeleteBreakerRequest { breaker, actor: actor.clone(), reason: because() };
                world.expect("DeleteBreaker", operator.delete_breaker(request).await, &[Code::NotFound]);
            }
            52..70 => {
                let request = ListBreakersRequest { states: vec![State::Open.into()], ..Default::default() };
                world.expect("ListBreakers", operator.list_breakers(request).await, &[]);
            }
            70..80 => {
                let request = ListPoliciesRequest { breaker, ..Default::default() };
                world.expect("ListPolicies", operator.list_policies(request).await, &[]);
            }
            80..90 => {
                let info = world.expect("GetServerInfo", operator.get_server_info(GetServerInfoRequest {}).await, &[]);
                if info.is_some_and(|info| !info.store_healthy) {
                    world.violation("the store is not healthy".to_owned());
                }
            }
            _ => {
                let state = service.get_state(GetStateRequest { breaker }).await;
                world.expect("GetState", state, &[Code::NotFound]);
            }
        }
        bump(&world.counters().operations);
        time::sleep(PAUSE).await;
    }
    Ok(())
}
