//! Questions about a bucket for which OpenDAL has no call: signed S3 requests that only read. It
//! signs with the library that OpenDAL signs with, and sends over OpenDAL's transport.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::request::Parts;
use opendal::Buffer;
use opendal::HttpTransporter;
use reqsign_aws_v4::Credential;
use reqsign_aws_v4::DefaultCredentialProvider;
use reqsign_aws_v4::RequestSigner;
use reqsign_aws_v4::StaticCredentialProvider;
use reqsign_core::Context;
use reqsign_core::OsEnv;
use reqsign_core::Signer;
use reqsign_core::hash::hex_sha256;
use reqsign_file_read_tokio::TokioFileRead;
use serde_json::Value;

use super::denials;
use super::document;
use super::document::BucketFacts;
use super::document::Told;
use super::document::Upload;
use super::layers;
use super::operator::REGION_OF_NONE;
use crate::config::KeyPair;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Service;
use crate::provider::SseMode;

/// An answer must come within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Tries after the first one, where the store fails in passing. Silence is not waited for again.
const RETRIES_MAX: u32 = 3;

/// Before the second try; then twice as long each time.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Asks about one bucket of an S3 store.
pub struct Inspector {
    signer: Signer<Credential>,
    transport: HttpTransporter,
    context: Context,
    keys: Option<KeyPair>,
    /// The bucket's URL, without a slash at its end.
    base: String,
    bucket: String,
    prefix: String,
    region: String,
    bucket_default_probe: bool,
    /// Whether Amazon's own key service stands beside the store.
    is_amazon: bool,
}

/// What a request came back with.
struct Answer {
    status: u16,
    body: String,
}

impl Inspector {
    /// An inspector for `volume`; `None` where the store does not speak S3. Sends nothing.
    pub fn open(volume: &VolumeConfig) -> Result<Option<Self>> {
        let row = &volume.provider;
        let (Service::S3, Some(endpoint)) = (row.service, volume.endpoint.as_deref()) else {
            return Ok(None);
        };
        let keys = volume.credentials.resolve()?;
        let transport = layers::transport()?;
        let context = Context::new()
            .with_file_read(TokioFileRead)
            .with_http_send(transport.clone())
            .with_env(OsEnv);
        let region = volume.region.as_deref().or(row.region.as_deref()).unwrap_or(REGION_OF_NONE);
        let base = match (row.virtual_host, endpoint.split_once("://")) {
            (true, Some((scheme, host))) => format!("{scheme}://{}.{host}", volume.bucket),
            _ => format!("{endpoint}/{}", volume.bucket),
        };
        Ok(Some(Self {
            signer: signer(&context, keys.as_ref(), "s3", region),
            transport,
            context,
            keys,
            base,
            bucket: volume.bucket.clone(),
            prefix: volume.prefix.clone(),
            region: region.to_owned(),
            bucket_default_probe: row.bucket_default_probe,
            is_amazon: endpoint.contains(".amazonaws.com"),
        }))
    }

    /// The same under other keys.
    #[cfg(test)]
    pub(super) fn under(self, keys: KeyPair) -> Self {
        let signer = signer(&self.context, Some(&keys), "s3", &self.region);
        Self { signer, keys: Some(keys), ..self }
    }

    /// The unfinished uploads below the volume's prefix, from `after` on: a page, and where the
    /// next one begins.
    pub async fn uploads(
        &self,
        after: Option<&(String, String)>,
    ) -> Result<(Vec<Upload>, Option<(String, String)>)> {
        let mut query = format!("uploads=&prefix={}", encoded(&self.prefix));
        if let Some((key, id)) = after {
            query = format!(
                "key-marker={}&prefix={}&upload-id-marker={}&uploads=",
                encoded(key),
                encoded(&self.prefix),
                encoded(id)
            );
        }
        let answer = self.ask(&query).await?;
        let page = document::uploads(&answer.expect_found()?, &self.prefix)?;
        match page.next {
            Some(next) if next.0.is_empty() || Some(&next) == after => {
                Err(Error::new(Kind::Corrupt, "the list of unfinished uploads does not go on")
                    .with("after", next.0))
            }
            next => Ok((page.uploads, next)),
        }
    }

    /// Whether the bucket keeps versions: `off`, `enabled`, `suspended`.
    pub async fn versioning(&self) -> Told<String> {
        self.fact("versioning=", None, document::versioning).await
    }

    /// How the bucket is set up. What cannot be learned says why.
    pub async fn facts(&self, mode: &SseMode) -> BucketFacts {
        let policy = self.policy().await;
        let below = format!("{}/{}", self.bucket, self.prefix);
        let judged = |judge: fn(&Value, &str) -> bool| match &policy {
            Told::Yes(policy) => {
                Told::Yes(policy.as_ref().is_some_and(|policy| judge(policy, &below)))
            }
            Told::No(why) => Told::No(why.clone()),
            Told::Denied(why) => Told::Denied(why.clone()),
        };
        let none = |text: &str| Some(text.to_owned());
        let default_encryption = match self.bucket_default_probe {
            true => self.fact("encryption=", none("none"), document::default_encryption).await,
            false => Told::No("this store's answer means nothing".to_owned()),
        };
        BucketFacts {
            default_encryption,
            denies_unencrypted: judged(denials::unencrypted),
            denies_plain_http: judged(denials::plain_http),
            public: self.fact("policyStatus=", Some(false), document::is_public).await,
            public_acl: self.fact("acl=", None, document::is_public_acl).await,
            public_access_blocked: self
                .fact("publicAccessBlock=", Some(false), document::public_access_blocked)
                .await,
            versioning: self.versioning().await,
            object_lock: self.fact("object-lock=", none("off"), document::object_lock).await,
            key_state: self.key_state(mode).await,
        }
    }

