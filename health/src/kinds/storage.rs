//! PersistentVolumeClaim and PersistentVolume.

use serde_json::Value;

use crate::{
    Health, conditions,
    field::{because, text},
};

pub(super) fn claim(object: &Value) -> Health {
    let resize = ["ControllerResizeError", "NodeResizeError"]
        .into_iter()
        .filter_map(|name| conditions::find(object, name))
        .find(conditions::Condition::is_true);
    match text(object, &["status", "phase"]) {
        "Bound" => match resize {
            Some(error) => Health::degraded(format!("resize: {}", error.why())),
            None => match conditions::find(object, "FileSystemResizePending")
                .filter(conditions::Condition::is_true)
            {
                Some(pending) => Health::progressing(pending.why()),
                None => Health::healthy(),
            },
        },
        "Lost" => Health::degraded(format!(
            "its volume {} is lost",
            text(object, &["spec", "volumeName"])
        )),
        _ => Health::progressing("no volume is bound yet"),
    }
}

pub(super) fn volume(object: &Value) -> Health {
    match text(object, &["status", "phase"]) {
        "Bound" | "Available" => Health::healthy(),
        "Released" => Health::suspended("released: its claim is gone"),
        "Failed" => Health::degraded(format!(
            "reclaim failed: {}",
            because(
                text(object, &["status", "reason"]),
                text(object, &["status", "message"])
            )
        )),
        _ => Health::progressing("not available yet"),
    }
}
