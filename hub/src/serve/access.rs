//! Who may call what: the one table of every route and gRPC method, and the decision over it. Pure.
//!
//! A request is matched on its raw path, byte by byte, before any router sees it: no decoding, no folding of case or
//! slashes, so no two readers of one path can differ. What matches no row is refused. Routers are built from the same
//! table (`operators::router`, `agents::router`), so that a route without a row can't exist.

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surface {
    /// TLS, reachable by agents, forges and probes.
    Agents,
    /// Unix socket and loopback, for operators.
    Operators,
}

/// What a caller must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// No proof is asked for; the answer tells nothing about the fleet but its trust roots and its log, which are public.
    Anyone,
    /// The request proves itself (join token, signature, HMAC) and the handler checks that proof.
    OwnProof,
    /// A client certificate of the hub's CA that names a cluster.
    Agent,
    /// Came in by the operators' socket, or bears the operators' token.
    Operator,
}

/// What a row leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The process lives.
    Healthz,
    /// It can serve heads.
    Readyz,
    /// Prometheus metrics.
    Metrics,
    /// Push webhook of GitHub.
    WebhookGithub,
    /// Push webhook of GitLab.
    WebhookGitlab,
    /// Push webhook of Gitea and Forgejo.
    WebhookGitea,
    /// A file of the static log; which one is its path.
    Log,
    /// The log's door for outsiders.
    LogEntries,
    /// Salts for second renderers.
    LogSalts,
    /// A cluster's newest state, which witnesses may not have seen.
    LogNewest,
    /// A method of a gRPC service; which one is its path.
    Grpc,
    /// The OpenAPI document.
    OpenApi,
    /// The fleet at a glance.
    Fleet,
    /// One cluster.
    Cluster,
    /// Its objects.
    Objects,
    /// All apps.
    Apps,
    /// One app.
    App,
    /// Drifts, newest first.
    Drifts,
    /// Look at the repository now.
    Sync,
    /// A new join token.
    JoinToken,
    /// A cluster's newest state as a file.
    Parcel,
    /// A file with what a cluster's agent says.
    ReportFile,
    /// What override keys signed.
    Overrides,
    /// A cluster is asked for a word now.
    VerifyAsk,
    /// What it said.
    VerifyAnswer,
    /// An agent speaks no more.
    Revoke,
    /// The permits that were given.
    Permits,
    /// A new permit.
    Permit,
    /// A token for CI.
    CiToken,
    /// What CI did, for the bearer of a token.
    LogInfrastructure,
    /// The next trust root.
    LogTrust,
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Where it may come in.
    pub surface: Surface,
    /// Its only method.
    pub method: &'static str,
    /// Its path; a segment `{x}` stands for one name.
    pub path: &'static str,
    /// What the caller must be.
    pub role: Role,
    /// What it leads to.
    pub endpoint: Endpoint,
}

const fn agents(method: &'static str, path: &'static str, role: Role, endpoint: Endpoint) -> Rule {
    Rule {
        surface: Surface::Agents,
        method,
        path,
        role,
        endpoint,
    }
}

const fn grpc(path: &'static str, role: Role) -> Rule {
    agents("POST", path, role, Endpoint::Grpc)
}

const fn log(path: &'static str) -> Rule {
    agents("GET", path, Role::Anyone, Endpoint::Log)
}

const fn operators(method: &'static str, path: &'static str, endpoint: Endpoint) -> Rule {
    Rule {
        surface: Surface::Operators,
        method,
        path,
        role: Role::Operator,
        endpoint,
    }
}

