//! Variations of objects, the same for the same seed: each changes one to three things that a policy looks at. Values that
//! the API server would refuse by itself show nothing and are avoided.

use serde_json::{Value, json};

/// SplitMix64: small, and the same everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// `count` variations, each with what was done to it.
pub(super) fn make(seed: u64, bases: &[&Value], count: usize) -> Vec<(String, Value)> {
    let mut dice = Dice::new(seed);
    (0..count)
        .map(|n| {
            let mut object = (*dice.pick(bases)).clone();
            object["metadata"]["name"] = format!("v{n}").into();
            let mut done = Vec::new();
            for _ in 0..=dice.below(3) {
                done.push(vary(&mut dice, &mut object));
            }
            (format!("{} {}", object["kind"], done.join(", ")), object)
        })
        .collect()
}

fn vary(dice: &mut Dice, object: &mut Value) -> String {
    if object["kind"] == "Service" && dice.below(3) > 0 {
        return service(dice, object);
    }
    match dice.below(8) {
        0 => owner(dice, object),
        1 if object["metadata"].get("namespace").is_some() => {
            let namespace = *dice.pick(&["kube-system", "shop"]);
            object["metadata"]["namespace"] = namespace.into();
            format!("namespace {namespace}")
        }
        _ if pod(object).is_some() => {
            if dice.below(3) == 0 {
                whole_pod(dice, object)
            } else {
                container(dice, object)
            }
        }
        _ => owner(dice, object),
    }
}

fn owner(dice: &mut Dice, object: &mut Value) -> String {
    let value = dice
        .pick(&[
            json!(null),
            json!(""),
            json!("payments"),
            json!("Team_A"),
            json!("a"),
            json!("a.b"),
        ])
        .clone();
    let meta = object["metadata"].as_object_mut().unwrap();
    match &value {
        Value::Null => {
            meta.remove("labels");
        }
        _ => {
            let labels = json!({"countersign.dev/owner": value});
            meta.insert("labels".to_owned(), labels);
        }
    }
    format!("owner {value}")
}

fn service(dice: &mut Dice, object: &mut Value) -> String {
    let meta = object["metadata"].as_object_mut().unwrap();
    match dice.below(4) {
        0 => {
            let reason = *dice.pick(&["", "the shop is public"]);
            meta.insert(
                "annotations".to_owned(),
                json!({"countersign.dev/exposed": reason}),
            );
            format!("exposed {reason:?}")
        }
        1 => {
            object["spec"] = json!({"ports": [{"port": 80}], "externalIPs": ["203.0.113.9"]});
            "externalIPs".to_owned()
        }
        2 => {
            let name = *dice.pick(&[
                "example.org",
                "kubernetes.default.svc.cluster.local",
                "localhost",
                "a.internal",
                "internals.example.org",
            ]);
            object["spec"] = json!({"type": "ExternalName", "externalName": name});
            format!("externalName {name}")
        }
        _ => {
            let kind = *dice.pick(&["ClusterIP", "NodePort", "LoadBalancer"]);
            object["spec"] = json!({"type": kind, "ports": [{"port": 80}]});
            format!("type {kind}")
        }
    }
}

/// The specification of the pod, wherever its owner keeps it.
fn pod(object: &mut Value) -> Option<&mut Value> {
    let path = match object["kind"].as_str().unwrap() {
        "Pod" => "/spec",
        "PodTemplate" => "/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => "/spec/template/spec",
    };
    object
        .pointer_mut(path)
        .filter(|pod| pod.get("containers").is_some())
}

