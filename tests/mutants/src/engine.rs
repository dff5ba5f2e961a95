//! The modules of the engine that need no breakers.

#[path = "../../../src/engine/error.rs"]
mod error;

pub use self::error::Error;
