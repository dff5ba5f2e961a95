//! Fuseboard: a circuit breaker that lives in one place and serves services in any language over gRPC.

pub mod breaker;

/// Generated from `proto/`.
pub mod pb {
    #![allow(missing_docs)]
    tonic::include_proto!("fuseboard.v1");
}
