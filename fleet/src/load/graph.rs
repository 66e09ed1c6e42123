//! What waits for what: names that are there, and no circle. Pure.
use std::collections::BTreeMap;

use crate::mistake::{Mistake, Problem, nearest};
use crate::model::App;

/// Apps whose `dependsOn` can't be followed, each with its mistake.
pub(super) fn check(
    apps: &BTreeMap<String, App>,
    broken: &BTreeMap<String, Vec<Mistake>>,
) -> Vec<(String, Mistake)> {
    let mut out = Vec::new();
    for app in apps.values() {
        for name in &app.depends_on {
            if !apps.contains_key(name) && !broken.contains_key(name) {
                let problem = Problem::NoSuchApp {
                    name: name.clone(),
                    nearest: nearest(name, apps.keys().map(String::as_str)),
                };
                out.push((app.name.clone(), mistake(app, problem)));
            }
        }
    }
    for circle in circles(apps) {
        let mut names = circle.clone();
        names.extend(circle.first().cloned());
        let path = names.join(" → ");
        for name in circle {
            if let Some(app) = apps.get(&name) {
                out.push((name, mistake(app, Problem::Cycle(path.clone()))));
            }
        }
    }
    out
}

fn mistake(app: &App, problem: Problem) -> Mistake {
    Mistake {
        file: app.place.file.clone(),
        line: app.place.line,
        field: "spec.dependsOn".to_owned(),
        problem,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Open,
    Done,
}

/// Each circle once, from where it was entered. Without recursion: a chain may be long.
fn circles(apps: &BTreeMap<String, App>) -> Vec<Vec<String>> {
    let mut marks: BTreeMap<&str, Mark> = BTreeMap::new();
    let mut out = Vec::new();
    for start in apps.keys() {
        let mut path: Vec<(&str, usize)> = Vec::new();
        if !marks.contains_key(start.as_str()) {
            marks.insert(start, Mark::Open);
            path.push((start, 0));
        }
        while let Some((name, next)) = path.last_mut() {
            let step = apps.get(*name).and_then(|app| app.depends_on.get(*next));
            *next += 1;
            match step {
                None => {
                    marks.insert(name, Mark::Done);
                    path.pop();
                }
                Some(step) => match marks.get(step.as_str()) {
                    Some(Mark::Done) => {}
                    Some(Mark::Open) => {
                        let from = path.iter().position(|(name, _)| *name == step.as_str());
                        let circle = path.iter().skip(from.unwrap_or(0));
                        out.push(circle.map(|(name, _)| (*name).to_owned()).collect());
                    }
                    None => {
                        if let Some((step, _)) = apps.get_key_value(step) {
                            marks.insert(step, Mark::Open);
                            path.push((step, 0));
                        }
                    }
                },
            }
        }
    }
    out
}
