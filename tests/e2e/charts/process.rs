//! The real agent as its chart starts it: the pod's arguments, its mounted files, and the token of its ServiceAccount, so
//! that configuration and rights are exercised together (DECISIONS 22). What the API server refused it, and what it never
//! used, stands in the audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use countersign_tests::{
    cluster::{Cluster, Options},
    git::GitRepo,
    port,
    process::{Process, Spec},
    program, until,
    world::World,
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Namespace, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::live;
use crate::{
    fixture::{CLUSTER, ONE, config_map, plain_app},
    renderer,
};

const LIMIT: Duration = Duration::from_secs(120);
const ACCOUNT: &str = "system:serviceaccount:countersign:countersign-agent";

/// A kubeconfig with nothing but a token of the agent's account.
pub(super) async fn kubeconfig(
    cluster: &Cluster,
    client: &Client,
    folder: &Path,
) -> std::path::PathBuf {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "countersign");
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request("countersign-agent", &PostParams::default(), &request)
        .await
        .unwrap();
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    let user = config["users"][0]["name"].clone();
    config["users"] = json!([{"name": user, "user": {"token": answer.status.unwrap().token}}]);
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// The pod's arguments, with its mounts put where this machine has them.
pub(super) fn arguments(
    objects: &[Value],
    places: &[(&str, String)],
    instead: &[(&str, String)],
) -> Vec<String> {
    let deployment = objects.iter().find(|o| o["kind"] == "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
    let mounts: BTreeSet<&str> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    let placed: BTreeSet<&str> = places.iter().map(|(mount, _)| *mount).collect();
    assert_eq!(mounts, placed, "every mount has its place");
    args.into_iter()
        .map(|arg| {
            for (flag, value) in instead {
                if arg.starts_with(&format!("--{flag}=")) {
                    return format!("--{flag}={value}");
                }
            }
            let place = places.iter().find(|(mount, _)| arg.contains(mount));
            place.map_or(arg.clone(), |(mount, place)| arg.replace(mount, place))
        })
        .collect()
}

struct Stand {
    world: World,
    cluster: Cluster,
    client: Client,
    agent: Process,
    _folder: tempfile::TempDir,
}

/// The chart of the agent, installed from a case; the agent runs with the rights that it gave.
async fn stand(case: &str, files: &[(&str, &str)]) -> Stand {
    let cluster = Cluster::start(Options {
        audit: true,
        nodes: Vec::new(),
        ..Options::default()
    })
    .await
    .unwrap();
    let client = cluster.client().await.unwrap();
    let objects = renderer::chart(&renderer::workers().await, "countersign-agent", case).await;
    for name in ["countersign", "shop", "search"] {
        live::namespace(&client, name).await;
    }
    for object in objects.iter().filter(|o| o["kind"] != "Pod") {
        live::apply(&client, case, object).await;
    }

    let repo = GitRepo::new().unwrap();
    let mut all = vec![CLUSTER];
    all.extend(files);
    repo.commit_files(&all, "the fleet").unwrap();
    let world = World::start(repo, &["one=test"]).await.unwrap();

    // What the pod's volumes would hold.
    let folder = tempfile::tempdir().unwrap();
    for name in ["trust", "join", "data"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::copy(
        world.trust.document(),
        folder.path().join("trust/trust.json"),
    )
    .unwrap();
    let token = world.operator.join_token(ONE).await.unwrap().token;
    std::fs::write(folder.path().join("join/token"), token).unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut places = vec![("/var/lib/countersign-agent", place("data"))];
    let mut instead = vec![
        ("hub", world.hub.agents_url()),
        ("cluster", ONE.to_owned()),
        ("listen", port::free().unwrap().to_string()),
    ];
    let text = objects.iter().map(Value::to_string).collect::<String>();
    if text.contains("/etc/countersign/trust") {
        places.push(("/etc/countersign/trust", place("trust")));
    } else {
        let document = std::fs::read(world.trust.document()).unwrap();
        let digest = countersign_ledger::digest::Digest::of(&document);
        instead.push(("trust", format!("sha256:{digest}")));
    }
    let mut args = arguments(
        &objects,
        &{
            if text.contains("/etc/countersign/join") {
                places.push(("/etc/countersign/join", place("join")));
            }
            places
        },
        &instead,
    );
    if !args.iter().any(|arg| arg.starts_with("--token-file")) {
        args.push(format!("--token-file={}", place("join/token")));
    }
    args.push(format!(
        "--kubeconfig={}",
        kubeconfig(&cluster, &client, folder.path()).await.display()
    ));
    let agent = Spec::new(
        "agent",
        program::path("countersign-agent").unwrap(),
        folder.path(),
    )
    .args(args)
    .start()
    .unwrap();
    Stand {
        world,
        cluster,
        client,
        agent,
        _folder: folder,
    }
}

impl Stand {
    async fn value(&self, namespace: &str, name: &str, key: &str) -> Option<String> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.unwrap()?.data?.get(key).cloned()
    }

    async fn shows(&self, namespace: &str, name: &str, value: &str) {
        until(
            &format!("{namespace}/{name} holds {value}"),
            LIMIT,
            async || {
                let seen = self.value(namespace, name, "v").await;
                anyhow::ensure!(
                    seen.as_deref() == Some(value),
                    "{seen:?}\n{}",
                    self.agent.log()
                );
                Ok(())
            },
        )
        .await;
    }

    async fn says(&self, app: &str, words: &str) {
        until(&format!("{app} says: {words}"), LIMIT, async || {
            let text = serde_json::to_string(&self.world.operator.app(app).await?)?;
            anyhow::ensure!(text.contains(words), "{text}");
            Ok(())
        })
        .await;
    }

    async fn is_gone(&self, namespace: &str, name: &str) {
        until(&format!("{namespace}/{name} is gone"), LIMIT, async || {
            self.value(namespace, name, "v").await.is_none()
        })
        .await;
    }

    /// What the agent's account asked for, as `verb group/resource namespace name` with the answers' codes.
    fn asked(&self) -> Vec<Asked> {
        let text = std::fs::read_to_string(self.cluster.audit().unwrap()).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["user"]["username"] == ACCOUNT && event["objectRef"].is_object())
            .map(|event| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let what = &event["objectRef"];
                Asked {
                    verb: text(&event["verb"]),
                    group: text(&what["apiGroup"]),
                    resource: text(&what["resource"]),
                    subresource: text(&what["subresource"]),
                    namespace: text(&what["namespace"]),
                    name: text(&what["name"]),
                    code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
                }
            })
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    code: u64,
}

