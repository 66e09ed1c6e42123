//! Two parsers of one language: what the fleet reads and what the worker renders must not differ.

use countersign_fleet::yaml;
use serde_json::Value;

use crate::renderer;

const DOCUMENTS: usize = 5_000;
/// A file holds so many; each is read by itself where the file is refused as a whole.
const A_FILE: usize = 100;

const SCALARS: [&str; 64] = [
    "on",
    "off",
    "yes",
    "no",
    "y",
    "n",
    "true",
    "True",
    "TRUE",
    "false",
    "null",
    "Null",
    "~",
    "",
    "1",
    "-1",
    "+1",
    "0",
    "-0",
    "007",
    "0o7",
    "0x1F",
    "0b11",
    "1_000",
    "1e3",
    "1E3",
    "1.0",
    ".5",
    "5.",
    "-.5",
    "1.5e300",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1:30",
    "12:30:45",
    "2001-01-01",
    "2001-12-14T21:59:43Z",
    "'single'",
    "\"double\"",
    "\"\\u00e9\\n\"",
    "'it''s'",
    "a b",
    "a:b",
    "\"a: b\"",
    "a#b",
    "a #b",
    "é",
    "💥",
    "[1, two]",
    "{a: 1}",
    "[]",
    "{}",
    "[[a], [b]]",
    "{a: {b: [c]}}",
    "|\n    text\n    more",
    ">\n    folded\n    text",
    "|-\n    x",
    "!!str 1",
    "!!int \"7\"",
    "&a x",
    "\"\"",
    "''",
    "0.1",
];

fn mix(n: usize, salt: u64) -> usize {
    let mut z = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    usize::try_from((z ^ (z >> 31)) % 1_000_003).unwrap()
}

fn document(n: usize) -> String {
    let mut text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: d{n}\nx:\n");
    for field in 0..=mix(n, 1) % 4 {
        let scalar = SCALARS[mix(n, 2 + field as u64) % SCALARS.len()];
        if mix(n, 77).is_multiple_of(3) {
            text += &format!("  - {scalar}\n");
        } else {
            text += &format!("  k{field}: {scalar}\n");
        }
    }
    text
}

/// Equal, where 5.0 and 5 are one number: that much is lost on the way through JSON, and nothing else.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        (a, b) => a == b,
    }
}

/// THREATS 1.2: CVE-2019-11253, CVE-2021-4235, CVE-2022-3064.
#[tokio::test(flavor = "multi_thread")]
async fn threat_cve_2019_11253_worker_and_fleet_read_the_same_documents_alike() {
    let workers = renderer::workers().await;
    let mut different = Vec::new();
    for start in (0..DOCUMENTS).step_by(A_FILE) {
        let texts: Vec<String> = (start..start + A_FILE).map(document).collect();
        let theirs = renderer::plain(&workers, texts.join("---\n").as_bytes()).await;
        assert_eq!(theirs.len(), A_FILE);
        for (text, theirs) in texts.iter().zip(theirs) {
            let ours = match yaml::parse(text) {
                Ok(nodes) => nodes.first().map(yaml::Node::json),
                Err(error) => Some(Value::String(format!("{}: {}", error.line, error.message))),
            };
            if !ours.as_ref().is_some_and(|ours| alike(ours, &theirs)) {
                different.push(format!("{text}ours:   {ours:?}\ntheirs: {theirs}\n"));
            }
        }
    }
    assert!(
        different.is_empty(),
        "{} of {DOCUMENTS} differ, the first:\n{}",
        different.len(),
        different[..different.len().min(10)].join("\n")
    );
}
