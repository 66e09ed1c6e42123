#![forbid(unsafe_code)]
pub mod serve;
