//! The install manifests: what their renders must never hold (the rules of THREATS 1.10), and that the Dockerfiles build
//! images without root and without anything that wasn't pinned.
//!
//! Reads the golden renders `manifests/<chart>/golden/<case>.yaml`, one for each `ci/<case>-values.yaml`.
//!
//! `render.rs` compares them with what our renderer makes of the charts, `live.rs` applies them to a real API server,
//! `process.rs`, `air_gap.rs`, `hub.rs` and `keys.rs` run the real agent and hub as the charts say.

mod air_gap;
mod hub;
mod keys;
mod live;
mod process;
mod render;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

const CHARTS: [&str; 2] = ["countersign-hub", "countersign-agent"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// Names of files in a folder that end so, without that end.
fn stems(folder: &Path, end: &str) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .strip_suffix(end)
                .map(str::to_owned)
        })
        .collect()
}

/// The objects of one golden render.
fn golden(chart: &str, case: &str) -> Vec<Value> {
    let folder = root().join("manifests").join(chart).join("golden");
    let text = std::fs::read_to_string(folder.join(format!("{case}.yaml"))).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

/// Every rendered object, with the case that it stands in.
fn objects() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for chart in CHARTS {
        let folder = root().join("manifests").join(chart).join("golden");
        for case in stems(&folder, ".yaml") {
            let documents = golden(chart, &case);
            assert!(documents.len() > 4, "{chart}/{case}");
            all.extend(
                documents
                    .into_iter()
                    .map(|object| (format!("{chart}/{case}"), object)),
            );
        }
    }
    all
}

fn of_kind(kind: &str) -> Vec<(String, Value)> {
    objects()
        .into_iter()
        .filter(|(_, object)| object["kind"] == kind)
        .collect()
}

/// Pod specs, wherever they stand.
fn pods() -> Vec<(String, Value)> {
    objects()
        .into_iter()
        .filter_map(|(case, object)| {
            let spec = match object["kind"].as_str().unwrap() {
                "Pod" => object["spec"].clone(),
                "Deployment" => object["spec"]["template"]["spec"].clone(),
                _ => return None,
            };
            Some((
                format!("{case} {} {}", object["kind"], object["metadata"]["name"]),
                spec,
            ))
        })
        .collect()
}

fn list(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn every_case_of_a_chart_has_its_golden_render() {
    for chart in CHARTS {
        let folder = root().join("manifests").join(chart);
        assert_eq!(
            stems(&folder.join("ci"), "-values.yaml"),
            stems(&folder.join("golden"), ".yaml"),
            "{chart}"
        );
    }
}

#[test]
fn threats_1_10_no_role_gives_or_gains_rights() {
    let mut rules = 0;
    for kind in ["Role", "ClusterRole"] {
        for (case, role) in of_kind(kind) {
            for rule in role["rules"].as_array().unwrap() {
                rules += 1;
                let verbs = list(&rule["verbs"]);
                for verb in [
                    "*",
                    "escalate",
                    "bind",
                    "impersonate",
                    "approve",
                    "sign",
                    "deletecollection",
                ] {
                    assert!(!verbs.contains(&verb), "{case}: {rule}");
                }
                let (groups, resources) = (list(&rule["apiGroups"]), list(&rule["resources"]));
                assert!(!groups.contains(&"*"), "{case}: {rule}");
                // A star in a built-in group would take in pods/exec and serviceaccounts/token.
                if resources.contains(&"*") {
                    assert!(
                        groups
                            .iter()
                            .all(|group| group.contains('.') && !group.ends_with(".k8s.io")),
                        "{case}: {rule}"
                    );
                }
                assert!(
                    resources.iter().all(|resource| !resource.contains('/')),
                    "{case}: no subresources: {rule}"
                );
                assert!(rule.get("nonResourceURLs").is_none(), "{case}: {rule}");
            }
        }
    }
    assert!(rules > 20);
    assert!(
        of_kind("ClusterRoleBinding")
            .iter()
            .all(|(_, binding)| binding["roleRef"]["name"] != "cluster-admin")
    );
}

#[test]
fn an_agent_without_secrets_reads_none_but_its_own() {
    for (case, role) in of_kind("ClusterRole") {
        if case.ends_with("/namespaced") {
            for rule in role["rules"].as_array().unwrap() {
                assert!(
                    !list(&rule["resources"]).contains(&"secrets"),
                    "{case}: {rule}"
                );
            }
        }
    }
    let bound: BTreeSet<String> = of_kind("RoleBinding")
        .into_iter()
        .filter(|(case, _)| case.ends_with("/namespaced"))
        .map(|(_, binding)| {
            format!(
                "{} in {}",
                binding["metadata"]["name"].as_str().unwrap(),
                binding["metadata"]["namespace"].as_str().unwrap()
            )
        })
        .collect();
    let want = [
        "countersign-agent-own in countersign",
        "countersign-agent-write in search",
        "countersign-agent-write in shop",
    ];
    assert_eq!(bound.iter().map(String::as_str).collect::<Vec<_>>(), want);
}

#[test]
fn threats_1_10_every_pod_is_restricted() {
    for (pod, spec) in pods() {
        let context = &spec["securityContext"];
        assert_eq!(context["runAsNonRoot"], true, "{pod}");
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{pod}");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(spec.get(field).is_none(), "{pod}: {field}");
        }
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            assert!(volume.get("hostPath").is_none(), "{pod}: {volume}");
        }
        for container in spec["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{pod}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{pod}");
            assert_eq!(
                context["capabilities"]["drop"],
                serde_json::json!(["ALL"]),
                "{pod}"
            );
            assert!(context["capabilities"].get("add").is_none(), "{pod}");
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{pod}"
            );
            assert!(
                container["resources"]["requests"]["cpu"].is_string(),
                "{pod}"
            );
            let image = container["image"].as_str().unwrap();
            let digest = image
                .split_once("@sha256:")
                .unwrap_or_else(|| panic!("{pod}: {image} is not pinned"))
                .1;
            assert!(
                digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{pod}: {image}"
            );
        }
    }
}

