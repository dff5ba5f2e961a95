//! Every RPC and every route, by every role, inside and outside its prefix: what is expected and what comes.
//!
//! The RPCs are those of the descriptor set and the routes those of the OpenAPI document, so that a new one without a row
//! fails here.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard::pb::{
    self, CreateTokenRequest, Role, admin_service_client::AdminServiceClient,
    breaker_service_client::BreakerServiceClient,
};
use http::Method;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status, metadata::MetadataValue, service::Interceptor, transport::Channel};

use crate::{
    authority::Folder,
    client::{self, ADMIN_TOKEN},
    process::Server,
};

/// Who asks.
const WHO: [&str; 7] = ["nobody", "stranger", "report", "read", "operate", "admin", "report+read"];

/// What comes back: `y` it may, `n` it may not, `-` it is not known.
///
/// Columns are as in [`WHO`], for a key inside the prefix of all but the administrator; then the same for one outside. What
/// is about no key is the same twice.
const RPCS: [(&str, &str, &str); 28] = [
    ("BreakerService/Acquire", "--ynnyy", "--nnnyn"),
    ("BreakerService/Report", "--ynnyy", "--nnnyn"),
    ("BreakerService/ReportBatch", "--ynnyy", "--nnnyn"),
    ("BreakerService/Session", "--ynnyy", "--nnnyn"),
    ("BreakerService/Declare", "--ynnyy", "--nnnyn"),
    ("BreakerService/Reset", "--nnyyn", "--nnnyn"),
    ("BreakerService/GetState", "--yyyyy", "--nnnyn"),
    ("BreakerService/WatchEvents", "--yyyyy", "--nnnyn"),
    ("AdminService/ListBreakers", "--nyyyy", "--nnnyn"),
    ("AdminService/ListPolicies", "--nyyyy", "--nnnyn"),
    ("AdminService/GetPolicy", "--nyyyy", "--nnnyn"),
    ("AdminService/SetPolicy", "--nnyyn", "--nnnyn"),
    ("AdminService/DeletePolicy", "--nnyyn", "--nnnyn"),
    ("AdminService/SetOverride", "--nnyyn", "--nnnyn"),
    ("AdminService/ClearOverride", "--nnyyn", "--nnnyn"),
    ("AdminService/ProbeNow", "--nnyyn", "--nnnyn"),
    ("AdminService/DeleteDeclaration", "--nnyyn", "--nnnyn"),
    ("AdminService/DeleteBreaker", "--nnyyn", "--nnnyn"),
    ("AdminService/ListEvents", "--nyyyy", "--nnnyn"),
    ("AdminService/GetIdentity", "--yyyyy", "--yyyyy"),
    ("AdminService/CreateToken", "--nnnyn", "--nnnyn"),
    ("AdminService/ListTokens", "--nnnyn", "--nnnyn"),
    ("AdminService/RevokeToken", "--nnnyn", "--nnnyn"),
    ("AdminService/ListAudit", "--nnnyn", "--nnnyn"),
    // Webhooks tell of all breakers, so that a prefix is not enough.
    ("AdminService/ListWebhooks", "--nnnyn", "--nnnyn"),
    ("AdminService/TestWebhook", "--nnnyn", "--nnnyn"),
    ("AdminService/GetServerInfo", "--nyyyy", "--nyyyy"),
    // Kept to a server with a manual clock, which is on loopback.
    ("testing.ClockService/Advance", "--nnnyn", "--nnnyn"),
];

