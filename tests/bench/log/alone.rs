//! What entries take on disk that come one at a time, each published before the next: every one makes tiles of its own.

use std::time::Duration;

use anyhow::Context as _;

use super::appends::{ENTRY, entry};
use super::stand::Stand;
use crate::report::{Measured, Report};
use crate::usage;

/// Entries: four full tiles, and a begun one.
const ENTRIES: usize = 1_100;
/// When an entry that still isn't published has failed.
const LIMIT: Duration = Duration::from_secs(60);

#[allow(clippy::cast_precision_loss, reason = "sizes of a benchmark")]
pub(super) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stand = Stand::open(folder.path(), None).await?;
    let mut published = stand.log.published();
    for number in 0..ENTRIES {
        let appended = stand.log.append(vec![entry(1, 0, number)]).await?;
        let size = appended.checkpoint.size;
        let covers =
            published.wait_for(|signed| signed.as_ref().is_some_and(|signed| signed.size >= size));
        tokio::time::timeout(LIMIT, covers)
            .await
            .context("tiles of what was appended are not published")??;
    }
    let bytes = usage::on_disk(&folder.path().join("store"))?;
    report.add(Measured::single(
        &format!("log: on disk, of {ENTRIES} entries of {ENTRY} bytes that came alone"),
        "bytes an entry",
        (bytes / ENTRIES as u64) as f64,
    ));
    Ok(())
}
