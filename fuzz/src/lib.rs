//! What is fuzzed: one function for each parser that reads what somebody else wrote. `cargo fuzz run <name>` feeds them
//! (on the stable toolchain with `RUSTC_BOOTSTRAP=1`); tests of the crates replay their seed corpora through the same
//! functions.
#![forbid(unsafe_code)]

pub mod commits;
pub mod ledger;
pub mod outside;
