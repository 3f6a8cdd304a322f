//! SeaweedFS with its S3 gateway: with a key, and without one.

use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use super::ACCESS_KEY;
use super::Key;
use super::READY_LIMIT;
use super::SECRET_KEY;
use super::Server;
use super::Store;
use super::client_of;
use super::free_port;
use crate::support::s3_client::S3Client;
use crate::support::tools;

/// A running SeaweedFS with its S3 gateway.
pub struct Seaweed {
    server: Server,
    client: S3Client,
}

impl Seaweed {
    /// Starts one and makes the bucket.
    pub fn start(key: Key) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
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
        let server = Server::start("weed", command, dir);
        let client = client_of(&format!("127.0.0.1:{s3_port}"));
        server.make_bucket(&client);
        Self { server, client }
    }

    /// A client with its keys.
    pub fn client(&self) -> &S3Client {
        &self.client
    }

    /// The same as a place for a volume, which the matrix knows only as "some S3".
    pub fn into_store(self) -> Store {
        Store::s3("s3", self.server, self.client)
    }
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