/// As [`RPCS`], for the HTTP port.
const ROUTES: [(&str, &str, &str, &str); 32] = [
    ("get", "/livez", "yyyyyyy", "yyyyyyy"),
    ("get", "/readyz", "yyyyyyy", "yyyyyyy"),
    ("get", "/health/circuit-breakers", "--nyyyy", "--nyyyy"),
    // It tells of all breakers, so that a prefix is not enough.
    ("get", "/metrics", "--nnnyn", "--nnnyn"),
    ("get", "/api/v1/openapi.json", "yyyyyyy", "yyyyyyy"),
    ("post", "/api/v1/login", "--yyyyy", "--yyyyy"),
    ("post", "/api/v1/logout", "yyyyyyy", "yyyyyyy"),
    ("get", "/api/v1/breakers", "--nyyyy", "--nnnyn"),
    ("get", "/api/v1/breakers/{breaker}", "--yyyyy", "--nnnyn"),
    ("delete", "/api/v1/breakers/{breaker}", "--nnyyn", "--nnnyn"),
    ("post", "/api/v1/breakers/{breaker}/acquire", "--ynnyy", "--nnnyn"),
    ("post", "/api/v1/breakers/{breaker}/report", "--ynnyy", "--nnnyn"),
    ("post", "/api/v1/breakers/{breaker}/reset", "--nnyyn", "--nnnyn"),
    ("post", "/api/v1/breakers/{breaker}/probe", "--nnyyn", "--nnnyn"),
    ("put", "/api/v1/breakers/{breaker}/override", "--nnyyn", "--nnnyn"),
    ("delete", "/api/v1/breakers/{breaker}/override", "--nnyyn", "--nnnyn"),
    ("delete", "/api/v1/breakers/{breaker}/declaration", "--nnyyn", "--nnnyn"),
    ("post", "/api/v1/declare", "--ynnyy", "--nnnyn"),
    ("post", "/api/v1/report-batch", "--ynnyy", "--nnnyn"),
    ("get", "/api/v1/policies", "--nyyyy", "--nnnyn"),
    ("get", "/api/v1/policies/{pattern}", "--nyyyy", "--nnnyn"),
    ("put", "/api/v1/policies/{pattern}", "--nnyyn", "--nnnyn"),
    ("delete", "/api/v1/policies/{pattern}", "--nnyyn", "--nnnyn"),
    ("get", "/api/v1/events", "--nyyyy", "--nnnyn"),
    ("get", "/api/v1/events/stream", "--yyyyy", "--nnnyn"),
    ("get", "/api/v1/server", "--nyyyy", "--nyyyy"),
    ("get", "/api/v1/identity", "--yyyyy", "--yyyyy"),
    ("get", "/api/v1/tokens", "--nnnyn", "--nnnyn"),
    ("post", "/api/v1/tokens", "--nnnyn", "--nnnyn"),
    ("get", "/api/v1/audit", "--nnnyn", "--nnnyn"),
    ("get", "/api/v1/webhooks", "--nnnyn", "--nnnyn"),
    ("post", "/api/v1/webhooks/{name}/test", "--nnnyn", "--nnnyn"),
];
/// A route beside [`ROUTES`] whose path has another name in it.
const REVOKE: (&str, &str, &str, &str) = ("delete", "/api/v1/tokens/{name}", "--nnnyn", "--nnnyn");

const INSIDE: &str = "shop/db";
const OUTSIDE: &str = "bank/db";

/// The server, and a token for each of [`WHO`].
struct World {
    server: Server,
    tokens: Vec<Option<String>>,
}

impl World {
    async fn start(folder: &Folder) -> Self {
        let server = Server::start(&["--http-address=127.0.0.1:0", &client::admin_flag(folder)]);
        let mut admin =
            AdminServiceClient::with_interceptor(client::channel(&server).await, client::Bearer::of(ADMIN_TOKEN));
        let mut tokens = Vec::new();
        for who in WHO {
            tokens.push(match who {
                "nobody" => None,
                "stranger" => Some("fuseboard_of-nobody".to_owned()),
                "admin" => Some(ADMIN_TOKEN.to_owned()),
                roles => {
                    let request = CreateTokenRequest {
                        name: roles.replace('+', "-"),
                        roles: roles.split('+').map(|role| role_of(role) as i32).collect(),
                        prefixes: vec!["shop/".to_owned()],
                        ..CreateTokenRequest::default()
                    };
                    Some(admin.create_token(request).await.unwrap().into_inner().secret)
                }
            });
        }
        Self { server, tokens }
    }
}

fn role_of(name: &str) -> Role {
    match name {
        "report" => Role::Report,
        "read" => Role::Read,
        "operate" => Role::Operate,
        other => panic!("{other} is no role"),
    }
}

/// What an answer says of who asked. An answer that has got as far as the request's own faults was let in.
fn verdict(code: Code) -> char {
    match code {
        Code::Unauthenticated => '-',
        Code::PermissionDenied => 'n',
        Code::Unimplemented | Code::Internal | Code::Unknown => panic!("{code:?}"),
        _ => 'y',
    }
}

