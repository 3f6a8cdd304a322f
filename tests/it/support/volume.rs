//! A volume of its own for each test: a config file, a store, mount points, and the binary under
//! its three names.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::mounted::Mounted;
use super::s3_client::S3Client;
use super::s3_double;
use super::s3_double::S3Double;
use super::servers;
use super::servers::Minio;
use super::servers::Store;
use super::tools;
use super::tools::Ended;

/// The volume's name in its config file.
pub const NAME: &str = "work";

/// No call of the binary may take longer, whatever it meets.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// A configured volume. It does not exist in its store before [`TestVolume::create`].
pub struct TestVolume {
    dir: TempDir,
    keys: Option<(String, String)>,
}

impl TestVolume {
    /// A volume in a directory.
    pub fn local() -> Self {
        let volume = Self { dir: tempfile::tempdir().unwrap(), keys: None };
        let store = volume.dir.path().join("store");
        std::fs::create_dir(&store).unwrap();
        volume.lay(&format!("provider = \"local\"\npath = \"{}\"\n", store.display()));
        volume
    }

    /// A volume on MinIO.
    pub fn minio(minio: &Minio) -> Self {
        Self::s3("minio", minio.client(), servers::BUCKET, "")
    }

    /// A volume at any of the real servers.
    pub fn at(store: &Store) -> Self {
        let volume = Self { dir: tempfile::tempdir().unwrap(), keys: store.keys.clone() };
        volume.lay(&format!("provider = \"{}\"\n{}", store.provider, store.settings));
        volume
    }

    /// A volume on the double, which the config takes for Amazon S3.
    pub fn amazon(double: &S3Double) -> Self {
        let client = S3Client {
            endpoint: double.endpoint().to_owned(),
            access_key: s3_double::ACCESS_KEY.to_owned(),
            secret_key: s3_double::SECRET_KEY.to_owned(),
        };
        Self::s3("amazon-s3", &client, s3_double::BUCKET, "prefix = \"cairn/\"\n")
    }

    /// A volume of any S3 row, with more lines for its table.
    pub fn s3(provider: &str, client: &S3Client, bucket: &str, more: &str) -> Self {
        let keys = (client.access_key.clone(), client.secret_key.clone());
        let mut volume = Self::with_table(&format!(
            "provider = \"{provider}\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
             bucket = \"{bucket}\"\ncredentials = {{ env = \"CAIRNFS_TEST\" }}\n{more}",
            client.endpoint
        ));
        volume.keys = Some(keys);
        volume
    }

    /// A volume whose table is given; keys come from the environment.
    pub fn with_table(table: &str) -> Self {
        let volume = Self { dir: tempfile::tempdir().unwrap(), keys: None };
        volume.lay(table);
        volume
    }

    fn lay(&self, table: &str) {
        self.write_config(&format!("[volumes.{NAME}]\n{table}"));
        std::fs::create_dir_all(self.mount_point("mnt")).unwrap();
        let names = self.dir.path().join("bin");
        std::fs::create_dir(&names).unwrap();
        for name in ["cairnfs", "mount.cairnfs", "umount.cairnfs"] {
            symlink(env!("CARGO_BIN_EXE_cairnfs"), names.join(name)).unwrap();
        }
    }

    /// Replaces the config file.
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    /// Where the binary tells what became of encryption.
    pub fn posture_log(&self) -> PathBuf {
        self.dir.path().join("posture.log")
    }

    /// The directory of a local volume's objects.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A directory of this volume's own, for whatever a test needs beside it.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Where `start_at(name)` mounts.
    pub fn mount_point(&self, name: &str) -> PathBuf {
        self.dir.path().join("at").join(name)
    }

    /// Wrong keys from now on.
    pub fn spoil_secret(&mut self) {
        if let Some((_, secret)) = &mut self.keys {
            "not-the-secret".clone_into(secret);
        }
    }

    /// The binary under one of its names, told of this volume's config.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.dir.path().join("bin").join(name));
        self.tell(&mut command);
        command
    }

    /// Adds what the binary needs to find this volume, for a program that calls it in turn.
    pub fn tell(&self, command: &mut Command) {
        command.env("CAIRNFS_CONFIG", self.config());
        command.env("CAIRNFS_POSTURE_LOG", self.posture_log());
        if let Some((access_key, secret_key)) = &self.keys {
            command.env("CAIRNFS_TEST_ACCESS_KEY_ID", access_key);
            command.env("CAIRNFS_TEST_SECRET_ACCESS_KEY", secret_key);
        }
    }

    /// Runs the binary under one of its names.
    pub fn call(&self, name: &str, args: &[&str]) -> Ended {
        tools::run(self.command(name).args(args), CALL_LIMIT)
    }

    /// Makes the volume in its store.
    #[track_caller]
    pub fn create(&self, args: &[&str]) {
        let args = [&["volume", "create", NAME], args].concat();
        self.call("cairnfs", &args).expect_success("volume create");
    }

    /// Makes and mounts it.
    #[track_caller]
    pub fn created(&self, args: &[&str]) -> Mounted<'_> {
        self.create(args);
        self.start(&[])
    }

    /// Mounts it; panics if that fails.
    #[track_caller]
    pub fn start(&self, args: &[&str]) -> Mounted<'_> {
        self.start_at("mnt", args)
    }

    /// Mounts it at a mount point of that name.
    #[track_caller]
    pub fn start_at(&self, name: &str, args: &[&str]) -> Mounted<'_> {
        let dir = self.mount_point(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.try_start_at(&dir, args).expect_success("start");
        Mounted::adopt(self, dir)
    }

    /// Tries to mount it and tells how that ended.
    pub fn try_start(&self, args: &[&str]) -> Ended {
        self.try_start_at(&self.mount_point("mnt"), args)
    }

    /// Tries to mount it at a directory and tells how that ended.
    pub fn try_start_at(&self, dir: &Path, args: &[&str]) -> Ended {
        let dir = dir.to_str().unwrap();
        self.call("mount.cairnfs", &[&["start", NAME, dir], args].concat())
    }

    /// Checks the whole volume; panics with what was found, if anything was.
    #[track_caller]
    pub fn assert_sound(&self) {
        self.call("cairnfs", &["fsck", NAME]).expect_success("fsck");
    }
}
