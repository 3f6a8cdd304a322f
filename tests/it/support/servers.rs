//! Real servers on loopback: MinIO with and without a key service, SeaweedFS with and without a
//! key. Each has its own directory and free ports, and ends with the test.

use std::fs::File;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::s3_client::S3Client;
use super::tools;

/// The bucket that each server starts with.
pub const BUCKET: &str = "bucket";

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

/// A running MinIO.
pub struct Minio {
    server: Server,
    client: S3Client,
}

impl Minio {
    /// Starts one and makes [`BUCKET`].
    pub fn start(key: Key) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(tools::installed("minio"));
        command
            .args(["server", "--quiet", "--address", &address])
            .args(["--console-address", "127.0.0.1:0"])
            .arg(dir.path().join("data"))
            .env("HOME", dir.path())
            .env("MINIO_ROOT_USER", ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .env("MINIO_BROWSER", "off")
            .env_remove("MINIO_KMS_SECRET_KEY");
        if key == Key::Present {
            // 32 bytes in base64; any will do.
            command.env(
                "MINIO_KMS_SECRET_KEY",
                "cairnfs-test:Y2Fpcm5mcy10ZXN0LWtleS1vZi0zMi1ieXRlcy4uLi4=",
            );
        }
        let server = Server::start(command, dir);
        let client = client_of(&address);
        server.ready(&client);
        Self { server, client }
    }

    /// A client with its keys.
    pub fn client(&self) -> &S3Client {
        &self.client
    }

    /// Stops answering, without ending: connections are accepted by the kernel alone.
    pub fn freeze(&self) {
        self.server.signal("STOP");
    }

    /// Answers again.
    pub fn thaw(&self) {
        self.server.signal("CONT");
    }
}

/// A running SeaweedFS with its S3 gateway.
pub struct Seaweed {
    _server: Server,
    client: S3Client,
}

impl Seaweed {
    /// Starts one and makes [`BUCKET`].
    pub fn start(key: Key) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identities = dir.path().join("identities.json");
        let text = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS_KEY}",
               "secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List"]}}]}}"#
        );
        std::fs::write(&identities, text).unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let s3_port = free_port();
        let mut command = Command::new(tools::installed("weed"));
        command
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .arg(format!("-dir={}", dir.path().join("data").display()))
            .arg(format!("-s3.port={s3_port}"))
            .arg(format!("-s3.config={}", identities.display()))
            // Without these two it also takes two fixed ports, and dies when they are taken.
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(["-master.telemetry=false", "-volume.max=20", "-master.volumeSizeLimitMB=64"])
            .env("HOME", dir.path())
            .env("WEED_JWT_FILER_SIGNING_KEY", "cairnfs-test-signing-key")
            .env_remove("WEED_S3_SSE_KEY")
            .current_dir(dir.path());
        for port in ["-master.port", "-volume.port", "-filer.port"] {
            command.arg(format!("{port}={}", free_port_with_twin()));
        }
        if key == Key::Present {
            command.env("WEED_S3_SSE_KEY", "cairnfs-test-key");
        }
        let server = Server::start(command, dir);
        let client = client_of(&format!("127.0.0.1:{s3_port}"));
        server.ready(&client);
        Self { _server: server, client }
    }

    /// A client with its keys.
    pub fn client(&self) -> &S3Client {
        &self.client
    }
}

/// A server process and the directory it lives in.
struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    fn start(mut command: Command, dir: TempDir) -> Self {
        let log = File::create(dir.path().join("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/deps.sh test"));
        Self { child, dir }
    }

    /// Waits until the bucket can be made, and makes it.
    fn ready(&self, client: &S3Client) {
        let made = tools::within(READY_LIMIT, || {
            let answer = client.make_bucket(BUCKET);
            answer.is_ok_and(|answer| matches!(answer.status, 200 | 409))
        });
        assert!(made, "the server did not come up:\n{}", log_tail(self.dir.path()));
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

fn log_tail(dir: &Path) -> String {
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A loopback port that nothing listens on.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A free port whose gRPC twin, 10,000 above, is free too, as SeaweedFS wants it.
fn free_port_with_twin() -> u16 {
    tools::wait_for("a pair of free ports", READY_LIMIT, || {
        let port = free_port();
        let twin = port.checked_add(10_000)?;
        let taken = TcpStream::connect(("127.0.0.1", twin)).is_ok();
        (!taken && TcpListener::bind(("127.0.0.1", twin)).is_ok()).then_some(port)
    })
}
