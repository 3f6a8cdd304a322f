//! Azurite: Azure's Blob service, with the headers by which Azure proves its encryption.

use std::process::Command;
use std::sync::Arc;

use super::BUCKET;
use super::Server;
use super::Store;
use super::free_port;
use crate::support::azure_client::AzureClient;
use crate::support::recorder::Recorder;
use crate::support::tools;

const ACCOUNT: &str = "cairnfs";
/// 32 bytes in base64; any will do.
const ACCOUNT_KEY: &str = "Y2Fpcm5mcy10ZXN0LWtleS1vZi0zMi1ieXRlcy4uLi4=";

/// Starts one and makes the container.
pub fn azurite() -> Store {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let port = free_port().to_string();
    let mut command = Command::new(tools::installed("azurite-blob"));
    command
        .args(["--blobHost", "127.0.0.1", "--blobPort", &port])
        .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location"])
        .arg(dir.path())
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"))
        .env("HOME", dir.path());
    let server = Server::start("azurite", command, dir);
    let endpoint = format!("http://127.0.0.1:{port}/{ACCOUNT}");
    let key = b"cairnfs-test-key-of-32-bytes....".to_vec();
    let client = AzureClient { endpoint, account: ACCOUNT.to_owned(), key };
    server.ready(|| {
        let made = client.make_container(BUCKET);
        made.is_ok_and(|answer| matches!(answer.status, 201 | 409))
    });
    let wire = Recorder::before(&format!("127.0.0.1:{port}"));
    let endpoint = format!("http://{}/{ACCOUNT}", wire.address());
    Store {
        provider: "azblob",
        settings: format!(
            "endpoint = \"{endpoint}\"\naccount = \"{ACCOUNT}\"\nbucket = \"{BUCKET}\"\n\
             credentials = {{ env = \"CAIRNFS_TEST\" }}\n"
        ),
        keys: Some((ACCOUNT.to_owned(), ACCOUNT_KEY.to_owned())),
        contents: Box::new(client),
        wire,
        _server: server,
    }
}
