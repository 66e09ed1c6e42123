//! Status as text for a person. Pure.

use countersign_fleet::api::{
    App, AppOnCluster, Cluster, ClusterSummary, Connection, Drift, DriftKind, Drifts, Fleet,
    HealthState, LogProgress, Objects, SourceState, SyncState,
};
use jiff::Timestamp;

use crate::command::permit::words;
use crate::output::{Style, Table, health_style, safe, sync_style};

/// The fleet at a glance.
pub fn fleet(fleet: &Fleet, color: bool) -> String {
    let mut out = String::new();
    head(&mut out, "Fleet", &fleet.fleet);
    let source = &fleet.source;
    head(
        &mut out,
        "Source",
        &format!("{} {}", source.repository, source.reference),
    );
    if let Some(commit) = &source.commit {
        head(
            &mut out,
            "Commit",
            &format!(
                "{} {} ({})",
                short(&commit.id),
                commit.subject,
                commit.author
            ),
        );
    }
    let state = match source.state {
        SourceState::Starting => Style::Open.paint("starting", color),
        SourceState::Working => Style::Open.paint("working on the newest commit", color),
        SourceState::UpToDate => Style::Good.paint("up to date", color),
        SourceState::Unreachable => Style::Bad.paint("unreachable", color),
        SourceState::Refused => Style::Bad.paint("refused", color),
    };
    let why = if source.message.is_empty() {
        String::new()
    } else {
        format!(": {} ({})", safe(&source.message), safe(&source.code))
    };
    out.push_str(&format!("{:<9}{state}{why}\n", "State"));
    head(
        &mut out,
        "Trust",
        &format!(
            "version {} sha256:{}",
            fleet.trust_root.version, fleet.trust_root.digest
        ),
    );
    if let Some(progress) = &fleet.log {
        log(&mut out, progress, color);
    }

    let mut clusters = Table::new(&[
        "CLUSTER",
        "ENV",
        "LEVEL",
        "AGENT",
        "GENERATION",
        "SYNC",
        "HEALTH",
        "MESSAGE",
    ]);
    for cluster in &fleet.clusters {
        clusters.row([
            plain(&cluster.name),
            plain(&cluster.environment),
            plain(&cluster.level),
            connection(cluster.connection),
            plain(&generation(cluster)),
            sync(cluster.sync),
            health(cluster.health),
            plain(&cluster.message),
        ]);
    }
    section(&mut out, &clusters, color);
    pauses(&mut out, &fleet.clusters, color);

    let mut apps = Table::new(&["APP", "CLUSTERS", "SYNC", "HEALTH", "MESSAGE"]);
    for app in &fleet.apps {
        let kept = if app.kept > 0 {
            format!(" ({} kept)", app.kept)
        } else {
            String::new()
        };
        apps.row([
            plain(&app.name),
            plain(&format!("{}{kept}", app.clusters)),
            sync(app.sync),
            health(app.health),
            plain(&app.message),
        ]);
    }
    section(&mut out, &apps, color);

    let mut mistakes = Table::new(&["MISTAKE", "FIELD", "MESSAGE"]);
    for mistake in &fleet.mistakes {
        let place = if mistake.line > 0 {
            format!("{}:{}", mistake.file, mistake.line)
        } else {
            mistake.file.clone()
        };
        mistakes.row([
            (place, Style::Bad),
            plain(&mistake.field),
            plain(&mistake.message),
        ]);
    }
    section(&mut out, &mistakes, color);

    let mut permits = Table::new(&["WAITS", "WHY", "UNTIL"]);
    for needed in &fleet.permits_needed {
        permits.row([
            plain(&needed.cluster),
            plain(&needed.message),
            (
                format!("countersign permit {} --reason TEXT", words(&needed.permit)),
                Style::Open,
            ),
        ]);
    }
    section(&mut out, &permits, color);
    alarms(&mut out, &fleet.alarms, color);
    out
}

/// Pauses that hold, whether a state waits for them or not.
fn pauses(out: &mut String, clusters: &[ClusterSummary], color: bool) {
    let mut table = Table::new(&["PAUSED", "APP", "UNTIL", "BY", "ENTRY", "REASON"]);
    for cluster in clusters {
        for pause in &cluster.pauses {
            table.row([
                (cluster.name.clone(), Style::Open),
                plain(pause.app.as_deref().unwrap_or("all")),
                plain(&pause.until.to_string()),
                plain(&pause.by),
                plain(&pause.index.to_string()),
                plain(&pause.reason),
            ]);
        }
    }
    section(out, &table, color);
}

