//! An App's document → an [`App`], with the mistakes that a schema can't see.
use std::collections::BTreeMap;

use super::file::Found;
use crate::document::words::Operator;
use crate::document::{AppDocument, AppSpec, Defaults, HealthRule, Prune, Selector};
use crate::mistake::{Mistake, Names, Place, Problem};
use crate::model::{App, Fleet, PruneLimits, Render, Scope, Source};
use crate::path::RepoPath;
use crate::template::{fill, fill_map, is_template};
use crate::tree::{Stat, Tree, TreeFault};

struct Reader<'a> {
    found: &'a Found<AppDocument>,
    file: &'a RepoPath,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn wrong(&mut self, field: &str, problem: Problem) {
        self.mistakes.push(Mistake {
            file: self.file.clone(),
            line: self.found.node.line_of(field),
            field: field.to_owned(),
            problem,
        });
    }
}

/// The app, if it can be made, and all its mistakes.
pub(super) fn read(
    tree: &dyn Tree,
    found: &Found<AppDocument>,
    file: &RepoPath,
    cluster: Option<&str>,
    defaults: &Defaults,
    fleet: &Fleet,
) -> Result<(Option<App>, Vec<Mistake>), TreeFault> {
    let mut reader = Reader {
        found,
        file,
        mistakes: Vec::new(),
    };
    let spec = &found.document.spec;
    let name = found.document.metadata.name.to_string();
    let scope = reader.scope(spec, cluster);
    let source = reader.source(spec);
    let render = reader.render(spec);
    let (Some(source), Some(render)) = (source, render) else {
        return Ok((None, reader.mistakes));
    };
    reader.render_fits(&source, &render);
    let app = App {
        name: name.clone(),
        place: Place {
            file: file.clone(),
            line: found.line,
        },
        scope,
        source,
        render,
        depends_on: spec.depends_on.iter().map(ToString::to_string).collect(),
        health_rules: spec.health_rules.iter().map(HealthRule::json).collect(),
        ..settings(spec, defaults)
    };
    if app.depends_on.contains(&name) {
        reader.wrong("spec.dependsOn", Problem::Cycle(format!("{name} → {name}")));
    }
    reader.per_cluster(&app, fleet);
    reader.paths(tree, &app)?;
    reader.pinned(&app, fleet);
    Ok((Some(app), reader.mistakes))
}

/// What an app is that nobody wrote.
pub(super) fn implied(defaults: &Defaults) -> App {
    settings(&AppSpec::default(), defaults)
}

fn settings(spec: &AppSpec, defaults: &Defaults) -> App {
    let namespace = spec.namespace.as_ref().or(defaults.namespace.as_ref());
    App {
        name: String::new(),
        place: Place {
            file: RepoPath::root(),
            line: 0,
        },
        scope: Scope::Selector(Selector::default()),
        source: Source::Path(String::new()),
        render: Render::Auto,
        namespace: namespace.map_or_else(|| "default".to_owned(), ToString::to_string),
        depends_on: Vec::new(),
        rollout: spec.rollout.clone().or_else(|| defaults.rollout.clone()),
        prune: limits(spec.prune.as_ref().or(defaults.prune.as_ref())),
        exclusive: spec.exclusive.or(defaults.exclusive).unwrap_or(false),
        health_rules: Vec::new(),
        on_removal: spec.on_removal.or(defaults.on_removal).unwrap_or_default(),
        project: spec.project.clone().or_else(|| defaults.project.clone()),
    }
}