/// Every route and method of the hub.
pub const TABLE: &[Rule] = &[
    agents("GET", "/healthz", Role::Anyone, Endpoint::Healthz),
    agents("GET", "/readyz", Role::Anyone, Endpoint::Readyz),
    agents("GET", "/metrics", Role::Anyone, Endpoint::Metrics),
    agents(
        "POST",
        "/webhooks/github",
        Role::OwnProof,
        Endpoint::WebhookGithub,
    ),
    agents(
        "POST",
        "/webhooks/gitlab",
        Role::OwnProof,
        Endpoint::WebhookGitlab,
    ),
    agents(
        "POST",
        "/webhooks/gitea",
        Role::OwnProof,
        Endpoint::WebhookGitea,
    ),
    // The statement bears the signature of a key that the trust root lists for it.
    agents("POST", "/log/entries", Role::OwnProof, Endpoint::LogEntries),
    // The bearer's token is the proof.
    agents(
        "POST",
        "/log/infrastructure",
        Role::OwnProof,
        Endpoint::LogInfrastructure,
    ),
    // A trust root bears the signatures of the threshold of root keys.
    agents("POST", "/log/trust", Role::OwnProof, Endpoint::LogTrust),
    // So does the request.
    agents("POST", "/log/salts", Role::OwnProof, Endpoint::LogSalts),
    // It is in the log already, and soon among its files.
    agents(
        "GET",
        "/log/newest/{cluster}",
        Role::Anyone,
        Endpoint::LogNewest,
    ),
    log("/log/checkpoint"),
    log("/log/trust/{file}"),
    log("/log/blobs/{digest}"),
    // The index of a tile has three digits a segment; a partial one has a last segment with its width.
    log("/log/tile/{level}/{a}"),
    log("/log/tile/{level}/{a}/{b}"),
    log("/log/tile/{level}/{a}/{b}/{c}"),
    log("/log/tile/{level}/{a}/{b}/{c}/{d}"),
    log("/log/tile/{level}/{a}/{b}/{c}/{d}/{e}"),
    grpc("/countersign.agent.v1.Agents/Register", Role::OwnProof),
    grpc("/countersign.agent.v1.Agents/Renew", Role::OwnProof),
    // They prove themselves, and an agent that pinned one by its digest must have it before it can tell this hub.
    grpc("/countersign.agent.v1.Agents/TrustRoots", Role::Anyone),
    grpc("/countersign.agent.v1.Agents/Heads", Role::Agent),
    grpc("/countersign.agent.v1.Agents/Blobs", Role::Agent),
    grpc("/countersign.agent.v1.Agents/Report", Role::Agent),
    grpc("/countersign.agent.v1.Agents/Enrol", Role::Agent),
    grpc("/countersign.agent.v1.Agents/Receipts", Role::Agent),
    grpc("/countersign.agent.v1.Agents/PutBlobs", Role::Agent),
    grpc("/grpc.health.v1.Health/Check", Role::Anyone),
    grpc("/grpc.health.v1.Health/Watch", Role::Agent),
    grpc(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Role::Agent,
    ),
    operators("GET", "/api/v1/openapi.json", Endpoint::OpenApi),
    operators("GET", "/api/v1/fleet", Endpoint::Fleet),
    operators("GET", "/api/v1/clusters/{cluster}", Endpoint::Cluster),
    operators(
        "GET",
        "/api/v1/clusters/{cluster}/objects",
        Endpoint::Objects,
    ),
    operators(
        "POST",
        "/api/v1/clusters/{cluster}/join-token",
        Endpoint::JoinToken,
    ),
    operators(
        "POST",
        "/api/v1/clusters/{cluster}/parcel",
        Endpoint::Parcel,
    ),
    operators(
        "POST",
        "/api/v1/clusters/{cluster}/report",
        Endpoint::ReportFile,
    ),
    operators(
        "POST",
        "/api/v1/clusters/{cluster}/revoke",
        Endpoint::Revoke,
    ),
    operators(
        "POST",
        "/api/v1/clusters/{cluster}/verify",
        Endpoint::VerifyAsk,
    ),
    operators(
        "GET",
        "/api/v1/clusters/{cluster}/verify/{nonce}",
        Endpoint::VerifyAnswer,
    ),
    operators("GET", "/api/v1/overrides", Endpoint::Overrides),
    operators("GET", "/api/v1/apps", Endpoint::Apps),
    operators("GET", "/api/v1/apps/{app}", Endpoint::App),
    operators("GET", "/api/v1/drifts", Endpoint::Drifts),
    operators("POST", "/api/v1/sync", Endpoint::Sync),
    operators("POST", "/api/v1/ci-tokens", Endpoint::CiToken),
    operators("GET", "/api/v1/permits", Endpoint::Permits),
    operators("POST", "/api/v1/permits", Endpoint::Permit),
];

/// Longest path that is looked at, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// The row that a request falls under, or none: then it is refused.
pub fn rule(surface: Surface, method: &str, path: &str) -> Option<&'static Rule> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    TABLE
        .iter()
        .find(|rule| rule.surface == surface && rule.method == method && matches(rule.path, path))
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut wanted = pattern.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(want), Some(got)) if want.starts_with('{') => {
                if !is_name(got) {
                    return false;
                }
            }
            (Some(want), Some(got)) if want == got => {}
            (None | Some(_), None | Some(_)) => return false,
        }
    }
}

/// Names of clusters and apps in a path: what a DNS name may hold, so that nothing has to be decoded.
fn is_name(segment: &str) -> bool {
    (1..=253).contains(&segment.len())
        && segment
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && !segment.starts_with('.')
}

/// Who calls, as far as the transport has proven it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Proved nothing.
    Anonymous,
    /// Holds a certificate for that cluster, valid now, of the key that is registered for it.
    Agent(std::sync::Arc<super::identity::Peer>),
    /// Holds a certificate whose key was revoked.
    Revoked,
    /// Came in by the socket or bears the token; the text says which.
    Operator(std::sync::Arc<str>),
}

