//! The rows of the matrix against doubles that answer as the facts say: hosted stores that no server
//! on this machine speaks for. What is assumed of a store is marked so in the table; `make test-live`
//! runs the same life of a volume against a real account.

use crate::support::cycle;
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
    /// Volumes work, the header is never sent.
    NeverSent,
    /// `volume create --sse` ends in a sentence with these words.
    Refused(&'static str),
}

const NO_SECOND_WRITER: Expected = Refused("does not refuse to create what exists");

use Batch::Deletes;
use Encryption::Echo;
use Encryption::Ignore;
use Encryption::Refuse400;
use Encryption::Refuse500;
use Encryption::Refuse501;
use Expected::Confirmed;
use Expected::NeverSent;
use Expected::Refused;
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

const CASES: [Case; 18] = [
    case("amazon-s3", Documented, (Echo, Conditions::Kept, Deletes), Confirmed),
    case("amazon-s3", Documented, (Echo, Conditions::Contended, Deletes), Confirmed),
    case("cloudflare-r2", Assumed, (Refuse501, Conditions::Kept, Deletes), NeverSent),
    case("tigris", Assumed, (Ignore, Conditions::Kept, Deletes), NeverSent),
    case("gcs", Assumed, (Ignore, Conditions::Ignored, Batch::None), NO_SECOND_WRITER),
    case("wasabi", Assumed, (Ignore, Conditions::Ignored, Deletes), NO_SECOND_WRITER),
    case("wasabi", Assumed, (Refuse400, Conditions::Ignored, Deletes), NO_SECOND_WRITER),
    case("wasabi", Assumed, (Echo, Conditions::Ignored, Deletes), NO_SECOND_WRITER),
    case("oci", Assumed, (Refuse400, Conditions::Ignored, Deletes), NO_SECOND_WRITER),
    case("backblaze-b2", Documented, (Echo, Conditions::Refused, Deletes), NO_SECOND_WRITER),
    case("s3", Documented, (Ignore, Conditions::Kept, Deletes), Refused("does not confirm")),
    case("s3", Documented, (Echo, Conditions::Ignored, Deletes), Refused("several writers")),
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
            Confirmed => {
                let sse = &cycle::whole_life(&volume)["sse"];
                assert!(sse["confirmed"].as_u64() > Some(0), "{sse}");
                assert_eq!(sse["unconfirmed"], 0, "{sse}");
                assert_eq!(double.puts_without_sse().len(), 0);
                assert_eq!(double.unencrypted(), [""; 0]);
            }
            NeverSent => {
                let sse = &cycle::whole_life(&volume)["sse"];
                assert!(sse["provider_default"].as_u64() > Some(0), "{sse}");
                assert_eq!((&sse["confirmed"], &sse["unconfirmed"]), (&0.into(), &0.into()));
                assert!(double.puts().iter().all(|put| put.sse.is_none()));
            }
        }
        assert_eq!(double.others_with_sse().len(), 0, "{provider}: the header where none belongs");
        assert_eq!(double.count(Action::CreateMultipartUpload), 0);
        assert!(double.record().iter().all(|seen| seen.status != 501), "{provider}: asked in vain");
    }
}

fn volume_at(provider: &str, double: &S3Double) -> TestVolume {
    let client = S3Client {
        endpoint: double.endpoint().to_owned(),
        access_key: s3_double::ACCESS_KEY.to_owned(),
        secret_key: s3_double::SECRET_KEY.to_owned(),
    };
    TestVolume::s3(provider, &client, s3_double::BUCKET, "prefix = \"cairn/\"\n")
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
    let mounted = volume.start(&["--sse", "--allow-unencrypted"]);
    let again = volume.try_start_at(mounted.dir(), &["-o", "sse,allow-unencrypted"]);
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    assert_eq!(mounted.status()["sse"]["asked"], "none");
    mounted.stop();
}
