//! A signing S3 client for the tests: one request a connection, every answer's headers visible
//! (OpenDAL shows none of them). It makes buckets, lists keys, and asks what each object says of
//! its encryption.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;
use std::time::SystemTime;

use sha2::Digest as _;
use sha2::Sha256;

use super::s3_double::xml;
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

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
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
        let host = self.endpoint.trim_start_matches("http://");
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
        let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let signature = hex(&hmac(&self.signing_key(&date[..8]), to_sign.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key);

        // HTTP/1.0, so that no answer comes in chunks.
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut request = format!("{method} {target} HTTP/1.0\r\n");
        for (name, value) in &headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!(
            "authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, \
             Signature={signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = TcpStream::connect(host)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        socket.write_all(request.as_bytes())?;
        socket.write_all(body)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        parse(&answer)
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

    /// What a HEAD of an object says of its encryption.
    #[track_caller]
    pub fn encryption(&self, bucket: &str, key: &str) -> Option<String> {
        let answer = self.send("HEAD", &format!("/{bucket}/{key}"), "", &[], b"").unwrap();
        assert_eq!(answer.status, 200, "cannot HEAD {key}");
        answer.header("x-amz-server-side-encryption").map(str::to_owned)
    }

    fn signing_key(&self, day: &str) -> [u8; 32] {
        let key = hmac(format!("AWS4{}", self.secret_key).as_bytes(), day.as_bytes());
        let key = hmac(&key, REGION.as_bytes());
        let key = hmac(&key, b"s3");
        hmac(&key, b"aws4_request")
    }
}

fn parse(answer: &[u8]) -> std::io::Result<Answer> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(split) = split else {
        return Err(std::io::Error::other("the answer has no end of headers"));
    };
    let head = String::from_utf8_lossy(&answer[..split]);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let body = String::from_utf8_lossy(&answer[split + 4..]).into_owned();
    Ok(Answer { status: status.unwrap_or(0), headers, body })
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
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

fn encode(text: &str) -> String {
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
