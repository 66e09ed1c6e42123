//! An app that a person holds still keeps what it has, as a failed one does; the others move on. Pure.

use std::collections::BTreeMap;

use countersign_fleet::carry::Wanted;
use countersign_fleet::failure::AppFailure;
use countersign_ledger::verify::overrides::Pause;

use crate::pipeline::words::Paused;

/// Code of an app that is held still.
pub const PAUSED: &str = "PAUSED";

/// Holds each paused app that concerns the cluster: that it is to run, or has objects of. So an app that left in its pause
/// is not deleted in it.
pub fn hold(
    paused: &Paused,
    concerns: impl Fn(&str) -> bool,
    wanted: &mut BTreeMap<String, Wanted>,
) {
    for (app, pause) in paused.iter().filter(|(app, _)| concerns(app)) {
        wanted.insert(app.clone(), Wanted::Failed(failure(pause)));
    }
}

fn failure(pause: &Pause) -> AppFailure {
    let Pause {
        reason, by, until, ..
    } = pause;
    AppFailure::new(PAUSED, format!("paused by {by} until {until}: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use countersign_fleet::carry::{Carried, Input, Previous, WantedApp, WantedLine, carry};
    use countersign_ledger::Digest;
    use countersign_ledger::identity::ObjectId;
    use countersign_ledger::manifest::{Content, Line};
    use countersign_ledger::time::Time;

    use super::*;

    fn line(name: &str, value: &str) -> WantedLine {
        let id = ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "default".into(),
            name: name.into(),
        };
        let sha256 = Digest::of(value.as_bytes());
        WantedLine {
            id,
            wave: 0,
            bytes: 1,
            content: Content::Plain { sha256 },
        }
    }

    fn app(lines: &[(&str, &str)]) -> Wanted {
        let lines = lines.iter().map(|(name, value)| line(name, value));
        Wanted::Rendered(WantedApp {
            lines: lines.collect(),
            ..WantedApp::default()
        })
    }

    fn next(previous: &Previous, mut wanted: BTreeMap<String, Wanted>, paused: &[&str]) -> Carried {
        let pause = Pause {
            reason: "a sale".into(),
            by: "ada".into(),
            until: Time::from_ms(1_000).unwrap(),
            index: 3,
        };
        let paused: Paused = paused
            .iter()
            .map(|app| ((*app).to_owned(), pause.clone()))
            .collect();
        let had = |app: &str| previous.apps.iter().any(|entry| entry.name == app);
        let here: BTreeSet<String> = wanted.keys().cloned().collect();
        hold(&paused, |app| had(app) || here.contains(app), &mut wanted);
        carry(&Input {
            cluster: "one",
            commit: &"2".repeat(40),
            previous,
            apps: &wanted,
            elsewhere: &BTreeSet::new(),
            hidden: None,
            gone: &BTreeSet::new(),
            permits: &BTreeSet::new(),
        })
    }

    fn fleet(cart: &[(&str, &str)], blog: &[(&str, &str)]) -> BTreeMap<String, Wanted> {
        BTreeMap::from([("cart".into(), app(cart)), ("blog".into(), app(blog))])
    }

    fn lines_of<'c>(carried: &'c Carried, app: &str) -> Vec<&'c Line> {
        let of = |line: &&Line| line.app() == app;
        carried.lines.iter().filter(of).collect()
    }

    fn previous(carried: &Carried) -> Previous {
        Previous {
            lines: carried.lines.clone(),
            apps: carried.apps.clone(),
            removals: BTreeSet::from(["cart".into()]),
        }
    }

    #[test]
    fn a_paused_app_stays_as_it_is_and_the_others_move_until_it_goes_on() {
        let first = next(
            &Previous::default(),
            fleet(&[("c", "1"), ("d", "1")], &[("b", "1")]),
            &[],
        );
        let before = previous(&first);
        let pushed = || fleet(&[("c", "2")], &[("b", "2")]);
        let held = next(&before, pushed(), &["cart"]);
        assert_eq!(lines_of(&held, "cart"), lines_of(&first, "cart"));
        assert_ne!(lines_of(&held, "blog"), lines_of(&first, "blog"));
        let report = &held.reports["cart"];
        let kept = report.kept.as_ref().unwrap();
        assert_eq!((kept.code.as_str(), report.removed), (PAUSED, 0));
        assert!(kept.message.contains("by ada until"), "{kept}");

        let on = next(&previous(&held), pushed(), &[]);
        let free = next(&before, pushed(), &[]);
        assert_eq!(lines_of(&on, "cart"), lines_of(&free, "cart"));
    }

    #[test]
    fn an_app_that_left_in_its_pause_is_kept_and_one_that_comes_waits() {
        let first = next(
            &Previous::default(),
            fleet(&[("c", "1")], &[("b", "1")]),
            &[],
        );
        let mut gone = fleet(&[], &[("b", "1")]);
        gone.remove("cart");
        let held = next(&previous(&first), gone.clone(), &["cart"]);
        assert_eq!(lines_of(&held, "cart"), lines_of(&first, "cart"));
        let on = next(&previous(&first), gone.clone(), &[]);
        assert!(matches!(lines_of(&on, "cart")[..], [Line::Tombstone(_)]));

        let comes = next(
            &Previous::default(),
            fleet(&[("c", "1")], &[("b", "1")]),
            &["cart"],
        );
        assert!(lines_of(&comes, "cart").is_empty());
        assert_eq!(lines_of(&comes, "blog").len(), 1);
        let never_here = next(&Previous::default(), gone, &["cart"]);
        assert!(!never_here.reports.contains_key("cart"));
    }
}
