//! How CI proves who it is: by a key of its own, by a token of the hub's operator, or by GitHub's word for the workflow.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use countersign_fleet::api::ci::{Attested, InfrastructureWord};
use countersign_ledger::dsse::PAYLOAD_TYPE;
use countersign_ledger::statement::Infrastructure;
use reqwest::Url;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::entry::{Door, Entered, send};
use crate::exit::Failure;
use crate::key;
use crate::output::safe;

/// Whom GitHub's identity token is for, if nothing else is said.
pub const AUDIENCE: &str = "countersign";
/// For GitHub's answer.
const GITHUB_MAX: Duration = Duration::from_secs(30);

/// Who vouches.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WayArgs {
    /// A key that the trust root lists for CI.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// File with a token of `countersign ci token`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Ask GitHub for this workflow's identity token (permission id-token: write).
    #[arg(long)]
    github_oidc: bool,
}

/// Puts the statement into the log.
pub fn enter(
    way: &WayArgs,
    audience: &str,
    door: &Door,
    statement: Infrastructure,
    list: Vec<u8>,
) -> Result<Entered, Failure> {
    if let Some(reference) = &way.key {
        return by_key(reference, door, statement, list);
    }
    let token = match &way.token_file {
        Some(path) => Zeroizing::new(
            std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?,
        ),
        None => github_token(audience)?,
    };
    by_token(token.trim(), door, &statement, &list)
}

fn by_key(
    reference: &str,
    door: &Door,
    mut statement: Infrastructure,
    list: Vec<u8>,
) -> Result<Entered, Failure> {
    let signer = key::load(reference)?;
    let public = signer.public();
    let listed = &door.root.document().ci;
    let named = listed.iter().find(|named| named.key == public);
    let named = named.ok_or_else(|| {
        Failure::Mistake(format!(
            "--key {}: {public} is no key that the trust root lists for CI",
            safe(reference)
        ))
    })?;
    statement.by.clone_from(&named.name);
    let payload = statement.payload().map_err(mistake)?;
    let envelope = key::sign(signer.as_ref(), PAYLOAD_TYPE, &payload)?;
    door.submit(&envelope, &[list])
}

fn mistake(error: countersign_ledger::statement::StatementError) -> Failure {
    Failure::Mistake(safe(&error.to_string()))
}

fn by_token(
    token: &str,
    door: &Door,
    statement: &Infrastructure,
    list: &[u8],
) -> Result<Entered, Failure> {
    let word = InfrastructureWord {
        workspace: statement.workspace.clone(),
        plan: statement.plan.to_string(),
        environment: statement.environment.clone(),
        phase: serde_json::to_value(statement.phase)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default(),
        create: statement.addresses.create,
        update: statement.addresses.update,
        delete: statement.addresses.delete,
        replace: statement.addresses.replace,
        resources: STANDARD.encode(list),
        commit: statement.commit.clone(),
        run: statement.run.clone(),
    };
    let request = door
        .post("log/infrastructure")?
        .bearer_auth(token)
        .json(&word);
    let answer = door.send(request)?;
    let answer: Attested = serde_json::from_slice(&answer)
        .map_err(|e| Failure::Negative(format!("the hub's answer: {e}")))?;
    let odd = |what: &str| Failure::Negative(format!("the hub's answer: {what}"));
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| odd("is no base64"));
    let (envelope, proof) = (decode(&answer.envelope)?, decode(&answer.proof)?);
    // The hub signed: what it signed must be what we said.
    if !says(&envelope, statement) {
        return Err(odd("it signed something else"));
    }
    door.check(&proof, &countersign_ledger::digest::leaf_hash(&envelope))
}

/// Whether an envelope holds this statement, whoever it says it is by.
fn says(envelope: &[u8], ours: &Infrastructure) -> bool {
    use countersign_ledger::dsse::{Envelope, Limits};
    use countersign_ledger::statement::Statement;
    let Ok(envelope) = Envelope::parse(envelope, &Limits::entry()) else {
        return false;
    };
    match Statement::parse(envelope.payload()) {
        Ok(Statement::Infrastructure(mut theirs)) => {
            theirs.by.clone_from(&ours.by);
            theirs == *ours
        }
        _ => false,
    }
}

#[derive(Deserialize)]
struct IdToken {
    value: String,
}

/// Asks GitHub's runner for the workflow's identity token.
fn github_token(audience: &str) -> Result<Zeroizing<String>, Failure> {
    let needed = |name: &str| {
        std::env::var(name).ok().filter(|text| !text.is_empty()).ok_or_else(|| {
            Failure::Mistake(format!(
                "--github-oidc: {name} is not set; run it in a GitHub workflow with the permission id-token: write"
            ))
        })
    };
    let url = needed("ACTIONS_ID_TOKEN_REQUEST_URL")?;
    let bearer = Zeroizing::new(needed("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
    let mut url: Url = url
        .parse()
        .map_err(|e| Failure::Mistake(format!("ACTIONS_ID_TOKEN_REQUEST_URL: {e}")))?;
    let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    if url.scheme() != "https" && !local {
        return Err(Failure::Mistake(
            "ACTIONS_ID_TOKEN_REQUEST_URL: must be https".to_owned(),
        ));
    }
    url.query_pairs_mut().append_pair("audience", audience);
    let client = reqwest::blocking::Client::builder()
        .timeout(GITHUB_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| Failure::Fault(format!("TLS: {e}")))?;
    let mut place = url.clone();
    place.set_query(None);
    let answer = send(&place, client.get(url).bearer_auth(bearer.as_str()))?;
    let token: IdToken = serde_json::from_slice(&answer)
        .map_err(|_| Failure::Fault("GitHub's answer holds no token".to_owned()))?;
    Ok(Zeroizing::new(token.value))
}

#[cfg(test)]
mod tests {
    use countersign_ledger::dsse::Envelope;
    use countersign_ledger::key::{FileKey, Sign as _};
    use countersign_ledger::statement::infrastructure::{AddressCounts, Phase};

    use super::*;
    use countersign_ledger::digest::Digest;

    #[test]
    fn a_hub_that_signs_something_else_is_found_out() {
        let ours = Infrastructure {
            workspace: "eks".into(),
            plan: Digest::of(b"plan"),
            fleet: "acme".into(),
            environment: "prod".into(),
            phase: Phase::Plan,
            addresses: AddressCounts::default(),
            resources: Digest::of(b"list"),
            commit: String::new(),
            run: "1".into(),
            by: String::new(),
        };
        let signed = |plan: &[u8]| {
            let theirs = Infrastructure {
                by: "token a".into(),
                plan: Digest::of(plan),
                ..ours.clone()
            };
            let key = FileKey::from_seed(&[7; 32]).unwrap().public();
            let payload = theirs.payload().unwrap();
            let envelope = Envelope::assemble(PAYLOAD_TYPE, &payload, &[(key, [0; 64])]);
            envelope.bytes().to_vec()
        };
        assert!(says(&signed(b"plan"), &ours));
        assert!(!says(&signed(b"another plan"), &ours));
        assert!(!says(b"{}", &ours));
    }
}
