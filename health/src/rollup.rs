//! From objects to an app, from apps to a cluster: the worst one speaks, and is named.

use crate::{Health, HealthStatus};

/// One member of a group: what it is called, for a person, and its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// `Deployment shop/cart` or the name of an app.
    pub name: &'a str,
    /// Its verdict.
    pub health: &'a Health,
}

/// The verdict on a group: the status of its worst member, and that member's name and message, with how many others are
/// no better. A group without members is healthy.
///
/// Adding a member never makes the verdict better, making a member better never makes it worse, and the order of the
/// members does not matter: among equals the first by name speaks.
pub fn roll_up<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> Health {
    let mut worst: Option<Part<'a>> = None;
    let mut equals = 0_usize;
    for part in parts {
        match worst {
            Some(had) if part.health.status < had.health.status => {}
            Some(had) if part.health.status == had.health.status => {
                equals = equals.saturating_add(1);
                if (part.name, &part.health.message) < (had.name, &had.health.message) {
                    worst = Some(part);
                }
            }
            _ => {
                worst = Some(part);
                equals = 0;
            }
        }
    }
    match worst {
        None => Health::healthy(),
        Some(part) if part.health.status == HealthStatus::Healthy => Health::healthy(),
        Some(part) => Health::new(part.health.status, sentence(&part, equals)),
    }
}

/// `Deployment shop/cart: 1 of 3 replicas available (and 2 more)`. How many more are no better stands in front of the
/// part that may be cut.
fn sentence(part: &Part<'_>, equals: usize) -> String {
    let more = match equals {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    if part.health.message.is_empty() {
        format!("{}{more}", part.name)
    } else {
        format!("{}{more}: {}", part.name, part.health.message)
    }
}
