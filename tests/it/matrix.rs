//! The rows of the matrix against doubles that answer as the facts say: hosted stores that no
//! server on this machine speaks for. What is assumed of a store is marked so in the table;
//! `make test-live` runs the same life of a volume against a real account.

use crate::support::cycle;
use crate::support::mounted::Mounted;
use crate::support::s3_client::S3Client;
use crate::support::s3_double;
use crate::support::s3_double::Action;
use crate::support::s3_double::Conditions;
use crate::support::s3_double::Encryption;
use crate::support::s3_double::S3Double;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

/// What is known of how a store answers, and what the program does there.
struct Case {
    provider: &'static str,
    known: Known,
    /// What the store does with the header.
    encryption: Encryption,
    conditions: Conditions,
    batch: Batch,
    expected: Expected,
}

/// How the answers in a case are known (`providers.toml` has the sources).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Documented,
    Assumed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    Deletes,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Volumes work, each creation carries the header, each answer confirms it.
    Confirmed,
    /// Volumes work, each creation carries the header, no answer says anything of it.
    Silent,
    /// Volumes work, the header is refused when it is tried and not sent from then on.
    Omitted,
    /// Volumes work, the header is never sent.
    NeverSent,
    /// `volume create --sse` ends in a sentence with these words.
    Refused(&'static str),
}

use Batch::Deletes;
use Encryption::Echo;
use Encryption::Ignore;
use Encryption::Refuse400;
use Encryption::Refuse500;
use Encryption::Refuse501;
use Expected::Confirmed;
use Expected::NeverSent;
use Expected::Omitted;
use Expected::Refused;
use Expected::Silent;
use Known::Assumed;
use Known::Documented;

const fn case(
    provider: &'static str,
    known: Known,
    answers: (Encryption, Conditions, Batch),
    expected: Expected,
) -> Case {
    let (encryption, conditions, batch) = answers;
    Case { provider, known, encryption, conditions, batch, expected }
}

const CASES: [Case; 17] = [
    case("amazon-s3", Documented, (Echo, Conditions::Kept, Deletes), Confirmed),
    case("amazon-s3", Documented, (Echo, Conditions::Contended, Deletes), Confirmed),
    case("cloudflare-r2", Assumed, (Refuse501, Conditions::Kept, Deletes), NeverSent),
    case("tigris", Assumed, (Ignore, Conditions::Kept, Deletes), NeverSent),
    case("gcs", Assumed, (Ignore, Conditions::Ignored, Batch::None), Silent),
    case("wasabi", Assumed, (Ignore, Conditions::Ignored, Deletes), Silent),
    case("wasabi", Assumed, (Refuse400, Conditions::Ignored, Deletes), Omitted),
    case("wasabi", Assumed, (Echo, Conditions::Ignored, Deletes), Silent),
    case("oci", Assumed, (Refuse400, Conditions::Ignored, Deletes), NeverSent),
    case("backblaze-b2", Documented, (Echo, Conditions::Refused, Deletes), Confirmed),
    case("s3", Documented, (Ignore, Conditions::Kept, Deletes), Refused("does not confirm")),
    case("ceph-rgw", Documented, (Ignore, Conditions::Kept, Deletes), Refused("not confirm")),
    case("ceph-rgw", Documented, (Refuse400, Conditions::Kept, Deletes), Refused("not set up")),
    case("minio", Documented, (Refuse501, Conditions::Kept, Deletes), Refused("no key service")),
    case("seaweedfs", Documented, (Refuse500, Conditions::Kept, Deletes), Refused("without a key")),
    case("hetzner", Documented, (Ignore, Conditions::Kept, Deletes), Refused("--allow-unenc")),
    case("scaleway", Documented, (Refuse400, Conditions::Kept, Deletes), Refused("--allow-unenc")),
];

#[test]
fn each_row_works_as_its_store_answers_or_is_refused_in_a_sentence() {
    for case in CASES {
        let Case { provider, known, encryption, conditions, batch, expected } = case;
        println!("{provider} ({known:?}): {encryption:?}, {conditions:?}, {batch:?}");
        let double = S3Double::start();
        double.encryption(encryption);
        double.conditions(conditions);
        if batch == Batch::None {
            double.refuse_batch_deletes();
        }
        let volume = volume_at(provider, &double);
        match expected {
            Refused(words) => assert_refused(&volume, &double, words),
            _ => assert_lives(&volume, &double, expected),
        }
        assert_eq!(double.others_with_sse().len(), 0, "{provider}: the header where none belongs");
        assert_eq!(double.count(Action::CreateMultipartUpload), 0);
        assert!(double.record().iter().all(|seen| seen.status != 501), "{provider}: asked in vain");
    }
}