fn log(out: &mut String, log: &LogProgress, color: bool) {
    let entries = format!("{} entries, {} published", log.size, log.published);
    let waits = if log.waits.is_empty() {
        String::new()
    } else {
        let why = format!("waits: {}", safe(&log.waits));
        format!("; {}", Style::Bad.paint(&why, color))
    };
    out.push_str(&format!("{:<9}{entries}{waits}\n", "Log"));
}

/// One cluster.
pub fn cluster(cluster: &Cluster, color: bool) -> String {
    let summary = &cluster.summary;
    let mut out = String::new();
    head(&mut out, "Cluster", &summary.name);
    head(
        &mut out,
        "Env",
        &format!("{} (level {})", summary.environment, summary.level),
    );
    let (word, style) = connection(summary.connection);
    let seen = summary
        .last_seen
        .map(|seen| format!(", last seen {seen}"))
        .unwrap_or_default();
    out.push_str(&format!(
        "{:<9}{}{seen}\n",
        "Agent",
        style.paint(&word, color)
    ));
    if let Some(agent) = &cluster.registered {
        head(
            &mut out,
            "",
            &format!(
                "version {}, Kubernetes {}, key {}, since {}",
                cluster.agent_version,
                agent.kubernetes,
                short(&agent.key),
                agent.since
            ),
        );
    }
    head(
        &mut out,
        "Head",
        &format!("generation {} sha256:{}", generation(summary), cluster.head),
    );
    let (sync_word, sync_style) = sync(summary.sync);
    let (health_word, health_style) = health(summary.health);
    let why = if summary.message.is_empty() {
        String::new()
    } else {
        format!(": {}", safe(&summary.message))
    };
    out.push_str(&format!(
        "{:<9}{}, {}{why}\n",
        "State",
        sync_style.paint(&sync_word, color),
        health_style.paint(&health_word, color)
    ));

    let mut apps = Table::new(&["APP", "COMMIT", "OBJECTS", "SYNC", "HEALTH", "MESSAGE"]);
    for app in &cluster.app_list {
        apps.row([
            plain(&app.app),
            plain(&commits(app)),
            plain(&objects(app)),
            sync(app.sync),
            health(app.health),
            plain(&reason(app)),
        ]);
    }
    section(&mut out, &apps, color);
    pauses(&mut out, std::slice::from_ref(summary), color);

    let mut refusals = Table::new(&["REFUSED", "GENERATION", "COUNT", "LAST", "MESSAGE"]);
    for refusal in &cluster.refusals {
        refusals.row([
            (refusal.code.clone(), Style::Bad),
            plain(&refusal.generation.to_string()),
            plain(&refusal.count.to_string()),
            plain(&refusal.time.to_string()),
            plain(&refusal.message),
        ]);
    }
    section(&mut out, &refusals, color);
    alarms(&mut out, &cluster.alarm_list, color);
    out
}

