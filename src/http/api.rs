//! The API for people with curl: the same verbs as gRPC, in JSON.
//!
//! A route says which RPC it is and which of its fields the path carries; the others come from the query of a GET and from
//! the body of everything else. Then it is the RPC's own code that checks, acts and answers.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{Extensions, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, on},
};
use futures_util::future::BoxFuture;
use prost::Message;
use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value};
use tonic::Status;

use super::{App, error::Error, json};
use crate::{
    access::{Grant, Need, need},
    engine,
    grpc::{
        Gate,
        pb::{admin_service_server::AdminService as _, breaker_service_server::BreakerService as _},
    },
};

/// One route, and the RPC that it is.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// `Service/Method`.
    pub(super) rpc: &'static str,
    call: Call,
}

type Call =
    for<'a> fn(&'a App, &'a MethodDescriptor, Map<String, Value>, Extensions) -> BoxFuture<'a, Result<String, Error>>;

/// A call of one of the services, with a message read from JSON and an answer written to it.
macro_rules! call {
    ($service:ident.$method:ident) => {
        |app, rpc, object, asker| {
            Box::pin(async move {
                let mut request = tonic::Request::new(json::read(rpc.input(), object)?);
                *request.extensions_mut() = asker;
                answer(rpc, app.$service.$method(request).await)
            })
        }
    };
}

fn answer<T: Message>(rpc: &MethodDescriptor, answer: Result<tonic::Response<T>, Status>) -> Result<String, Error> {
    json::write(rpc.output(), answer?.get_ref())
}

/// All routes that are an RPC, streams left out.
pub(super) static VERBS: [Verb; 25] = [
    verb(Method::GET, "/api/v1/breakers", "AdminService/ListBreakers", call!(admin.list_breakers)),
    verb(Method::GET, "/api/v1/breakers/{breaker}", "BreakerService/GetState", call!(breakers.get_state)),
    verb(Method::DELETE, "/api/v1/breakers/{breaker}", "AdminService/DeleteBreaker", call!(admin.delete_breaker)),
    verb(Method::POST, "/api/v1/breakers/{breaker}/acquire", "BreakerService/Acquire", call!(breakers.acquire)),
    verb(Method::POST, "/api/v1/breakers/{breaker}/report", "BreakerService/Report", call!(breakers.report)),
    verb(Method::POST, "/api/v1/breakers/{breaker}/reset", "BreakerService/Reset", call!(breakers.reset)),
    verb(Method::POST, "/api/v1/breakers/{breaker}/probe", "AdminService/ProbeNow", call!(admin.probe_now)),
    verb(Method::PUT, "/api/v1/breakers/{breaker}/override", "AdminService/SetOverride", call!(admin.set_override)),
    verb(
        Method::DELETE,
        "/api/v1/breakers/{breaker}/override",
        "AdminService/ClearOverride",
        call!(admin.clear_override),
    ),
    verb(
        Method::DELETE,
        "/api/v1/breakers/{breaker}/declaration",
        "AdminService/DeleteDeclaration",
        call!(admin.delete_declaration),
    ),
    verb(Method::POST, "/api/v1/declare", "BreakerService/Declare", call!(breakers.declare)),
    verb(Method::POST, "/api/v1/report-batch", "BreakerService/ReportBatch", call!(breakers.report_batch)),
    verb(Method::GET, "/api/v1/policies", "AdminService/ListPolicies", call!(admin.list_policies)),
    verb(Method::GET, "/api/v1/policies/{pattern}", "AdminService/GetPolicy", call!(admin.get_policy)),
    verb(Method::PUT, "/api/v1/policies/{pattern}", "AdminService/SetPolicy", call!(admin.set_policy)),
    verb(Method::DELETE, "/api/v1/policies/{pattern}", "AdminService/DeletePolicy", call!(admin.delete_policy)),
    verb(Method::GET, "/api/v1/events", "AdminService/ListEvents", call!(admin.list_events)),
    verb(Method::GET, "/api/v1/server", "AdminService/GetServerInfo", call!(admin.get_server_info)),
    verb(Method::GET, "/api/v1/identity", "AdminService/GetIdentity", call!(admin.get_identity)),
    verb(Method::GET, "/api/v1/tokens", "AdminService/ListTokens", call!(admin.list_tokens)),
    verb(Method::POST, "/api/v1/tokens", "AdminService/CreateToken", call!(admin.create_token)),
    verb(Method::DELETE, "/api/v1/tokens/{name}", "AdminService/RevokeToken", call!(admin.revoke_token)),
    verb(Method::GET, "/api/v1/webhooks", "AdminService/ListWebhooks", call!(admin.list_webhooks)),
    verb(Method::POST, "/api/v1/webhooks/{name}/test", "AdminService/TestWebhook", call!(admin.test_webhook)),
    verb(Method::GET, "/api/v1/audit", "AdminService/ListAudit", call!(admin.list_audit)),
];