/// The variables that a pod may have: where something is, never what opens it.
const ADDRESSES: [&str; 7] = [
    "AWS_ENDPOINT_URL_KMS",
    "COUNTERSIGN_VAULT_AUTH_MOUNT",
    "COUNTERSIGN_VAULT_JWT_FILE",
    "COUNTERSIGN_VAULT_ROLE",
    "VAULT_ADDR",
    "VAULT_CACERT",
    "VAULT_NAMESPACE",
];

#[test]
fn threats_1_10_no_secret_stands_in_a_chart_or_in_an_environment() {
    assert!(of_kind("Secret").is_empty());
    for (pod, spec) in pods() {
        for container in spec["containers"].as_array().unwrap() {
            assert!(container.get("envFrom").is_none(), "{pod}");
            for variable in container["env"].as_array().into_iter().flatten() {
                let name = variable["name"].as_str().unwrap();
                assert!(ADDRESSES.contains(&name), "{pod}: {name}");
                assert!(variable.get("valueFrom").is_none(), "{pod}: {name}");
            }
        }
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            if let Some(secret) = volume.get("secret") {
                let readable_by_all = secret["defaultMode"].as_u64().unwrap() & 0o007 != 0;
                let only = secret["items"]
                    .as_array()
                    .map_or("", |items| items[0]["key"].as_str().unwrap());
                assert!(!readable_by_all || only == "hub-ca.crt", "{pod}: {secret}");
            }
        }
    }
}

#[test]
fn threats_1_10_no_listener_without_a_network_policy_that_names_its_peers() {
    for (case, service) in of_kind("Service") {
        let policies: Vec<Value> = of_kind("NetworkPolicy")
            .into_iter()
            .filter(|(other, policy)| {
                *other == case
                    && policy["spec"]["podSelector"]["matchLabels"] == service["spec"]["selector"]
            })
            .map(|(_, policy)| policy)
            .collect();
        assert_eq!(policies.len(), 1, "{case}");
        let spec = &policies[0]["spec"];
        assert_eq!(list(&spec["policyTypes"]), ["Ingress", "Egress"], "{case}");
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec[direction].as_array().unwrap() {
                assert!(
                    !rule[peers].as_array().unwrap().is_empty(),
                    "{case}: {direction} without peers is for everybody: {rule}"
                );
                assert!(
                    !rule["ports"].as_array().unwrap().is_empty(),
                    "{case}: {rule}"
                );
                for peer in rule[peers].as_array().unwrap() {
                    assert_ne!(peer, &serde_json::json!({}), "{case}");
                    assert_ne!(peer["ipBlock"]["cidr"], "0.0.0.0/0", "{case}");
                }
            }
        }
    }
}

/// A way out is open only where the values name what is behind it, and the pod's token is of use only there.
#[test]
fn threats_1_10_the_hub_reaches_key_services_only_where_keys_are_there() {
    for (case, sealed, ports, token) in [
        ("minimal", "", vec![53, 53], None),
        ("vault", "vault:", vec![53, 53, 8200], Some("vault")),
        ("kms", "awskms:", vec![53, 53, 443], None),
    ] {
        let objects = golden("countersign-hub", case);
        let of = |kind: &str| objects.iter().find(|o| o["kind"] == kind).unwrap();
        let policy = of("NetworkPolicy");
        let rules = policy["spec"]["egress"].as_array().unwrap();
        let open: Vec<u64> = rules
            .iter()
            .flat_map(|rule| rule["ports"].as_array().unwrap())
            .map(|port| port["port"].as_u64().unwrap())
            .collect();
        assert_eq!(open, ports, "{case}");
        let pod = &of("Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{case}");
        let tokens: Vec<&Value> = pod["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|volume| {
                volume["projected"]["sources"]
                    .as_array()
                    .into_iter()
                    .flatten()
            })
            .collect();
        let audiences: Vec<&str> = tokens
            .iter()
            .map(|source| source["serviceAccountToken"]["audience"].as_str().unwrap())
            .collect();
        assert_eq!(audiences, Vec::from_iter(token), "{case}");
        let args = list(&pod["containers"][0]["args"]).join(" ");
        assert_eq!(
            args.contains("--log-key="),
            !sealed.is_empty(),
            "{case}: {args}"
        );
        assert!(args.contains(sealed), "{case}: {args}");
        let role = &of("ServiceAccount")["metadata"]["annotations"]["eks.amazonaws.com/role-arn"];
        assert_eq!(role.is_string(), case == "kms", "{case}");
    }
}

