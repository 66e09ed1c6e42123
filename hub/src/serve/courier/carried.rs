//! Which sizes of the log a cluster may have seen by parcels of this hub: each new one leads on from them, whatever the person at
//! hand knows.

use crate::serve::limits::PARCELS_REMEMBERED_MAX;
use crate::serve::records::{RecordFault, Records};

fn folder(cluster: &str) -> String {
    format!("parcels/{cluster}")
}

/// The sizes at which earlier parcels of `cluster` ended, ascending.
pub(super) async fn sizes(records: &Records, cluster: &str) -> Result<Vec<u64>, RecordFault> {
    let paths = records.list(&folder(cluster)).await?;
    Ok(paths.iter().filter_map(|path| size(path)).collect())
}

/// Keeps in mind that a parcel of `cluster` ends at `size`; the oldest are forgotten.
pub(super) async fn remember(
    records: &Records,
    cluster: &str,
    size: u64,
) -> Result<(), RecordFault> {
    if size == 0 {
        return Ok(());
    }
    let path = format!("{}/{size:020}.json", folder(cluster));
    records.create(&path, &serde_json::json!({})).await?;
    let paths = records.list(&folder(cluster)).await?;
    let old = paths.len().saturating_sub(PARCELS_REMEMBERED_MAX);
    for path in paths.iter().take(old) {
        records.remove(path).await?;
    }
    Ok(())
}

fn size(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    name.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_newest_sizes_are_remembered_each_once() {
        let records = Records::new(Arc::new(object_store::memory::InMemory::new()));
        let many = PARCELS_REMEMBERED_MAX as u64 + 3;
        for size in (0..=many).chain([many]) {
            remember(&records, "metal", size).await.unwrap();
        }
        remember(&records, "eks", 7).await.unwrap();
        let wanted: Vec<u64> = (4..=many).collect();
        assert_eq!(sizes(&records, "metal").await.unwrap(), wanted);
        assert_eq!(sizes(&records, "eks").await.unwrap(), [7]);
    }
}