const fn verb(method: Method, path: &'static str, rpc: &'static str, call: Call) -> Verb {
    Verb { method, path, rpc, call }
}

impl Verb {
    /// Whether its fields come in a query.
    pub(super) fn has_query(&self) -> bool {
        self.method == Method::GET
    }
}

/// The routes of [`VERBS`].
pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    VERBS.iter().fold(router, |router, verb| {
        let filter = MethodFilter::try_from(verb.method.clone()).unwrap_or(MethodFilter::GET);
        type Path = Result<RawPathParams, RawPathParamsRejection>;
        let handler = move |State(app): State<Arc<App>>, path: Path, request: Request| async move {
            let unreadable = |_| engine::Error::invalid("path", "must be UTF-8, in percent-encoding");
            handle(verb, &app, &path.map_err(unreadable)?, request).await
        };
        router.route(verb.path, on(filter, handler))
    })
}

async fn handle(verb: &Verb, app: &App, path: &RawPathParams, request: Request) -> Result<Response, Error> {
    let rpc = json::method(verb.rpc).ok_or_else(not_found)?;
    let asker = granted(verb.rpc, &request)?;
    let mut object = if verb.has_query() {
        json::query(&rpc.input(), &pairs(request.uri())?)?
    } else {
        json::object(&json::body(request.into_body(), &app.limits).await?)?
    };
    for (name, value) in path {
        carry(&mut object, name, value)?;
    }
    let answer = (verb.call)(app, &rpc, object, asker).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

/// What a request may do that is the same as an RPC, named `Service/Method`, and who uses what it takes: for the RPC's own
/// request.
pub(super) fn granted(rpc: &str, request: &Request) -> Result<Extensions, Error> {
    let method = format!("fuseboard.v1.{rpc}");
    let mut asker = Extensions::new();
    asker.insert(checked(need(&method), &method, request)?);
    asker.insert(Gate::holder(request.extensions()));
    Ok(asker)
}

/// What a request may do for which this is needed. What has not passed the guard may do nothing.
pub(super) fn checked(needed: Need, what: &str, request: &Request) -> Result<Grant, Error> {
    let missing = engine::Error::Unauthenticated { why: "the request came by no door" };
    let grant = request.extensions().get::<Grant>().cloned().ok_or(missing)?;
    grant.check_role(needed, what)?;
    Ok(grant)
}

/// Puts what the path says into its field, which may only say the same.
fn carry(object: &mut Map<String, Value>, name: &str, value: &str) -> Result<(), Error> {
    match object.insert(name.to_owned(), Value::String(value.to_owned())) {
        Some(said) if said != value => Err(engine::Error::invalid(name, "is another one in the path").into()),
        _ => Ok(()),
    }
}

/// The parameters of a query.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Error> {
    let pairs = Query::try_from_uri(uri).map(|Query(pairs)| pairs);
    pairs.map_err(|error| engine::Error::invalid("query", format!("cannot be read: {error}")).into())
}

/// There is no such route.
pub(super) fn not_found() -> Error {
    let message =
        "there is no such route: /api/v1/openapi.json lists those there are, and a `/` in a key is written %2F";
    Error::new(StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND", message)
}
