//! What goes over the wire, seen by a double that answers as Amazon S3 does: the header on every
//! creation and nowhere else, nothing trusted that is not confirmed, faults outlived.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use crate::support::mounted::Mounted;
use crate::support::s3_double::Action;
use crate::support::s3_double::Encryption;
use crate::support::s3_double::Presence;
use crate::support::s3_double::S3Double;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const EIO: i32 = 5;
const EROFS: i32 = 30;
const LIMIT: Duration = Duration::from_secs(60);

/// A little of everything that makes objects: data of all sizes, names, removals, an fsync.
fn work(mounted: &Mounted<'_>) {
    for n in 0..200_u64 {
        let size = usize::try_from(n * 509).unwrap();
        std::fs::write(mounted.path(&format!("small {n}")), tools::noise(n, size)).unwrap();
    }
    let mut stream = File::create(mounted.path("stream")).unwrap();
    for n in 0..20 {
        stream.write_all(&tools::noise(n, 1 << 20)).unwrap();
    }
    stream.sync_all().unwrap();
    std::fs::create_dir(mounted.path("dir")).unwrap();
    for n in 0..100 {
        let to = mounted.path(&format!("dir/{n}"));
        std::fs::rename(mounted.path(&format!("small {n}")), to).unwrap();
    }
    std::fs::remove_file(mounted.path("stream")).unwrap();
    mounted.sync();
    let moved = std::fs::read(mounted.path("dir/99")).unwrap();
    assert!(moved == tools::noise(99, 99 * 509));
}

#[track_caller]
fn assert_clean_record(double: &S3Double) {
    let bare = double.puts_without_sse();
    assert!(bare.is_empty(), "{} creations without the header, first {:?}", bare.len(), bare[0]);
    let wrong = double.others_with_sse();
    assert!(wrong.is_empty(), "{} others with the header, first {:?}", wrong.len(), wrong[0]);
    let refused: Vec<_> =
        double.record().into_iter().filter(|seen| matches!(seen.status, 400 | 403)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(double.unencrypted(), [""; 0]);
}

#[test]
fn a_whole_session_carries_the_header_on_every_put_and_on_nothing_else() {
    let double = S3Double::start();
    double.demand_encryption();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&["--sse"]);
    work(&mounted);
    mounted.stop();
    let mounted = volume.start(&[]);
    let moved = std::fs::read(mounted.path("dir/42")).unwrap();
    assert!(moved == tools::noise(42, 42 * 509));
    std::fs::write(mounted.path("later"), tools::noise(7, 5 << 20)).unwrap();
    mounted.stop();
    volume.assert_sound();
    volume.call("cairnfs", &["gc", NAME]).expect_success("gc");
    assert_clean_record(&double);
    assert!(double.puts().len() > 5 && double.count(Action::GetObject) > 0);
    assert_eq!(double.count(Action::CreateMultipartUpload), 0, "each object is one PUT");
    let named = double.record().into_iter().filter(|seen| seen.action != Action::DeleteObjects);
    let outside: Vec<_> = named.filter(|seen| !seen.key.starts_with("cairn/")).collect();
    assert!(outside.is_empty(), "outside of the prefix: {outside:?}");
}

#[test]
fn encryption_asked_for_later_holds_from_then_on() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&[]);
    let mounted = volume.start(&["--sse"]);
    std::fs::write(mounted.path("a"), tools::noise(1, 1 << 20)).unwrap();
    mounted.stop();
    double.forget();
    double.demand_encryption();
    let mounted = volume.start(&[]);
    std::fs::write(mounted.path("b"), tools::noise(2, 1 << 20)).unwrap();
    mounted.stop();
    assert!(double.puts_without_sse().is_empty());
    let weaker = volume.try_start(&["--sse=none"]);
    assert_eq!(weaker.code, Some(1), "{}", weaker.stderr);
    assert!(weaker.stderr.contains("volume set"), "{}", weaker.stderr);
}

