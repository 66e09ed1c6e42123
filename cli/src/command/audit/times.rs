//! Times as people write them: a date, a time with its offset, or a span before now.

use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};

use crate::exit::Failure;
use crate::output::safe;

/// Milliseconds since 1970. A date alone is its first moment, in UTC.
pub fn parse(text: &str, now: Timestamp) -> Result<u64, Failure> {
    let time = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| {
            let date: Date = text.parse().ok().filter(|_| text.len() == 10)?;
            Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })
        .or_else(|| (text == "now").then_some(now))
        .or_else(|| {
            let span: Span = text.strip_suffix(" ago")?.parse().ok()?;
            Some(
                now.to_zoned(TimeZone::UTC)
                    .checked_sub(span)
                    .ok()?
                    .timestamp(),
            )
        });
    time.and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .ok_or_else(|| {
            Failure::Mistake(format!(
                "{:?} is no time: write 2026-11-25, 2026-11-25T08:00:00Z, \"3 days ago\" or now",
                safe(text)
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_spans_are_times() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let at = |text: &str| parse(text, now).unwrap();
        assert_eq!(at("1970-01-02"), 86_400_000);
        assert_eq!(at("1970-01-01T01:00:00+01:00"), 0);
        assert_eq!(at("now") - at("2 days ago"), 2 * 86_400_000);
        for text in ["", "yesterday", "2026-13-01", "2026-11-25T", "1969-01-01"] {
            assert!(parse(text, now).is_err(), "{text}");
        }
    }
}
