//! `countersign diff`: what a revision or the working directory would change on each cluster. No hub is asked.
//!
//! Both sides go through the same plan that the hub seals by, so a failed app, a move and a refused deletion show as
//! what they would be. Clusters with equal changes are shown once.

use std::collections::BTreeMap;

use countersign_fleet::carry::{Carried, Previous};
use countersign_fleet::desired::AppOutcome;
use countersign_ledger::manifest::Line;
use serde::Serialize;

use super::render::shown;
use super::wait;
use crate::exit::Failure;
use crate::local::{FleetArgs, Local, Renderer, RendererArgs, next};
use crate::output::{Form, Style, safe, write, write_value};

mod lines;

/// Show what a revision or the working directory would change on each cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  countersign diff                          what the working directory changes since HEAD
  countersign diff --from main --to feature
  countersign diff --cluster metal-fra -o json

The values of Secrets are never shown.

Exit codes:
  0  nothing would change
  1  something would change, or an app would fail
  2  no such revision or cluster")]
pub struct DiffArgs {
    #[command(flatten)]
    fleet: FleetArgs,
    /// The revision to compare with.
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    from: String,
    /// The revision that would be deployed instead of the working directory.
    #[arg(long, value_name = "REV")]
    to: Option<String>,
    /// Only this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    renderer: RendererArgs,
}

/// One change, and the clusters on which it is this very one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    app: String,
    what: What,
    object: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum What {
    Failed,
    Deleted,
    Orphaned,
    Changed,
    Moved,
    Added,
}

#[derive(Debug, Serialize)]
struct Group {
    clusters: Vec<String>,
    changes: Vec<Change>,
}

/// Runs the command.
pub fn run(args: &DiffArgs, color: bool) -> Result<(), Failure> {
    let old = Local::open(&args.fleet.repo, Some(&args.from))?;
    let new = Local::open(&args.fleet.repo, args.to.as_deref())?;
    let mut clusters: Vec<String> = old.fleet.clusters.keys().cloned().collect();
    clusters.extend(new.fleet.clusters.keys().cloned());
    clusters.extend(new.fleet.broken_clusters.keys().cloned());
    clusters.sort();
    clusters.dedup();
    if let Some(name) = &args.cluster {
        clusters.retain(|cluster| cluster == name);
        if clusters.is_empty() {
            let why = format!("there is no cluster {}", safe(name));
            return Err(Failure::Mistake(why));
        }
    }
    let groups = wait(async {
        let renderer = args.renderer.start().await?;
        let mut by_change: BTreeMap<Vec<Change>, Vec<String>> = BTreeMap::new();
        for cluster in clusters {
            let changes = changes(&renderer, &old, &new, &cluster).await?;
            by_change.entry(changes).or_default().push(cluster);
        }
        Ok(by_change)
    })?;
    let groups: Vec<Group> = groups
        .into_iter()
        .filter(|(changes, _)| !changes.is_empty())
        .map(|(changes, clusters)| Group { clusters, changes })
        .collect();
    let out = &mut std::io::stdout();
    match args.output {
        Form::Table => write(out, &text(&groups, color))?,
        form => write_value(form, &groups, out)?,
    }
    if groups.is_empty() {
        Ok(())
    } else {
        Err(Failure::Negative("there are changes".to_owned()))
    }
}

async fn changes(
    renderer: &Renderer,
    old: &Local,
    new: &Local,
    cluster: &str,
) -> Result<Vec<Change>, Failure> {
    let nothing = Previous::default();
    let (had, before) = next(renderer, old, cluster, "old", &nothing).await;
    let previous = match before {
        Some(before) => Previous {
            lines: before.lines,
            apps: before.apps,
            removals: old.fleet.removals(),
        },
        None => nothing,
    };
    let (has, after) = next(renderer, new, cluster, "new", &previous).await;
    let Some(after) = after else {
        let problem = new
            .fleet
            .broken_clusters
            .get(cluster)
            .and_then(|all| all.first());
        return Ok(vec![Change {
            app: String::new(),
            what: What::Failed,
            object: problem.map(ToString::to_string).unwrap_or_default(),
            lines: Vec::new(),
        }]);
    };
    compare(&previous, &after, &texts(&had)?, &texts(&has)?)
}

