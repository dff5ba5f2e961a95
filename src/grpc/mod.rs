//! The gRPC side: decode, one call of the engine, encode. It translates and stops there.
//!
//! [`convert`] checks what comes in and shapes what goes out, [`token`] holds the strings that callers carry for us, and
//! [`status`] says what went wrong.

pub mod convert;
pub mod pb;
pub mod status;
pub mod token;