fn code_of<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// Calls an RPC about a key, with as little as is needed to tell whether it may.
async fn call(channel: Channel, bearer: client::Bearer, rpc: &str, key: &str) -> Code {
    let breaker = key.to_owned();
    let mut breakers = BreakerServiceClient::with_interceptor(channel.clone(), bearer.clone());
    let mut admin = AdminServiceClient::with_interceptor(channel.clone(), bearer.clone());
    let mut clock = pb::testing::clock_service_client::ClockServiceClient::with_interceptor(channel, bearer);
    let pattern = format!("{key}*");
    let reason = "a test".to_owned();
    match rpc {
        "BreakerService/Acquire" => {
            code_of(breakers.acquire(pb::AcquireRequest { breaker, ..Default::default() }).await)
        }
        "BreakerService/Report" => code_of(breakers.report(pb::ReportRequest { breaker, ..Default::default() }).await),
        "BreakerService/ReportBatch" => {
            let tallies = vec![pb::Tally { breaker, successes: 1, ..Default::default() }];
            let request = pb::ReportBatchRequest { client_id: "a".to_owned(), batch_sequence: 1, tallies };
            code_of(breakers.report_batch(request).await)
        }
        "BreakerService/Session" => session(&mut breakers, breaker).await,
        "BreakerService/Declare" => {
            let declarations = vec![pb::Declaration { breaker, ..Default::default() }];
            code_of(breakers.declare(pb::DeclareRequest { declarations, ..Default::default() }).await)
        }
        "BreakerService/Reset" => code_of(breakers.reset(pb::ResetRequest { breaker, ..Default::default() }).await),
        "BreakerService/GetState" => code_of(breakers.get_state(pb::GetStateRequest { breaker }).await),
        "BreakerService/WatchEvents" => {
            let filter = Some(pb::WatchFilter { breakers: vec![breaker], ..Default::default() });
            code_of(breakers.watch_events(pb::WatchEventsRequest { filter, ..Default::default() }).await)
        }
        "AdminService/ListBreakers" => {
            code_of(admin.list_breakers(pb::ListBreakersRequest { prefix: breaker, ..Default::default() }).await)
        }
        "AdminService/ListPolicies" => {
            code_of(admin.list_policies(pb::ListPoliciesRequest { breaker, ..Default::default() }).await)
        }
        "AdminService/GetPolicy" => code_of(admin.get_policy(pb::GetPolicyRequest { pattern }).await),
        "AdminService/SetPolicy" => {
            let policy = Some(pb::Policy { probes: Some(2), ..Default::default() });
            code_of(admin.set_policy(pb::SetPolicyRequest { pattern, policy, ..Default::default() }).await)
        }
        "AdminService/DeletePolicy" => {
            code_of(admin.delete_policy(pb::DeletePolicyRequest { pattern, ..Default::default() }).await)
        }
        "AdminService/SetOverride" => {
            let mode = pb::OverrideMode::Shadow as i32;
            code_of(admin.set_override(pb::SetOverrideRequest { breaker, mode, reason, ..Default::default() }).await)
        }
        "AdminService/ClearOverride" => {
            code_of(admin.clear_override(pb::ClearOverrideRequest { breaker, ..Default::default() }).await)
        }
        "AdminService/ProbeNow" => {
            code_of(admin.probe_now(pb::ProbeNowRequest { breaker, ..Default::default() }).await)
        }
        "AdminService/DeleteDeclaration" => {
            code_of(admin.delete_declaration(pb::DeleteDeclarationRequest { breaker, ..Default::default() }).await)
        }
        "AdminService/DeleteBreaker" => {
            code_of(admin.delete_breaker(pb::DeleteBreakerRequest { breaker, ..Default::default() }).await)
        }
        "AdminService/ListEvents" => {
            code_of(admin.list_events(pb::ListEventsRequest { breaker, ..Default::default() }).await)
        }
        "AdminService/GetIdentity" => code_of(admin.get_identity(pb::GetIdentityRequest {}).await),
        "AdminService/CreateToken" => code_of(admin.create_token(CreateTokenRequest::default()).await),
        "AdminService/ListTokens" => code_of(admin.list_tokens(pb::ListTokensRequest::default()).await),
        "AdminService/RevokeToken" => {
            code_of(admin.revoke_token(pb::RevokeTokenRequest { name: "none".to_owned(), reason }).await)
        }
        "AdminService/ListAudit" => code_of(admin.list_audit(pb::ListAuditRequest::default()).await),
        "AdminService/ListWebhooks" => code_of(admin.list_webhooks(pb::ListWebhooksRequest {}).await),
        "AdminService/TestWebhook" => {
            code_of(admin.test_webhook(pb::TestWebhookRequest { name: "none".to_owned() }).await)
        }
        "AdminService/GetServerInfo" => code_of(admin.get_server_info(pb::GetServerInfoRequest {}).await),
        "testing.ClockService/Advance" => code_of(clock.advance(pb::testing::AdvanceRequest::default()).await),
        other => panic!("{other} is not called here"),
    }
}

/// A session may be opened by who may report; what it does with a key is told item by item.
async fn session<I: Interceptor>(
    breakers: &mut BreakerServiceClient<tonic::service::interceptor::InterceptedService<Channel, I>>,
    breaker: String,
) -> Code {
    let item = pb::SessionAcquire { number: 1, breaker, ..Default::default() };
    let frame = pb::SessionRequest { acquires: vec![item], ..Default::default() };
    match breakers.session(tokio_stream::iter([frame])).await {
        Err(status) => status.code(),
        Ok(answers) => match answers.into_inner().next().await {
            Some(Ok(answer)) => answer.errors.first().map_or(Code::Ok, |error| Code::from_i32(error.code)),
            other => panic!("{other:?}"),
        },
    }
}

