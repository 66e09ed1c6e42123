//! What a person should look at: one entry a code, counted. Pure.

use std::collections::BTreeMap;

use countersign_fleet::api::Alarm;
use jiff::Timestamp;

use super::limits::ALARMS_MAX;

/// Alarms of a cluster or of the fleet.
#[derive(Debug, Default)]
pub struct Alarms(BTreeMap<&'static str, Alarm>);

impl Alarms {
    /// Raises one; raised again, it is counted and its newest text is kept.
    pub fn raise(&mut self, code: &'static str, message: String, now: Timestamp) {
        if self.0.len() >= ALARMS_MAX && !self.0.contains_key(code) {
            return;
        }
        let alarm = self.0.entry(code).or_insert_with(|| Alarm {
            code: code.to_owned(),
            message: String::new(),
            count: 0,
            time: now,
        });
        alarm.message = super::wire::text(message);
        alarm.count = alarm.count.saturating_add(1);
        alarm.time = now;
    }

    /// All, newest last.
    pub fn list(&self) -> Vec<Alarm> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        all.sort_by(|a, b| (a.time, &a.code).cmp(&(b.time, &b.code)));
        all
    }

    /// How many.
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_alarm_is_counted_and_its_newest_text_kept() {
        let mut alarms = Alarms::default();
        alarms.raise("B", "one".into(), Timestamp::from_second(1).unwrap());
        alarms.raise("A", "x".into(), Timestamp::from_second(2).unwrap());
        alarms.raise("B", "two".into(), Timestamp::from_second(3).unwrap());
        let found: Vec<_> = alarms
            .list()
            .into_iter()
            .map(|a| (a.code, a.message, a.count))
            .collect();
        assert_eq!(
            found,
            [
                ("A".into(), "x".into(), 1),
                ("B".to_owned(), "two".to_owned(), 2)
            ]
        );
        assert_eq!(alarms.count(), 2);
    }
}
