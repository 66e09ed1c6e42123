//! What comes from outside the fleet's own programs: forges, Git servers, repositories, API servers, the render worker.
//! No bytes make a reader panic or cost more than its limits, and what is promised of what it took holds.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_agent::watch::{additions, difference, ownership};
use countersign_fleet::document::Kubernetes;
use countersign_fleet::kinds::Kinds;
use countersign_fleet::load;
use countersign_fleet::object::{Context, normalise};
use countersign_fleet::render::frame;
use countersign_fleet::tree::MemoryTree;
use countersign_fleet::yaml as documents;
use countersign_health::{judge, rules};
use countersign_hub::track::limits::FetchLimits;
use countersign_hub::track::packguard::Guard;
use countersign_hub::track::remote::http::HttpAuth;
use countersign_hub::track::tracker::{TrackConfig, Tracker};
use countersign_hub::track::webhook::{Forge, Hook};
use countersign_hub::track::{CommitId, RefName, Source, pktline, protocol, signer, treecheck};
use countersign_proto::parcel::{self as parcels, Reader};
use countersign_proto::renderer::v1::FromWorker;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 13] = [
    ("webhook", webhook),
    ("git_protocol", git_protocol),
    ("pack", pack),
    ("commit", commit),
    ("tree", tree),
    ("source", source),
    ("fleet", fleet),
    ("yaml", yaml),
    ("object", object),
    ("cel", cel),
    ("ownership", ownership_of),
    ("frame", frames),
    ("parcel", parcel),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SECRET: &str = "an open secret";

fn hooks() -> &'static [Hook] {
    static HOOKS: OnceLock<Vec<Hook>> = OnceLock::new();
    HOOKS.get_or_init(|| {
        let Ok(name) = RefName::parse("main") else {
            return Vec::new();
        };
        let data = std::env::temp_dir().join(format!("countersign-fuzz-{}", std::process::id()));
        let config = TrackConfig {
            source: Source::Local(data.join("none")),
            name: name.clone(),
            data,
            poll: std::time::Duration::from_secs(60),
            limits: FetchLimits::default(),
            http: HttpAuth::default(),
            ssh: None,
        };
        let Ok((_, handle, _)) = Tracker::new(config, None) else {
            return Vec::new();
        };
        // GitLab's proof is a token, so that any body is genuine.
        let secret = SECRET.to_owned().into();
        vec![Hook::new(Forge::Gitlab, secret, "acme/fleet", name, handle)]
    })
}

/// Push webhooks: every genuine body has an answer, and none of them is a server's error.
pub fn webhook(bytes: &[u8]) {
    static DELIVERY: AtomicU64 = AtomicU64::new(0);
    for hook in hooks() {
        let mut headers = HeaderMap::new();
        headers.insert("x-gitlab-token", HeaderValue::from_static(SECRET));
        headers.insert("x-gitlab-event", HeaderValue::from_static("Push Hook"));
        let delivery = DELIVERY.fetch_add(1, Ordering::Relaxed);
        headers.insert("x-gitlab-event-uuid", HeaderValue::from(delivery));
        let status = hook.receive(&headers, bytes).status();
        assert!((200..500).contains(&status), "{status}");
    }
}

/// What a Git server answers before a pack, line by line.
pub fn git_protocol(bytes: &[u8]) {
    let mut rest = bytes;
    let mut written = Vec::new();
    while let Ok(line) = pktline::read(&mut rest) {
        if let pktline::Line::Data(data) = line
            && let Ok(text) = std::str::from_utf8(&data)
        {
            written.clear();
            pktline::write(&mut written, text);
            let again = pktline::read(&mut written.as_slice());
            assert!(matches!(again, Ok(pktline::Line::Data(same)) if same == data));
        }
    }
    if let Ok(name) = RefName::parse("main") {
        let _ = protocol::greeting(&mut &bytes[..], &name, 100);
        let _ = protocol::ref_answer(&mut &bytes[..], &name, 100);
    }
    let _ = protocol::before_pack_v2(&mut &bytes[..]);
    for depth_one in [false, true] {
        let _ = protocol::before_pack_v0(&mut &bytes[..], depth_one);
    }
    if let Ok(mut reader) = protocol::PackReader::new(bytes, None) {
        while let Ok(chunk) = reader.chunk() {
            if chunk.is_empty() {
                break;
            }
        }
    }
}

/// A pack: judged alike however it is cut.
pub fn pack(bytes: &[u8]) {
    let limits = FetchLimits {
        pack_bytes: 1 << 16,
        objects: 64,
        object_bytes: 1 << 16,
        unpacked_bytes: 1 << 18,
        ..FetchLimits::default()
    };
    let whole = {
        let mut guard = Guard::new(limits);
        guard.push(bytes).and_then(|()| guard.finish()).is_ok()
    };
    let mut guard = Guard::new(limits);
    let cut = bytes
        .chunks(7)
        .try_for_each(|chunk| guard.push(chunk))
        .and_then(|()| guard.finish())
        .is_ok();
    assert_eq!(whole, cut, "a pack is judged by its bytes alone");
}