impl Caller {
    /// May this caller use a row of that role?
    pub fn may(&self, role: Role) -> bool {
        match (role, self) {
            (
                Role::Anyone | Role::OwnProof,
                Self::Anonymous | Self::Agent(_) | Self::Revoked | Self::Operator(_),
            )
            | (Role::Agent, Self::Agent(_))
            | (Role::Operator, Self::Operator(_)) => true,
            (Role::Agent, Self::Anonymous | Self::Revoked | Self::Operator(_))
            | (Role::Operator, Self::Anonymous | Self::Agent(_) | Self::Revoked) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The path with a name for each of its places.
    fn example(path: &str) -> String {
        let segments = path.split('/');
        let filled = segments.map(|one| {
            if one.starts_with('{') {
                "metal-fra"
            } else {
                one
            }
        });
        filled.collect::<Vec<_>>().join("/")
    }

    #[test]
    fn each_row_answers_to_its_own_path_method_and_surface_only() {
        for row in TABLE {
            let path = example(row.path);
            assert_eq!(rule(row.surface, row.method, &path), Some(row), "{path}");
            let other = match row.surface {
                Surface::Agents => Surface::Operators,
                Surface::Operators => Surface::Agents,
            };
            assert_eq!(
                rule(other, row.method, &path),
                None,
                "{path} on the other listener"
            );
            for method in [
                "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get", "",
            ] {
                assert_eq!(rule(row.surface, method, &path), None, "{method} {path}");
            }
        }
    }

    #[test]
    fn no_trick_with_a_path_reaches_a_row() {
        for row in TABLE {
            let path = example(row.path);
            for trick in [
                path[1..].to_owned(),
                format!("/{path}"),
                format!("{path}/"),
                format!("{path}//"),
                path.to_uppercase(),
                path.replacen('/', "%2F", 1),
                path.replacen('/', "/./", 1),
                path.replacen('/', "/x/../", 1),
                path.replace('/', "//"),
                path.replacen('e', "%65", 1),
                format!("{path};x=1"),
                format!("{path}?"),
                format!("{path}#x"),
                format!("{path}\0"),
                format!(" {path}"),
                path.replace('/', "\\"),
            ] {
                if trick == path {
                    continue;
                }
                assert_eq!(rule(row.surface, row.method, &trick), None, "{trick:?}");
            }
        }
    }

    #[test]
    fn every_method_of_our_services_has_a_row_and_no_row_is_without_a_method() {
        use prost::Message as _;
        let set =
            prost_types::FileDescriptorSet::decode(countersign_proto::DESCRIPTOR_SET).unwrap();
        let mut wanted = std::collections::BTreeSet::new();
        for file in set
            .file
            .iter()
            .filter(|file| file.package() == "countersign.agent.v1")
        {
            for service in &file.service {
                for method in &service.method {
                    wanted.insert(format!(
                        "/{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
        let had: std::collections::BTreeSet<_> = TABLE
            .iter()
            .filter(|row| row.path.starts_with("/countersign."))
            .map(|row| row.path.to_owned())
            .collect();
        assert_eq!(had, wanted);
    }

    #[test]
    fn no_two_rows_claim_one_request() {
        for (n, row) in TABLE.iter().enumerate() {
            for other in &TABLE[n + 1..] {
                assert!(
                    (row.surface, row.method, row.path)
                        != (other.surface, other.method, other.path),
                    "{}",
                    row.path
                );
            }
        }
    }

    #[test]
    fn each_role_admits_exactly_its_callers() {
        let agent = Caller::Agent(std::sync::Arc::new(super::super::identity::Peer {
            cluster: "metal-fra".into(),
            key: [7; 32],
            not_before: 0,
            not_after: i64::MAX,
        }));
        let operator = Caller::Operator("token".into());
        for (role, anonymous_may, agent_may, operator_may) in [
            (Role::Anyone, true, true, true),
            (Role::OwnProof, true, true, true),
            (Role::Agent, false, true, false),
            (Role::Operator, false, false, true),
        ] {
            assert_eq!(Caller::Anonymous.may(role), anonymous_may, "{role:?}");
            assert_eq!(agent.may(role), agent_may, "{role:?}");
            assert_eq!(operator.may(role), operator_may, "{role:?}");
        }
    }

    proptest! {
        #[test]
        fn an_admitted_path_is_a_row_with_names_filled_in(path in "(/[a-zA-Z0-9.%/_{}-]{0,20}){0,6}") {
            for surface in [Surface::Agents, Surface::Operators] {
                if let Some(row) = rule(surface, "GET", &path) {
                    prop_assert_eq!(row.path.split('/').count(), path.split('/').count());
                    prop_assert!(!path.contains('%') && !path.contains("//") && !path.contains(".."));
                }
            }
        }
    }
}
