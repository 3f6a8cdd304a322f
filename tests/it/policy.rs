//! A volume's policy is changed while it is mounted: what is written from then on is held to it.

use std::fs;
use std::time::Duration;

use crate::support::s3_double::Encryption;
use crate::support::s3_double::S3Double;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

#[test]
fn a_mount_follows_a_change_of_its_volumes_encryption_at_once() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    let mounted = volume.created(&[]);
    let mebibytes = vec![7; 5 << 20];
    fs::write(mounted.path("plain"), &mebibytes).unwrap();
    mounted.sync();
    assert_eq!(mounted.status()["sse"]["asked"], "none");
    let requests_before = mounted.status()["requests"]["put"].as_u64().unwrap();

    let ended = volume.call("cairnfs", &["volume", "set", NAME, "--sse", "aes256"]);
    let said = ended.expect_success("volume set").stderr;
    assert!(said.contains("from now on"), "{said}");
    double.forget();
    fs::write(mounted.path("sealed"), &mebibytes).unwrap();
    mounted.sync();
    assert!(double.puts().len() >= 2, "a block and a commit");
    assert_eq!(double.puts_without_sse().len(), 0, "{:?}", double.puts_without_sse());
    let status = mounted.status();
    assert_eq!(status["sse"]["asked"], "aes256");
    assert_eq!(status["sse"]["verify"], "strict");
    assert!(status["sse"]["confirmed"].as_u64().unwrap() >= 2, "{status}");
    assert!(status["requests"]["put"].as_u64().unwrap() > requests_before, "counts go on");

    // What the store cannot do is refused, and nothing changes.
    double.encryption(Encryption::Refuse501);
    let refused = volume.call("cairnfs", &["volume", "set", NAME, "--sse", "kms:key"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    double.encryption(Encryption::Echo);
    assert_eq!(mounted.status()["sse"]["asked"], "aes256");

    volume.call("cairnfs", &["volume", "set", NAME, "--sse", "none"]).expect_success("set");
    double.forget();
    fs::write(mounted.path("plain again"), &mebibytes).unwrap();
    mounted.sync();
    let puts = double.puts();
    assert!(!puts.is_empty() && puts.iter().all(|put| put.sse.is_none()), "{puts:?}");
    for name in ["plain", "sealed", "plain again"] {
        assert!(fs::read(mounted.path(name)).unwrap() == mebibytes, "{name} differs");
    }
    let log = status["sse"]["posture_log"].as_str().expect("status names the log").to_owned();
    mounted.stop();
    volume.assert_sound();
    let events = fs::read_to_string(&log).unwrap();
    let events: Vec<_> = events.lines().collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].ends_with("asks for `aes256` now, no more `none`"), "{events:?}");
    assert!(events[1].ends_with("asks for `none` now, no more `aes256`"), "{events:?}");
}

#[test]
fn the_first_write_that_is_not_confirmed_stands_in_the_posture_log() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    double.encryption(Encryption::Ignore);
    fs::write(mounted.path("file"), vec![7; 5 << 20]).unwrap();
    let told = tools::within(Duration::from_secs(30), || {
        let log = fs::read_to_string(volume.posture_log()).unwrap_or_default();
        log.contains("does not confirm that an object is encrypted, the first since the start: `")
    });
    assert!(told, "{:?}", fs::read_to_string(volume.posture_log()));
    drop(mounted);
    let log = fs::read_to_string(volume.posture_log()).unwrap();
    assert_eq!(log.matches("the first since the start").count(), 1, "{log}");
}
