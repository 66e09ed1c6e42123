//! An object has one owner. Pure.
//!
//! Taking an object over needs the old owner's consent in Git: it must have stopped rendering it in the same commit or
//! before. An app that only keeps its last good objects has not consented to anything.
use std::collections::BTreeMap;

use countersign_ledger::identity::ObjectId;

use crate::failure::AppFailure;

/// Who has each object now: of the kept lines, and of the previous manifest.
#[derive(Debug, Default)]
pub struct Owners<'a> {
    /// Objects that an app keeps without rendering them.
    pub kept: BTreeMap<&'a ObjectId, &'a str>,
    /// Objects of the previous manifest.
    pub before: BTreeMap<&'a ObjectId, &'a str>,
}

/// Apps that claim an object of another, with the reason. Of several claimants the owner before wins, else the first
/// by name.
pub fn lost_claims<'a>(
    owners: &Owners<'a>,
    claims: impl IntoIterator<Item = (&'a str, &'a ObjectId)>,
) -> BTreeMap<&'a str, AppFailure> {
    let mut claimants: BTreeMap<&ObjectId, Vec<&str>> = BTreeMap::new();
    for (app, id) in claims {
        claimants.entry(id).or_default().push(app);
    }
    let mut lost = BTreeMap::new();
    for (id, mut apps) in claimants {
        apps.sort_unstable();
        apps.dedup();
        let kept = owners.kept.get(id).copied();
        let before = owners
            .before
            .get(id)
            .copied()
            .filter(|app| apps.contains(app));
        let Some(winner) = kept.or(before).or(apps.first().copied()) else {
            continue;
        };
        for app in apps {
            if app != winner {
                lost.entry(app)
                    .or_insert_with(|| owned_by(id, winner, kept.is_some()));
            }
        }
    }
    lost
}

fn owned_by(id: &ObjectId, owner: &str, kept: bool) -> AppFailure {
    let way_out = if kept {
        format!(
            "{owner} failed and keeps it; it can be taken over once {owner} renders again, without it"
        )
    } else {
        format!("remove it from {owner} in the same commit to move it")
    };
    AppFailure::new(
        "OWNED_BY",
        format!("{id} belongs to the app {owner}: {way_out}"),
    )
}
