//! The gRPC side: decode, one call of the engine, encode. It translates and stops there.
//!
//! [`convert`] checks what comes in and shapes what goes out, [`token`] holds the strings that callers carry for us, and
//! [`status`] says what went wrong.

mod admin;
pub mod convert;
pub mod pb;
mod service;
mod session;
pub mod status;
mod testing;
pub mod token;
mod watch;

pub use self::{
    admin::AdminService,
    service::{BreakerService, Context},
    session::Session,
    testing::ClockService,
    watch::EventStream,
};
