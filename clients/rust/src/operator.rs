//! What an operator does: looks at everything, holds breakers, changes policies. Each call is one RPC, with a deadline.

use std::time::Duration;

use tonic::{Request, Status, Streaming};

use crate::{
    Error, Options,
    channel::{Calls, Connection},
    pb::{self, admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient},
};

/// An operator's way to a server. It holds the protocol's own messages, since an operator wants all that they say.
///
/// ```no_run
/// # async fn look() -> Result<(), Box<dyn std::error::Error>> {
/// use fuseboard_client::{Operator, Options, pb};
///
/// let operator = Operator::new(Options::default(), std::time::Duration::from_secs(5))?;
/// for breaker in operator.list_breakers(pb::ListBreakersRequest::default()).await?.breakers {
///     println!("{} {}", breaker.breaker, breaker.state().as_str_name());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Operator {
    calls: Calls,
    timeout: Duration,
}

/// The unary RPCs: their names, services and messages.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $service:ident($request:ident) -> $response:ident;)*) => {
        impl Operator {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What the server says, or that it was not reached in time.
                pub async fn $name(&self, request: pb::$request) -> Result<pb::$response, Status> {
                    let mut client = $service::new(self.calls.clone());
                    Ok(client.$name(self.timely(request)).await?.into_inner())
                }
            )*
        }
    };
}

calls! {
    /// Asks for one call.
    acquire: BreakerServiceClient(AcquireRequest) -> AcquireResponse;
    /// Says how a call went.
    report: BreakerServiceClient(ReportRequest) -> ReportResponse;
    /// Closes a breaker, with empty statistics and backoff.
    reset: BreakerServiceClient(ResetRequest) -> ResetResponse;
    /// All about a breaker.
    get_state: BreakerServiceClient(GetStateRequest) -> GetStateResponse;
    /// A page of breakers.
    list_breakers: AdminServiceClient(ListBreakersRequest) -> ListBreakersResponse;
    /// A page of operators' policies.
    list_policies: AdminServiceClient(ListPoliciesRequest) -> ListPoliciesResponse;
    /// The policy of a key or pattern.
    get_policy: AdminServiceClient(GetPolicyRequest) -> GetPolicyResponse;
    /// Sets the policy of a key or pattern.
    set_policy: AdminServiceClient(SetPolicyRequest) -> SetPolicyResponse;
    /// Removes the policy of a key or pattern.
    delete_policy: AdminServiceClient(DeletePolicyRequest) -> DeletePolicyResponse;
    /// Holds a breaker in a state.
    set_override: AdminServiceClient(SetOverrideRequest) -> SetOverrideResponse;
    /// Lets a breaker go.
    clear_override: AdminServiceClient(ClearOverrideRequest) -> ClearOverrideResponse;
    /// Moves an open breaker, or an isolated caller, to half-open.
    probe_now: AdminServiceClient(ProbeNowRequest) -> ProbeNowResponse;
    /// Forgets a breaker.
    delete_declaration: AdminServiceClient(DeleteDeclarationRequest) -> DeleteDeclarationResponse;
    delete_breaker: AdminServiceClient(DeleteBreakerRequest) -> DeleteBreakerResponse;
    /// A page of the event history.
    list_events: AdminServiceClient(ListEventsRequest) -> ListEventsResponse;
    /// Who the server takes us for.
    get_identity: AdminServiceClient(GetIdentityRequest) -> GetIdentityResponse;
    /// Makes a token.
    create_token: AdminServiceClient(CreateTokenRequest) -> CreateTokenResponse;
    /// A page of tokens.
    list_tokens: AdminServiceClient(ListTokensRequest) -> ListTokensResponse;
    /// Ends a token.
    revoke_token: AdminServiceClient(RevokeTokenRequest) -> RevokeTokenResponse;
    /// A page of the audit trail.
    list_audit: AdminServiceClient(ListAuditRequest) -> ListAuditResponse;
    /// Where events are sent, and how each receiver does.
    list_webhooks: AdminServiceClient(ListWebhooksRequest) -> ListWebhooksResponse;
    /// Sends a test to a webhook.
    test_webhook: AdminServiceClient(TestWebhookRequest) -> TestWebhookResponse;
    /// About the server.
    get_server_info: AdminServiceClient(GetServerInfoRequest) -> GetServerInfoResponse;
}

impl Operator {
    /// Connects when it is first used. `timeout` bounds each call, streams left out.
    ///
    /// # Errors
    /// An option that cannot be used.
    pub fn new(options: Options, timeout: Duration) -> Result<Self, Error> {
        let calls = Connection::new(&options.validated()?)?.calls();
        Ok(Self { calls, timeout })
    }

    /// Follows events, as `WatchEvents` sends them.
    ///
    /// # Errors
    /// What the server says, or that it was not reached.
    pub async fn watch_events(
        &self,
        request: pb::WatchEventsRequest,
    ) -> Result<Streaming<pb::WatchEventsResponse>, Status> {
        Ok(BreakerServiceClient::new(self.calls.clone()).watch_events(request).await?.into_inner())
    }

    fn timely<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}