#[test]
fn threats_1_10_no_webhook_can_lock_us_out() {
    for kind in [
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    ] {
        assert!(of_kind(kind).is_empty(), "{kind}");
    }
}

#[test]
fn whatever_is_sealed_or_remembered_outlives_a_release() {
    let claims = of_kind("PersistentVolumeClaim");
    assert!(!claims.is_empty());
    for (case, claim) in claims {
        assert_eq!(
            claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep",
            "{case}"
        );
    }
}

#[test]
fn every_value_is_described_and_closed_by_the_schema() {
    for chart in CHARTS {
        let folder = root().join("manifests").join(chart);
        let values: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(folder.join("values.yaml")).unwrap())
                .unwrap();
        let schema: Value = serde_json::from_str(
            &std::fs::read_to_string(folder.join("values.schema.json")).unwrap(),
        )
        .unwrap();
        assert_eq!(schema["additionalProperties"], false, "{chart}");
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(keys(&values), keys(&schema["properties"]), "{chart}");
        for (key, value) in values.as_object().unwrap() {
            let properties = &schema["properties"][key]["properties"];
            if value.is_object() && properties.is_object() && key != "image" {
                assert_eq!(keys(value), keys(properties), "{chart}: {key}");
                assert_eq!(
                    schema["properties"][key]["additionalProperties"], false,
                    "{chart}: {key}"
                );
            }
        }
    }
}

/// What the values say where nothing is said is what the agent itself does.
#[test]
fn the_agents_guard_rails_have_the_same_defaults_in_the_chart() {
    use countersign_agent::plan::rails::{DELETES_MAX, DENIED};
    let values: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(root().join("manifests/countersign-agent/values.yaml")).unwrap(),
    )
    .unwrap();
    let rails = &values["rails"];
    assert_eq!(list(&rails["allowKinds"]), ["*"]);
    assert_eq!(list(&rails["denyKinds"]).join(","), DENIED);
    assert_eq!(list(&rails["allowNamespaces"]), Vec::<&str>::new());
    assert_eq!(rails["maxDeletesPerState"].to_string(), DELETES_MAX);
}

/// One instruction of a Dockerfile: its word and the rest, continued lines joined.
fn instructions(file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut all = Vec::new();
    while let Some(first) = lines.next() {
        let mut whole = first.to_owned();
        while let Some(open) = whole.strip_suffix('\\') {
            whole = format!("{} {}", open.trim_end(), lines.next().unwrap());
        }
        let (word, rest) = whole.split_once(' ').unwrap();
        all.push((word.to_owned(), rest.trim().to_owned()));
    }
    all
}

#[test]
fn dockerfiles_build_small_images_without_root_from_pinned_ones() {
    let known = [
        "ARG",
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "ENTRYPOINT",
        "CMD",
    ];
    for (file, programs) in [
        (
            "hub/Dockerfile",
            &["countersign-hub", "countersign-renderer"][..],
        ),
        ("agent/Dockerfile", &["countersign-agent"][..]),
    ] {
        let all = instructions(file);
        for (word, rest) in &all {
            assert!(known.contains(&word.as_str()), "{file}: {word}");
            // No default: an image that wasn't pinned by the caller is no image at all.
            assert!(word != "ARG" || !rest.contains('='), "{file}: {rest}");
            assert!(word != "FROM" || rest.starts_with("${"), "{file}: {rest}");
        }
        let last = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
        let (stages, image) = all.split_at(last);
        assert!(
            stages
                .iter()
                .any(|(word, rest)| word == "RUN" && rest.contains("--locked")),
            "{file}"
        );
        assert!(
            image.iter().all(|(word, _)| word != "RUN"),
            "{file}: the last image has no shell"
        );
        let get = |wanted: &str| {
            image
                .iter()
                .find(|(word, _)| word == wanted)
                .map(|(_, rest)| rest.as_str())
        };
        assert_eq!(get("USER"), Some("65532:65532"), "{file}");
        let entry: Vec<String> = serde_json::from_str(get("ENTRYPOINT").unwrap()).unwrap();
        assert_eq!(entry, [format!("/usr/local/bin/{}", programs[0])], "{file}");
        for program in programs {
            assert!(
                all.iter()
                    .any(|(word, rest)| word == "RUN" && rest.contains(program)),
                "{file}: {program}"
            );
        }
        for (word, rest) in image {
            assert!(
                word != "COPY" || rest.starts_with("--from="),
                "{file}: nothing but what was built: {rest}"
            );
        }
    }
}
