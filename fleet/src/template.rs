//! `{{ .cluster.labels.env }}` in paths and values: a name is looked up, nothing is computed. Pure.
use serde_json::{Map, Value as Json};

use crate::model::Cluster;

/// Why a text could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// `{{` without `}}`.
    #[error("{{{{ without }}}}")]
    Open,
    /// Not a name of a cluster's fields.
    #[error(
        "{{{{ {0} }}}} is not .cluster.name, .cluster.labels.<name> or .cluster.parameters.<name>"
    )]
    Unknown(String),
    /// The cluster has no such label or parameter.
    #[error("the cluster has no {0}")]
    Absent(String),
    /// A list or map in the middle of a text.
    #[error("{0} is a list or map and can't stand inside a text")]
    NotScalar(String),
}

/// Whether a text names the cluster.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Fills a text in for a cluster.
///
/// # Errors
/// [`TemplateProblem`] at the first name that can't be filled in.
pub fn fill(text: &str, cluster: &Cluster) -> Result<String, TemplateProblem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or(TemplateProblem::Open)?;
        out.push_str(before);
        match look_up(name.trim(), cluster)? {
            Json::String(text) => out.push_str(&text),
            value @ (Json::Bool(_) | Json::Number(_)) => out.push_str(&value.to_string()),
            Json::Null | Json::Array(_) | Json::Object(_) => {
                return Err(TemplateProblem::NotScalar(name.trim().to_owned()));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Fills all texts of a value in. A text that is one name and nothing else takes the parameter's own type.
///
/// # Errors
/// [`TemplateProblem`] at the first name that can't be filled in.
pub fn fill_json(value: &Json, cluster: &Cluster) -> Result<Json, TemplateProblem> {
    Ok(match value {
        Json::String(text) => {
            let whole = text
                .trim()
                .strip_prefix("{{")
                .and_then(|rest| rest.strip_suffix("}}"))
                .filter(|name| !name.contains("{{"));
            match whole {
                Some(name) => look_up(name.trim(), cluster)?,
                None => Json::String(fill(text, cluster)?),
            }
        }
        Json::Array(items) => Json::Array(
            items
                .iter()
                .map(|item| fill_json(item, cluster))
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(fields) => Json::Object(fill_map(fields, cluster)?),
        other => other.clone(),
    })
}

/// [`fill_json`] of a map's values; its keys stay as they are.
///
/// # Errors
/// [`TemplateProblem`] at the first name that can't be filled in.
pub fn fill_map(
    fields: &Map<String, Json>,
    cluster: &Cluster,
) -> Result<Map<String, Json>, TemplateProblem> {
    fields
        .iter()
        .map(|(key, value)| Ok((key.clone(), fill_json(value, cluster)?)))
        .collect()
}

fn look_up(name: &str, cluster: &Cluster) -> Result<Json, TemplateProblem> {
    let unknown = || TemplateProblem::Unknown(name.chars().take(100).collect());
    let path = name.strip_prefix(".cluster.").ok_or_else(unknown)?;
    if path == "name" {
        return Ok(Json::String(cluster.name.clone()));
    }
    if let Some(label) = path.strip_prefix("labels.") {
        return cluster
            .labels
            .get(label)
            .map(|value| Json::String(value.clone()))
            .ok_or_else(|| TemplateProblem::Absent(format!("label {label}")));
    }
    let parameter = path.strip_prefix("parameters.").ok_or_else(unknown)?;
    let mut names = parameter.split('.');
    let mut value = names.next().and_then(|name| cluster.parameters.get(name));
    for name in names {
        value = value.and_then(|value| value.get(name));
    }
    value
        .cloned()
        .ok_or_else(|| TemplateProblem::Absent(format!("parameter {parameter}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mistake::Place;
    use crate::path::RepoPath;

    fn cluster() -> Cluster {
        Cluster {
            name: "metal-fra".to_owned(),
            place: Place {
                file: RepoPath::root(),
                line: 0,
            },
            labels: [("env".to_owned(), "production".to_owned())].into(),
            ring: None,
            parameters: json!({"replicas": 3, "hosts": {"web": "w"}, "list": [1]})
                .as_object()
                .unwrap()
                .clone(),
            kubernetes: Default::default(),
        }
    }

    #[test]
    fn names_are_filled_in() {
        let fill = |text| fill(text, &cluster());
        assert_eq!(
            fill("values/{{ .cluster.labels.env }}/{{.cluster.name}}.yaml").unwrap(),
            "values/production/metal-fra.yaml"
        );
        assert_eq!(fill("{{ .cluster.parameters.hosts.web }}!").unwrap(), "w!");
        assert_eq!(fill("n={{ .cluster.parameters.replicas }}").unwrap(), "n=3");
        assert_eq!(fill("no names").unwrap(), "no names");
    }

    #[test]
    fn a_value_that_is_one_name_takes_its_type() {
        let values = json!({"replicas": "{{ .cluster.parameters.replicas }}", "l": ["{{ .cluster.parameters.list }}"]});
        assert_eq!(
            fill_json(&values, &cluster()).unwrap(),
            json!({"replicas": 3, "l": [[1]]})
        );
    }

    #[test]
    fn what_is_not_there_is_named_and_nothing_is_computed() {
        let fill = |text| fill(text, &cluster()).unwrap_err();
        assert_eq!(
            fill("{{ .cluster.labels.zone }}"),
            TemplateProblem::Absent("label zone".into())
        );
        assert_eq!(fill("{{ .cluster.name"), TemplateProblem::Open);
        assert!(matches!(
            fill("{{ env \"HOME\" }}"),
            TemplateProblem::Unknown(_)
        ));
        assert!(matches!(
            fill("{{ .cluster.labels.env | upper }}"),
            TemplateProblem::Absent(_)
        ));
        assert!(matches!(
            fill("x{{ .cluster.parameters.list }}"),
            TemplateProblem::NotScalar(_)
        ));
    }
}
