//! Real servers on loopback, one file each. Each has its own directory and free ports, and ends
//! with the test. What each one does with the encryption header is why it is here.

pub mod azurite;
pub mod ceph;
pub mod fake_gcs;
mod minio;
pub mod moto;
pub mod s3rver;
pub mod seaweed;
pub mod versity;

pub use minio::Minio;

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::http;
use super::recorder::Recorder;
use super::s3_client::S3Client;
use super::tools;

/// The bucket that each server starts with.
pub const BUCKET: &str = "bucket";

/// The name of MinIO's key.
pub const KMS_KEY: &str = "cairnfs-test";

const READY_LIMIT: Duration = Duration::from_secs(60);
const ACCESS_KEY: &str = "cairnfs-test";
const SECRET_KEY: &str = "cairnfs-test-secret";

/// Whether a server can encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// It has a key.
    Present,
    /// It has none.
    Absent,
}

/// What a test asks of a bucket behind the volume's back.
pub trait Contents {
    /// Every key.
    fn keys(&self) -> Vec<String>;
    /// What a HEAD of an object says of its encryption.
    fn encryption(&self, key: &str) -> Option<String>;
}

/// A place for a volume: a bucket at a running server, as a config describes it.
pub struct Store {
    /// The row of the matrix.
    pub provider: &'static str,
    /// More lines of the volume's table: where it is, and whose keys open it.
    pub settings: String,
    /// The keys, where the settings take them from the environment.
    pub keys: Option<(String, String)>,
    /// Looks into the bucket.
    pub contents: Box<dyn Contents>,
    /// Sees all that the volume sends, and the answers.
    pub wire: Recorder,
    _server: Server,
}

impl Store {
    /// A place that speaks S3.
    fn s3(provider: &'static str, server: Server, client: S3Client) -> Self {
        let wire = Recorder::before(http::host_of(&client.endpoint));
        Self {
            provider,
            settings: format!(
                "endpoint = \"http://{}\"\nregion = \"us-east-1\"\nbucket = \"{BUCKET}\"\n\
                 credentials = {{ env = \"CAIRNFS_TEST\" }}\n",
                wire.address()
            ),
            keys: Some((client.access_key.clone(), client.secret_key.clone())),
            contents: Box::new(client),
            wire,
            _server: server,
        }
    }
}

/// A server process and the directory it lives in.
struct Server {
    child: Child,
    _dir: Arc<TempDir>,
    log: PathBuf,
}

impl Server {
    /// Starts one, which logs into `dir` under its name.
    fn start(name: &str, mut command: Command, dir: Arc<TempDir>) -> Self {
        let log = dir.path().join(format!("{name}.out"));
        let out = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/deps.sh test"));
        Self { child, _dir: dir, log }
    }

    /// Waits until `ready` says yes.
    fn ready(&self, mut ready: impl FnMut() -> bool) {
        let came = tools::within(READY_LIMIT, || ready() || !self.runs());
        assert!(came && self.runs(), "the server did not come up:\n{}", log_tail(&self.log));
    }

    /// Waits until the bucket can be made, and makes it.
    fn make_bucket(&self, client: &S3Client) {
        self.ready(|| {
            let answer = client.make_bucket(BUCKET);
            answer.is_ok_and(|answer| matches!(answer.status, 200 | 409))
        });
    }

    fn runs(&self) -> bool {
        super::mounted::is_running(self.child.id())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success(), "cannot send {name} to the server");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn client_of(address: &str) -> S3Client {
    S3Client {
        endpoint: format!("http://{address}"),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
    }
}

fn log_tail(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A loopback port that nothing listens on.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
