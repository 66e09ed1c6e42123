//! Which other charts a chart needs: `dependencies` of its Chart.yaml, in the versions of its Chart.lock.
use super::lock::LockedDependency;
use crate::path::RepoPath;
use crate::tree::{ReadError, SharedTree, Stat, TreeFault};
use crate::yaml::{self, Node, Value};

/// Most dependencies of a chart.
const DEPENDENCIES_MAX: usize = 100;

/// A chart that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What is looked up in the lock file; `None` for one that lies beside the chart (`file://`) or inside it.
    pub needed: Option<LockedDependency>,
    /// Its name.
    pub chart: String,
    /// Line in Chart.yaml.
    pub line: u32,
    /// Field of Chart.yaml.
    pub field: String,
}

/// What is wrong with a chart's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Chart.yaml or Chart.lock.
    pub file: &'static str,
    /// Line in it; 0 if unknown.
    pub line: u32,
    /// Field in it; may be empty.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

/// Reads both files of a chart.
///
/// # Errors
/// [`Wrong`]
pub fn read(description: &str, lock: Option<&str>) -> Result<Vec<Dependency>, Wrong> {
    let root = document(description, "Chart.yaml")?;
    let locked = lock.map(|text| document(text, "Chart.lock")).transpose()?;
    let empty = Vec::new();
    let list = match root.get("dependencies").map(|node| &node.value) {
        None | Some(Value::Null) => &empty,
        Some(Value::List(items)) if items.len() <= DEPENDENCIES_MAX => items,
        Some(_) => {
            let why = format!("must be a list of at most {DEPENDENCIES_MAX}");
            let line = root.line_of("dependencies");
            return Err(wrong("Chart.yaml", line, "dependencies", &why));
        }
    };
    let each = list.iter().enumerate();
    each.map(|(index, node)| one(index, node, locked.as_ref()))
        .collect()
}

