//! CI without a key of its own: the hub signs for it what it did to the infrastructure, and says in the statement for whom.
//!
//! In: a token, and what changed. Two kinds of token count: one that the hub's operator made for a workspace ([`token`]), and
//! the identity token of a workflow that the operator allowed ([`workflows`]). Both are pure but for fetching an issuer's
//! keys; [`door`] joins them with the log.

mod door;
mod token;
pub mod workflows;

pub(crate) use door::handler;
pub(crate) use token::{Claims, NotMade, mint};
pub use workflows::Workflows;
