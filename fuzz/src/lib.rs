//! Fuzz targets: functions from bytes that panic where something is wrong, and the inputs to start from.
//!
//! `fuzz/run.sh` runs them under libFuzzer; `tests/fuzz.rs` runs them for a moment on inputs that never change.

pub mod requests;
pub mod tokens;
