//! Paths of tiles and bundles, relative to the log: one spelling each.

use std::fmt;
use std::str::FromStr;

use super::{BundleId, TILE_LEVEL_MAX, TILE_WIDTH, TileId};
use crate::tlog::text;

/// Why a text is no path of a tile or a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilePathError {
    /// It does not begin as such a path does.
    #[error("begins neither with tile/<level>/ nor with tile/entries/")]
    Prefix,
    /// The level is no number from 0 to 63 in its one spelling.
    #[error("the level must be 0 to 63")]
    Level,
    /// The index is not written in groups of three digits, all but the last behind an `x`, without needless groups.
    #[error("the index must be groups of three digits, all but the last behind an x")]
    Index,
    /// The index is past any tree.
    #[error("the index is past any tree")]
    IndexTooLarge,
    /// The width is no number from 1 to 255 in its one spelling.
    #[error("the width of a partial tile must be 1 to 255")]
    Width,
}

impl TileId {
    /// `tile/<level>/<index>`, and `.p/<width>` behind it if it is partial.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads what [`TileId::path`] wrote.
    pub fn parse(path: &str) -> Result<Self, TilePathError> {
        path.parse()
    }
}

impl BundleId {
    /// `tile/entries/<index>`, and `.p/<width>` behind it if it is partial.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads what [`BundleId::path`] wrote.
    pub fn parse(path: &str) -> Result<Self, TilePathError> {
        path.parse()
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut groups = Vec::new();
    let mut rest = index;
    while rest >= 1_000 {
        groups.push(rest % 1_000);
        rest /= 1_000;
    }
    groups.push(rest);
    for (place, group) in groups.iter().enumerate().rev() {
        if place > 0 {
            write!(f, "x{group:03}/")?;
        } else {
            write!(f, "{group:03}")?;
        }
    }
    if width == TILE_WIDTH {
        Ok(())
    } else {
        write!(f, ".p/{width}")
    }
}

impl FromStr for TileId {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        let rest = path.strip_prefix("tile/").ok_or(TilePathError::Prefix)?;
        let (level, place) = rest.split_once('/').ok_or(TilePathError::Prefix)?;
        let level = text::decimal(level)
            .and_then(|level| u8::try_from(level).ok())
            .filter(|level| *level <= TILE_LEVEL_MAX)
            .ok_or(TilePathError::Level)?;
        let (index, width) = read_place(place)?;
        Ok(Self {
            level,
            index,
            width,
        })
    }
}

impl FromStr for BundleId {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        let place = path
            .strip_prefix("tile/entries/")
            .ok_or(TilePathError::Prefix)?;
        let (index, width) = read_place(place)?;
        Ok(Self { index, width })
    }
}

fn read_place(place: &str) -> Result<(u64, u16), TilePathError> {
    let (index, width) = match place.split_once(".p/") {
        None => (place, TILE_WIDTH),
        Some((index, width)) => {
            let width = text::decimal(width)
                .and_then(|width| u16::try_from(width).ok())
                .filter(|width| (1..TILE_WIDTH).contains(width))
                .ok_or(TilePathError::Width)?;
            (index, width)
        }
    };
    let mut value: u64 = 0;
    let mut groups = index.split('/').peekable();
    let mut first = true;
    while let Some(group) = groups.next() {
        let digits = match (groups.peek(), group.strip_prefix('x')) {
            (Some(_), Some(digits)) => digits,
            (None, None) => group,
            _ => return Err(TilePathError::Index),
        };
        if digits.len() != 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(TilePathError::Index);
        }
        // A group of zeros in front says nothing: x000/001 is 001.
        if first && digits == "000" && groups.peek().is_some() {
            return Err(TilePathError::Index);
        }
        first = false;
        let group: u64 = digits.parse().map_err(|_| TilePathError::Index)?;
        value = value
            .checked_mul(1_000)
            .and_then(|value| value.checked_add(group))
            .ok_or(TilePathError::IndexTooLarge)?;
    }
    Ok((value, width))
}
