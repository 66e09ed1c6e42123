//! Times as statements write them: RFC 3339 in UTC with milliseconds, in one spelling only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAY_MS: u64 = 86_400_000;
/// The first millisecond of the year 10000, which has no four digits.
const END_MS: u64 = 253_402_300_800_000;

/// A time, in milliseconds since 1970 (UTC). Written as `2026-11-25T08:00:00.000Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// Why a text or a number is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a time from 1970 to 9999 like \"2026-11-25T08:00:00.000Z\"")]
pub struct NotATime;

impl Time {
    /// The time `ms` milliseconds after 1970 began.
    pub const fn from_ms(ms: u64) -> Result<Self, NotATime> {
        if ms < END_MS {
            Ok(Self(ms))
        } else {
            Err(NotATime)
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// A millisecond before; the first moment of 1970 stays.
    #[cfg(test)]
    pub(crate) const fn earlier(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (self.0 / DAY_MS, self.0 % DAY_MS);
        let (year, month, day) = date(days);
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, ms) = (of_day / 1_000 % 60, of_day % 1_000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        const SHAPE: &[u8] = b"0000-00-00T00:00:00.000Z";
        let shaped = text.len() == SHAPE.len()
            && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                mark => byte == *mark,
            });
        if !shaped {
            return Err(NotATime);
        }
        let number = |from: usize, to: usize| {
            text.get(from..to)
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or(NotATime)
        };
        let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?).ok_or(NotATime)?;
        let (hour, minute) = (number(11, 13)?, number(14, 16)?);
        let (second, ms) = (number(17, 19)?, number(20, 23)?);
        // One spelling a time: no hour 24, no leap second.
        if hour > 23 || minute > 59 || second > 59 {
            return Err(NotATime);
        }
        Self::from_ms(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + ms)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Leap days in the years before `year`.
fn leap_days(year: u64) -> u64 {
    let before = year.saturating_sub(1);
    before / 4 - before / 100 + before / 400
}

fn first_day(year: u64) -> u64 {
    (year - 1970) * 365 + leap_days(year) - leap_days(1970)
}

/// Days from the first of 1970 to a date; none before that, and none of a month or day that is none.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    Some(first_day(year) + months + day - 1)
}

/// Year, month and day of a number of days since the first of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while first_day(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - first_day(year);
    let mut month = 1;
    while rest >= days_of(year, month) {
        rest -= days_of(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_have_their_text() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_593_600_000, "2026-11-25T08:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (END_MS - 1, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Time(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Time(ms)));
        }
        assert_eq!(Time::from_ms(END_MS), Err(NotATime));
    }

    #[test]
    fn a_time_has_one_spelling() {
        for text in [
            "",
            "2026-11-25T08:00:00Z",
            "2026-11-25T08:00:00.000z",
            "2026-11-25T08:00:00.000+00:00",
            "2026-11-25 08:00:00.000Z",
            "2026-11-25T24:00:00.000Z",
            "2026-11-25T08:60:00.000Z",
            "2026-11-25T08:00:60.000Z",
            "2026-02-29T08:00:00.000Z",
            "2026-13-01T08:00:00.000Z",
            "2026-00-01T08:00:00.000Z",
            "2026-01-00T08:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2026-11-25T08:00:00.0000Z",
            "2026-11-2\u{661}T08:00:00.00Z",
        ] {
            assert_eq!(text.parse::<Time>(), Err(NotATime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_back_and_sorts_like_its_text(a in 0..END_MS, b in 0..END_MS) {
            let (a, b) = (Time(a), Time(b));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
