//! Permits and tokens as bytes.

#[path = "../../../src/grpc/token.rs"]
pub mod token;
