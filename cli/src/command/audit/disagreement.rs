//! What a second renderer's no is about: what it got, what was sealed, and what the state had changed.

use std::collections::BTreeSet;

use countersign_ledger::digest::Digest;
use countersign_ledger::manifest::{Line, render_digest};
use countersign_ledger::statement::{Reproduction, Statement};

use super::open::Audit;
use crate::audit::content;
use crate::audit::entry::Read;
use crate::audit::finding::{Code, Finding};
use crate::audit::judge::Past as _;

/// What is said of a finding; of a second renderer's no also what was sealed, if its content is at hand: so that both digests
/// stand side by side.
pub(super) fn detail(audit: &Audit<'_>, finding: &Finding) -> String {
    let said = finding.detail.clone();
    match of(audit, finding).and_then(|no| sealed(audit, &no)) {
        Some(sealed) => format!("{said}; sealed was {sealed}"),
        None => said,
    }
}

/// The second renderer's statement, if the finding is its no.
pub(super) fn of(audit: &Audit<'_>, finding: &Finding) -> Option<Reproduction> {
    if finding.code != Code::ReproductionDisagrees {
        return None;
    }
    let bytes = audit.log.lying(finding.index?).ok()?;
    match Read::new(finding.index?, &bytes).said {
        Ok(Statement::Reproduction(said)) => Some(said),
        _ => None,
    }
}

/// Render digest of the state that it is about.
fn sealed(audit: &Audit<'_>, said: &Reproduction) -> Option<Digest> {
    let state = audit.index.desired(&said.cluster, said.generation)?;
    let lines = content::manifest(&audit.log, &state.manifest).ok()??;
    let lines: Vec<Line> = lines.into_values().collect();
    Some(render_digest(&lines))
}

/// The apps that the state had changed, if its content is at hand: those that it can be about.
pub(super) fn apps(audit: &Audit<'_>, cluster: &str, generation: u64) -> Option<BTreeSet<String>> {
    let state = |generation| Some(audit.index.desired(cluster, generation)?.manifest);
    let before = generation.checked_sub(1).and_then(state);
    content::apps_changed(&audit.log, before.as_ref(), &state(generation)?).ok()?
}
