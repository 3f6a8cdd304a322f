//! A client of Azure's Blob service for the tests, which signs with the account's key: it makes
//! containers, lists blobs, and asks what each says of its encryption.

use std::time::SystemTime;

use super::http;
use super::http::Answer;
use super::s3_client::encode;
use super::s3_client::hmac;
use super::s3_double::xml;
use super::servers::BUCKET;
use super::servers::Contents;

const VERSION: &str = "2022-11-02";

/// Where to send requests, and the account that signs them.
#[derive(Debug, Clone)]
pub struct AzureClient {
    /// `http://HOST:PORT/ACCOUNT`.
    pub endpoint: String,
    /// The account's name.
    pub account: String,
    /// Its key, decoded.
    pub key: Vec<u8>,
}

impl AzureClient {
    /// Makes a container.
    pub fn make_container(&self, name: &str) -> std::io::Result<Answer> {
        self.send("PUT", &format!("/{name}"), &[("restype", "container")])
    }

    /// Sends a request without a body. `query` is sorted by name.
    fn send(&self, method: &str, path: &str, query: &[(&str, &str)]) -> std::io::Result<Answer> {
        let path = format!("/{}{path}", self.account);
        let date = xml::http_date(SystemTime::now());
        let resource: String =
            query.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
        // The eleven headers between the method and ours are not sent.
        let to_sign = format!(
            "{method}{}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{}{path}{resource}",
            "\n".repeat(12),
            self.account
        );
        let signature = base64(&hmac(&self.key, to_sign.as_bytes()));
        let pairs = query.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let pairs = pairs.collect::<Vec<_>>().join("&");
        let target = if pairs.is_empty() { path } else { format!("{path}?{pairs}") };
        let headers = [
            ("host".to_owned(), http::host_of(&self.endpoint).to_owned()),
            ("x-ms-date".to_owned(), date),
            ("x-ms-version".to_owned(), VERSION.to_owned()),
            ("authorization".to_owned(), format!("SharedKey {}:{signature}", self.account)),
        ];
        http::exchange(&self.endpoint, method, &target, &headers, b"")
    }
}

impl Contents for AzureClient {
    fn keys(&self) -> Vec<String> {
        let query = [("comp", "list"), ("restype", "container")];
        let answer = self.send("GET", &format!("/{BUCKET}"), &query).unwrap();
        assert_eq!(answer.status, 200, "cannot list: {}", answer.body);
        let more = xml::texts(&answer.body, "NextMarker").concat();
        assert!(more.is_empty(), "more blobs than a page holds");
        xml::texts(&answer.body, "Name")
    }

    fn encryption(&self, key: &str) -> Option<String> {
        let answer = self.send("HEAD", &format!("/{BUCKET}/{key}"), &[]).unwrap();
        assert_eq!(answer.status, 200, "cannot HEAD {key}");
        answer.header("x-ms-server-encrypted").map(str::to_owned)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let whole = three.iter().fold(0_usize, |whole, byte| whole << 8 | usize::from(*byte));
        let whole = whole << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[whole >> (18 - 6 * digit) & 63]));
        }
        text.push_str(&"=".repeat(3 - three.len()));
    }
    text
}

#[test]
fn base64_agrees_with_rfc_4648() {
    for (plain, coded) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}
