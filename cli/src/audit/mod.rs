//! The auditor's side: a whole log judged from nothing but files and a trust root.
//!
//! In comes a log ([`crate::log`]: a folder, a bucket, a URL), out come findings and answers. Pure are [`entry`] (what an
//! entry says), [`keys`] (whose word counts where), [`tree`] (every hash rebuilt) and [`judge`] (what does not hold); they take
//! bytes and give values, as [`signatures`] do (many at once), which draw random factors. The effects stand at the edge: [`pass`] streams a log through them into the
//! [`index`], which is nothing but a cache: it is bound to the checkpoint, checked when it is opened, and each row that is
//! shown is derived again from the entry itself.
//!
//! ```text
//! files ─► pass ─► entry ─► judge ─► findings
//!            │        └───► row ───► index ─► ask ─► answers, each with its proof
//!            └─► tree ─► the checkpoint's root
//! ```

pub mod content;
pub mod entry;
pub mod finding;
pub mod index;
pub mod judge;
pub mod keys;
pub mod overrides;
pub mod pass;
pub mod signatures;
#[cfg(test)]
pub mod tests;
pub mod tree;
