//! Who may do what: roles, what each call needs, and what an identity is bounded to. Pure: who is behind a request is found
//! out in `grpc/gate.rs`, and tokens are kept by the engine.

mod identity;
mod role;
mod token;

pub use self::{
    identity::{Grant, Identity},
    role::{Need, Role, Roles, need},
    token::{Secret, SecretHash, Token},
};
