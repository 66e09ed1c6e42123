//! Protobuf messages of agents → our types, cut to size. Generated types end here. Pure.

use countersign_fleet::api::{
    Alarm, Drift, DriftKind, HealthState, ObjectName, RefusalCount, SyncState,
};
use countersign_ledger::identity::ObjectId;
use countersign_proto::agent::v1 as wire;
use jiff::Timestamp;

use super::limits::{DRIFT_LIST_MAX, PATCH_BYTES_MAX, TEXT_BYTES_MAX};
use super::reports::{AppReport, ObjectReport, Report};

/// What an agent is told of an alarm that concerns it.
pub fn warning(alarm: Alarm) -> wire::Warning {
    wire::Warning {
        code: alarm.code,
        message: alarm.message,
        count: alarm.count,
        time: alarm.time.as_millisecond(),
    }
}

/// Reads a report of a cluster's agent.
pub fn report(cluster: &str, from: wire::ReportRequest) -> Report {
    let (version, kubernetes) = (
        from.agent_version,
        from.identity
            .map(|identity| identity.kubernetes)
            .unwrap_or_default(),
    );
    Report {
        sequence: from.sequence,
        full: from.full,
        generation_verified: from.generation_verified,
        generation_applied: from.generation_applied,
        time: time(from.time),
        apps: from
            .apps
            .into_iter()
            .map(|app| {
                let report = AppReport {
                    commit: text(app.commit),
                    sync: SyncState::from_word(&app.sync),
                    health: HealthState::from_word(&app.health),
                    message: text(app.message),
                    objects: app.objects,
                    failed: app.failed,
                };
                (text(app.name), report)
            })
            .collect(),
        objects: from
            .objects
            .into_iter()
            .map(|object| {
                let report = ObjectReport {
                    app: text(object.app),
                    sync: SyncState::from_word(&object.sync),
                    health: HealthState::from_word(&object.health),
                    message: text(object.message),
                };
                (object_name(object.id), report)
            })
            .collect(),
        forgotten: from
            .forgotten
            .into_iter()
            .map(|id| object_name(Some(id)))
            .collect(),
        gone: from
            .gone
            .into_iter()
            .map(|id| ObjectId::from(object_name(Some(id))))
            .filter(|id| id.check().is_ok())
            .collect(),
        drifts: from
            .drifts
            .into_iter()
            .map(|drift| self::drift(cluster, drift))
            .collect(),
        refusals: from
            .refusals
            .into_iter()
            .map(|refusal| RefusalCount {
                code: text(refusal.code),
                message: text(refusal.message),
                generation: refusal.generation,
                count: refusal.count,
                time: time(refusal.time),
            })
            .collect(),
        agent_version: text(version),
        kubernetes: text(kubernetes),
    }
}

fn drift(cluster: &str, from: wire::Drift) -> Drift {
    Drift {
        cluster: cluster.to_owned(),
        id: object_name(from.id),
        app: text(from.app),
        what: match from.what.as_str() {
            "deleted" => DriftKind::Deleted,
            "added" => DriftKind::Added,
            _ => DriftKind::Changed,
        },
        managers: from
            .managers
            .into_iter()
            .take(DRIFT_LIST_MAX)
            .map(text)
            .collect(),
        paths: from
            .paths
            .into_iter()
            .take(DRIFT_LIST_MAX)
            .map(text)
            .collect(),
        patch: if from.patch.is_empty() || from.patch.len() > PATCH_BYTES_MAX {
            None
        } else {
            serde_json::from_str(&from.patch).ok()
        },
        healed: from.healed,
        healed_after_ms: from.healed_after,
        time: time(from.time),
    }
}

/// An identity; a missing one has empty fields.
pub fn object_name(from: Option<wire::Identity>) -> ObjectName {
    let from = from.unwrap_or_default();
    ObjectName {
        group: text(from.group),
        kind: text(from.kind),
        namespace: text(from.namespace),
        name: text(from.name),
    }
}

/// Cuts a text to its limit, at the end of a character.
pub fn text(mut from: String) -> String {
    if from.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX)
            .rev()
            .find(|&at| from.is_char_boundary(at))
            .unwrap_or(0);
        from.truncate(end);
        from.shrink_to_fit();
    }
    from
}

/// A time in milliseconds since 1970; 1970 if out of range.
fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_report_is_read_field_by_field_and_cut_to_size() {
        let long = "ü".repeat(TEXT_BYTES_MAX);
        let read = report(
            "metal-fra",
            wire::ReportRequest {
                sequence: 3,
                full: true,
                time: 1_500,
                objects: vec![wire::ObjectStatus {
                    id: Some(wire::Identity {
                        group: "apps".into(),
                        kind: "Deployment".into(),
                        namespace: "shop".into(),
                        name: "cart".into(),
                    }),
                    app: "cart".into(),
                    sync: "Synced".into(),
                    health: "nonsense".into(),
                    message: long,
                }],
                drifts: vec![wire::Drift {
                    what: "deleted".into(),
                    patch: "not json".into(),
                    paths: vec!["p".into(); 1_000],
                    ..wire::Drift::default()
                }],
                ..wire::ReportRequest::default()
            },
        );
        let (id, object) = &read.objects[0];
        assert_eq!(id.to_string(), "Deployment.apps/shop/cart");
        assert_eq!(
            (object.sync, object.health),
            (SyncState::Synced, HealthState::Unknown)
        );
        assert_eq!(object.message.len(), TEXT_BYTES_MAX);
        assert_eq!(read.time, Timestamp::from_millisecond(1_500).unwrap());
        assert_eq!(
            (read.drifts[0].what, read.drifts[0].patch.clone()),
            (DriftKind::Deleted, None)
        );
        assert_eq!(read.drifts[0].paths.len(), DRIFT_LIST_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_that_decode_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            use prost::Message as _;
            if let Ok(request) = wire::ReportRequest::decode(bytes.as_slice()) {
                report("a", request);
            }
        }

        #[test]
        fn a_cut_text_is_a_prefix_within_the_limit(from in "\\PC{0,2000}") {
            let cut = text(from.clone());
            prop_assert!(cut.len() <= TEXT_BYTES_MAX && from.starts_with(&cut));
        }
    }
}
