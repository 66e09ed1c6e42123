//! `countersign pause`, `resume`, `break-glass`: a person's signed word, for a time and with a reason, into the log;
//! `override list`: what became of such words.

mod glass;
mod list;

pub use glass::{GlassArgs, break_glass};
pub use list::{OverrideArgs, run as overrides};

use clap::Args;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::PAYLOAD_TYPE;
use countersign_ledger::statement::Override;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::time::Time;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use crate::entry::{Door, DoorArgs};
use crate::exit::{CODES, Failure};
use crate::key::{self, KEY_HELP};
use crate::output::{safe, write};

/// Arguments of `pause`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign pause --cluster metal-fra --for 2h --reason 'database moves' --hub https://hub.example:8443 --key ada.pem
  countersign pause --app cart --for 30m --reason 'sale' --hub https://hub.example:8443 --key ada.pem
  countersign pause --for 1h --reason 'incident 42' --hub https://hub.example:8443 --key vault:transit/ada

Without --cluster it is for the whole fleet. Nothing new is applied until it ends; what was applied last keeps being healed.
It ends by itself.

{KEY_HELP}

{CODES}"))]
pub struct PauseArgs {
    /// The app that gets nothing new; all of them by default.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// The cluster; all of them by default.
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    #[command(flatten)]
    word: WordArgs,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Example:
  countersign resume --cluster metal-fra --reason 'database moved' --hub https://hub.example:8443 --key ada.pem

It ends the pauses that are in the log before it and that it covers: without --cluster those of the fleet and of all clusters,
without --app those of all apps.

{KEY_HELP}

{CODES}"))]
pub struct ResumeArgs {
    /// The app that goes on; all of them by default.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// The cluster; all of them by default.
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    #[command(flatten)]
    word: WordArgs,
}

/// What every word needs.
#[derive(Debug, Args)]
pub(super) struct WordArgs {
    /// For how long: 30m, 2h, 3d; at most 30d.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = long)]
    pub(super) long: SignedDuration,
    /// Why; stands in the log.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// A key that the trust root lists under "overriders".
    #[arg(long, value_name = "KEY")]
    pub(super) key: String,
    #[command(flatten)]
    pub(super) door: DoorArgs,
}

/// Runs `pause`.
pub fn pause(args: &PauseArgs) -> Result<(), Failure> {
    let (app, cluster) = (args.app.clone(), args.cluster.clone());
    say(&args.word, OverrideKind::Pause, cluster, app, String::new())
}

/// Runs `resume`.
pub fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let (app, cluster) = (args.app.clone(), args.cluster.clone());
    say(
        &args.word,
        OverrideKind::Resume,
        cluster,
        app,
        String::new(),
    )
}

pub(super) fn say(
    args: &WordArgs,
    kind: OverrideKind,
    cluster: Option<String>,
    app: Option<String>,
    what: String,
) -> Result<(), Failure> {
    say_through(&Door::open(&args.door)?, args, kind, cluster, app, what)
}

fn say_through(
    door: &Door,
    args: &WordArgs,
    kind: OverrideKind,
    cluster: Option<String>,
    app: Option<String>,
    what: String,
) -> Result<(), Failure> {
    let signer = key::load(&args.key)?;
    let named = &door.root.document().overriders;
    let by = named.iter().find(|named| named.key == signer.public());
    let by = by.ok_or_else(|| {
        Failure::Mistake("--key: the trust root does not list it under \"overriders\"".to_owned())
    })?;
    let (issued, until) = span(Timestamp::now(), args.long)?;
    let says = Override {
        fleet: door.root.fleet().to_owned(),
        kind,
        cluster,
        app,
        what,
        reason: args.reason.clone(),
        by: by.name.clone(),
        issued,
        until,
    };
    let payload = says
        .payload()
        .map_err(|e| Failure::Mistake(safe(&e.to_string())))?;
    let envelope = key::sign(&*signer, PAYLOAD_TYPE, &payload)?;
    let entered = door.submit(&envelope, &[])?;
    write(
        &mut std::io::stdout(),
        &told(&says, entered.index, &envelope.leaf_hash()),
    )
}

/// A time as people write it; a day has 24 hours.
pub(super) fn long(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    span.to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|error| error.to_string())
}

/// From now on, for so long.
fn span(now: Timestamp, long: SignedDuration) -> Result<(Time, Time), Failure> {
    let time = |at: Timestamp| {
        let ms = u64::try_from(at.as_millisecond()).ok();
        ms.and_then(|ms| Time::from_ms(ms).ok())
    };
    let span = if long.is_positive() {
        now.checked_add(long).ok().and_then(time).zip(time(now))
    } else {
        None
    };
    let (until, issued) = span
        .ok_or_else(|| Failure::Mistake("--for: must be a time like 30m, 2h or 3d".to_owned()))?;
    Ok((issued, until))
}

fn told(says: &Override, index: u64, leaf: &Digest) -> String {
    let scope = match (&says.cluster, &says.app) {
        (None, None) => format!("fleet {}", says.fleet),
        (None, Some(app)) => format!("app {app} on all clusters"),
        (Some(cluster), None) => format!("cluster {cluster}"),
        (Some(cluster), Some(app)) => format!("app {app} on cluster {cluster}"),
    };
    let what = match says.kind {
        OverrideKind::Pause => format!("{scope} is paused until {}", says.until),
        OverrideKind::Resume => format!("{scope} goes on"),
        OverrideKind::BreakGlass => {
            let (what, until) = (&says.what, says.until);
            format!("{scope} takes state {what} without witnesses, until {until}")
        }
        OverrideKind::Deletion | OverrideKind::Rewrite | OverrideKind::Policies => {
            format!("{scope}: allowed until {}", says.until)
        }
    };
    let by = &says.by;
    safe(&format!(
        "{what}, by {by}; entry {index} of the log, leaf {leaf}"
    )) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_from_now_for_the_time_that_was_given() {
        let now = Timestamp::from_second(1_000).unwrap();
        let (issued, until) = span(now, long("2h").unwrap()).unwrap();
        assert_eq!((issued.seconds(), until.seconds()), (1_000, 8_200));
        assert!(span(now, SignedDuration::ZERO).is_err());
        assert!(span(now, long("-1h").unwrap()).is_err());
        assert_eq!(long("3d").unwrap(), SignedDuration::from_hours(72));
        assert!(long("soon").is_err() && long("1mo").is_err());
    }

    #[test]
    fn what_was_said_is_told_with_its_scope() {
        let mut says = Override {
            fleet: "acme".into(),
            kind: OverrideKind::Pause,
            cluster: Some("one".into()),
            app: Some("cart".into()),
            what: String::new(),
            reason: "a storm".into(),
            by: "ada".into(),
            issued: Time::default(),
            until: Time::from_ms(1).unwrap(),
        };
        let text = |says: &Override| told(says, 7, &Digest::of(b""));
        assert!(text(&says).starts_with(
            "app cart on cluster one is paused until 1970-01-01T00:00:00.001Z, by ada; entry 7 "
        ));
        (says.cluster, says.app) = (None, None);
        assert!(text(&says).starts_with("fleet acme is paused"));
        (says.cluster, says.kind) = (Some("one".into()), OverrideKind::BreakGlass);
        says.what = "ab".into();
        assert!(text(&says).starts_with("cluster one takes state ab without witnesses, until "));
    }
}