const NAMESPACES: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: floor\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_works_with_its_chart_s_arguments_and_rights_and_asks_for_no_more() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: reader\n  namespace: floor\nrules:\n  - apiGroups: [\"\"]\n    resources: [configmaps]\n    verbs: [get]\n";
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: rollouts.argoproj.io\nspec:\n  group: argoproj.io\n  scope: Namespaced\n  names: {kind: Rollout, plural: rollouts}\n  versions:\n    - name: v1alpha1\n      served: true\n      storage: true\n      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n";
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: web\n  namespace: floor\nspec: {paused: true}\n";
    let in_floor = config_map("in-floor", "v", "1")
        .replace("name: in-floor", "name: in-floor\n  namespace: floor");
    let stand = stand(
        "cluster",
        &[
            ("clusters/one/namespaces.yaml", NAMESPACES),
            ("clusters/one/role.yaml", role),
            ("clusters/one/crd.yaml", crd),
            ("clusters/one/rollout.yaml", rollout),
            ("clusters/one/in-floor.yaml", &in_floor),
            ("clusters/shop.yaml", &plain_app("shop", "apps/shop")),
            ("apps/shop/a.yaml", &config_map("a", "v", "1")),
            ("apps/shop/b.yaml", &config_map("b", "v", "1")),
        ],
    )
    .await;
    stand.shows("default", "a", "1").await;
    stand.shows("floor", "in-floor", "1").await;
    let kind = kube::core::GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
    let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "rollouts");
    let rollouts =
        Api::<kube::core::DynamicObject>::namespaced_with(stand.client.clone(), "floor", &resource);
    until("the custom resource is there", LIMIT, async || {
        rollouts.get("web").await.map(drop)
    })
    .await;

    // Healing, a change and a deletion are within its rights too.
    Api::<ConfigMap>::namespaced(stand.client.clone(), "default")
        .patch(
            "a",
            &PatchParams::apply("somebody").force(),
            &Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "drift"}})),
        )
        .await
        .unwrap();
    stand.shows("default", "a", "1").await;
    stand.world.repo.remove("apps/shop/b.yaml").unwrap();
    stand
        .world
        .push_files(&[("apps/shop/a.yaml", &config_map("a", "v", "2"))], "two")
        .unwrap();
    stand.shows("default", "a", "2").await;
    stand.is_gone("default", "b").await;

    until("its Lease was renewed", LIMIT, async || {
        let asked = stand.asked();
        asked
            .iter()
            .any(|a| a.resource == "leases" && a.verb == "update")
    })
    .await;
    let asked = stand.asked();
    let refused: Vec<&Asked> = asked.iter().filter(|asked| asked.code == 403).collect();
    assert_eq!(refused, Vec::<&Asked>::new(), "rights are missing");
    assert!(
        asked.iter().all(|a| a.subresource.is_empty()),
        "no subresource is used"
    );

    // In its own namespace it may do what it does there, and nothing else.
    let own: BTreeMap<String, BTreeSet<String>> = asked
        .iter()
        .filter(|asked| asked.namespace == "countersign")
        .fold(BTreeMap::new(), |mut all, asked| {
            all.entry(format!("{} {}", asked.resource, asked.group))
                .or_insert_with(BTreeSet::new)
                .insert(asked.verb.clone());
            all
        });
    let role = super::golden("countersign-agent", "cluster")
        .into_iter()
        .find(|object| object["kind"] == "Role")
        .unwrap();
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in role["rules"].as_array().unwrap() {
        let name = format!(
            "{} {}",
            rule["resources"][0].as_str().unwrap(),
            rule["apiGroups"][0].as_str().unwrap()
        );
        let verbs: BTreeSet<String> = serde_json::from_value(rule["verbs"].clone()).unwrap();
        granted.entry(name).or_default().extend(verbs);
    }
    assert_eq!(own, granted, "used on the left, granted on the right");
    // kube-system is read for the cluster's identity, by name alone.
    assert!(
        asked
            .iter()
            .filter(|asked| asked.namespace == "kube-system" && asked.resource != "namespaces")
            .all(|asked| asked.name.is_empty()),
        "nothing in kube-system is touched"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_two_namespaces_without_secrets_writes_there_and_names_what_it_may_not() {
    let of = |name: &str, namespace: &str| {
        config_map(name, "v", "1").replace(
            &format!("name: {name}"),
            &format!("name: {name}\n  namespace: {namespace}"),
        )
    };
    let stand = stand(
        "namespaced",
        &[
            ("clusters/one/in-shop.yaml", &of("in-shop", "shop")),
            ("clusters/good.yaml", &plain_app("good", "apps/good")),
            ("apps/good/a.yaml", &of("in-search", "search")),
            ("clusters/bad.yaml", &plain_app("bad", "apps/bad")),
            ("apps/bad/a.yaml", &of("elsewhere", "default")),
        ],
    )
    .await;
    stand.shows("shop", "in-shop", "1").await;
    stand.shows("search", "in-search", "1").await;
    until(
        "the app that it may not write is named",
        LIMIT,
        async || {
            let app = stand.world.operator.app("bad").await?;
            let text = serde_json::to_string(&app)?;
            anyhow::ensure!(
                text.contains("forbidden") || text.contains("FORBIDDEN"),
                "{text}"
            );
            Ok(())
        },
    )
    .await;
    assert_eq!(stand.value("default", "elsewhere", "v").await, None);
    let refused: BTreeSet<String> = stand
        .asked()
        .into_iter()
        .filter(|asked| asked.code == 403)
        .map(|asked| format!("{} {} {}", asked.verb, asked.resource, asked.namespace))
        .collect();
    assert_eq!(
        refused,
        BTreeSet::from(["patch configmaps default".to_owned()]),
        "only what it was asked to do and may not is refused"
    );
    let namespaces: Api<Namespace> = Api::all(stand.client.clone());
    assert!(namespaces.get_opt("default").await.unwrap().is_some());
}

/// The guard rails of the values bind the agent although its rights would let it, and although all of it is signed.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_keeps_to_the_guard_rails_of_its_chart_s_values() {
    let of = |name: &str, namespace: &str| {
        config_map(name, "v", "1").replace(
            &format!("name: {name}"),
            &format!("name: {name}\n  namespace: {namespace}"),
        )
    };
    let job = "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: nightly\n  namespace: shop\nspec:\n  schedule: \"0 0 * * *\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: registry.example.org/a}]}}}}\n";
    let stand = stand(
        "railed",
        &[
            ("clusters/good.yaml", &plain_app("good", "apps/good")),
            ("apps/good/a.yaml", &of("a", "shop")),
            ("apps/good/b.yaml", &of("b", "shop")),
            ("apps/good/c.yaml", &of("c", "shop")),
        ],
    )
    .await;
    for name in ["a", "b", "c"] {
        stand.shows("shop", name, "1").await;
    }
    // Two at once are more than one state may delete here.
    for file in ["apps/good/b.yaml", "apps/good/c.yaml"] {
        stand.world.repo.remove(file).unwrap();
    }
    stand
        .world
        .push_files(
            &[(
                "apps/good/a.yaml",
                &of("a", "shop").replace("\"1\"", "\"2\""),
            )],
            "two",
        )
        .unwrap();
    stand.shows("shop", "a", "2").await;
    until("the agent says why it deletes nothing", LIMIT, async || {
        let cluster = stand.world.operator.cluster(ONE).await?;
        let text = serde_json::to_string(&cluster)?;
        anyhow::ensure!(text.contains("deletes 2 objects"), "{text}");
        Ok(())
    })
    .await;
    stand
        .world
        .push_files(
            &[
                ("clusters/kind.yaml", &plain_app("kind", "apps/kind")),
                ("apps/kind/a.yaml", job),
                ("clusters/place.yaml", &plain_app("place", "apps/place")),
                ("apps/place/a.yaml", &of("elsewhere", "search")),
            ],
            "three",
        )
        .unwrap();
    for (app, flag) in [
        ("kind", "--allow-kinds does not allow CronJob.batch"),
        ("place", "--allow-namespaces does not allow search"),
    ] {
        stand.says(app, flag).await;
    }
    assert_eq!(stand.value("search", "elsewhere", "v").await, None);
    for name in ["b", "c"] {
        assert_eq!(stand.value("shop", name, "v").await.as_deref(), Some("1"));
    }
}