fn whole_pod(dice: &mut Dice, object: &mut Value) -> String {
    let pod = pod(object).unwrap();
    match dice.below(6) {
        0 => {
            let field = *dice.pick(&["hostPID", "hostIPC", "hostNetwork"]);
            let value = dice.below(4) > 0;
            pod[field] = value.into();
            format!("{field} {value}")
        }
        1 => {
            pod.as_object_mut().unwrap().remove("securityContext");
            "no pod securityContext".to_owned()
        }
        2 => {
            let user = *dice.pick(&[0, 1000]);
            pod["securityContext"]["runAsUser"] = user.into();
            format!("pod runAsUser {user}")
        }
        3 => {
            let profile = dice
                .pick(&[
                    json!({"type": "Unconfined"}),
                    json!({"type": "RuntimeDefault"}),
                    json!({"type": "Localhost", "localhostProfile": "a.json"}),
                ])
                .clone();
            pod["securityContext"]["seccompProfile"] = profile.clone();
            format!("pod seccomp {profile}")
        }
        4 => {
            let root = dice.below(2) == 0;
            pod["securityContext"]["runAsNonRoot"] = root.into();
            format!("pod runAsNonRoot {root}")
        }
        _ => {
            let volume = dice
                .pick(&[
                    json!({"name": "v", "hostPath": {"path": "/var"}}),
                    json!({"name": "v", "emptyDir": {}}),
                    json!({"name": "v", "configMap": {"name": "x"}}),
                    json!({"name": "v", "image": {"reference": "registry.example.org/data:1"}}),
                    json!({"name": "v", "image": {"reference": format!("registry.example.org/data@sha256:{}", "ab".repeat(32))}}),
                ])
                .clone();
            let what = format!("volume {volume}");
            pod["volumes"] = json!([volume]);
            what
        }
    }
}

fn container(dice: &mut Dice, object: &mut Value) -> String {
    let pod = pod(object).unwrap();
    let list = if pod.get("initContainers").is_some() && dice.below(2) == 0 {
        "initContainers"
    } else {
        "containers"
    };
    let container = &mut pod[list][0];
    let what = match dice.below(9) {
        0 => {
            let digest = "ab".repeat(32);
            let images = [
                "web".to_owned(),
                "registry.example.org/web:latest".to_owned(),
                format!("web@sha256:{digest}"),
                format!("registry.example.org/web:1.2@sha256:{digest}"),
                format!("web@sha256:{}", "AB".repeat(32)),
                format!("web@sha512:{digest}"),
                "web@sha256:abab".to_owned(),
            ];
            let image = dice.pick(&images).clone();
            container["image"] = image.clone().into();
            format!("image {image}")
        }
        1 => {
            container.as_object_mut().unwrap().remove("securityContext");
            "no securityContext".to_owned()
        }
        2 => {
            container["securityContext"] =
                json!({"privileged": true, "capabilities": {"drop": ["ALL"]}});
            "privileged".to_owned()
        }
        3 => {
            let add = dice
                .pick(&[
                    json!(["NET_BIND_SERVICE"]),
                    json!(["SYS_ADMIN"]),
                    json!(["NET_BIND_SERVICE", "NET_RAW"]),
                    json!([]),
                ])
                .clone();
            container["securityContext"]["capabilities"]["add"] = add.clone();
            format!("adds {add}")
        }
        4 => {
            let drop = dice
                .pick(&[json!(["ALL"]), json!(["NET_RAW"]), json!([])])
                .clone();
            container["securityContext"]["capabilities"]["drop"] = drop.clone();
            format!("drops {drop}")
        }
        5 => {
            let (field, value) = dice
                .pick(&[
                    ("runAsUser", json!(0)),
                    ("runAsUser", json!(7)),
                    ("runAsNonRoot", json!(false)),
                    ("runAsNonRoot", json!(true)),
                    ("seccompProfile", json!({"type": "Unconfined"})),
                    ("seccompProfile", json!({"type": "RuntimeDefault"})),
                    ("readOnlyRootFilesystem", json!(false)),
                ])
                .clone();
            container["securityContext"][field] = value.clone();
            format!("{field} {value}")
        }
        6 => {
            let resources = dice
                .pick(&[
                    json!({}),
                    json!({"requests": {"cpu": "10m"}}),
                    json!({"requests": {"cpu": "10m", "memory": "16Mi"}}),
                    json!({"limits": {"cpu": "1", "memory": "16Mi"}}),
                    json!({"requests": {"cpu": "10m"}, "limits": {"memory": "32Mi"}}),
                    json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}),
                    json!({"requests": {"cpu": "0.01", "memory": "16777216"}, "limits": {"memory": "1e9"}}),
                ])
                .clone();
            container["resources"] = resources.clone();
            format!("resources {resources}")
        }
        7 => {
            let port = dice
                .pick(&[
                    json!([{"containerPort": 80}]),
                    json!([{"containerPort": 80, "hostPort": 80}]),
                ])
                .clone();
            container["ports"] = port.clone();
            format!("ports {port}")
        }
        _ => {
            container["securityContext"]["windowsOptions"] = json!({"runAsUserName": "me"});
            "windowsOptions".to_owned()
        }
    };
    format!("{list}: {what}")
}
