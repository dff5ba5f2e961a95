//! The protocol as code, generated from `proto/` when the crate is built.

#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery, reason = "generated code")]

tonic::include_proto!("fuseboard.v1");

/// For tests against a server whose time stands still.
pub mod testing {
    tonic::include_proto!("fuseboard.testing.v1");
}

/// All of `proto/` and what it imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fuseboard.bin"));
