//! What the hub and the CLI share about a fleet: its documents, how they are rendered and checked, and what a cluster
//! shall run as a consequence.
//!
//! Read first: [`tree`] (where files come from), [`document`] (what an operator writes), [`load`] (a tree becomes a
//! fleet and all its mistakes), then [`desired`] (a fleet becomes the objects of one cluster).
#![forbid(unsafe_code)]

pub mod admit;
pub mod api;
pub mod carry;
pub mod claims;
pub mod desired;
pub mod document;
pub mod failure;
pub mod guard;
pub mod kinds;
pub mod load;
pub mod manifest;
pub mod mistake;
pub mod model;
pub mod object;
pub mod path;
pub mod permit;
pub mod plan;
pub mod render;
pub mod reproduce;
pub mod select;
pub mod sops;
pub mod source;
pub mod template;
pub mod tree;
pub mod yaml;
