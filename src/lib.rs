//! Fuseboard: a circuit breaker that lives in one place and serves services in any language over gRPC.

pub mod access;
pub mod breaker;
pub mod cli;
pub mod config;
pub mod engine;
pub mod grpc;
pub mod http;
pub mod limit;
pub mod notify;
mod otel;
mod preflight;
pub mod pulse;
mod reload;
pub mod server;
pub mod share;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
mod words;

pub use grpc::pb;