    async fn policy(&self) -> Told<Option<Value>> {
        let read = |json: &str| {
            serde_json::from_str(json).map(Some).map_err(|cause| {
                Error::new(Kind::Internal, "the bucket's policy is no JSON").because(cause)
            })
        };
        self.fact("policy=", Some(None), read).await
    }

    /// One sub-resource of the bucket; `unset` is what its absence means.
    async fn fact<T>(
        &self,
        query: &str,
        unset: Option<T>,
        read: impl FnOnce(&str) -> Result<T>,
    ) -> Told<T> {
        let learned = async {
            let answer = self.ask(query).await?;
            match (answer.status, unset) {
                (404, Some(unset)) => Ok(unset),
                _ => read(&answer.expect_found()?),
            }
        };
        Told::of(learned.await)
    }

    async fn key_state(&self, mode: &SseMode) -> Told<String> {
        let key = match mode {
            SseMode::Kms(key) | SseMode::Dsse(key) => key,
            SseMode::None | SseMode::Aes256 | SseMode::CustomerKeyFile(_) => {
                return Told::No("the volume names no key".to_owned());
            }
        };
        if !self.is_amazon {
            return Told::No("the store has no call for it".to_owned());
        }
        Told::of(self.describe_key(key).await.and_then(|json| document::key_state(&json)))
    }

    async fn describe_key(&self, key: &str) -> Result<String> {
        let body = serde_json::json!({ "KeyId": key }).to_string();
        let china = if self.region.starts_with("cn-") { ".cn" } else { "" };
        let host = format!("kms.{}.amazonaws.com{china}", self.region);
        let request = Request::post(format!("https://{host}/"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "TrentService.DescribeKey")
            .header("x-amz-content-sha256", hex_sha256(body.as_bytes()));
        let signer = signer(&self.context, self.keys.as_ref(), "kms", &self.region);
        self.send(&signer, request, body.into()).await?.expect_found()
    }

    async fn ask(&self, query: &str) -> Result<Answer> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}/?{query}", self.base))
            .header("x-amz-content-sha256", hex_sha256(b""));
        self.send(&self.signer, request, Bytes::new()).await
    }

    /// Sends a request, and again where the store fails in passing: what an audit cannot learn may
    /// be what it is about.
    async fn send(
        &self,
        signer: &Signer<Credential>,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer> {
        let request = request.body(Buffer::from(body)).map_err(|cause| {
            Error::new(Kind::Config, "the endpoint makes no request").because(cause)
        })?;
        let (parts, body): (Parts, Buffer) = request.into_parts();
        let mut tries = 0;
        loop {
            let answer = self.send_once(signer, parts.clone(), body.clone()).await;
            let passing = match &answer {
                Ok(answer) => answer.as_ref().is_some_and(Answer::is_passing),
                Err(error) => error.kind() == Kind::Unavailable,
            };
            if !passing || tries == RETRIES_MAX {
                let silent = || Error::new(Kind::Unavailable, "the store does not answer in time");
                return answer?.ok_or_else(silent);
            }
            tokio::time::sleep(RETRY_AFTER * 2_u32.pow(tries)).await;
            tries += 1;
        }
    }

    /// One try; `None`: nobody answered in time.
    async fn send_once(
        &self,
        signer: &Signer<Credential>,
        mut parts: Parts,
        body: Buffer,
    ) -> Result<Option<Answer>> {
        signer.sign(&mut parts, None).await.map_err(|cause| {
            Error::new(Kind::Denied, "the request cannot be signed").because(cause)
        })?;
        let sending = self.transport.send(Request::from_parts(parts, body));
        let Ok(answer) = tokio::time::timeout(ANSWER_WITHIN, sending).await else {
            return Ok(None);
        };
        let answer = answer.map_err(|cause| {
            Error::new(Kind::Unavailable, "the store cannot be reached").because(cause)
        })?;
        let status = answer.status().as_u16();
        let body = String::from_utf8_lossy(&answer.into_body().to_bytes()).into_owned();
        Ok(Some(Answer { status, body }))
    }
}

impl Answer {
    /// Whether the same request may be answered in another way soon.
    fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 500 | 502..=504)
    }

    fn expect_found(self) -> Result<String> {
        if self.status == 200 {
            return Ok(self.body);
        }
        let code = |body: &str| {
            let rest = &body[body.find("<Code>")? + "<Code>".len()..];
            Some(rest[..rest.find('<')?].to_owned())
        };
        let (kind, sentence) = match self.status {
            403 => (Kind::Denied, "the keys do not permit it"),
            404 => (Kind::NotFound, "there is none"),
            405 | 501 => (Kind::Unsupported, "the store has no such call"),
            _ => (Kind::Unavailable, "the store does not tell"),
        };
        let error = Error::new(kind, sentence).with("status", self.status);
        Err(match code(&self.body) {
            Some(code) => error.with("code", code),
            None => error,
        })
    }
}

fn signer(
    context: &Context,
    keys: Option<&KeyPair>,
    service: &str,
    region: &str,
) -> Signer<Credential> {
    let request_signer = RequestSigner::new(service, region);
    let Some(keys) = keys else {
        let chain = DefaultCredentialProvider::new();
        return Signer::new(context.clone(), chain, request_signer);
    };
    let secret = keys.secret_access_key.expose();
    let mut pair = StaticCredentialProvider::new(&keys.access_key_id, secret);
    if let Some(token) = &keys.session_token {
        pair = pair.with_session_token(token.expose());
    }
    Signer::new(context.clone(), pair, request_signer)
}

/// As a query's value.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
