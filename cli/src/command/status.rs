//! `countersign status`: the fleet at a glance, one cluster, or one app as a tree with health and drift.

mod view;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use countersign_fleet::api::{App, Cluster, Drifts, Fleet, HealthState, Objects, SyncState};
use serde::Serialize;

use super::wait;
use crate::args::HubArgs;
use crate::exit::{CODES, Failure};
use crate::hub::{Hub, part, query};
use crate::output::{Form, write, write_value};

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign status                      the fleet: clusters, apps, mistakes, permits waited for
  countersign status --cluster metal-fra  one cluster: its agent, its apps, what it refused
  countersign status --app cart           one app: its objects everywhere, with health and drift
  countersign status --watch
  countersign status -o json | jq '.clusters[] | select(.health != \"Healthy\").name'
  countersign status --check              for scripts: exit code 1 unless synced and healthy

What is shown is what agents report: for people to look at, not evidence.

{CODES}"))]
pub struct StatusArgs {
    /// Show one cluster.
    #[arg(long, value_name = "NAME", conflicts_with = "app")]
    cluster: Option<String>,
    /// Show one app.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    /// Show it again whenever it changes, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// The answer is no (exit code 1) unless everything shown is synced and healthy.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// Between two looks at the hub.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Objects of one app on one cluster that its tree shows; further ones are counted.
const TREE_OBJECTS_MAX: usize = 1_000;

/// Runs it.
pub fn run(args: &StatusArgs, color: bool) -> Result<(), Failure> {
    let hub = Hub::from_args(&args.hub)?;
    let question = match (&args.cluster, &args.app) {
        (Some(name), _) => Question::Cluster(part("cluster", name)?),
        (None, Some(name)) => Question::App(part("app", name)?),
        (None, None) => Question::Fleet,
    };
    wait(async {
        if args.watch {
            return watch(&hub, &question, args.output, color).await;
        }
        let answer = ask(&hub, &question).await?;
        write(&mut std::io::stdout(), &shown(&answer, args.output, color)?)?;
        match answer.wrong() {
            Some(what) if args.check => Err(Failure::Negative(what)),
            Some(_) | None => Ok(()),
        }
    })
}

enum Question {
    Fleet,
    Cluster(String),
    App(String),
}

/// What the hub said.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Fleet(Box<Fleet>),
    Cluster(Box<Cluster>),
    App(Box<AppTree>),
}

/// An app with its objects and drifts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AppTree {
    #[serde(flatten)]
    app: App,
    objects: Vec<Objects>,
    drifts: Drifts,
}

impl Answer {
    /// What is not as wished, if anything.
    fn wrong(&self) -> Option<String> {
        let bad = |name: &str, sync: SyncState, health: HealthState| {
            (sync != SyncState::Synced || health > HealthState::Suspended)
                .then(|| format!("{} is {sync} and {health}", crate::output::safe(name)))
        };
        match self {
            Self::Fleet(fleet) => fleet
                .clusters
                .iter()
                .find_map(|cluster| bad(&cluster.name, cluster.sync, cluster.health)),
            Self::Cluster(cluster) => bad(
                &cluster.summary.name,
                cluster.summary.sync,
                cluster.summary.health,
            ),
            Self::App(tree) => bad(
                &tree.app.summary.name,
                tree.app.summary.sync,
                tree.app.summary.health,
            ),
        }
    }
}

async fn ask(hub: &Hub, question: &Question) -> Result<Answer, Failure> {
    match question {
        Question::Fleet => Ok(Answer::Fleet(Box::new(hub.get("/api/v1/fleet").await?))),
        Question::Cluster(name) => {
            let cluster = hub.get(&format!("/api/v1/clusters/{name}")).await?;
            Ok(Answer::Cluster(Box::new(cluster)))
        }
        Question::App(name) => {
            let app: App = hub.get(&format!("/api/v1/apps/{name}")).await?;
            let mut objects = Vec::new();
            for on in &app.on {
                let cluster = part("cluster", &on.cluster)?;
                let path = format!(
                    "/api/v1/clusters/{cluster}/objects?app={}&limit={TREE_OBJECTS_MAX}",
                    query(name)
                );
                objects.push(hub.get(&path).await?);
            }
            let drifts = hub
                .get(&format!("/api/v1/drifts?app={}", query(name)))
                .await?;
            Ok(Answer::App(Box::new(AppTree {
                app,
                objects,
                drifts,
            })))
        }
    }
}

fn shown(answer: &Answer, form: Form, color: bool) -> Result<String, Failure> {
    match form {
        Form::Table => Ok(match answer {
            Answer::Fleet(fleet) => view::fleet(fleet, color),
            Answer::Cluster(cluster) => view::cluster(cluster, color),
            Answer::App(tree) => view::app(&tree.app, &tree.objects, &tree.drifts, color),
        }),
        Form::Json | Form::Yaml => {
            let mut text = Vec::new();
            write_value(form, answer, &mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

/// Shows it whenever it changes. On a terminal the screen is drawn anew; else one answer follows the other, as a
/// document of its own. A hub that is away for a while is waited for.
async fn watch(hub: &Hub, question: &Question, form: Form, color: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let screen = out.is_terminal() && form == Form::Table;
    let mut last = String::new();
    let mut answered = false;
    loop {
        let text = match ask(hub, question).await {
            Ok(mut answer) => {
                answered = true;
                if let Answer::Fleet(fleet) = &mut answer {
                    // The hub's clock alone is no change.
                    fleet.time = jiff::Timestamp::UNIX_EPOCH;
                }
                shown(&answer, form, color)?
            }
            Err(Failure::Fault(error)) if answered => format!("{error}\n"),
            Err(error) => return Err(error),
        };
        if text != last {
            if screen {
                write(&mut out, "\x1b[H\x1b[2J")?;
            } else if form == Form::Yaml && !last.is_empty() {
                write(&mut out, "---\n")?;
            }
            if out
                .write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .is_err()
            {
                return Ok(());
            }
            last = text;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
pub(crate) mod tests;