/// A whole life, and what it left in the record of the wire.
#[track_caller]
fn assert_lives(volume: &TestVolume, double: &S3Double, expected: Expected) {
    let sse = &cycle::whole_life(volume)["sse"];
    let by_posture = if expected == Confirmed { "confirmed" } else { "provider_default" };
    assert!(sse[by_posture].as_u64() > Some(0), "{sse}");
    assert_eq!((&sse["unconfirmed"], &sse["absent"]), (&0.into(), &0.into()), "{sse}");
    let (puts, bare) = (double.puts(), double.puts_without_sse());
    match expected {
        Confirmed => assert_eq!((bare.len(), double.unencrypted().len()), (0, 0), "{bare:?}"),
        Silent => assert_eq!(bare.len(), 0, "{bare:?}"),
        NeverSent => assert_eq!(bare.len(), puts.len(), "the header was sent"),
        Omitted => {
            let asked = puts.iter().filter(|put| put.sse.is_some());
            assert!(asked.clone().all(|put| put.status == 400), "only a probe asks");
            assert!(asked.count() > 0 && !bare.is_empty());
        }
        Refused(_) => unreachable!("a store that is refused has no life"),
    }
}

fn volume_at(provider: &str, double: &S3Double) -> TestVolume {
    let client = S3Client {
        endpoint: double.endpoint().to_owned(),
        access_key: s3_double::ACCESS_KEY.to_owned(),
        secret_key: s3_double::SECRET_KEY.to_owned(),
    };
    // An address takes no bucket before it, so that all are found by the path here.
    let by_path = format!(
        "prefix = \"cairn/\"\n[providers.{provider}.access]\naddressing = \"path\"\n\
         [providers.{provider}.evidence]\naccess = {{ confidence = \"assumed\", \
         kind = \"none\", date = \"2026-11\" }}\n"
    );
    TestVolume::s3(provider, &client, s3_double::BUCKET, &by_path)
}

/// One sentence with a hint, nothing left behind in the store.
#[track_caller]
fn assert_refused(volume: &TestVolume, double: &S3Double, words: &str) {
    let ended = volume.call("cairnfs", &["volume", "create", NAME, "--sse"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(words), "expected `{words}`: {}", ended.stderr);
    assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    assert_eq!(double.keys(), [""; 0]);
    double.forget();
}

#[test]
fn start_says_once_what_surprises_on_the_bill_and_that_the_header_is_omitted() {
    let double = S3Double::start();
    double.encryption(Refuse400);
    double.ignore_conditions();
    let volume = volume_at("wasabi", &double);
    volume.create(&["--sse"]);
    let started = volume.try_start(&[]).expect_success("start");
    let mounted = Mounted::adopt(&volume, volume.mount_point("mnt"));
    for words in ["charges 90 days", "refuses the encryption header"] {
        assert_eq!(started.stderr.matches(words).count(), 1, "{words}: {}", started.stderr);
    }
    mounted.stop();
}

#[test]
fn a_store_that_cannot_encrypt_is_used_when_that_is_allowed_and_said() {
    let volume = TestVolume::local();
    let refused = volume.call("cairnfs", &["volume", "create", NAME, "--sse"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("does not encrypt at rest"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow-unencrypted"), "{}", refused.stderr);
    assert!(refused.stderr.contains("end-to-end"), "{}", refused.stderr);
    let args = ["volume", "create", NAME, "--sse", "--allow-unencrypted"];
    let created = volume.call("cairnfs", &args).expect_success("volume create");
    assert!(created.stderr.contains("nothing is encrypted at rest"), "{}", created.stderr);
    let refused = volume.try_start(&["--sse"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow-unencrypted"), "{}", refused.stderr);
    let allowed = volume.try_start(&["--sse", "--allow-unencrypted"]).expect_success("start");
    assert!(allowed.stderr.contains("nothing is encrypted at rest"), "{}", allowed.stderr);
    let mounted = Mounted::adopt(&volume, volume.mount_point("mnt"));
    let again = volume.try_start_at(mounted.dir(), &["-o", "sse,allow-unencrypted"]);
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    assert_eq!(mounted.status()["sse"]["asked"], "none");
    mounted.stop();
}
