//! With the quorum a push goes live; without it all waits, visibly, and goes on by itself.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_waits_for_the_quorum_where_all_can_see_it_and_goes_live_when_a_witness_is_back() {
    let (mut world, _) = world(&files(3)).await;
    let log = world.trust.log_vkey(FLEET).unwrap();
    let mut ours = Witness::start("witness.example/ours", std::slice::from_ref(&log))
        .await
        .unwrap();
    let mut theirs = Omniwitness::start("witness.example/omni", std::slice::from_ref(&log))
        .await
        .unwrap();
    // The third is the agent of another cluster.
    let (two, address) = (
        Cluster::start(Options::default()).await.unwrap(),
        port::free().unwrap(),
    );
    let (listen, key) = (address.to_string(), log.to_string());
    let args = [
        "--witness-listen",
        &listen,
        "--witness-name",
        "witness.example/two",
        "--witness-log",
        &key,
    ];
    let mut second = world.join_with("two", &two, &args).await.unwrap();
    second.process.listening(address, LIMIT).await.unwrap();
    let file = second.data().join("witness/witness.vkey");
    let vkey: Vkey = std::fs::read_to_string(file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let named = [
        (ours.vkey(), ours.url()),
        (theirs.vkey(), theirs.url()),
        (&vkey, format!("http://{address}")),
    ];
    demand(&mut world, &named, 2).await;
    let mut stand = Stand::join(world, Cluster::start(Options::default()).await.unwrap()).await;

    // All three stand.
    push(&stand, "2").await;
    let store = stand.world.hub.data().join("store");
    until("all three have cosigned", LIMIT, async || {
        let note = std::fs::read_to_string(store.join("checkpoint")).unwrap();
        let lines = note
            .lines()
            .filter(|line| line.starts_with("— witness.example/"));
        (lines.count() == 3).then_some(()).ok_or(note)
    })
    .await;
    let (_, time) = kept(&stand.agent).unwrap();
    assert!(time.abs_diff(now()) < 120, "{time}");

    // One alone is no quorum: the log goes on, publishing waits, the cluster keeps what it has and heals it.
    ours.process.kill().unwrap();
    theirs.process.kill().unwrap();
    stand
        .world
        .push_files(
            &[("clusters/one/a.yaml", &config_map("a", "v", "3"))],
            "waits",
        )
        .unwrap();
    let sealed = until("it waits for its quorum", LIMIT, async || {
        let fleet = stand.world.operator.fleet().await?;
        let log = fleet.log.clone().context("no log")?;
        let one = fleet
            .clusters
            .iter()
            .find(|c| c.name == ONE)
            .context("one")?;
        anyhow::ensure!(
            log.waits.contains("waits for its quorum")
                && log.size > log.published
                && one.generation_sealed > one.generation_verified
                && one.message.starts_with("LOG_NO_QUORUM")
                && fleet
                    .alarms
                    .iter()
                    .any(|alarm| alarm.code == "LOG_NO_QUORUM"),
            "{log:?} {one:?} {:?}",
            fleet.alarms
        );
        anyhow::Ok(one.generation_sealed)
    })
    .await;
    seen_by_people(&stand).await;
    heals(&stand, "h0").await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));

    // It goes on taking entries meanwhile.
    stand
        .world
        .push_files(
            &[("clusters/one/a.yaml", &config_map("a", "v", "4"))],
            "waits too",
        )
        .unwrap();
    until("the log still grows", LIMIT, async || {
        let cluster = stand.world.operator.cluster(ONE).await?;
        anyhow::ensure!(
            cluster.summary.generation_sealed > sealed,
            "{:?}",
            cluster.summary
        );
        Ok(())
    })
    .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));

    // The witness is back, nobody does anything else.
    ours.restart().await.unwrap();
    until("it goes live by itself", LIMIT, async || {
        let value = stand.value("default", "a", "v").await;
        (value.as_deref() == Some("4"))
            .then_some(())
            .ok_or_else(|| format!("{value:?}\n{}", stand.logs()))
    })
    .await;
    let waits = stand
        .world
        .operator
        .fleet()
        .await
        .unwrap()
        .log
        .unwrap()
        .waits;
    assert_eq!(waits, "");

    // A hub that was killed goes on with its witnesses, and an agent that was killed with what it kept.
    stand.world.hub.process.kill().unwrap();
    stand.agent.process.kill().unwrap();
    stand.world.hub.restart().await.unwrap();
    stand.agent.restart().unwrap();
    push(&stand, "5").await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("5"));
}

async fn push(stand: &Stand, value: &str) {
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", value))])
        .await;
}

/// `countersign status`, `/readyz` and `/metrics` say it.
async fn seen_by_people(stand: &Stand) {
    let data = stand.world.hub.data();
    let told = Cli::new()
        .ok(["status".as_ref(), "--data".as_ref(), data.as_os_str()])
        .unwrap();
    assert!(told.contains("waits for its quorum"), "{told}");
    let ca = std::fs::read(stand.world.trust.hub_keys().join("hub-ca.crt")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap();
    let get = async |path: &str| {
        let url = format!("{}{path}", stand.world.hub.agents_url());
        client.get(url).send().await.unwrap().text().await.unwrap()
    };
    let ready = get("/readyz").await;
    assert!(ready.starts_with("ready\nlog: not publishing: "), "{ready}");
    let metrics = get("/metrics").await;
    let value = |name: &str| -> u64 {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("countersign_hub_log_size") > value("countersign_hub_log_published_size"));
    assert!(value("countersign_hub_log_publish_failed_total") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_of_one_party_are_no_quorum_of_two() {
    let (mut world, _) = world(&files(1)).await;
    let log = world.trust.log_vkey(FLEET).unwrap();
    let mut witnesses = Vec::new();
    for name in [
        "witness.example/party",
        "witness.example/party",
        "witness.example/other",
    ] {
        let log = log.clone();
        witnesses.push(Witness::start(name, &[log]).await.unwrap());
    }
    let named: Vec<_> = witnesses.iter().map(|w| (w.vkey(), w.url())).collect();
    demand(&mut world, &named, 2).await;
    let stand = Stand::join(world, Cluster::start(Options::default()).await.unwrap()).await;
    push(&stand, "2").await;

    witnesses[2].process.kill().unwrap();
    stand
        .world
        .push_files(
            &[("clusters/one/a.yaml", &config_map("a", "v", "3"))],
            "waits",
        )
        .unwrap();
    until("two lines are not two parties", LIMIT, async || {
        let log = stand.world.operator.fleet().await?.log.context("no log")?;
        anyhow::ensure!(log.waits.contains("cosigned by 2"), "{log:?}");
        Ok(())
    })
    .await;
    heals(&stand, "h0").await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));

    witnesses[2].restart().await.unwrap();
    until("the other party is back", LIMIT, async || {
        stand.value("default", "a", "v").await.as_deref() == Some("3")
    })
    .await;
}

/// Takes as long as five minutes: run with COUNTERSIGN_LONG set.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_fleet_keeps_fresh_checkpoints() {
    if std::env::var_os("COUNTERSIGN_LONG").is_none() {
        return;
    }
    let (stand, _witnesses) = three(0).await;
    the_seen_log(&stand).await;
    let (size, time) = kept(&stand.agent).unwrap();
    until(
        "it is cosigned anew",
        Duration::from_secs(660),
        async || {
            let (after, later) = kept(&stand.agent)?;
            anyhow::ensure!(after == size && later > time, "{after} {later}");
            Ok(())
        },
    )
    .await;
}
