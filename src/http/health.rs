//! Whether the process lives, whether it should be sent calls, and how the breakers stand.
//!
//! - `/livez`: the process answers and its serving threads make progress ([`Pulse`](crate::pulse::Pulse)): 503 once one of them has
//!   come through no Acquire for 10 s. Nothing else counts: a restart helps against nothing that breakers or the store may have.
//! - `/readyz`: it may be sent calls: not while it drains. A failing store does not make it unready, as calls of closed
//!   breakers go on being answered, and taking every server out of rotation for one disk would open everything; the answer
//!   names the store, and so does gRPC's health service under `store`. Nor does an open breaker: refusing is its work.
//! - `/health/circuit-breakers`: 200 while no breaker refuses calls, 503 when one does.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{App, SURVEY_PLACES, api, error::Error};
use crate::{access::Need, breaker::StateName, engine::Surveyed, pulse::Stalled};

/// Breakers told of one by one; those that refuse calls come first.
const BREAKERS_MAX: usize = 1_000;

pub(super) async fn live(State(app): State<Arc<App>>) -> Response {
    let Some(Stalled { thread, silent_for }) = app.context.pulse.stalled() else { return "ok\n".into_response() };
    let silent_for = silent_for.as_secs();
    tracing::error!(thread, silent_for, "serving thread makes no progress");
    let why = format!("serving thread {thread} has made no progress for {silent_for} s\n");
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.context.shutdown.draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match app.context.engine.store_problem() {
        None => "ready\n".into_response(),
        Some(_) => "ready; the store is failing: closed breakers are served, nothing can be recorded\n".into_response(),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Breakers {
    status: &'static str,
    total: u64,
    closed: u64,
    open: u64,
    half_open: u64,
    overridden: u64,
    /// Those that refuse calls: open or forced open, and not overridden otherwise.
    refusing: u64,
    /// How many are told of below.
    shown: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    breakers: Vec<Breaker>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Breaker {
    name: Arc<str>,
    state: &'static str,
    failures: u64,
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    forced: Option<&'static str>,
}

pub(super) async fn circuit_breakers(State(app): State<Arc<App>>, request: Request) -> Result<Response, Error> {
    let grant = api::checked(Need::Read, "read /health/circuit-breakers", &request)?;
    let mut counts = [0_u64; 3];
    let (mut overridden, mut refusing) = (0, 0);
    let mut shown: BTreeMap<(bool, Arc<str>), Breaker> = BTreeMap::new();
    let mut each = |breaker: Surveyed| {
        if !grant.covers(&breaker.key) {
            return;
        }
        counts[breaker.status.state as usize] += 1;
        overridden += u64::from(breaker.status.forced.is_some());
        refusing += u64::from(breaker.is_refusing());
        let place = (!breaker.is_refusing(), Arc::clone(&breaker.key));
        if shown.len() < BREAKERS_MAX || shown.last_key_value().is_some_and(|(last, _)| place < *last) {
            shown.insert(
                place,
                Breaker {
                    name: breaker.key,
                    state: breaker.status.state.name(),
                    failures: breaker.status.failures,
                    forced: breaker.status.forced.map(|mode| mode.name()),
                },
            );
            if shown.len() > BREAKERS_MAX {
                shown.pop_last();
            }
        }
    };
    let mut next = Some(0);
    while let Some(from) = next {
        next = app.context.engine.survey(from, SURVEY_PLACES, &mut each);
        tokio::task::yield_now().await;
    }
    let of = |state: StateName| counts[state as usize];
    let total = counts.iter().sum();
    let answer = Breakers {
        status: if refusing == 0 { "healthy" } else { "degraded" },
        total,
        closed: of(StateName::Closed),
        open: of(StateName::Open),
        half_open: of(StateName::HalfOpen),
        overridden,
        refusing,
        shown: shown.len(),
        note: (total > shown.len() as u64)
            .then_some("not all are shown, those that refuse calls first; /api/v1/breakers lists all in pages"),
        breakers: shown.into_values().collect(),
    };
    let status = if refusing == 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(answer)).into_response())
}
