//! The client against the real server, which `FUSEBOARD_BIN` names.
#![allow(clippy::disallowed_methods, reason = "tests start processes and measure real time")]

mod calls;
mod examples;
mod lifecycle;
mod readme;
mod runs;
mod server;
mod tls;
mod tower;
