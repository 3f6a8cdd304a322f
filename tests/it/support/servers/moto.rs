//! moto, the double of Amazon's interfaces: it stores whatever header it is sent and says it back,
//! so it shows what we send and proves nothing else.

use std::process::Command;
use std::sync::Arc;

use super::Server;
use super::Store;
use super::client_of;
use super::free_port;
use crate::support::tools;

/// Starts one and makes the bucket.
pub fn moto() -> Store {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let port = free_port().to_string();
    let mut command = Command::new(tools::installed("moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port]).env("HOME", dir.path());
    let server = Server::start("moto", command, dir);
    let client = client_of(&format!("127.0.0.1:{port}"));
    server.make_bucket(&client);
    Store::s3("s3", server, client)
}
