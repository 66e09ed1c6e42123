//! What the API server tells about a change through `metadata.managedFields` alone, row by row.
//!
//! The agent's drift detection stands on this: it watches metadata and compares the digest of its own entry. Each row
//! applies an object as `countersign`, lets somebody else change it, and compares our entry before and after as a
//! `PartialObjectMetadata` shows it. A new version of Kubernetes that answers differently fails here by row.
//!
//! The rows are in `rows.rs`, what a change does in `act.rs`.

mod act;
mod objects;
mod rows;

use std::time::Duration;

use countersign_tests::{cluster::Cluster, until};
use serde_json::{Value, json};

use act::{Acts, Entry};

/// Our field manager, as the agent uses it.
const OURS: &str = "countersign";
/// Somebody else.
const STRANGER: &str = "stranger";

const LIMIT: Duration = Duration::from_secs(60);

/// One line of the table.
struct Row {
    /// What somebody does; the table's left column.
    change: &'static str,
    /// What we had applied.
    object: Value,
    /// What they do, in order.
    does: Vec<Does>,
    /// What our entry must show.
    shows: Shows,
}

/// A change, as data.
enum Does {
    /// A JSON merge patch.
    Merge(Value),
    /// A strategic merge patch: lists are merged by their keys.
    Strategic(Value),
    /// A merge patch under our own manager's name.
    MergeAsUs(Value),
    /// A merge patch of a subresource.
    Subresource(&'static str, Value),
    /// Reads the object, edits it and writes it back whole.
    Put(fn(&mut Value)),
    /// The same under our own manager's name.
    PutAsUs(fn(&mut Value)),
    /// Another manager's server-side apply of these fields, with force.
    Apply(Value),
    /// A server-side apply under our own name.
    ApplyAsUs(fn(&mut Value)),
    /// Deletes it and waits until it is gone.
    Delete,
    /// Creates it as we had applied it.
    Create,
}

/// What our entry shows after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// Other fields, or no entry any more.
    Changed,
    /// The same fields, another time: what a digest of the fields alone would miss.
    OnlyTime,
    /// The very same entry.
    Nothing,
}

fn compare(before: &Entry, after: Option<&Entry>) -> Shows {
    match after {
        None => Shows::Changed,
        Some(after) if after.fields != before.fields => Shows::Changed,
        Some(after) if after.time != before.time => Shows::OnlyTime,
        Some(_) => Shows::Nothing,
    }
}

#[tokio::test]
async fn our_managed_fields_entry_shows_every_change_of_what_we_applied() {
    let acts = Acts::new(Cluster::shared().await.unwrap()).await.unwrap();
    let mut wrong = Vec::new();
    for (number, row) in rows::all(acts.custom_group()).into_iter().enumerate() {
        let object = acts.placed(&row.object, &format!("row-{number}"));
        acts.apply(OURS, &object).await.unwrap();
        let before = acts
            .entry(&object)
            .await
            .unwrap()
            .expect("we have applied it");
        for does in &row.does {
            if let Err(error) = acts.perform(&object, does).await {
                panic!("{}: {error:#}", row.change);
            }
        }
        let after = acts.entry(&object).await.unwrap();
        let shows = compare(&before, after.as_ref());
        if shows != row.shows {
            wrong.push(format!(
                "{}: expected {:?}, the API server shows {shows:?}",
                row.change, row.shows
            ));
        }
    }
    acts.end().await.unwrap();
    assert!(
        wrong.is_empty(),
        "the API server tells something else than the agent relies on:\n{}",
        wrong.join("\n")
    );
}

/// Fields don't show it, the time does, but in whole seconds: why the digest covers both, and why an event in the second
/// of our own write is looked at in full.
#[tokio::test]
async fn an_apply_under_our_own_name_shows_in_the_time_alone() {
    let acts = Acts::new(Cluster::shared().await.unwrap()).await.unwrap();
    let object = acts.placed(&objects::config_map(), "same-name");
    acts.apply(OURS, &object).await.unwrap();
    let before = acts
        .entry(&object)
        .await
        .unwrap()
        .expect("we have applied it");
    let mut round = 0;
    // Each round another value; the first that falls into a later second must show.
    until("another time in our entry", LIMIT, || {
        round += 1;
        let mut other = object.clone();
        other["data"]["colour"] = json!(format!("round {round}"));
        let (acts, before) = (&acts, &before);
        async move {
            acts.apply(OURS, &other).await?;
            let after = acts.entry(&other).await?;
            match compare(before, after.as_ref()) {
                Shows::OnlyTime => Ok(()),
                Shows::Nothing => anyhow::bail!("the same second still"),
                Shows::Changed => panic!("the fields changed: {after:?}"),
            }
        }
    })
    .await;
    acts.end().await.unwrap();
}

/// The agent re-applies in order to compare: that must leave no trace, whenever it happens.
#[tokio::test]
async fn an_equal_apply_changes_neither_time_nor_resource_version() {
    let acts = Acts::new(Cluster::shared().await.unwrap()).await.unwrap();
    for (name, object) in [
        ("map", objects::config_map()),
        ("service", objects::service()),
        ("secret", objects::secret()),
    ] {
        let object = acts.placed(&object, name);
        let version = acts.apply(OURS, &object).await.unwrap();
        let before = acts
            .entry(&object)
            .await
            .unwrap()
            .expect("we have applied it");
        // In a later second, else an equal time would prove nothing.
        acts.until_later_than(&before, LIMIT).await;
        assert_eq!(acts.apply(OURS, &object).await.unwrap(), version, "{name}");
        let after = acts.entry(&object).await.unwrap();
        assert_eq!(compare(&before, after.as_ref()), Shows::Nothing, "{name}");
    }
    acts.end().await.unwrap();
}

/// What somebody adds beside our fields leaves our entry alone, but another entry names the manager and the paths.
#[tokio::test]
async fn what_is_added_beside_ours_is_named_by_another_entry() {
    let acts = Acts::new(Cluster::shared().await.unwrap()).await.unwrap();
    let object = acts.placed(&objects::deployment(), "beside");
    acts.apply(OURS, &object).await.unwrap();
    acts.perform(&object, &rows::add_sidecar()).await.unwrap();
    let theirs = acts
        .entry_of(&object, STRANGER)
        .await
        .unwrap()
        .expect("the stranger has an entry");
    let path = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"sidecar\"}";
    assert!(theirs.fields.pointer(path).is_some(), "{}", theirs.fields);
    acts.end().await.unwrap();
}
