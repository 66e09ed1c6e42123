//! Which workflows of a forge may say what they did to the infrastructure: a TOML file of the hub's operator, never Git.
//!
//! ```toml
//! [[workflows]]
//! repository = "acme/infrastructure"   # claim "repository"
//! ref = "refs/heads/main"              # claim "ref"
//! github-environment = "production"    # claim "environment"; left out: any
//! workspace = "eks-prod"
//! environment = "prod"
//! audience = "countersign"
//! issuer = "https://token.actions.githubusercontent.com"               # the default
//! jwks-url = "https://token.actions.githubusercontent.com/.well-known/jwks"  # the default; or jwks-file
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_ledger::name;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::serve::join::IssuerFault;
use crate::serve::join::issuers::Source;
use crate::serve::join::jwt::{self, TokenRefused};

/// GitHub's issuer.
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITHUB_KEYS: &str = "https://token.actions.githubusercontent.com/.well-known/jwks";
/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The workflows that are allowed; none by default.
#[derive(Debug, Clone, Default)]
pub struct Workflows(Arc<[Workflow]>);

#[derive(Debug)]
struct Workflow {
    rule: Rule,
    keys: Source,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    workflows: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    repository: String,
    r#ref: String,
    github_environment: Option<String>,
    workspace: String,
    environment: String,
    audience: String,
    #[serde(default = "github")]
    issuer: String,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    ca_file: Option<PathBuf>,
}

