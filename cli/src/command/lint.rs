//! `countersign lint`: every mistake in a fleet's files, with file, line and field.

use countersign_fleet::mistake::{Mistake, Place, Problem};
use countersign_fleet::model::Fleet;
use countersign_fleet::source::unpinned::unpinned;
use countersign_health::rules::{Rules, from_json};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::local::{FleetArgs, Local};
use crate::output::{Form, safe, write, write_value};

/// Find every mistake in a fleet's files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  countersign lint
  countersign lint --repo fleet --revision main -o json

Exit codes:
  0  no mistake
  1  mistakes, each on its own line: file:line: field: what is wrong
  2  no repository there, or no such revision")]
pub struct LintArgs {
    #[command(flatten)]
    fleet: FleetArgs,
    /// A revision instead of the working directory.
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// Runs the command.
pub fn run(args: &LintArgs) -> Result<(), Failure> {
    let local = Local::open(&args.fleet.repo, args.revision.as_deref())?;
    let mut mistakes =
        unpinned(&local.tree, &local.fleet).map_err(|fault| Failure::Fault(fault.to_string()))?;
    mistakes.extend(local.mistakes);
    mistakes.extend(expressions(&local.fleet));
    mistakes.sort();
    let out = &mut std::io::stdout();
    match args.output {
        Form::Table => write(out, &text(&mistakes))?,
        form => write_value(form, &value(&mistakes), out)?,
    }
    match mistakes.len() {
        0 => Ok(()),
        1 => Err(Failure::Negative("1 mistake".to_owned())),
        n => Err(Failure::Negative(format!("{n} mistakes"))),
    }
}

/// Mistakes in the expressions of health rules: only an agent, and whoever compiles them before, sees those.
fn expressions(fleet: &Fleet) -> Vec<Mistake> {
    let of_fleet = fleet
        .health_rules
        .values()
        .map(|at| (&at.place, at.field.clone(), &at.rule));
    let of_apps = fleet.apps.values().flat_map(|app| {
        let rules = app.health_rules.iter().enumerate();
        rules.map(|(n, rule)| (&app.place, format!("spec.healthRules[{n}]"), rule))
    });
    of_fleet
        .chain(of_apps)
        .flat_map(|(place, field, rule)| compiled(place, &field, rule))
        .collect()
}

fn compiled(place: &Place, field: &str, rule: &Value) -> Vec<Mistake> {
    let mistake = |field: String, problem: String| Mistake {
        file: place.file.clone(),
        line: place.line,
        field,
        problem: Problem::Other(problem),
    };
    match from_json(std::slice::from_ref(rule)) {
        Ok(rules) => Rules::compile(&rules)
            .1
            .into_iter()
            .map(|wrong| {
                mistake(
                    format!("{field}.{}", wrong.field),
                    wrong.problem.to_string(),
                )
            })
            .collect(),
        Err(error) => vec![mistake(field.to_owned(), error.to_string())],
    }
}

fn text(mistakes: &[Mistake]) -> String {
    mistakes
        .iter()
        .map(|mistake| safe(&mistake.to_string()) + "\n")
        .collect()
}

fn value(mistakes: &[Mistake]) -> serde_json::Value {
    mistakes
        .iter()
        .map(|mistake| {
            json!({
                "file": mistake.file.as_str(),
                "line": mistake.line,
                "field": mistake.field,
                "problem": mistake.problem.to_string(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(app: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let cluster = dir.path().join("clusters/one");
        std::fs::create_dir_all(&cluster).unwrap();
        std::fs::write(dir.path().join("clusters/app.yaml"), app).unwrap();
        dir
    }

    fn lint(dir: &tempfile::TempDir) -> (Result<(), u8>, Vec<Mistake>) {
        let args = LintArgs {
            fleet: FleetArgs {
                repo: dir.path().to_owned(),
            },
            revision: None,
            output: Form::Table,
        };
        let mistakes = Local::open(dir.path(), None).unwrap().mistakes;
        (run(&args).map_err(|failure| failure.code()), mistakes)
    }

    #[test]
    fn each_mistake_is_a_line_with_its_place_and_the_code_is_1() {
        let dir = repository(
            "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {name: a}\nspec:\n  sorce: {}\n  \"x\\e[31m\": 1\n",
        );
        let (code, mistakes) = lint(&dir);
        assert_eq!(code, Err(1));
        let text = text(&mistakes);
        assert!(text.contains(
            "clusters/app.yaml:5: spec.sorce: there is no such field; did you mean source?\n"
        ));
        assert!(!text.contains('\u{1b}'), "names can't steer the terminal");
        assert_eq!(value(&mistakes)[0]["file"], "clusters/app.yaml");
    }

    #[test]
    fn an_expression_of_a_health_rule_is_compiled() {
        let dir = repository(
            "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {name: a}\nspec:\n  source: {path: clusters/one}\n  healthRules: [{kind: Pod, checks: [{status: Healthy, when: now() > self.x}]}]\n",
        );
        let health = dir.path().join("policies/health");
        std::fs::create_dir_all(&health).unwrap();
        std::fs::write(
            health.join("a.yaml"),
            "apiVersion: countersign.dev/v1alpha1\nkind: HealthRules\nspec:\n  rules:\n    - {kind: Thing, checks: [{status: Healthy, when: self.}]}\n",
        )
        .unwrap();
        assert_eq!(lint(&dir).0, Err(1));
        let local = Local::open(dir.path(), None).unwrap();
        let text = text(&expressions(&local.fleet));
        for wanted in [
            "policies/health/a.yaml:5: spec.rules[0].checks[0].when: ",
            "spec.healthRules[0].checks[0].when: there is no function now",
        ] {
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn a_chart_that_a_chart_needs_and_nobody_pinned_is_a_mistake_with_its_place() {
        let dir = repository(
            "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {name: a}\nspec:\n  source: {path: charts/a}\n",
        );
        let chart = dir.path().join("charts/a");
        std::fs::create_dir_all(&chart).unwrap();
        let needs = "name: a\nversion: 1.0.0\ndependencies:\n- name: redis\n  version: 1.2.7\n  repository: https://charts.example.org\n";
        std::fs::write(chart.join("Chart.yaml"), needs).unwrap();
        assert_eq!(lint(&dir).0, Err(1));
        let said = || {
            let local = Local::open(dir.path(), None).unwrap();
            text(&unpinned(&local.tree, &local.fleet).unwrap())
        };
        assert_eq!(
            said(),
            "charts/a/Chart.yaml:4: dependencies[0]: chart redis 1.2.7 of https://charts.example.org is not pinned in countersign.lock; run `countersign lock`\n"
        );
        let broken = needs.replace("https://charts.example.org", "\"@bitnami\"");
        std::fs::write(chart.join("Chart.yaml"), broken).unwrap();
        assert!(
            said().starts_with("charts/a/Chart.yaml:4: dependencies[0].repository: must be a URL")
        );
        std::fs::create_dir_all(chart.join("charts/redis")).unwrap();
        std::fs::write(chart.join("Chart.yaml"), needs).unwrap();
        assert_eq!(said(), "", "what lies in the chart needs no pin");
    }

    #[test]
    fn a_good_fleet_is_silent() {
        let (code, mistakes) = lint(&repository("kind: ConfigMap\n"));
        assert_eq!((code, mistakes), (Ok(()), vec![]));
    }
}
