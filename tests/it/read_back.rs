//! Stores that replace what exists: a volume keeps its one writer by reading back. The double
//! looks at no condition, as Google Cloud Storage does behind its S3-compatible API.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use crate::support::mounted::Mounted;
use crate::support::s3_client::S3Client;
use crate::support::s3_double;
use crate::support::s3_double::Action;
use crate::support::s3_double::S3Double;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

/// A double that refuses no condition, and a volume on it at some provider.
pub(crate) fn volume_at(provider: &str) -> (S3Double, TestVolume) {
    let double = S3Double::start();
    double.ignore_conditions();
    let client = S3Client {
        endpoint: double.endpoint().to_owned(),
        access_key: s3_double::ACCESS_KEY.to_owned(),
        secret_key: s3_double::SECRET_KEY.to_owned(),
    };
    let volume = TestVolume::s3(provider, &client, s3_double::BUCKET, "prefix = \"cairn/\"\n");
    (double, volume)
}

#[track_caller]
fn assert_reads_back(volume: &TestVolume) {
    let shown = volume.call("cairnfs", &["volume", "show", NAME, "--json"]);
    let shown = shown.expect_success("volume show").stdout;
    assert!(shown.contains("\"read-back\""), "{shown}");
}

/// That nothing was ever written twice with other bytes: the store would have replaced it.
#[track_caller]
fn assert_nothing_replaced(double: &S3Double) {
    let mut written = BTreeMap::<String, u32>::new();
    for put in double.puts() {
        *written.entry(put.key).or_default() += 1;
    }
    // Eight contenders create one object in the race by which the mode is chosen.
    written.retain(|key, puts| *puts > 1 && !key.contains("/meta/probe/race-"));
    assert!(written.is_empty(), "written more than once: {written:?}");
}

fn live(provider: &str) {
    let (double, volume) = volume_at(provider);
    let made = volume.call("cairnfs", &["volume", "create", NAME]);
    let took = made.took;
    made.expect_success("volume create");
    assert!(took < Duration::from_secs(5), "{provider}: creation took {took:?}");
    assert_reads_back(&volume);

    let dir = volume.mount_point("mnt");
    let started = volume.try_start_at(&dir, &[]);
    let mounted = Mounted::adopt(&volume, dir);
    assert!(started.stderr.contains("one LIST more"), "{provider}: {}", started.stderr);
    for n in 0..40_u64 {
        let bytes = tools::noise(n, usize::try_from(n * 997).unwrap());
        std::fs::write(mounted.path(&format!("file {n}")), bytes).unwrap();
    }
    let mut stream = File::create(mounted.path("stream")).unwrap();
    stream.write_all(&tools::noise(99, 9 << 20)).unwrap();
    stream.sync_all().unwrap();
    std::fs::rename(mounted.path("file 7"), mounted.path("moved")).unwrap();
    mounted.sync();
    drop(stream);
    mounted.kill9();

    let mounted = volume.start(&[]);
    assert!(std::fs::read(mounted.path("moved")).unwrap() == tools::noise(7, 7 * 997));
    assert!(std::fs::read(mounted.path("stream")).unwrap() == tools::noise(99, 9 << 20));
    std::fs::remove_file(mounted.path("stream")).unwrap();
    mounted.stop();
    volume.assert_sound();
    volume.call("cairnfs", &["gc", NAME]).expect_success("gc");
    let reader = volume.start(&["--read-only"]);
    assert!(std::fs::read(reader.path("moved")).unwrap() == tools::noise(7, 7 * 997));
    reader.stop();
    assert_nothing_replaced(&double);
    volume
        .call("cairnfs", &["volume", "delete", NAME, "--yes", NAME])
        .expect_success("volume delete");
    assert_eq!(double.keys(), [""; 0], "{provider}");
}

#[test]
fn a_volume_lives_at_google_cloud_storage_behind_its_s3_api() {
    live("gcs");
}

#[test]
fn a_volume_lives_at_wasabi() {
    live("wasabi");
}

#[test]
fn a_volume_lives_at_oracle() {
    live("oci");
}

#[test]
fn a_store_that_replaces_though_the_matrix_says_it_refuses_is_found_out() {
    let (_double, volume) = volume_at("amazon-s3");
    volume.create(&[]);
    assert_reads_back(&volume);
    volume
        .call("cairnfs", &["volume", "delete", NAME, "--yes", NAME])
        .expect_success("volume delete");
    let config = std::fs::read_to_string(volume.config()).unwrap();
    volume.write_config(&(config + "metadata.fencing = \"conditional-create\"\n"));
    let refused = volume.call("cairnfs", &["volume", "create", NAME]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("several writers create the same object"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_fsync_is_one_put_and_one_list() {
    let (double, volume) = volume_at("gcs");
    let mounted = volume.created(&[]);
    let mut file = File::create(mounted.path("log")).unwrap();
    file.write_all(b"first").unwrap();
    file.sync_all().unwrap();
    double.forget();
    for n in 0..5_u8 {
        file.write_all(&[n; 512]).unwrap();
        file.sync_all().unwrap();
    }
    let (puts, lists) = (double.count(Action::PutObject), double.count(Action::ListObjects));
    assert!((5..=6).contains(&puts) && (5..=7).contains(&lists), "{puts} PUTs, {lists} LISTs");
    assert_eq!(double.count(Action::GetObject) + double.count(Action::HeadObject), 0);
    drop(file);
    mounted.stop();
}

#[test]
fn lost_answers_fence_nobody_and_lose_nothing() {
    let (double, volume) = volume_at("gcs");
    let mounted = volume.created(&[]);
    let file = File::create(mounted.path("log")).unwrap();
    for n in 0..8_u8 {
        double.lose_answer_of_put(1);
        file.write_all_at(&[n; 100], u64::from(n) * 100).unwrap();
        file.sync_all().unwrap();
    }
    drop(file);
    mounted.kill9();
    let mounted = volume.start(&[]);
    let bytes = std::fs::read(mounted.path("log")).unwrap();
    assert!(
        bytes.chunks(100).enumerate().all(|(n, chunk)| chunk.iter().all(|b| usize::from(*b) == n))
    );
    assert_eq!(bytes.len(), 800);
    mounted.stop();
    volume.assert_sound();
}
