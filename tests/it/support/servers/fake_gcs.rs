//! fake-gcs-server: Google's JSON API. Its answers hold no word of encryption, as Google's do not
//! where Google's own keys are used.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use super::BUCKET;
use super::Contents;
use super::Server;
use super::Store;
use super::free_port;
use crate::support::http;
use crate::support::http::Answer;
use crate::support::recorder::Recorder;
use crate::support::s3_client::encode;
use crate::support::tools;

/// Starts one and makes the bucket.
pub fn fake_gcs() -> Store {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let port = free_port().to_string();
    let address = format!("127.0.0.1:{port}");
    let wire = Recorder::before(&address);
    let mut command = Command::new(tools::installed("fake-gcs-server"));
    command
        .args(["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", &port])
        // It names itself in the addresses of uploads.
        .args(["-public-host", wire.address()]);
    let credentials = credentials(dir.path());
    let server = Server::start("fake-gcs", command, dir);
    let json_api = JsonApi { endpoint: format!("http://{address}") };
    server.ready(|| {
        let bucket = json!({ "name": BUCKET }).to_string();
        let made = json_api.send("POST", "/storage/v1/b?project=tests", bucket.as_bytes());
        made.is_ok_and(|answer| matches!(answer.status, 200 | 409))
    });
    Store {
        provider: "gcs-native",
        settings: format!(
            "endpoint = \"http://{}\"\nbucket = \"{BUCKET}\"\n\
             credentials = {{ file = \"{credentials}\" }}\n",
            wire.address()
        ),
        keys: None,
        contents: Box::new(json_api),
        wire,
        _server: server,
    }
}

struct JsonApi {
    endpoint: String,
}

impl JsonApi {
    fn send(&self, method: &str, target: &str, body: &[u8]) -> std::io::Result<Answer> {
        let headers = [
            ("host".to_owned(), http::host_of(&self.endpoint).to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        http::exchange(&self.endpoint, method, target, &headers, body)
    }

    fn get(&self, target: &str) -> Value {
        let answer = self.send("GET", target, b"").unwrap();
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

impl Contents for JsonApi {
    fn keys(&self) -> Vec<String> {
        let listed = self.get(&format!("/storage/v1/b/{BUCKET}/o"));
        assert_eq!(listed.get("nextPageToken"), None, "more objects than a page holds");
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }

    fn encryption(&self, key: &str) -> Option<String> {
        let object = self.get(&format!("/storage/v1/b/{BUCKET}/o/{}", encode(key)));
        object["kmsKeyName"].as_str().map(str::to_owned)
    }
}

/// A file of Google's shape whose token comes from this machine: OpenDAL sends no request without
/// one, and the server asks for none.
fn credentials(dir: &Path) -> String {
    let subject = dir.join("subject");
    std::fs::write(&subject, r#"{"subject":"test"}"#).unwrap();
    let file = dir.join("credentials.json");
    let format = json!({ "type": "json", "subject_token_field_name": "subject" });
    let text = json!({
        "type": "external_account",
        "audience": "tests",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        // By another name than the store's, or the witness would take it for the store.
        "token_url": format!("http://localhost:{}/token", tokens()),
        "credential_source": { "file": subject, "format": format },
    });
    std::fs::write(&file, text.to_string()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

/// Answers every request with a token, until the test process ends; its port.
fn tokens() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let body = json!({ "access_token": "t", "token_type": "Bearer", "expires_in": 3600 });
            let body = body.to_string();
            let mut request = [0; 8192];
            let _whatever = socket.read(&mut request);
            let _closed_by_the_other = write!(
                socket,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    port
}
