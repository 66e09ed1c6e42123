//! A pause of one app: the hub keeps what that app has and seals the rest, so that the others go on.

use std::path::Path;
use std::time::{Duration, Instant};

use countersign_tests::until;

use crate::fixture::{ONE, Stand, config_map, plain_app};
use crate::overrides::{said, stand};

const LIMIT: Duration = Duration::from_secs(90);

/// Pushes this value of both apps.
fn push(stand: &Stand, value: &str) -> String {
    let (cart, blog) = (
        plain_app("cart", "apps/cart"),
        plain_app("blog", "apps/blog"),
    );
    let files = [
        ("clusters/cart.yaml", cart),
        ("clusters/blog.yaml", blog),
        ("apps/cart/c.yaml", config_map("c", "v", value)),
        ("apps/blog/b.yaml", config_map("b", "v", value)),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    stand.world.push_files(&files, value).unwrap()
}

async fn live(stand: &Stand, name: &str, wanted: &str) {
    until(&format!("{name} is at {wanted}"), LIMIT, async || {
        let value = stand.value("default", name, "v").await;
        let live = value.as_deref() == Some(wanted);
        live.then_some(())
            .ok_or_else(|| format!("{value:?} {}", stand.logs()))
    })
    .await;
}

/// The blog is where it was pushed, and the cart stays and says why.
async fn one_stays(stand: &Stand, cart: &str, blog: &str) {
    live(stand, "b", blog).await;
    let value = stand.value("default", "c", "v").await;
    assert_eq!(value.as_deref(), Some(cart), "{}", stand.logs());
    let app = stand.world.operator.app("cart").await.unwrap();
    let text = serde_json::to_string(&app).unwrap();
    for told in ["PAUSED", "paused by ada until ", "a sale"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

async fn says(stand: &Stand, key: &Path, words: &[&str]) {
    said(
        stand,
        key,
        &[words, &["--cluster", ONE, "--app", "cart"]].concat(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_apps_the_paused_one_stays_and_the_other_goes_live_until_a_resume_or_the_end() {
    let (mut stand, key) = stand().await;
    let first = push(&stand, "1");
    stand.settled(&first).await;

    says(
        &stand,
        &key,
        &["pause", "--reason", "a sale", "--for", "1h"],
    )
    .await;
    push(&stand, "2");
    one_stays(&stand, "1", "2").await;
    // Also when the hub starts again, and when the app leaves Git.
    stand.world.hub.restart().await.unwrap();
    for file in ["clusters/cart.yaml", "apps/cart/c.yaml"] {
        stand.world.repo.remove(file).unwrap();
    }
    let blog = config_map("b", "v", "3");
    stand
        .world
        .push_files(&[("apps/blog/b.yaml", &blog)], "3")
        .unwrap();
    one_stays(&stand, "1", "3").await;
    let last = push(&stand, "4");
    one_stays(&stand, "1", "4").await;
    says(&stand, &key, &["resume", "--reason", "it is over"]).await;
    live(&stand, "c", "4").await;
    stand.settled(&last).await;

    // It ends by itself.
    let began = Instant::now();
    says(
        &stand,
        &key,
        &["pause", "--reason", "a sale", "--for", "20s"],
    )
    .await;
    push(&stand, "5");
    one_stays(&stand, "4", "5").await;
    live(&stand, "c", "5").await;
    assert!(began.elapsed() >= Duration::from_secs(20));
}