fn one(index: usize, node: &Node, lock: Option<&Node>) -> Result<Dependency, Wrong> {
    let field = format!("dependencies[{index}]");
    let text = |name: &str| node.get(name).map(scalar).unwrap_or_default();
    let (chart, version, repository) = (text("name"), text("version"), text("repository"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if chart.is_empty() || !chart.chars().all(plain) {
        return Err(wrong(
            "Chart.yaml",
            node.line,
            &format!("{field}.name"),
            "must be the name of a chart",
        ));
    }
    let elsewhere = ["https://", "http://", "oci://"]
        .iter()
        .any(|scheme| repository.starts_with(scheme));
    let here = repository.is_empty() || repository.starts_with("file://");
    if !elsewhere && !here {
        let why = "must be a URL that starts with https:// or oci://; the names of repositories on one machine mean nothing elsewhere";
        return Err(wrong(
            "Chart.yaml",
            node.line,
            &format!("{field}.repository"),
            why,
        ));
    }
    let needed = elsewhere.then(|| LockedDependency {
        version: lock
            .and_then(|lock| locked_version(lock, &chart))
            .unwrap_or(version),
        repository,
        chart: chart.clone(),
    });
    Ok(Dependency {
        needed,
        chart,
        line: node.line,
        field,
    })
}

fn locked_version(lock: &Node, chart: &str) -> Option<String> {
    let Value::List(items) = &lock.get("dependencies")?.value else {
        return None;
    };
    let found = items
        .iter()
        .find(|item| item.get("name").map(scalar).as_deref() == Some(chart));
    found?.get("version").map(scalar)
}

/// A text, or a number that was not quoted.
fn scalar(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn document(text: &str, file: &'static str) -> Result<Node, Wrong> {
    let mut all =
        yaml::parse(text).map_err(|error| wrong(file, error.line, "", "is no valid YAML"))?;
    match (all.pop(), all.is_empty()) {
        (Some(node), true) => Ok(node),
        _ => Err(wrong(file, 1, "", "must be one document")),
    }
}

fn wrong(file: &'static str, line: u32, field: &str, why: &str) -> Wrong {
    Wrong {
        file,
        line,
        field: field.to_owned(),
        why: why.to_owned(),
    }
}

/// What a chart in a tree needs from elsewhere: its dependencies without those that lie in its `charts/`.
///
/// `Ok(Err(_))` if its files can't be read as such.
///
/// # Errors
/// [`TreeFault`]
pub fn of_folder(
    tree: &SharedTree,
    folder: &RepoPath,
) -> Result<Result<Vec<Dependency>, Wrong>, TreeFault> {
    let Some(description) = text(tree, &folder.child("Chart.yaml"))? else {
        return Ok(Ok(Vec::new()));
    };
    let lock = text(tree, &folder.child("Chart.lock"))?;
    let all = match read(&description, lock.as_deref()) {
        Ok(all) => all,
        Err(wrong) => return Ok(Err(wrong)),
    };
    if all.iter().all(|dependency| dependency.needed.is_none()) {
        return Ok(Ok(Vec::new()));
    }
    let charts = tree.list(&folder.child("charts"))?;
    let names: Vec<&str> = charts
        .entries
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    Ok(Ok(outside(all, &names)))
}

/// Dependencies that none of these entries of `charts/` is.
pub fn outside(all: Vec<Dependency>, charts: &[&str]) -> Vec<Dependency> {
    let inside = |chart: &str| {
        charts.iter().any(|name| {
            let rest = name.strip_prefix(chart);
            let version = rest
                .and_then(|rest| rest.strip_prefix('-'))
                .map(|rest| rest.trim_start_matches('v'));
            rest == Some("")
                || (name.ends_with(".tgz")
                    && version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())))
        })
    };
    all.into_iter()
        .filter(|dependency| dependency.needed.is_some() && !inside(&dependency.chart))
        .collect()
}

fn text(tree: &SharedTree, path: &RepoPath) -> Result<Option<String>, TreeFault> {
    if !matches!(tree.stat(path)?, Stat::File { .. }) {
        return Ok(None);
    }
    match tree.read(path) {
        // The renderer reads the file as well and says what is wrong with it.
        Ok(content) => Ok(String::from_utf8(content.to_vec()).ok()),
        Err(ReadError::Fault(fault)) => Err(fault),
        Err(ReadError::Refused { .. } | ReadError::NotAFile { .. }) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = "name: shop\nversion: 1.0.0\ndependencies:\n- name: redis\n  version: ^1.2\n  repository: https://charts.example.org\n- {name: base, version: 1.10, repository: 'file://../base'}\n- {name: queue, version: 2.x, repository: 'oci://r.example.org/charts/'}\n";

    #[test]
    fn versions_come_from_the_chart_s_own_lock() {
        let all = read(CHART, None).unwrap();
        let versions: Vec<_> = all
            .iter()
            .map(|d| d.needed.as_ref().map(|n| n.version.as_str()))
            .collect();
        assert_eq!(versions, [Some("^1.2"), None, Some("2.x")]);
        assert_eq!(
            all[2].needed.as_ref().unwrap().oci().unwrap(),
            "oci://r.example.org/charts/queue"
        );
        let lock = "dependencies:\n- {name: redis, version: 1.2.7, repository: x}\n";
        let all = read(CHART, Some(lock)).unwrap();
        assert_eq!(all[0].needed.as_ref().unwrap().version, "1.2.7");
    }

    #[test]
    fn what_lies_in_the_chart_is_not_fetched() {
        let left = |names: &[&str]| {
            let all = outside(read(CHART, None).unwrap(), names);
            all.into_iter()
                .map(|d| d.chart)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(left(&[]), "redis queue");
        assert_eq!(left(&["redis", "redis-ha-1.0.0.tgz"]), "queue");
        assert_eq!(left(&["redis-1.2.7.tgz"]), "queue");
        assert_eq!(left(&["redis-ha-1.0.0.tgz", "queue-dash"]), "redis queue");
    }

    #[test]
    fn a_name_that_only_one_machine_knows_is_a_mistake_with_its_place() {
        let error = read(
            &CHART.replace("https://charts.example.org", "'@bitnami'"),
            None,
        )
        .unwrap_err();
        assert_eq!(
            (error.line, error.field.as_str()),
            (4, "dependencies[0].repository")
        );
    }
}
