//! The Versity gateway over a directory: it creates exclusively, and overlooks the encryption
//! header.

use std::process::Command;
use std::sync::Arc;

use super::ACCESS_KEY;
use super::SECRET_KEY;
use super::Server;
use super::Store;
use super::client_of;
use super::free_port;
use crate::support::tools;

/// Starts one and makes the bucket.
pub fn versity() -> Store {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let address = format!("127.0.0.1:{}", free_port());
    let files = dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let mut command = Command::new(tools::installed("versitygw"));
    command
        .args(["--port", &address, "--quiet", "posix"])
        // The directory may lie on a file system without extended attributes.
        .arg("--sidecar")
        .arg(dir.path().join("sidecar"))
        .arg(&files)
        .env("ROOT_ACCESS_KEY", ACCESS_KEY)
        .env("ROOT_SECRET_KEY", SECRET_KEY);
    std::fs::create_dir(dir.path().join("sidecar")).unwrap();
    let server = Server::start("versitygw", command, dir);
    let client = client_of(&address);
    server.make_bucket(&client);
    Store::s3("s3", server, client)
}
