//! Service and Ingress: both wait for a load balancer's address.

use serde_json::Value;

use crate::{
    Health, conditions,
    field::{at, items, text},
};

pub(super) fn service(object: &Value) -> Health {
    if text(object, &["spec", "type"]) != "LoadBalancer" {
        return Health::healthy();
    }
    if has_address(object) || !items(object, &["spec", "externalIPs"]).is_empty() {
        return Health::healthy();
    }
    if let Some(wrong) =
        conditions::find(object, "LoadBalancerPortsError").filter(conditions::Condition::is_true)
    {
        return Health::degraded(wrong.why());
    }
    Health::progressing("no load balancer has given it an address yet")
}

/// Controllers that serve an Ingress on the nodes' own addresses never write its status, so its absence in an object
/// that has no status at all is no sign of anything.
pub(super) fn ingress(object: &Value) -> Health {
    let failing = items(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .flat_map(|entry| items(entry, &["ports"]))
        .map(|port| text(port, &["error"]))
        .find(|error| !error.is_empty());
    if let Some(error) = failing {
        return Health::degraded(format!("load balancer port: {error}"));
    }
    if at(object, &["status", "loadBalancer"]).is_none() || has_address(object) {
        return Health::healthy();
    }
    Health::progressing("no ingress controller has given it an address yet")
}

fn has_address(object: &Value) -> bool {
    items(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .any(|entry| !text(entry, &["ip"]).is_empty() || !text(entry, &["hostname"]).is_empty())
}
