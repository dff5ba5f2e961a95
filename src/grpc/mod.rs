//! The gRPC side: decode, one call of the engine, encode. It translates and stops there.

pub mod pb;
