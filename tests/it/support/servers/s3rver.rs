//! s3rver: it takes the encryption header and `If-None-Match` without a word and heeds neither.

use std::process::Command;
use std::sync::Arc;

use super::Server;
use super::Store;
use super::client_of;
use super::free_port;
use crate::support::s3_client::S3Client;
use crate::support::tools;

/// It knows one pair of keys.
const KEYS: &str = "S3RVER";

/// Starts one and makes the bucket.
pub fn s3rver() -> Store {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let port = free_port().to_string();
    let mut command = Command::new(tools::installed("s3rver"));
    command.args(["-a", "127.0.0.1", "-p", &port, "-d"]).arg(dir.path());
    let server = Server::start("s3rver", command, dir);
    let client = S3Client {
        access_key: KEYS.to_owned(),
        secret_key: KEYS.to_owned(),
        ..client_of(&format!("127.0.0.1:{port}"))
    };
    server.make_bucket(&client);
    Store::s3("s3", server, client)
}
