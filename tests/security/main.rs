//! Who may do what, and over which connection: the built server with certificates and tokens.

mod authority;
mod client;
mod matrix;
mod permits;
#[path = "../support/process.rs"]
mod process;
mod shares;
mod tls;
mod tokens;
