//! What an override must be: of a cluster that is there, by the person whose key signed it, with an end that is near.

use countersign_ledger::statement::Override;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::trust::VerifiedRoot;
use jiff::Timestamp;

use super::Refusal;
use crate::serve::limits::{CLOCK_SKEW_SECONDS, OVERRIDE_SECONDS_MAX};

pub(super) fn check(
    this: &Override,
    by: &str,
    root: &VerifiedRoot,
    now: Timestamp,
) -> Result<(), Refusal> {
    let bad = |text: String| Err(Refusal::unprocessable("OVERRIDE_INVALID", text));
    if this.by != by {
        return bad(format!(
            "is by {:?}, signed with the key of {by:?}",
            this.by
        ));
    }
    if let Some(cluster) = &this.cluster
        && !root.document().clusters.contains_key(cluster)
    {
        return bad(format!("the trust root lists no cluster {cluster:?}"));
    }
    let of_fleet = matches!(this.kind, OverrideKind::Rewrite | OverrideKind::Policies);
    if of_fleet && (this.cluster.is_some() || this.app.is_some()) {
        return bad("is for the whole fleet, and names a cluster or an app".to_owned());
    }
    let now_ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let skew = CLOCK_SKEW_SECONDS.unsigned_abs() * 1000;
    if this.issued.ms() > now_ms + skew {
        return bad(format!("is of {}, which has not come", this.issued));
    }
    if this.until.ms() <= now_ms {
        return bad(format!("ended at {}", this.until));
    }
    let longest = OVERRIDE_SECONDS_MAX * 1000;
    if this.until.ms() - this.issued.ms() > longest {
        return bad(format!(
            "lasts longer than {} days",
            OVERRIDE_SECONDS_MAX / 86_400
        ));
    }
    Ok(())
}
