//! What is alive: breakers by key, their timers and their events.

pub mod clock;
mod error;

pub use error::Error;