/// A commit: what is read is of the bytes.
pub fn commit(bytes: &[u8]) {
    let _ = signer::read(CommitId::from([7; 20]), bytes);
}

/// A tree: whatever is no name of one file is found defective.
pub fn tree(bytes: &[u8]) {
    if let Ok(entries) = treecheck::entries(bytes) {
        for entry in entries {
            let odd = entry.name.is_empty()
                || entry.name.contains(&b'/')
                || matches!(entry.name, b"." | b".." | b".git");
            assert!(!odd || treecheck::name_defect(entry.name).is_some());
        }
    }
}

/// A URL and a ref: what is taken is no option, and is read again as the same.
pub fn source(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(source) = Source::parse(&text, Path::new("/here")) {
        assert!(!source.host().starts_with('-'));
        assert!(!source.display().starts_with('-'));
    }
    if let Ok(name) = RefName::parse(&text) {
        assert!(name.as_str().starts_with("refs/"));
        assert_eq!(RefName::parse(name.as_str()).ok().as_ref(), Some(&name));
    }
}

/// A fleet whose every document is the same bytes: every mistake has a place.
pub fn fleet(bytes: &[u8]) {
    let files = [
        "fleet.yaml",
        "countersign.lock",
        "clusters/one/cluster.yaml",
        "clusters/app.yaml",
        "policies/health/rules.yaml",
    ];
    let tree = MemoryTree::new(files.map(|path| (path, bytes.to_vec())));
    if let Ok((fleet, mistakes)) = load::load(&tree) {
        assert!(
            mistakes
                .iter()
                .all(|mistake| !mistake.to_string().is_empty())
        );
        assert!(fleet.clusters.len() + fleet.broken_clusters.len() <= 1);
    }
}

/// YAML: every value has its line, and every line is in the text.
pub fn yaml(bytes: &[u8]) {
    let text = text(bytes);
    let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    match documents::parse(&text) {
        Ok(nodes) => {
            for node in nodes {
                let _ = node.json();
                assert!(node.line <= lines + 1);
            }
        }
        Err(error) => assert!(error.line <= lines + 1),
    }
}

/// A rendered object: what is made once is made the same again.
pub fn object(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    static KINDS: OnceLock<Kinds> = OnceLock::new();
    let context = Context {
        app: "web",
        namespace: "shop",
        project: None,
        kinds: KINDS.get_or_init(|| Kinds::of(&Kubernetes::default())),
        from_git: false,
        encrypted: countersign_fleet::object::Encrypted::Shown,
        skip_documents: false,
    };
    for made in normalise(&value, "a.yaml", 1, &context).unwrap_or_default() {
        let again = made
            .json()
            .map(|json| normalise(&json, "a.yaml", 1, &context));
        assert!(matches!(again, Ok(Ok(again)) if again == [made]));
    }
}

/// Health rules and their expressions: a verdict, whatever is asked of whatever.
pub fn cel(bytes: &[u8]) {
    let text = text(bytes);
    let mut all = rules::parse(&text).unwrap_or_default();
    let asked = serde_json::json!({
        "kind": "Thing",
        "checks": [{"status": "Degraded", "when": text, "messageExpression": text}],
    });
    all.extend(rules::from_json(&[asked]).unwrap_or_default());
    let (rules, _) = rules::Rules::compile(&all);
    let object = serde_json::json!({
        "kind": "Thing",
        "metadata": {"name": "x", "generation": 3},
        "spec": {"list": [1, 2.5, "a", null, true], "map": {"a": {"b": "c"}}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    assert!(judge(&object, &rules).message.len() < 2_048);
}

/// What an API server sends: whose a field is, and what somebody added.
pub fn ownership_of(bytes: &[u8]) {
    if let Some(meta) = ownership::meta(bytes) {
        let _ = (
            meta.seen(),
            meta.id("apps", "Deployment"),
            meta.resource_version(),
        );
    }
    let _ = ownership::rivals(bytes);
    let added = additions::of(bytes);
    let _ = difference::paths(&text(bytes));
    if let Ok(found) = serde_json::from_slice::<Value>(bytes) {
        let _ = additions::removal(&found, &added);
        assert_eq!(
            difference::patch(&found, &found),
            None,
            "nothing differs from itself"
        );
    }
}

/// Frames of a render worker, until one is none.
pub fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    while futures::executor::block_on(frame::read::<FromWorker>(&mut rest)).is_ok() {}
}

/// A file that a person carries: what is read of it is written the same.
pub fn parcel(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(bytes) else {
        return;
    };
    let mut frames = Vec::new();
    loop {
        match reader.frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break,
            Err(_) => return,
        }
    }
    let mut written = Vec::new();
    let frames = frames.iter().map(|(kind, content)| (*kind, &content[..]));
    assert!(
        parcels::write(&mut written, frames).is_ok(),
        "what was read has its limits"
    );
    assert_eq!(written, bytes, "a file has one spelling");
}
