//! Writing to the API server: server-side apply of the signed bytes.
//!
//! Read `client` (the connection), `discovery` (where kinds live), `request` (one apply), `outcome` (what an answer
//! means: the table of retryable errors), `pace` (how many at once).

pub mod client;
pub mod discovery;
pub mod outcome;
pub mod pace;
pub mod request;
pub mod trouble;
mod words;
