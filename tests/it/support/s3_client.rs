//! A signing S3 client for the tests: one request a connection, every answer's headers visible
//! (OpenDAL shows none of them). It makes buckets, lists keys, and asks what each object says of
//! its encryption.

use std::time::SystemTime;

use sha2::Digest as _;
use sha2::Sha256;

use super::http;
pub use super::http::Answer;
use super::s3_double::xml;
use super::servers::BUCKET;
use super::servers::Contents;
use super::tools::hex;
use super::tools::sha256;

const REGION: &str = "us-east-1";

/// Where to send requests, and the keys to sign them with.
#[derive(Debug, Clone)]
pub struct S3Client {
    /// `http://HOST:PORT`.
    pub endpoint: String,
    /// The access key id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

impl S3Client {
    /// Sends one signed request. `path` is `/bucket/key`, `query` sorted and encoded.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        extra: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        self.send_signed_for("s3", (method, path, query), extra, body)
    }

    /// Temporary keys that may do what `policy` permits and no more: access key, secret, token.
    #[track_caller]
    pub fn keys_under(&self, policy: &str) -> [String; 3] {
        let policy = encode(policy);
        let body = format!("Action=AssumeRole&Version=2011-06-15&Policy={policy}");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let request = ("POST", "/", "");
        let answer = self.send_signed_for("sts", request, &form, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        ["AccessKeyId", "SecretAccessKey", "SessionToken"]
            .map(|tag| xml::texts(&answer.body, tag).pop().unwrap())
    }

    fn send_signed_for(
        &self,
        service: &str,
        (method, path, query): (&str, &str, &str),
        extra: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let host = http::host_of(&self.endpoint);
        let date = xml::basic_date(SystemTime::now());
        let body_hash = sha256(body);
        let mut headers = vec![
            ("host".to_owned(), host.to_owned()),
            ("x-amz-content-sha256".to_owned(), body_hash.clone()),
            ("x-amz-date".to_owned(), date.clone()),
        ];
        headers.extend(extra.iter().map(|(name, value)| (name.to_lowercase(), (*value).into())));
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let path = encode_path(path);
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body_hash}");
        let scope = format!("{}/{REGION}/{service}/aws4_request", &date[..8]);
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let signature = hex(&hmac(&self.signing_key(&date[..8], service), to_sign.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key);

        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, \
             Signature={signature}"
        );
        headers.push(("authorization".to_owned(), authorization));
        http::exchange(&self.endpoint, method, &target, &headers, body)
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, bucket: &str) -> std::io::Result<Answer> {
        self.send("PUT", &format!("/{bucket}"), "", &[], b"")
    }

    /// Every key in the bucket.
    #[track_caller]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or("", String::as_str);
            let query = format!("list-type=2&start-after={}", encode(after));
            let answer = self.send("GET", &format!("/{bucket}"), &query, &[], b"").unwrap();
            assert_eq!(answer.status, 200, "cannot list {bucket}: {}", answer.body);
            let page = xml::texts(&answer.body, "Key");
            if page.is_empty() {
                return keys;
            }
            keys.extend(page);
        }
    }

    /// Every version and delete marker in the bucket: key and id.
    #[track_caller]
    pub fn versions(&self, bucket: &str) -> Vec<(String, String)> {
        let (mut versions, mut after) = (Vec::new(), (String::new(), String::new()));
        loop {
            let (key, id) = (encode(&after.0), encode(&after.1));
            let query = format!("key-marker={key}&version-id-marker={id}&versions=");
            let answer = self.send("GET", &format!("/{bucket}"), &query, &[], b"").unwrap();
            assert_eq!(answer.status, 200, "cannot list {bucket}: {}", answer.body);
            let texts = |tag| xml::texts(&answer.body, tag);
            versions.extend(texts("Key").into_iter().zip(texts("VersionId")));
            match (texts("NextKeyMarker").pop(), texts("NextVersionIdMarker").pop()) {
                (Some(key), Some(id)) if !key.is_empty() => after = (key, id),
                _ => return versions,
            }
        }
    }

    /// What a HEAD of an object says of its encryption.
    #[track_caller]
    pub fn encryption(&self, bucket: &str, key: &str) -> Option<String> {
        let answer = self.send("HEAD", &format!("/{bucket}/{key}"), "", &[], b"").unwrap();
        assert_eq!(answer.status, 200, "cannot HEAD {key}");
        answer.header("x-amz-server-side-encryption").map(str::to_owned)
    }

    fn signing_key(&self, day: &str, service: &str) -> [u8; 32] {
        let key = hmac(format!("AWS4{}", self.secret_key).as_bytes(), day.as_bytes());
        let key = hmac(&key, REGION.as_bytes());
        let key = hmac(&key, service.as_bytes());
        hmac(&key, b"aws4_request")
    }
}

impl Contents for S3Client {
    fn keys(&self) -> Vec<String> {
        Self::keys(self, BUCKET)
    }

    fn encryption(&self, key: &str) -> Option<String> {
        Self::encryption(self, BUCKET, key)
    }
}

/// HMAC-SHA-256 of a message.
pub fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = block.map(|byte| byte ^ 0x36);
    let outer = block.map(|byte| byte ^ 0x5c);
    let inner = Sha256::new().chain_update(inner).chain_update(message).finalize();
    Sha256::new().chain_update(outer).chain_update(inner).finalize().into()
}

/// A query's value, encoded.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

#[test]
fn hmac_agrees_with_rfc_4231() {
    let tag = hmac(b"Jefe", b"what do ya want for nothing?");
    assert!(hex(&tag).starts_with("5bdcc146bf60754e6a042426089575c7"));
}