fn limits(prune: Option<&Prune>) -> PruneLimits {
    let all = PruneLimits::default();
    let Some(prune) = prune else {
        return all;
    };
    PruneLimits {
        max_objects: prune
            .max_objects
            .unwrap_or(all.max_objects)
            .min(all.max_objects),
        max_percent: prune
            .max_percent
            .unwrap_or(all.max_percent)
            .min(all.max_percent),
        protected_kinds: prune
            .protected_kinds
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

fn one_of<T>(options: Vec<(&str, Option<T>)>) -> Result<T, Problem> {
    let known = options.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut there: Vec<(String, T)> = options
        .into_iter()
        .filter_map(|(name, option)| Some((name.to_owned(), option?)))
        .collect();
    match (there.pop(), there.is_empty()) {
        (Some((_, one)), true) => Ok(one),
        (last, _) => Err(Problem::ExactlyOne {
            known: Names(known),
            found: Names(
                there
                    .into_iter()
                    .chain(last)
                    .map(|(name, _)| name)
                    .collect(),
            ),
        }),
    }
}

impl Reader<'_> {
    fn scope(&mut self, spec: &AppSpec, cluster: Option<&str>) -> Scope {
        if let Some(cluster) = cluster {
            if spec.clusters.is_some() {
                let problem = Problem::Meaningless(
                    "an App in a cluster's folder runs on that cluster alone; move its file to clusters/ to choose by label",
                );
                self.wrong("spec.clusters", problem);
            }
            return Scope::Cluster(cluster.to_owned());
        }
        let selector = spec.clusters.clone().unwrap_or_default();
        for (index, requirement) in selector.match_expressions.iter().enumerate() {
            let lists = matches!(requirement.operator, Operator::In | Operator::NotIn);
            if lists == requirement.values.is_empty() {
                let problem = Problem::Other(
                    if lists {
                        "needs at least one value for In and NotIn"
                    } else {
                        "takes no values for Exists and DoesNotExist"
                    }
                    .to_owned(),
                );
                let field = format!("spec.clusters.matchExpressions[{index}].values");
                self.wrong(&field, problem);
            }
        }
        Scope::Selector(selector)
    }

    fn source(&mut self, spec: &AppSpec) -> Option<Source> {
        let source = spec.source.clone();
        match one_of(vec![
            ("path", source.path.map(Source::Path)),
            ("git", source.git.map(Source::Git)),
            ("helm", source.helm.map(Source::Helm)),
            ("oci", source.oci.map(Source::Oci)),
        ]) {
            Ok(source) => Some(source),
            Err(problem) => {
                self.wrong("spec.source", problem);
                None
            }
        }
    }

    fn render(&mut self, spec: &AppSpec) -> Option<Render> {
        let Some(render) = spec.render.clone() else {
            return Some(Render::Auto);
        };
        match one_of(vec![
            ("plain", render.plain.map(|_| Render::Plain)),
            (
                "kustomize",
                render.kustomize.map(|k| Render::Kustomize(k.path)),
            ),
            (
                "helm",
                render.helm.map(|helm| Render::Helm {
                    value_files: helm.value_files,
                    ignore_missing: helm.ignore_missing_value_files,
                    values: helm.values,
                }),
            ),
        ]) {
            Ok(render) => Some(render),
            Err(problem) => {
                self.wrong("spec.render", problem);
                None
            }
        }
    }

    fn render_fits(&mut self, source: &Source, render: &Render) {
        let chart = matches!(source, Source::Helm(_) | Source::Oci(_));
        if chart && matches!(render, Render::Plain | Render::Kustomize(_)) {
            let problem = Problem::Meaningless("a chart of a repository is rendered by Helm");
            self.wrong("spec.render", problem);
        }
    }

    /// What differs from cluster to cluster: that some cluster is chosen, and that each template can be filled in.
    fn per_cluster(&mut self, app: &App, fleet: &Fleet) {
        let clusters: Vec<_> = fleet.clusters_of(app).collect();
        if clusters.is_empty() && fleet.broken_clusters.is_empty() {
            let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (key, value) in fleet.clusters.values().flat_map(|c| &c.labels) {
                let values = labels.entry(key).or_default();
                if !values.contains(&value.as_str()) {
                    values.push(value);
                }
            }
            let known: Vec<String> = labels
                .into_iter()
                .map(|(key, values)| format!("{key}: {}", values.join(" ")))
                .collect();
            let hint = format!("labels of the clusters: {}", Names(known));
            self.wrong("spec.clusters", Problem::NoClusterMatches { hint });
        }
        let mut texts: Vec<(String, &str)> = Vec::new();
        if let Source::Path(path) = &app.source {
            texts.push(("spec.source.path".to_owned(), path));
        }
        if let Render::Kustomize(Some(path)) = &app.render {
            texts.push(("spec.render.kustomize.path".to_owned(), path));
        }
        if let Render::Helm { value_files, .. } = &app.render {
            for (index, file) in value_files.iter().enumerate() {
                texts.push((format!("spec.render.helm.valueFiles[{index}]"), file));
            }
        }
        for cluster in &clusters {
            for (field, text) in &texts {
                let problem = match fill(text, cluster) {
                    Err(problem) => problem.to_string(),
                    Ok(path) => match RepoPath::parse(&path) {
                        Ok(_) => continue,
                        Err(problem) => format!("{path:?} {problem}"),
                    },
                };
                self.template(field, &cluster.name, problem);
            }
            if let Render::Helm { values, .. } = &app.render
                && let Err(problem) = fill_map(values, cluster)
            {
                self.template(
                    "spec.render.helm.values",
                    &cluster.name,
                    problem.to_string(),
                );
            }
        }
    }

    fn template(&mut self, field: &str, cluster: &str, why: String) {
        let cluster = cluster.to_owned();
        self.wrong(field, Problem::Template { cluster, why });
    }

    fn paths(&mut self, tree: &dyn Tree, app: &App) -> Result<(), TreeFault> {
        if let Source::Path(path) = &app.source
            && !is_template(path)
            && let Ok(path) = RepoPath::parse(path)
        {
            let problem = match tree.stat(&path)? {
                Stat::Absent => Problem::NoSuchPath {
                    what: "file or folder",
                    path,
                },
                Stat::Refused(refusal) => Problem::Tree(refusal),
                Stat::File { .. } | Stat::Folder { .. } => return Ok(()),
            };
            self.wrong("spec.source.path", problem);
        }
        Ok(())
    }

    fn pinned(&mut self, app: &App, fleet: &Fleet) {
        let (field, pinned) = match &app.source {
            Source::Git(git) => ("spec.source.git", fleet.lock.repository(git).is_some()),
            Source::Helm(helm) => ("spec.source.helm", fleet.lock.chart(helm).is_some()),
            Source::Oci(oci) => ("spec.source.oci", fleet.lock.artifact(oci).is_some()),
            Source::Path(_) | Source::ClusterFolder { .. } => return,
        };
        if !pinned {
            self.wrong(field, Problem::NotLocked);
        }
    }
}
