//! A state that came before witnesses had seen it: said where people look, and left alone if the word for it has ended since.

use super::hold::now;
use super::{Failure, Puller};
use crate::verify::Words;

impl Puller {
    /// All checks of a state have passed: does the word that let it through, if one did, still hold?
    pub(super) fn check_glass(&self, words: &Words) -> Result<(), Failure> {
        let Some(glass) = words.glass() else {
            return Ok(());
        };
        glass.check_time(now())?;
        let (word, says) = (glass.word().index(), glass.word().says());
        tracing::warn!(
            generation = glass.statement().generation(),
            word,
            by = says.by,
            reason = says.reason,
            "a person lets this state through before witnesses have seen it"
        );
        Ok(())
    }
}
