//! Keys of AWS KMS, key spec `ECC_NIST_EDWARDS25519`. The service signs at most 4,096 bytes, which is why statements are small.
//!
//! Credentials come as AWS's own clients find them: variables, a web identity (EKS), the container's or machine's role.
//! `AWS_ENDPOINT_URL_KMS` names another end point, such as one in a VPC.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::key::{PublicKey, SignFault};
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::answer::{self, Body, Wrong};
use crate::passphrase::Env;
use crate::reference::Arn;
use crate::{Signer, retry};

/// Longest message that KMS signs whole, bytes.
const MESSAGE_BYTES_MAX: usize = 4_096;
const ALGORITHM: &str = "ED25519_SHA_512";

/// Why a key of KMS can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// A setting is missing or wrong.
    #[error("{name}: {problem}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There are no credentials.
    #[error("no AWS credentials: {0}")]
    Credentials(String),
    /// KMS can't be reached.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// KMS does not want now.
    #[error("answers {0}")]
    Unavailable(u16),
    /// KMS said no.
    #[error("refused: {0}")]
    Refused(String),
    /// An answer that can't be used.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// The key is of another kind.
    #[error("is a key of kind {0}; only ECC_NIST_EDWARDS25519 signs")]
    Kind(String),
    /// The message is too long for KMS.
    #[error("the message has {0} bytes; at most {MESSAGE_BYTES_MAX} can be signed")]
    Long(usize),
}

impl KmsError {
    /// Whether asking again may help.
    pub(crate) const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Credentials(_) | Self::Unreachable(_) | Self::Unavailable(_)
        )
    }
}

/// A key of KMS.
pub(crate) struct KmsSigner {
    client: Client,
    public: PublicKey,
}

struct Client {
    http: reqwest::Client,
    endpoint: Url,
    arn: Arn,
    credentials: AwsCredentialProvider,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetPublicKey<'a> {
    key_id: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Public {
    public_key: String,
    #[serde(default)]
    key_spec: String,
    #[serde(default)]
    signing_algorithms: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sign<'a> {
    key_id: &'a str,
    message: String,
    message_type: &'a str,
    signing_algorithm: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Signed {
    signature: String,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(rename = "__type", default)]
    kind: String,
}

/// Opens a key.
pub(crate) async fn open(arn: &Arn, env: Env<'_>) -> Result<KmsSigner, KmsError> {
    let client = Client::new(arn, env)?;
    let request = GetPublicKey {
        key_id: arn.as_str(),
    };
    let once = || client.call::<_, Public>("GetPublicKey", &request);
    let answer = retry::asking(once, KmsError::is_fault).await?;
    if !answer.signing_algorithms.iter().any(|had| had == ALGORITHM) {
        return Err(KmsError::Kind(answer.key_spec));
    }
    let public = answer::spki(&answer.public_key)?;
    Ok(KmsSigner { client, public })
}

impl KmsSigner {
    async fn signature(&self, message: &[u8]) -> Result<[u8; 64], KmsError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(KmsError::Long(message.len()));
        }
        let request = Sign {
            key_id: self.client.arn.as_str(),
            message: STANDARD.encode(message),
            message_type: "RAW",
            signing_algorithm: ALGORITHM,
        };
        let once = || self.client.call::<_, Signed>("Sign", &request);
        let signed = retry::asking(once, KmsError::is_fault).await?;
        Ok(answer::signature(&signed.signature, &self.public, message)?)
    }
}

impl Signer for KmsSigner {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignFault>> {
        Box::pin(async move {
            self.signature(message)
                .await
                .map_err(|error| SignFault(format!("AWS KMS: {error}")))
        })
    }
}

impl Client {
    fn new(arn: &Arn, env: Env<'_>) -> Result<Self, KmsError> {
        let setting = |name, problem: String| KmsError::Setting { name, problem };
        let endpoint = endpoint(arn, env("AWS_ENDPOINT_URL_KMS").as_deref())
            .map_err(|problem| setting("AWS_ENDPOINT_URL_KMS", problem))?;
        let http = retry::client(None).map_err(|e| setting("TLS", e.to_string()))?;
        Ok(Self {
            http,
            endpoint,
            arn: arn.clone(),
            credentials: credentials(arn, env)?,
        })
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        action: &str,
        body: &B,
    ) -> Result<T, KmsError> {
        let credential = self.credentials.get_credential().await;
        let credential = credential.map_err(|error| KmsError::Credentials(error.to_string()))?;
        let body = serde_json::to_vec(body).map_err(|_| Wrong::Form("request"))?;
        let mut request: HttpRequest = http::Request::post(self.endpoint.as_str())
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", format!("TrentService.{action}"))
            .body(HttpRequestBody::from(body.clone()))
            .map_err(|_| Wrong::Form("request"))?;
        AwsAuthorizer::new(&credential, "kms", self.arn.region())
            .try_authorize(&mut request, None)
            .map_err(|error| KmsError::Credentials(error.to_string()))?;
        let response = self
            .http
            .post(self.endpoint.clone())
            .headers(request.headers().clone())
            .body(body)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let body = answer::body(response).await.map_err(|body| match body {
            Body::Cut(error) => unreachable(error),
            Body::Wrong(wrong) => wrong.into(),
        })?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| Wrong::Form("JSON").into());
        }
        let kind =
            serde_json::from_slice::<Failed>(&body).map_or_else(|_| String::new(), |f| f.kind);
        // AWS writes the kind with or without a name space in front.
        let kind = kind.rsplit('#').next().unwrap_or_default();
        if status.is_server_error() || kind == "ThrottlingException" {
            return Err(KmsError::Unavailable(status.as_u16()));
        }
        let plain = kind.chars().filter(char::is_ascii_alphanumeric).take(100);
        Err(KmsError::Refused(format!(
            "{} {}",
            status.as_u16(),
            plain.collect::<String>()
        )))
    }
}

fn unreachable(error: reqwest::Error) -> KmsError {
    KmsError::Unreachable(error.without_url().to_string())
}

/// Requests are signed, not secret, but who answers must be AWS: HTTPS, or this machine.
fn endpoint(arn: &Arn, said: Option<&str>) -> Result<Url, String> {
    let text = match said.filter(|text| !text.is_empty()) {
        Some(text) => text.to_owned(),
        None => {
            let suffix = match arn.partition() {
                "aws-cn" => "amazonaws.com.cn",
                _ => "amazonaws.com",
            };
            format!("https://kms.{}.{suffix}/", arn.region())
        }
    };
    let url: Url = text.parse().map_err(|_| "is no URL".to_owned())?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if local => Ok(url),
        _ => Err("must be https".to_owned()),
    }
}

/// Credentials by the chain of the object store's client, which has it for buckets: no request to a bucket is made.
fn credentials(arn: &Arn, env: Env<'_>) -> Result<AwsCredentialProvider, KmsError> {
    let mut builder = AmazonS3Builder::new();
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_METADATA_ENDPOINT",
    ] {
        let value = env(name).filter(|value| !value.is_empty());
        if let (Some(value), Ok(key)) = (value, name.to_ascii_lowercase().parse()) {
            builder = builder.with_config(key, value);
        }
    }
    let built = builder
        .with_region(arn.region())
        .with_bucket_name("unused")
        .build()
        .map_err(|error| KmsError::Credentials(error.to_string()))?;
    Ok(std::sync::Arc::clone(built.credentials()))
}
