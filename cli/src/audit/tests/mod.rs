//! What the tests of the auditor's side share.

pub mod fixture;
