//! `countersign render`: the objects that a cluster's apps become, on standard output. No hub is asked.

use countersign_fleet::desired::{AppOutcome, render_cluster};
use countersign_fleet::object::Object;
use serde_json::{Value, json};

use super::wait;
use crate::exit::Failure;
use crate::local::{FleetArgs, Local, RendererArgs};
use crate::output::{Form, safe, write, write_value};

/// Render what a cluster shall run, to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  countersign render --cluster metal-fra
  countersign render --repo fleet --cluster metal-fra --app wallet -o json
  countersign render --cluster metal-fra --revision main | kubectl diff -f -

The values of Secrets are masked.

Exit codes:
  0  everything was rendered
  1  an app failed; the others are printed
  2  no such cluster, app or revision")]
pub struct RenderArgs {
    #[command(flatten)]
    fleet: FleetArgs,
    /// The cluster.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// Only this app.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// A revision instead of the working directory.
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Objects::Yaml)]
    output: Objects,
    #[command(flatten)]
    renderer: RendererArgs,
}

/// Form of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Objects {
    /// A document each.
    Yaml,
    /// One list.
    Json,
}

/// Runs the command.
pub fn run(args: &RenderArgs) -> Result<(), Failure> {
    let local = Local::open(&args.fleet.repo, args.revision.as_deref())?;
    known(&local, &args.cluster, args.app.as_deref())?;
    let outcomes = wait(async {
        let renderer = args.renderer.start().await?;
        let all = render_cluster(&renderer, &local.tree, &local.fleet, &args.cluster, None).await;
        Ok(all)
    })?;
    let chosen: Vec<&AppOutcome> = outcomes
        .iter()
        .filter(|outcome| args.app.as_ref().is_none_or(|name| *name == outcome.app))
        .collect();
    print(&chosen, args.output)?;
    let mut failed = Vec::new();
    for outcome in &chosen {
        for warning in &outcome.warnings {
            eprintln!("{}: warning: {}", safe(&outcome.app), safe(warning));
        }
        if let Err(failure) = &outcome.result {
            eprintln!("{}: {}", safe(&outcome.app), safe(&failure.to_string()));
            failed.push(outcome.app.as_str());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::Negative(format!("failed: {}", failed.join(", "))))
    }
}

fn known(local: &Local, cluster: &str, app: Option<&str>) -> Result<(), Failure> {
    let fleet = &local.fleet;
    if let Some(mistakes) = fleet.broken_clusters.get(cluster) {
        let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        return Err(Failure::Mistake(safe(&text.join("; "))));
    }
    let Some(here) = fleet.clusters.get(cluster) else {
        let known: Vec<&str> = fleet.clusters.keys().map(String::as_str).collect();
        return Err(Failure::Mistake(format!(
            "there is no cluster {}; there are: {}",
            safe(cluster),
            known.join(", ")
        )));
    };
    let Some(app) = app else { return Ok(()) };
    if let Some(mistakes) = fleet.broken_apps.get(app) {
        let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        return Err(Failure::Mistake(safe(&text.join("; "))));
    }
    if fleet.apps_on(here).any(|known| known.name == app) {
        return Ok(());
    }
    let known: Vec<&str> = fleet.apps_on(here).map(|app| app.name.as_str()).collect();
    Err(Failure::Mistake(format!(
        "no app {} runs on {cluster}; there are: {}",
        safe(app),
        known.join(", ")
    )))
}

fn print(outcomes: &[&AppOutcome], form: Objects) -> Result<(), Failure> {
    let mut objects = Vec::new();
    for outcome in outcomes {
        for object in outcome.result.iter().flat_map(|objects| objects.iter()) {
            objects.push(shown(object)?);
        }
    }
    let out = &mut std::io::stdout();
    match form {
        Objects::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            write_value(Form::Json, &list, out)
        }
        Objects::Yaml => {
            for object in objects {
                write(out, "---\n")?;
                write_value(Form::Yaml, &object, out)?;
            }
            Ok(())
        }
    }
}

/// An object as it may be seen: a Secret without its values.
pub fn shown(object: &Object) -> Result<Value, Failure> {
    let mut json = object
        .json()
        .map_err(|error| Failure::Fault(error.to_string()))?;
    if object.secret {
        let data = json.get_mut("data").and_then(Value::as_object_mut);
        for value in data.into_iter().flat_map(serde_json::Map::values_mut) {
            *value = json!("*****");
        }
    }
    Ok(json)
}
