//! A cluster that no network reaches: its agent never sees a hub, and a person carries files both ways. It passes the same checks
//! as everybody's, and its word lands in the same log.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use countersign_proto::{
    agent::v1::Head,
    courier::v1::ReportHeader,
    parcel::{Kind, Reader, write},
};
use countersign_tests::{
    agent::{self, Agent},
    cli::{Cli, Output},
    cluster::{Cluster, Options},
    git::GitRepo,
    until,
    world::World,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use prost::Message as _;

use crate::fixture::{CLUSTER, ONE, config_map};
use crate::overrides::say;

const LIMIT: Duration = Duration::from_secs(60);

/// A hub, a cluster that does not know where it is, and the person between them.
struct Gap {
    world: World,
    /// Runs as long as this stands.
    _cluster: Cluster,
    agent: Agent,
    stick: tempfile::TempDir,
    maps: Api<ConfigMap>,
}

impl Gap {
    async fn new(files: &[(&str, &str)]) -> Self {
        let repo = GitRepo::new().unwrap();
        let mut all = vec![CLUSTER];
        all.extend(files);
        repo.commit_files(&all, "the fleet").unwrap();
        let world = World::start(repo, &["one=test"]).await.unwrap();
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let options = agent::Options::new(String::new(), ONE, world.trust.document(), "", &cluster);
        let agent = Agent::start(options).await.unwrap();
        let maps = Api::namespaced(cluster.client().await.unwrap(), "default");
        Self {
            world,
            _cluster: cluster,
            agent,
            stick: tempfile::tempdir().unwrap(),
            maps,
        }
    }

    fn hub(&self, args: &[&str]) -> Output {
        let data = self.world.hub.data();
        let mut all: Vec<std::ffi::OsString> = args.iter().map(Into::into).collect();
        all.extend(["--data".into(), data.into()]);
        Cli::new().run(all).unwrap()
    }

    /// `countersign export`, for an agent that stands where its report says; the file is still on the stick.
    fn export(&self, name: &str, since: bool) -> PathBuf {
        let out = self.stick.path().join(name);
        let (path, report) = (text(&out), text(&self.report()));
        let mut args = vec!["export", "--cluster", ONE, "--out", &path];
        if since {
            args.extend(["--since", &report]);
        }
        let done = self.hub(&args);
        assert_eq!(done.code, Some(0), "{done:?}");
        out
    }

    /// Copies a file into the import folder, as a person does: under another name first.
    fn carry(&self, file: &std::path::Path, name: &str) {
        let part = self.agent.imports().join("part");
        std::fs::copy(file, &part).unwrap();
        std::fs::rename(part, self.agent.imports().join(name)).unwrap();
    }

    fn report(&self) -> PathBuf {
        self.agent.exports().join("one.report")
    }

    /// `countersign import receipts`.
    fn import(&self, admit: Option<&str>) -> Output {
        let report = text(&self.report());
        let mut args = vec!["import", "receipts", &report];
        if let Some(key) = admit {
            args.extend(["--admit", key]);
        }
        self.hub(&args)
    }

    async fn sealed(&self, generation: u64) {
        until("it is sealed", LIMIT, async || {
            let seen = self.world.operator.cluster(ONE).await?.summary;
            anyhow::ensure!(seen.generation_sealed == generation, "{seen:?}");
            Ok(())
        })
        .await;
    }

    async fn push(&self, value: &str, generation: u64) -> String {
        let file = ("clusters/one/a.yaml", &*config_map("a", "v", value));
        let commit = self.world.push_files(&[file], "a change").unwrap();
        self.sealed(generation).await;
        commit
    }

    async fn lives(&self, wanted: &str) {
        until(&format!("value {wanted}"), LIMIT, async || {
            let map = self.maps.get_opt("a").await.unwrap();
            let value = map.and_then(|map| map.data?.get("v").cloned());
            (value.as_deref() == Some(wanted))
                .then_some(())
                .ok_or_else(|| format!("{value:?}\n{}", self.agent.process.log()))
        })
        .await;
    }

    async fn refused(&mut self, code: &str) {
        self.agent.process.line(code, LIMIT).await.unwrap();
    }

    /// How many receipts wait in the report, and the generation that it speaks of.
    fn waits(&self) -> anyhow::Result<(usize, u64)> {
        let frames = frames(&self.report())?;
        let receipts = frames.iter().filter(|(kind, _)| *kind == Kind::Receipt);
        Ok((receipts.count(), self.header()?.generation))
    }

    fn header(&self) -> anyhow::Result<ReportHeader> {
        let frames = frames(&self.report())?;
        let (_, header) = frames.first().context("no header")?;
        Ok(ReportHeader::decode(&header[..])?)
    }
}

/// An auditor counts the cluster's word: by the log alone, it runs what that commit wants.
async fn audited(gap: &Gap, commit: &str) {
    let store = gap.world.hub.data().join("store");
    let trust = gap.world.trust.document();
    let index = gap.stick.path().join("index.sqlite");
    let audit = |args: &[&str]| {
        let mut all: Vec<std::ffi::OsString> = vec!["audit".into()];
        all.extend(args.iter().map(Into::into));
        for (flag, path) in [("--log", &store), ("--trust", &trust), ("--index", &index)] {
            all.extend([flag.into(), path.into()]);
        }
        Cli::new().run(all).unwrap()
    };
    until("an audit counts its receipts", LIMIT, async || {
        let told = audit(&["at", "--cluster", ONE]);
        let counted = told.code == Some(0) && told.stdout.contains(&commit[..12]);
        counted.then_some(()).ok_or_else(|| format!("{told:?}"))
    })
    .await;
    let whole = audit(&["verify", "-o", "json"]);
    assert!(!whole.stdout.contains("RECEIPT_UNENROLLED"), "{whole:?}");
    assert!(!whole.stdout.contains("CLUSTER_SILENT"), "{whole:?}");
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn frames(path: &std::path::Path) -> anyhow::Result<Vec<(Kind, Vec<u8>)>> {
    let bytes = std::fs::read(path)?;
    let mut reader = Reader::new(&bytes[..])?;
    let mut all = Vec::new();
    while let Some(frame) = reader.frame()? {
        all.push(frame);
    }
    Ok(all)
}

/// What is done to a head on its way.
type Tamper = fn(&mut Head);

/// Files that were changed on the way, and by which codes they may be refused.
const TAMPERED: &[(&str, Tamper, &[&str])] = &[
    (
        "envelope",
        |head| {
            let mut bytes = head.envelopes[0].to_vec();
            let at = bytes.len() / 2;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            head.envelopes[0] = bytes.into();
        },
        &[
            "SIGNATURE_INVALID",
            "ENVELOPE_MALFORMED",
            "STATEMENT_MALFORMED",
        ],
    ),
    ("proof", |head| head.proofs[0].index += 1, &["NOT_IN_LOG"]),
    (
        "checkpoint",
        |head| head.checkpoint = head.checkpoint.slice(..head.checkpoint.len() - 5),
        &[
            "CHECKPOINT_MALFORMED",
            "LOG_SIGNATURE_INVALID",
            "PARCEL_DOES_NOT_FIT",
        ],
    ),
    (
        "blobs",
        |head| {
            for blob in &mut head.attached {
                blob.content = blob.content.slice(1..);
            }
        },
        &["BLOB_MISSING"],
    ),
];

/// The file with each of its heads changed.
fn tampered(file: &std::path::Path, tamper: Tamper) -> Vec<u8> {
    let mut frames = frames(file).unwrap();
    for (kind, content) in &mut frames {
        if *kind == Kind::Head {
            let mut head = Head::decode(&content[..]).unwrap();
            tamper(&mut head);
            *content = head.encode_to_vec();
        }
    }
    let mut bytes = Vec::new();
    let frames = frames.iter().map(|(kind, content)| (*kind, &content[..]));
    write(&mut bytes, frames).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_network_goes_live_by_files_and_its_word_lands_in_the_log() {
    let mut gap = Gap::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    gap.sealed(1).await;

    // The first parcel: everything, from the pinned trust root on. The cluster never saw a hub.
    let first = gap.export("first.parcel", false);
    gap.carry(&first, "first.parcel");
    gap.lives("1").await;
    until("its report is there", LIMIT, async || {
        let (_, generation) = gap.waits()?;
        anyhow::ensure!(generation == 1, "{generation}");
        anyhow::Ok(())
    })
    .await;

    // Its word counts once a person has admitted it, by the key that it says of itself.
    let unknown = gap.import(None);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("NOT_REGISTERED"), "{unknown:?}");
    let line = gap
        .agent
        .process
        .line("admits this key", LIMIT)
        .await
        .unwrap();
    let key = line.split("sha256:").nth(1).unwrap()[..64].to_owned();
    let wrong = gap.import(Some(&format!("sha256:{}", "ab".repeat(32))));
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let admitted = gap.import(Some(&format!("sha256:{key}")));
    assert_eq!(admitted.code, Some(0), "{admitted:?}");

    // The second: what is new since its report, and where its chain begins.
    gap.push("2", 2).await;
    let second = gap.export("second.parcel", true);
    assert!(
        std::fs::metadata(&second).unwrap().len() < std::fs::metadata(&first).unwrap().len() * 2
    );

    // Changed on the way: refused, and nothing is touched.
    let before = gap.maps.get("a").await.unwrap();
    for (name, tamper, codes) in TAMPERED {
        let file = gap.stick.path().join("tampered");
        std::fs::write(&file, tampered(&second, *tamper)).unwrap();
        let name = format!("{name}.parcel");
        let from = gap.agent.process.log().len();
        gap.carry(&file, &name);
        until(&format!("{name} is refused"), LIMIT, async || {
            let log = gap.agent.process.log()[from..].to_owned();
            let named = codes.iter().any(|code| log.contains(code));
            named.then_some(()).ok_or(log)
        })
        .await;
        std::fs::remove_file(gap.agent.imports().join(&name)).unwrap();
        let after = gap.maps.get("a").await.unwrap();
        assert_eq!(
            (after.metadata.uid, after.metadata.resource_version),
            (
                before.metadata.uid.clone(),
                before.metadata.resource_version.clone()
            ),
            "{name}"
        );
    }
    // One that was not copied whole.
    let whole = std::fs::read(&second).unwrap();
    std::fs::write(
        gap.agent.imports().join("cut.parcel"),
        &whole[..whole.len() - 20],
    )
    .unwrap();
    gap.refused("PARCEL_UNUSABLE").await;

    gap.carry(&second, "second.parcel");
    gap.lives("2").await;

    // The second brought the enrolment that the hub offers; the agent signs it, and the log then says that its key speaks.
    until("it has signed its enrolment", LIMIT, async || {
        let signed = gap.header()?.enrolment.is_some();
        anyhow::ensure!(signed, "not yet");
        anyhow::Ok(())
    })
    .await;
    let enrolled = gap.import(None);
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");
    let commit = gap.push("3", 3).await;
    let third = gap.export("third.parcel", true);
    gap.carry(&third, "third.parcel");
    gap.lives("3").await;

    // What it countersigned goes into the log, and the proofs come back with the fourth parcel.
    until("it has countersigned", LIMIT, async || {
        let (receipts, generation) = gap.waits()?;
        anyhow::ensure!(receipts > 0 && generation == 3, "{receipts} {generation}");
        anyhow::Ok(())
    })
    .await;
    let imported = gap.import(None);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let next = imported.stdout.trim().rsplit(' ').next().unwrap();
    let next: u64 = next.parse().unwrap();
    assert!(next > 1, "{imported:?}");
    let again = gap.import(None);
    assert_eq!(again.code, Some(0), "{again:?}");
    gap.push("4", 4).await;
    // Without its report: the whole chain, and it leads on all the same.
    let fourth = gap.export("fourth.parcel", false);
    gap.carry(&fourth, "fourth.parcel");
    gap.lives("4").await;
    until("the proofs came back", LIMIT, async || {
        let header = gap.header()?;
        anyhow::ensure!(header.first_seq >= next, "{header:?}");
        anyhow::Ok(())
    })
    .await;
    audited(&gap, &commit).await;

    // A file that was carried before brings nothing back.
    gap.agent.process.kill().unwrap();
    gap.agent.restart().unwrap();
    gap.carry(&first, "again.parcel");
    gap.lives("4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_its_end_reach_a_cluster_without_a_network() {
    let mut gap = Gap::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    gap.sealed(1).await;
    let key = gap.world.trust.path().join("ada.key");
    let made = text(&key);
    let add: &[&str] = &["add", "overrider", "--name", "ada", "--generate", &made];
    gap.world.succeed(&[add]).await.unwrap();
    let first = gap.export("first.parcel", false);
    gap.carry(&first, "first.parcel");
    gap.lives("1").await;

    let said = async |gap: &Gap, word: &str| {
        let words = [word, "--cluster", ONE, "--reason", "the vessel docks"];
        let output = say(&gap.world, &key, &words).await;
        assert_eq!(output.code, Some(0), "{output:?}");
    };
    said(&gap, "pause").await;
    gap.push("2", 2).await;
    let paused = gap.export("paused.parcel", false);
    gap.carry(&paused, "paused.parcel");
    gap.refused("PAUSED").await;
    let map = gap.maps.get("a").await.unwrap();
    assert_eq!(map.data.unwrap()["v"], "1");

    said(&gap, "resume").await;
    let resumed = gap.export("resumed.parcel", false);
    gap.carry(&resumed, "resumed.parcel");
    gap.lives("2").await;
}
