//! Ceph RGW: one monitor, one storage daemon in memory, and gateways of different settings before
//! them. Debian's 16.2 is the store that answers 200 to a write with the encryption header and
//! stores plain text: the case for which every answer is checked.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::ACCESS_KEY;
use super::SECRET_KEY;
use super::Server;
use super::Store;
use super::client_of;
use super::free_port;
use crate::support::tools;

/// The one key that the gateway's own key service knows.
pub const KMS_KEY: &str = "testkey-1";

const STEP_LIMIT: Duration = Duration::from_secs(60);

/// How a gateway is set up to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// As it comes: encryption over TLS only.
    Default,
    /// As behind a TLS proxy: it believes that requests came over TLS.
    BehindTls,
    /// The same, with a key service.
    WithKeys,
}

/// A running cluster. Gateways end before it does.
pub struct Ceph {
    dir: Arc<TempDir>,
    _osd: Server,
    _mon: Server,
}

impl Ceph {
    /// Starts a monitor and a storage daemon.
    pub fn start() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let at = dir.path();
        for part in ["mon", "osd", "run", "rgw"] {
            std::fs::create_dir(at.join(part)).unwrap();
        }
        let cluster = uuid();
        std::fs::write(at.join("ceph.conf"), cluster_settings(at, &cluster)).unwrap();
        make_keyring(at);
        let monmap = at.join("monmap");
        tool(at, "monmaptool", &["--create", "--clobber", "--fsid", &cluster, "--addv", "a"])
            .then(&[&mon_address(at), monmap.to_str().unwrap()]);
        let keyring = at.join("keyring");
        tool(at, "ceph-mon", &["--mkfs", "-i", "a", "--monmap"]).then(&[
            monmap.to_str().unwrap(),
            "--keyring",
            keyring.to_str().unwrap(),
        ]);
        let mon = daemon(&dir, "ceph-mon", &["-i", "a"]);
        let osd = uuid();
        // It waits until the monitor answers.
        tool(at, "ceph", &["--connect-timeout", "30", "osd", "new"]).then(&[&osd]);
        tool(at, "ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid"]).then(&[&osd]);
        let osd = daemon(&dir, "ceph-osd", &["-i", "0"]);
        tool(at, "radosgw-admin", &["--id", "rgw.a", "user", "create", "--uid", "t"]).then(&[
            "--display-name",
            "t",
            "--access-key",
            ACCESS_KEY,
            "--secret-key",
            SECRET_KEY,
        ]);
        Self { dir, _osd: osd, _mon: mon }
    }

    /// Makes a user who owns nothing, and gives it keys: access key, secret.
    pub fn user(&self, uid: &str) -> (String, String) {
        let (access, secret) = (format!("{uid}-key"), format!("{uid}-secret"));
        tool(self.dir.path(), "radosgw-admin", &["--id", "rgw.a", "user", "create", "--uid", uid])
            .then(&["--display-name", uid, "--access-key", &access, "--secret-key", &secret]);
        (access, secret)
    }

    /// Starts a gateway and makes the bucket; all gateways show the same buckets.
    pub fn gateway(&self, gateway: Gateway) -> Store {
        let address = format!("127.0.0.1:{}", free_port());
        let settings = match gateway {
            Gateway::Default => String::new(),
            Gateway::BehindTls => "rgw crypt require ssl = false\n".to_owned(),
            Gateway::WithKeys => format!(
                "rgw crypt require ssl = false\nrgw crypt s3 kms backend = testing\n\
                 rgw crypt s3 kms encryption keys = \
                 {KMS_KEY}=Y2Fpcm5mcy10ZXN0LWtleS1vZi0zMi1ieXRlcy4uLi4=\n"
            ),
        };
        let at = self.dir.path();
        let cluster = std::fs::read_to_string(at.join("ceph.conf")).unwrap();
        let conf = at.join(format!("{gateway:?}.conf"));
        let data = at.join("rgw").display().to_string();
        let whole = format!(
            "{cluster}[client.rgw.a]\nrgw frontends = beast endpoint={address}\n\
             rgw data = {data}\n{settings}"
        );
        std::fs::write(&conf, whole).unwrap();
        let mut command = Command::new("radosgw");
        command.args(["-n", "client.rgw.a", "-f"]).env("CEPH_CONF", conf);
        let server = Server::start(&format!("radosgw-{gateway:?}"), command, self.dir.clone());
        let client = client_of(&address);
        server.make_bucket(&client);
        Store::s3("ceph-rgw", server, client)
    }
}

fn cluster_settings(at: &Path, cluster: &str) -> String {
    let dir = at.display();
    let (v2, v1) = (free_port(), free_port());
    format!(
        "[global]\nfsid = {cluster}\nmon initial members = a\n\
         mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]\nkeyring = {dir}/keyring\n\
         public addr = 127.0.0.1\ncluster addr = 127.0.0.1\n\
         osd pool default size = 1\nosd pool default min size = 1\nosd pool default pg num = 1\n\
         osd pool default pg autoscale mode = off\nmon allow pool size one = true\n\
         mon warn on pool no redundancy = false\nosd crush chooseleaf type = 0\n\
         osd objectstore = memstore\nmemstore device bytes = 1G\n\
         osd class load list = *\nosd class default list = *\n\
         run dir = {dir}/run\nadmin socket = {dir}/run/$name-$pid.asok\n\
         log file = {dir}/$name.log\nmon data = {dir}/mon\nosd data = {dir}/osd\n"
    )
}

/// What the settings say of the monitor's address.
fn mon_address(at: &Path) -> String {
    let settings = std::fs::read_to_string(at.join("ceph.conf")).unwrap();
    let line = settings.lines().find_map(|line| line.strip_prefix("mon host = ")).unwrap();
    line.to_owned()
}

/// Keys for all who talk to the cluster; the gateway insists on them.
fn make_keyring(at: &Path) {
    let keyring = at.join("keyring");
    let keyring = keyring.to_str().unwrap();
    let all = ["--cap", "mon", "allow *"];
    tool(at, "ceph-authtool", &["--create-keyring", keyring, "--gen-key", "-n", "mon."]).then(&all);
    for name in ["client.admin", "client.rgw.a", "osd.0"] {
        let more = ["--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
        tool(at, "ceph-authtool", &[keyring, "--gen-key", "-n", name])
            .then(&[&all[..], &more[..]].concat());
    }
}

struct Tool(Command);

fn tool(at: &Path, name: &str, args: &[&str]) -> Tool {
    let mut command = Command::new(name);
    command.args(args).env("CEPH_CONF", at.join("ceph.conf"));
    Tool(command)
}

impl Tool {
    fn then(mut self, args: &[&str]) {
        let shown = format!("{:?}", self.0.get_program());
        tools::run(self.0.args(args), STEP_LIMIT).expect_success(&shown);
    }
}

fn daemon(dir: &Arc<TempDir>, name: &str, args: &[&str]) -> Server {
    let mut command = Command::new(name);
    command.args(args).arg("-f").env("CEPH_CONF", dir.path().join("ceph.conf"));
    Server::start(name, command, dir.clone())
}

fn uuid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned()
}