/// Each object's text, by identity and digest of its bytes.
fn texts(outcomes: &[AppOutcome]) -> Result<BTreeMap<String, String>, Failure> {
    let mut texts = BTreeMap::new();
    for object in outcomes
        .iter()
        .filter_map(|outcome| outcome.result.as_ref().ok())
        .flat_map(|objects| objects.iter())
    {
        let text = serde_saphyr::to_string(&shown(object)?)
            .map_err(|error| Failure::Fault(error.to_string()))?;
        texts.insert(object.id.to_string(), text);
    }
    Ok(texts)
}

fn compare(
    before: &Previous,
    after: &Carried,
    old_texts: &BTreeMap<String, String>,
    new_texts: &BTreeMap<String, String>,
) -> Result<Vec<Change>, Failure> {
    let old: BTreeMap<_, _> = before.lines.iter().map(|line| (line.id(), line)).collect();
    let mut changes: Vec<Change> = after
        .reports
        .iter()
        .filter_map(|(app, report)| {
            let failure = report.kept.as_ref()?;
            Some(Change {
                app: app.clone(),
                what: What::Failed,
                object: failure.to_string(),
                lines: Vec::new(),
            })
        })
        .collect();
    for line in &after.lines {
        let was = old.get(line.id()).copied();
        if was == Some(line) {
            continue;
        }
        let object = line.id().to_string();
        let (what, lines) = match (line, was) {
            (Line::Tombstone(_), _) => (What::Deleted, Vec::new()),
            (Line::Orphan(_), _) => (What::Orphaned, Vec::new()),
            (Line::Object(_), None | Some(Line::Tombstone(_) | Line::Orphan(_))) => {
                (What::Added, Vec::new())
            }
            (Line::Object(now), Some(Line::Object(was))) => {
                let empty = String::new();
                let diff = lines::diff(
                    old_texts.get(&object).unwrap_or(&empty),
                    new_texts.get(&object).unwrap_or(&empty),
                );
                let moved = now.app != was.app;
                (if moved { What::Moved } else { What::Changed }, diff)
            }
        };
        changes.push(Change {
            app: line.app().to_owned(),
            what,
            object,
            lines,
        });
    }
    changes.sort();
    Ok(changes)
}

fn text(groups: &[Group], color: bool) -> String {
    let mut out = String::new();
    for group in groups {
        out.push_str(&Style::Bold.paint(&safe(&group.clusters.join(", ")), color));
        out.push('\n');
        for change in &group.changes {
            let (word, style) = match change.what {
                What::Failed => ("failed", Style::Bad),
                What::Deleted => ("delete", Style::Bad),
                What::Orphaned => ("orphan", Style::Open),
                What::Changed => ("change", Style::Open),
                What::Moved => ("move", Style::Open),
                What::Added => ("add", Style::Good),
            };
            let head = format!("  {word:6} {}  {}", safe(&change.app), safe(&change.object));
            out.push_str(&style.paint(&head, color));
            out.push('\n');
            for line in &change.lines {
                let style = match line.as_bytes().first() {
                    Some(b'+') => Style::Good,
                    Some(b'-') => Style::Bad,
                    _ => Style::Dim,
                };
                out.push_str("    ");
                out.push_str(&style.paint(&safe(line), color));
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_with_equal_changes_are_shown_once_and_names_can_t_steer_the_terminal() {
        let group = Group {
            clusters: vec!["a".into(), "b".into()],
            changes: vec![
                Change {
                    app: "web".into(),
                    what: What::Deleted,
                    object: "ConfigMap/x/\u{1b}[31m".into(),
                    lines: vec![],
                },
                Change {
                    app: "web".into(),
                    what: What::Changed,
                    object: "ConfigMap/x/y".into(),
                    lines: vec!["-a: 1".into(), "+a: 2".into()],
                },
            ],
        };
        let text = text(&[group], false);
        assert_eq!(
            text,
            "a, b\n  delete web  ConfigMap/x/\\u{1b}[31m\n  change web  ConfigMap/x/y\n    -a: 1\n    +a: 2\n"
        );
    }
}
