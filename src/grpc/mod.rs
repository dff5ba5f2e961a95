//! The gRPC side: decode, one call of the engine, encode. It translates and stops there.
//!
//! [`convert`] checks what comes in and shapes what goes out, [`token`] holds the strings that callers carry for us, and
//! [`status`] says what went wrong.

mod admin;
pub mod convert;
mod dispatch;
mod gate;
mod limits;
mod listener;
pub mod pb;
pub(crate) mod reflect;
mod service;
mod session;
mod standard;
pub mod status;
mod testing;
pub mod token;
mod turns;
mod watch;

pub(crate) use self::service::event_json;
pub use self::{
    admin::AdminService,
    dispatch::{Dispatch, Handler, RequestBody, Services, Usage},
    gate::{Gate, Keys, Peer, bearer},
    limits::Limits,
    listener::{bind, serve},
    service::{BreakerService, Context},
    session::Session,
    standard::standard_services,
    testing::ClockService,
    watch::EventStream,
};
