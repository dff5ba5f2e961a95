//! The HTTP port by a real client over TCP: every route, its bounds, who is refused, streams, metrics and the drain.

mod api;
mod bounds;
mod dashboard;
mod drain;
mod guard;
mod health;
#[path = "../durable/home.rs"]
#[allow(dead_code, reason = "the engine's tests use the rest")]
mod home;
mod metrics;
mod openapi;
mod server;
mod stream;