/// One app as a tree: clusters, objects, then what was changed behind Git's back.
pub fn app(app: &App, on_clusters: &[Objects], drifts: &Drifts, color: bool) -> String {
    let summary = &app.summary;
    let mut tree = Table::new(&["APP", "SYNC", "HEALTH", "MESSAGE"]);
    tree.row([
        plain(&summary.name),
        sync(summary.sync),
        health(summary.health),
        plain(""),
    ]);
    for (n, on) in app.on.iter().enumerate() {
        let last_cluster = n + 1 == app.on.len();
        let (branch, below) = if last_cluster {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        tree.row([
            plain(&format!("{branch}{} @ {}", on.cluster, commits(on))),
            sync(on.sync),
            health(on.health),
            plain(&reason(on)),
        ]);
        let Some(page) = on_clusters.iter().find(|page| page.cluster == on.cluster) else {
            continue;
        };
        let left_out = page
            .total
            .saturating_sub(u32::try_from(page.objects.len()).unwrap_or(u32::MAX));
        for (n, object) in page.objects.iter().enumerate() {
            let last = n + 1 == page.objects.len() && left_out == 0;
            let branch = if last { "└─ " } else { "├─ " };
            tree.row([
                plain(&format!("{below}{branch}{}", object.id)),
                sync(object.sync),
                health(object.health),
                plain(&object.message),
            ]);
        }
        if left_out > 0 {
            tree.row([(format!("{below}└─ and {left_out} more"), Style::Dim)]);
        }
    }
    let mut out = tree.text(color);
    let mut changes = Table::new(&["DRIFT", "CLUSTER", "OBJECT", "WHAT", "BY", "HEALED"]);
    for drift in &drifts.drifts {
        changes.row([
            plain(&drift.time.to_string()),
            plain(&drift.cluster),
            plain(&drift.id.to_string()),
            plain(&what(drift)),
            plain(&drift.managers.join(", ")),
            healed(drift),
        ]);
    }
    section(&mut out, &changes, color);
    out
}

fn what(drift: &Drift) -> String {
    const SHOWN: usize = 3;
    let word = match drift.what {
        DriftKind::Changed => "changed",
        DriftKind::Deleted => "deleted",
        DriftKind::Added => "added",
    };
    let more = drift.paths.len().saturating_sub(SHOWN);
    let paths: Vec<&str> = drift.paths.iter().take(SHOWN).map(String::as_str).collect();
    match (paths.is_empty(), more) {
        (true, _) => word.to_owned(),
        (false, 0) => format!("{word} {}", paths.join(" ")),
        (false, 1..) => format!("{word} {} and {more} more", paths.join(" ")),
    }
}

fn healed(drift: &Drift) -> (String, Style) {
    if drift.healed {
        (format!("{} ms", drift.healed_after_ms), Style::Good)
    } else {
        ("no".to_owned(), Style::Bad)
    }
}

fn plain(text: &str) -> (String, Style) {
    (text.to_owned(), Style::Plain)
}

fn sync(state: SyncState) -> (String, Style) {
    (state.word().to_owned(), sync_style(state))
}

fn health(state: HealthState) -> (String, Style) {
    (state.word().to_owned(), health_style(state))
}

fn connection(connection: Connection) -> (String, Style) {
    match connection {
        Connection::NotRegistered => ("not registered".to_owned(), Style::Dim),
        Connection::Connected => ("connected".to_owned(), Style::Good),
        Connection::Away => ("away".to_owned(), Style::Open),
        Connection::Revoked => ("revoked".to_owned(), Style::Bad),
    }
}

/// "7", or "5/7" while the newest is not applied.
fn generation(cluster: &ClusterSummary) -> String {
    if cluster.generation_applied == cluster.generation_sealed {
        cluster.generation_sealed.to_string()
    } else {
        format!(
            "{}/{}",
            cluster.generation_applied, cluster.generation_sealed
        )
    }
}

/// "4b825dc", or "1a2b3c4 → 4b825dc" while the newest is not applied.
fn commits(app: &AppOnCluster) -> String {
    match (app.commit_applied.as_str(), app.commit_sealed.as_str()) {
        ("", "") => "-".to_owned(),
        (applied, sealed) if applied == sealed || sealed.is_empty() => short(applied),
        ("", sealed) => format!("→ {}", short(sealed)),
        (applied, sealed) => format!("{} → {}", short(applied), short(sealed)),
    }
}

fn objects(app: &AppOnCluster) -> String {
    if app.failed > 0 {
        format!("{} ({} failed)", app.objects, app.failed)
    } else {
        app.objects.to_string()
    }
}

fn reason(app: &AppOnCluster) -> String {
    match (&app.kept, app.message.as_str()) {
        (None, message) => message.to_owned(),
        (Some(kept), "") => format!(
            "{} kept out: {} ({})",
            short(&kept.refused_commit),
            kept.message,
            kept.code
        ),
        (Some(kept), message) => {
            format!(
                "{message}; {} kept out: {} ({})",
                short(&kept.refused_commit),
                kept.message,
                kept.code
            )
        }
    }
}

fn short(id: &str) -> String {
    id.chars().take(7).collect()
}

fn head(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("{name:<9}{}\n", safe(text)));
}

fn section(out: &mut String, table: &Table, color: bool) {
    if !table.is_empty() {
        out.push('\n');
        out.push_str(&table.text(color));
    }
}

fn alarms(out: &mut String, alarms: &[countersign_fleet::api::Alarm], color: bool) {
    let mut table = Table::new(&["ALARM", "COUNT", "LAST", "MESSAGE"]);
    for alarm in alarms {
        let time: Timestamp = alarm.time;
        table.row([
            (alarm.code.clone(), Style::Bad),
            plain(&alarm.count.to_string()),
            plain(&time.to_string()),
            plain(&alarm.message),
        ]);
    }
    section(out, &table, color);
}
