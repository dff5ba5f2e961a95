//! Who may do what: roles, what each call needs, and what an identity is bounded to. Pure: who is behind a request is found
//! out in `grpc/gate.rs`, and tokens are kept by the engine.

mod identity;
mod role;
mod seal;
mod token;

pub use self::{
    identity::{ADMIN_TOKEN, Bound, Grant, Identity},
    role::{Need, Role, Roles, need},
    seal::{SEAL_KEY_BYTES, Seal},
    token::{Secret, SecretHash, Token, opaque_id},
};
