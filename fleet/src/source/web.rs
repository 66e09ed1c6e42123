//! A question to a web server and its answer, and which addresses may be asked at all.
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use reqwest::Url;
use secrecy::SecretString;

use super::error::SourceError;

/// Longest address, bytes.
const URL_BYTES_MAX: usize = 2048;

/// An address that may be asked: `https`, or `http` on this machine; without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(Url);

impl WebUrl {
    /// Parses.
    ///
    /// # Errors
    /// [`SourceError::Invalid`]
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let invalid = |why: &str| SourceError::Invalid {
            what: "the source's address".to_owned(),
            why: why.to_owned(),
        };
        if text.len() > URL_BYTES_MAX || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(invalid(
                "must have at most 2048 bytes, without spaces and control characters",
            ));
        }
        // The parser takes `https:///host` for `https://host`; whoever wrote that meant something else.
        if text
            .split_once("://")
            .is_none_or(|(_, rest)| rest.starts_with(['/', '\\']))
        {
            return Err(invalid("must be a URL that starts with https://"));
        }
        let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        Self::allowed(url)
    }

    fn allowed(mut url: Url) -> Result<Self, SourceError> {
        let what = url.host_str().unwrap_or("the source's address").to_owned();
        let invalid = |why: &str| SourceError::Invalid {
            what: what.clone(),
            why: why.to_owned(),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("the address must not hold a user or password"));
        }
        let Some(host) = url.host_str() else {
            return Err(invalid("the address names no host"));
        };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(host) => {}
            _ => return Err(invalid("must be https:// (http:// only on this machine)")),
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The address of another thing, as an answer or an index names it.
    ///
    /// # Errors
    /// [`SourceError::Invalid`]
    pub fn join(&self, reference: &str) -> Result<Self, SourceError> {
        let url = self
            .0
            .join(reference)
            .map_err(|error| SourceError::Invalid {
                what: self.authority(),
                why: error.to_string(),
            })?;
        Self::allowed(url)
    }

    /// The same with a query.
    #[must_use]
    pub fn with_query(&self, pairs: &[(&str, &str)]) -> Self {
        let mut url = self.0.clone();
        url.query_pairs_mut().extend_pairs(pairs);
        Self(url)
    }

    /// Host, and port if it is not the usual one: what a credential is for.
    pub fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default().to_ascii_lowercase();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// Whether a credential for `self` may go to `other`: scheme, host and port agree.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.0.scheme() == other.0.scheme() && self.authority() == other.authority()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold what a server gave to us alone.
        write!(f, "{}{}", self.authority(), self.0.path())
    }
}

/// Whether a host is this machine, by its name or address.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What is sent along to prove who asks.
#[derive(Debug, Clone)]
pub enum Authorization {
    /// The credential of this host, if the operator gave one. It is sent to that host, and to the host that the operator
    /// named as its `realm`; never elsewhere.
    Of(String),
    /// A token that the host's own token service gave for this one question.
    Bearer(SecretString),
    /// Nothing.
    Nobody,
}

/// A question.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whom and for what.
    pub url: WebUrl,
    /// Media type wanted; any if empty.
    pub accept: &'static str,
    /// Who asks.
    pub authorization: Authorization,
    /// What it is, for messages.
    pub what: String,
    /// Most bytes of the answer that are taken.
    pub bytes_max: u64,
}

/// An answer that is no fault: 200, 401 with its challenge, or 404.
#[derive(Debug, Clone)]
pub enum Answer {
    /// 200.
    Found(Bytes),
    /// 401, with the header `WWW-Authenticate`.
    Unauthorized(String),
    /// 404 or 410.
    Absent,
}

/// Asks web servers.
pub trait Web: Send + Sync {
    /// Asks once. Redirects within the host are followed, others only to hosts that the operator named, without any
    /// credential.
    ///
    /// # Errors
    /// [`SourceError`]
    /// # Cancel safety
    /// May be dropped; the question is given up.
    fn get(&self, ask: Ask) -> impl Future<Output = Result<Answer, SourceError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_without_a_password_or_this_machine_is_asked() {
        for good in [
            "https://charts.example.org/stable",
            "http://127.0.0.1:8080/x",
            "http://localhost/x",
            "http://[::1]:1/",
        ] {
            assert!(WebUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://charts.example.org",
            "http://localhost.example.org/",
            "https://user:secret@charts.example.org",
            "https:///charts.example.org",
            "https:charts.example.org",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "https://charts.example.org/a b",
            "https://charts.example.org/\n",
            "-x",
        ] {
            assert!(WebUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| WebUrl::parse(text).unwrap();
        let here = url("https://a.example.org/x");
        assert!(here.same_origin(&url("https://A.example.org:443/y")));
        for other in [
            "https://b.example.org/x",
            "https://a.example.org:8443/x",
            "https://a.example.org.evil.example/x",
        ] {
            assert!(!here.same_origin(&url(other)), "{other}");
        }
        assert!(
            here.join("http://a.example.org/").is_err(),
            "never downwards"
        );
        assert_eq!(
            here.join("//b.example.org/z").unwrap().authority(),
            "b.example.org"
        );
    }
}