fn github() -> String {
    GITHUB.to_owned()
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct BadWorkflows {
    path: PathBuf,
    problem: String,
}

/// Why a workflow's word is not taken.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowRefused {
    /// The operator allowed no workflow for this workspace and environment.
    #[error("no workflow may speak for this workspace and environment")]
    NotAllowed,
    /// The token does not count.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// It is of another repository, ref or environment of the forge.
    #[error("the token's claim {0:?} is not what the hub's operator allowed")]
    Claim(&'static str),
    /// The keys can't be had now.
    #[error(transparent)]
    Fault(#[from] IssuerFault),
}

impl Workflows {
    /// Reads the file at `path`; paths in it are relative to it.
    ///
    /// # Errors
    /// [`BadWorkflows`] with what is wrong.
    pub fn read(path: &Path) -> Result<Self, BadWorkflows> {
        let bad = |problem: String| BadWorkflows {
            path: path.to_owned(),
            problem,
        };
        let size = std::fs::metadata(path).map(|about| about.len());
        if size.map_err(|error| bad(error.to_string()))? > FILE_BYTES_MAX {
            return Err(bad("larger than 1 MiB".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut workflows = Vec::new();
        for (at, rule) in file.workflows.into_iter().enumerate() {
            let wrong = |problem: String| bad(format!("workflows[{at}]: {problem}"));
            name::check("environment", &rule.environment)
                .map_err(|error| wrong(error.to_string()))?;
            for (field, text) in [
                ("repository", &rule.repository),
                ("ref", &rule.r#ref),
                ("workspace", &rule.workspace),
                ("audience", &rule.audience),
                ("issuer", &rule.issuer),
            ] {
                if text.is_empty() {
                    return Err(wrong(format!("{field} is empty")));
                }
            }
            let named = rule.jwks_file.is_some() || rule.jwks_url.is_some();
            let url = rule.jwks_url.as_deref();
            let known = (!named && rule.issuer == GITHUB).then_some(GITHUB_KEYS);
            let keys = Source::named(
                rule.jwks_file.as_deref(),
                url.or(known),
                rule.ca_file.as_deref(),
                folder,
            );
            workflows.push(Workflow {
                keys: keys.map_err(wrong)?,
                rule,
            });
        }
        Ok(Self(workflows.into()))
    }

    /// Judges a token that shall speak for `workspace` and `environment`; the subject that it proved.
    ///
    /// # Errors
    /// [`WorkflowRefused`]
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub async fn check(
        &self,
        token: &str,
        workspace: &str,
        environment: &str,
        now: Timestamp,
    ) -> Result<String, WorkflowRefused> {
        if token.len() > jwt::TOKEN_BYTES_MAX {
            return Err(TokenRefused::TooLong.into());
        }
        let mut refused = WorkflowRefused::NotAllowed;
        for workflow in self.0.iter() {
            let rule = &workflow.rule;
            if rule.workspace != workspace || rule.environment != environment {
                continue;
            }
            let keys = workflow.keys.get().await?;
            let judged = jwt::signed(token, &keys)
                .map_err(WorkflowRefused::from)
                .and_then(|payload| judge(rule, &payload, now.as_second()));
            match judged {
                Ok(subject) => return Ok(subject),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }
}

/// Compares the claims of a token whose signature is right with a rule. Pure.
fn judge(rule: &Rule, payload: &Value, now: i64) -> Result<String, WorkflowRefused> {
    let said = |name| jwt::text(payload, name).unwrap_or_default();
    if said("iss") != rule.issuer {
        return Err(TokenRefused::Issuer(jwt::cut(said("iss"))).into());
    }
    jwt::audience(payload, &rule.audience)?;
    jwt::times(payload, now)?;
    for (claim, want) in [
        ("repository", Some(&rule.repository)),
        ("ref", Some(&rule.r#ref)),
        ("environment", rule.github_environment.as_ref()),
    ] {
        if want.is_some_and(|want| said(claim) != *want) {
            return Err(WorkflowRefused::Claim(claim));
        }
    }
    let subject = said("sub");
    if subject.is_empty() || subject.chars().any(char::is_control) {
        return Err(WorkflowRefused::Claim("sub"));
    }
    Ok(jwt::cut(subject))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule() -> Rule {
        Rule {
            repository: "acme/infra".into(),
            r#ref: "refs/heads/main".into(),
            github_environment: Some("production".into()),
            workspace: "eks".into(),
            environment: "prod".into(),
            audience: "countersign".into(),
            issuer: github(),
            jwks_file: None,
            jwks_url: None,
            ca_file: None,
        }
    }

    fn claims() -> Value {
        json!({
            "iss": GITHUB, "aud": "countersign", "sub": "repo:acme/infra:environment:production",
            "repository": "acme/infra", "ref": "refs/heads/main", "environment": "production",
            "iat": 1000, "nbf": 1000, "exp": 1300,
        })
    }

    #[test]
    fn the_allowed_workflow_speaks_by_its_subject() {
        assert_eq!(
            judge(&rule(), &claims(), 1100).unwrap(),
            "repo:acme/infra:environment:production"
        );
    }

    #[test]
    fn a_token_of_anything_else_is_refused() {
        for (claim, value) in [
            ("iss", json!("https://evil.example")),
            ("aud", json!("another")),
            ("aud", json!(["countersign", "another"])),
            ("sub", json!("")),
            ("repository", json!("acme/infra-fork")),
            ("ref", json!("refs/pull/1/merge")),
            ("environment", json!("staging")),
            ("exp", json!(1100)),
            ("iat", json!(9000)),
        ] {
            let mut other = claims();
            other[claim] = value;
            assert!(judge(&rule(), &other, 1100).is_err(), "{claim}");
            let mut none = claims();
            none.as_object_mut().unwrap().remove(claim);
            let optional = claim == "iat";
            assert_eq!(judge(&rule(), &none, 1100).is_ok(), optional, "{claim}");
        }
    }

    #[test]
    fn the_file_names_workflows_and_nothing_else() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let written = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ci.toml");
            std::fs::write(&path, text).unwrap();
            Workflows::read(&path).map_err(|error| error.to_string())
        };
        let good = "[[workflows]]\nrepository = \"a/b\"\nref = \"refs/heads/main\"\nworkspace = \"w\"\nenvironment = \"prod\"\naudience = \"countersign\"\n";
        assert_eq!(written(good).unwrap().0.len(), 1);
        assert!(written("").unwrap().0.is_empty());
        for (text, problem) in [
            (good.replace("\"prod\"", "\"P\""), "environment"),
            (good.replace("\"a/b\"", "\"\""), "repository is empty"),
            (format!("{good}subject = \"x\"\n"), "subject"),
            (
                format!("{good}issuer = \"https://gitlab.example\"\n"),
                "jwks",
            ),
            (
                format!("{good}jwks-url = \"http://x/jwks\"\n"),
                "must be https",
            ),
        ] {
            let told = written(&text).unwrap_err();
            assert!(told.contains(problem), "{text}: {told}");
        }
    }
}