#[tokio::test]
async fn every_rpc_lets_in_whom_it_should_and_nobody_else() {
    let folder = Folder::new();
    let world = World::start(&folder).await;
    let channel = client::channel(&world.server).await;
    for (rpc, inside, outside) in RPCS {
        for (key, expected) in [(INSIDE, inside), (OUTSIDE, outside)] {
            let mut found = String::new();
            for token in &world.tokens {
                let bearer = client::Bearer(token.clone());
                found.push(verdict(call(channel.clone(), bearer, rpc, key).await));
            }
            assert_eq!(found, expected, "{rpc} of {key}, by {WHO:?}");
        }
    }
}

#[test]
fn no_rpc_is_without_a_row() {
    let set = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let mut served = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("fuseboard.")) {
        let package = file.package().trim_start_matches("fuseboard.").trim_end_matches(".v1").trim_start_matches("v1");
        for service in &file.service {
            let name =
                if package.is_empty() { service.name().to_owned() } else { format!("{package}.{}", service.name()) };
            served.extend(service.method.iter().map(|method| format!("{name}/{}", method.name())));
        }
    }
    assert_eq!(RPCS.map(|(rpc, ..)| rpc.to_owned()).into_iter().collect::<BTreeSet<_>>(), served);
}

#[tokio::test]
async fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let folder = Folder::new();
    let world = World::start(&folder).await;
    let document = client::get(&world.server, "/api/v1/openapi.json", None).await.json();
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        served.entry(path.clone()).or_default().extend(methods.as_object().unwrap().keys().cloned());
    }
    let rows = ROUTES.into_iter().chain([REVOKE]);
    let mut tested: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path, ..) in rows.clone() {
        tested.entry(path.to_owned()).or_default().insert(method.to_owned());
    }
    assert_eq!(tested, served, "a route without a row, or a row without a route");
    for (method, path, inside, outside) in rows {
        for (key, expected) in [(INSIDE, inside), (OUTSIDE, outside)] {
            let mut found = String::new();
            for token in &world.tokens {
                found.push(ask(&world.server, method, path, key, token.as_deref()).await);
            }
            assert_eq!(found, expected, "{method} {path} of {key}, by {WHO:?}");
        }
    }
}

async fn ask(server: &Server, method: &str, path: &str, key: &str, token: Option<&str>) -> char {
    let encoded = key.replace('/', "%2F");
    let filled = path.replace("{breaker}", &encoded).replace("{pattern}", &encoded).replace("{name}", "none");
    let (target, body) = match (method, path) {
        ("get", "/api/v1/breakers") => (format!("{filled}?prefix={encoded}"), String::new()),
        ("get", "/api/v1/policies" | "/api/v1/events") => (format!("{filled}?breaker={encoded}"), String::new()),
        ("get", "/api/v1/events/stream") => (format!("{filled}?filter.breakers={encoded}"), String::new()),
        ("get", _) => (filled, String::new()),
        ("post", "/api/v1/login") => (filled, format!(r#"{{"token":{:?}}}"#, token.unwrap_or_default())),
        ("post", "/api/v1/declare") => (filled, format!(r#"{{"declarations":[{{"breaker":"{key}"}}]}}"#)),
        ("post", "/api/v1/report-batch") => (
            filled,
            format!(r#"{{"clientId":"a","batchSequence":"1","tallies":[{{"breaker":"{key}","successes":"1"}}]}}"#),
        ),
        ("put", "/api/v1/policies/{pattern}") => (filled, r#"{"policy":{"probes":2}}"#.to_owned()),
        ("put", _) => (filled, r#"{"mode":"OVERRIDE_MODE_SHADOW","reason":"a test"}"#.to_owned()),
        _ => (filled, "{}".to_owned()),
    };
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    match client::send(server, method, &target, token, &body).await.status.as_u16() {
        401 => '-',
        403 => 'n',
        status @ (405 | 421 | 500..) if status != 503 => panic!("{path}: {status}"),
        _ => 'y',
    }
}

/// A token of nobody does no harm to a call that needs none.
#[tokio::test]
async fn health_and_reflection_ask_nobody() {
    let folder = Folder::new();
    let world = World::start(&folder).await;
    let channel = client::channel(&world.server).await;
    let mut request = Request::new(tonic_health::pb::HealthCheckRequest::default());
    request.metadata_mut().insert("authorization", MetadataValue::from_static("Bearer nonsense"));
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    assert!(health.check(request).await.is_ok());
}