#[test]
fn a_store_that_stops_confirming_makes_fsync_fail_and_status_says_why() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    std::fs::write(mounted.path("before"), b"confirmed").unwrap();
    mounted.sync();
    double.encryption(Encryption::Ignore);
    let mut file = File::create(mounted.path("after")).unwrap();
    file.write_all(&tools::noise(1, 1 << 20)).unwrap();
    let refused = file.sync_all().unwrap_err().raw_os_error();
    assert!(matches!(refused, Some(EIO | EROFS)), "fsync answered {refused:?}");
    let status = mounted.status();
    assert!(status["sse"]["unconfirmed"].as_u64() > Some(0), "{status}");
    assert!(status["sse"]["first_unconfirmed"].is_string(), "{status}");
    let said = status["store"]["last_error"].as_str().unwrap_or("");
    assert!(said.contains("encrypt"), "{status}");
    assert_eq!(std::fs::read(mounted.path("before")).unwrap(), b"confirmed");
    drop(mounted);

    double.encryption(Encryption::Echo);
    let mounted = volume.start(&["--takeover"]);
    assert_eq!(std::fs::read(mounted.path("before")).unwrap(), b"confirmed");
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn a_store_that_cannot_encrypt_ends_in_one_sentence_within_five_seconds() {
    for (encryption, said) in [
        (Encryption::Refuse501, "501"),
        (Encryption::Refuse400, "400"),
        (Encryption::Refuse500, "500"),
        (Encryption::Ignore, "confirm"),
    ] {
        let double = S3Double::start();
        double.encryption(encryption);
        let volume = TestVolume::amazon(&double);
        let ended = volume.call("cairnfs", &["volume", "create", NAME, "--sse"]);
        assert_eq!(ended.code, Some(1), "{encryption:?}: {}", ended.stderr);
        assert!(ended.took < Duration::from_secs(5), "{encryption:?} took {:?}", ended.took);
        assert!(ended.stderr.contains(said), "{encryption:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    }
}

#[test]
fn a_refusal_between_create_and_mount_ends_the_mount_as_fast() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    double.encryption(Encryption::Refuse500);
    let ended = volume.try_start(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(5), "it took {:?}", ended.took);
    double.encryption(Encryption::Echo);
    volume.start(&[]).stop();
}

#[test]
fn an_answer_lost_after_the_store_applied_it_loses_nothing_and_fences_nobody() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    for n in 0..12_u64 {
        double.lose_answer_of_put(1 + n % 3);
        let mut file = File::create(mounted.path(&format!("{n}"))).unwrap();
        file.write_all(&tools::noise(n, 200_000)).unwrap();
        file.sync_all().unwrap();
    }
    mounted.kill9();
    let mounted = volume.start(&[]);
    for n in 0..12_u64 {
        let bytes = std::fs::read(mounted.path(&format!("{n}"))).unwrap();
        assert!(bytes == tools::noise(n, 200_000), "file {n} differs");
    }
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn an_answer_lost_by_a_store_that_does_not_confirm_makes_fsync_fail() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    mounted.sync();
    double.encryption(Encryption::Ignore);
    // The next try meets the object of this one, whose answer proved nothing.
    double.lose_answer_of_put(1);
    let mut file = File::create(mounted.path("file")).unwrap();
    file.write_all(b"a few bytes, which go with the commit").unwrap();
    let refused = file.sync_all().unwrap_err().raw_os_error();
    assert!(matches!(refused, Some(EIO | EROFS)), "fsync answered {refused:?}");
    let status = mounted.status();
    assert!(status["sse"]["unconfirmed"].as_u64() > Some(0), "{status}");
}

#[test]
fn a_change_of_policy_that_failed_halfway_is_made_whole_by_another_try() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    let mounted = volume.created(&[]);
    // The probe's object is confirmed; the record is stored and is not.
    double.encryption(Encryption::StopConfirmingAfter(1));
    let set = ["volume", "set", NAME, "--sse", "aes256"];
    assert_eq!(volume.call("cairnfs", &set).code, Some(1));
    let log = std::fs::read_to_string(volume.posture_log()).unwrap();
    assert!(log.contains("may ask for `aes256` now, no more `none`"), "{log}");
    double.encryption(Encryption::Echo);
    volume.call("cairnfs", &set).expect_success("volume set");
    double.forget();
    std::fs::write(mounted.path("file"), tools::noise(1, 5 << 20)).unwrap();
    mounted.sync();
    assert!(double.puts().len() >= 2);
    assert_eq!(double.puts_without_sse().len(), 0, "{:?}", double.puts_without_sse());
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn a_store_that_is_away_is_waited_for_while_status_answers() {
    for presence in [Presence::Gone, Presence::Busy] {
        let double = S3Double::start();
        let volume = TestVolume::amazon(&double);
        volume.create(&["--sse"]);
        let mounted = volume.start(&[]);
        std::fs::write(mounted.path("before"), b"x").unwrap();
        mounted.sync();
        double.presence(presence);
        let path = mounted.path("while away");
        let writer = std::thread::spawn(move || {
            let mut file = File::create(path)?;
            file.write_all(&tools::noise(1, 2 << 20))?;
            file.sync_all()
        });
        tools::wait_for("status to say that the store is away", LIMIT, || {
            let status = mounted.status();
            let away = !status["store"]["last_error"].is_null();
            (away && status["store"]["state"] != "ready").then_some(())
        });
        assert!(!writer.is_finished(), "{presence:?}: fsync waits, it does not lie or fail");
        double.presence(Presence::There);
        writer.join().unwrap().unwrap();
        mounted.stop();
        volume.assert_sound();
        let mounted = volume.start(&[]);
        assert!(std::fs::read(mounted.path("while away")).unwrap() == tools::noise(1, 2 << 20));
        mounted.stop();
    }
}
