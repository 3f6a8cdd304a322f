//! MinIO: with a key service, without one, and with one that encrypts what nobody asked for.

use std::process::Command;
use std::sync::Arc;

use super::ACCESS_KEY;
use super::KMS_KEY;
use super::Key;
use super::SECRET_KEY;
use super::Server;
use super::Store;
use super::client_of;
use super::free_port;
use crate::support::s3_client::S3Client;
use crate::support::tools;

/// A running MinIO.
pub struct Minio {
    server: Server,
    client: S3Client,
}

impl Minio {
    /// Starts one and makes the bucket.
    pub fn start(key: Key) -> Self {
        Self::start_with(key, &[])
    }

    /// Starts one that encrypts every object with a key of its key service, asked or not.
    pub fn start_that_always_encrypts() -> Self {
        Self::start_with(Key::Present, &[("MINIO_KMS_AUTO_ENCRYPTION", "on")])
    }

    fn start_with(key: Key, settings: &[(&str, &str)]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
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
            .env_remove("MINIO_KMS_SECRET_KEY")
            .envs(settings.iter().copied());
        if key == Key::Present {
            // 32 bytes in base64; any will do.
            command.env(
                "MINIO_KMS_SECRET_KEY",
                format!("{KMS_KEY}:Y2Fpcm5mcy10ZXN0LWtleS1vZi0zMi1ieXRlcy4uLi4="),
            );
        }
        let server = Server::start("minio", command, dir);
        let client = client_of(&address);
        server.make_bucket(&client);
        Self { server, client }
    }

    /// A client with its keys.
    pub fn client(&self) -> &S3Client {
        &self.client
    }

    /// The same as a place for a volume.
    pub fn into_store(self) -> Store {
        Store::s3("minio", self.server, self.client)
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
