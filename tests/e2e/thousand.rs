//! An app of a thousand objects: a change of one field touches one object.

use std::collections::BTreeMap;

use kube::api::ListParams;

use crate::fixture::{Stand, config_map, plain_app};

const OBJECTS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_field_in_an_app_of_a_thousand_objects_writes_one() {
    let mut files = vec![("clusters/big.yaml".to_owned(), plain_app("big", "apps/big"))];
    for n in 0..OBJECTS {
        let name = format!("big-{n:04}");
        files.push((format!("apps/big/{name}.yaml"), config_map(&name, "v", "1")));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let stand = Stand::new(&files).await;
    let before = versions(&stand).await;
    assert_eq!(before.len(), OBJECTS);

    stand
        .push(&[("apps/big/big-0500.yaml", &config_map("big-0500", "v", "2"))])
        .await;
    assert_eq!(
        stand.value("default", "big-0500", "v").await.as_deref(),
        Some("2")
    );
    let after = versions(&stand).await;
    let changed: Vec<&String> = before
        .keys()
        .filter(|name| before[*name] != after[*name])
        .collect();
    assert_eq!(
        changed,
        ["big-0500"],
        "only what the commit changed was written"
    );
}

/// The resourceVersion of each object of the app.
async fn versions(stand: &Stand) -> BTreeMap<String, String> {
    let list = ListParams::default().labels("countersign.dev/app=big");
    let found = stand
        .config_maps("default")
        .list_metadata(&list)
        .await
        .unwrap();
    found
        .items
        .into_iter()
        .map(|object| {
            (
                object.metadata.name.unwrap(),
                object.metadata.resource_version.unwrap(),
            )
        })
        .collect()
}
