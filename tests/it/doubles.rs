//! The test doubles are what they claim to be: the S3 double answers as Amazon S3, MinIO and
//! SeaweedFS encrypt with a key and refuse without one.

use crate::support::s3_client::Answer;
use crate::support::s3_client::S3Client;
use crate::support::s3_double;
use crate::support::s3_double::Action;
use crate::support::s3_double::Conditions;
use crate::support::s3_double::Encryption;
use crate::support::s3_double::Presence;
use crate::support::s3_double::S3Double;
use crate::support::servers::BUCKET;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::servers::seaweed::Seaweed;

const SSE: (&str, &str) = ("x-amz-server-side-encryption", "AES256");

fn client_of(double: &S3Double) -> S3Client {
    S3Client {
        endpoint: double.endpoint().to_owned(),
        access_key: s3_double::ACCESS_KEY.to_owned(),
        secret_key: s3_double::SECRET_KEY.to_owned(),
    }
}

fn put(client: &S3Client, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    client.send("PUT", &format!("/{BUCKET}/{key}"), "", headers, body).unwrap()
}

#[test]
fn the_double_stores_lists_and_removes() {
    let double = S3Double::start();
    let client = client_of(&double);
    for n in 0..5 {
        assert_eq!(put(&client, &format!("a/{n} ü"), &[], b"body").status, 200);
    }
    assert_eq!(client.keys(BUCKET).len(), 5);
    let page = client.send("GET", "/bucket", "list-type=2&max-keys=2&prefix=a%2F", &[], b"");
    let page = page.unwrap().body;
    assert!(page.contains("<IsTruncated>true</IsTruncated>"), "{page}");
    let range = [("range", "bytes=1-2")];
    let part = client.send("GET", "/bucket/a/0 ü", "", &range, b"").unwrap();
    assert_eq!((part.status, part.body.as_str()), (206, "od"));
    assert_eq!(client.send("DELETE", "/bucket/a/0 ü", "", &[], b"").unwrap().status, 204);
    assert_eq!(client.send("GET", "/bucket/a/0 ü", "", &[], b"").unwrap().status, 404);
    assert_eq!(double.keys().len(), 4);
}

#[test]
fn the_double_takes_the_sse_header_only_where_amazon_does() {
    let double = S3Double::start();
    let client = client_of(&double);
    double.demand_encryption();
    assert_eq!(put(&client, "k", &[], b"x").status, 403);
    let confirmed = put(&client, "k", &[SSE], b"x");
    assert_eq!(confirmed.header(SSE.0), Some("AES256"));
    assert_eq!(client.encryption(BUCKET, "k").as_deref(), Some("AES256"));
    for method in ["GET", "HEAD"] {
        let refused = client.send(method, "/bucket/k", "", &[SSE], b"").unwrap();
        assert_eq!(refused.status, 400, "{method}");
    }
    let begun = client.send("POST", "/bucket/m", "uploads=", &[SSE], b"").unwrap();
    assert_eq!(begun.status, 200, "{}", begun.body);
    let query = "partNumber=1&uploadId=upload-1";
    let part = client.send("PUT", "/bucket/m", query, &[SSE], b"x").unwrap();
    assert_eq!(part.status, 400);
    assert_eq!(double.puts_without_sse().len(), 1);
    assert_eq!(double.others_with_sse().len(), 3);
    assert!(double.unencrypted().is_empty());
}

#[test]
fn the_double_creates_only_what_is_absent_when_asked_so() {
    let double = S3Double::start();
    let client = client_of(&double);
    let absent = [("if-none-match", "*")];
    let first = put(&client, "k", &absent, b"1");
    assert_eq!(first.status, 200);
    assert_eq!(put(&client, "k", &absent, b"2").status, 412);
    let etag = first.header("etag").unwrap();
    assert_eq!(put(&client, "k", &[("if-match", etag)], b"3").status, 200);
    assert_eq!(put(&client, "k", &[("if-match", etag)], b"4").status, 412);
    double.ignore_conditions();
    assert_eq!(put(&client, "k", &absent, b"5").status, 200);
    double.conditions(Conditions::Refused);
    assert_eq!(put(&client, "new", &absent, b"6").status, 501);
    double.conditions(Conditions::Contended);
    assert_eq!(put(&client, "new", &absent, b"7").status, 409);
    assert_eq!(put(&client, "new", &absent, b"8").status, 200);
    assert_eq!(put(&client, "new", &absent, b"9").status, 412);
}

#[test]
fn the_double_breaks_when_told_to() {
    let double = S3Double::start();
    let client = client_of(&double);
    double.encryption(Encryption::StopConfirmingAfter(1));
    assert!(put(&client, "a", &[SSE], b"x").header(SSE.0).is_some());
    assert!(put(&client, "b", &[SSE], b"x").header(SSE.0).is_none());
    assert_eq!(double.unencrypted(), ["b"]);
    double.encryption(Encryption::Refuse501);
    assert_eq!(put(&client, "c", &[SSE], b"x").status, 501);
    double.encryption(Encryption::Echo);
    double.lose_answer_of_put(1);
    let path = format!("/{BUCKET}/lost");
    assert!(client.send("PUT", &path, "", &[], b"x").is_err());
    assert!(double.object("lost").is_some(), "it is applied all the same");
    double.presence(Presence::Gone);
    assert!(client.send("GET", &path, "", &[], b"").is_err());
    double.presence(Presence::Busy);
    assert_eq!(client.send("GET", &path, "", &[], b"").unwrap().status, 503);
    double.presence(Presence::There);
    assert_eq!(client.send("GET", &path, "", &[], b"").unwrap().status, 200);
    assert_eq!(double.count(Action::GetObject), 2);
}

#[test]
fn minio_encrypts_with_a_key_and_refuses_without() {
    let minio = Minio::start(Key::Present);
    let client = minio.client();
    assert_eq!(put(client, "a/k", &[SSE], b"x").status, 200);
    assert_eq!(put(client, "plain", &[], b"x").status, 200);
    assert_eq!(client.keys(BUCKET), ["a/k", "plain"]);
    assert_eq!(client.encryption(BUCKET, "a/k").as_deref(), Some("AES256"));
    assert_eq!(client.encryption(BUCKET, "plain"), None);
    let keyless = Minio::start(Key::Absent);
    assert_eq!(put(keyless.client(), "k", &[SSE], b"x").status, 501);
}

#[test]
fn seaweedfs_encrypts_with_a_key_and_fails_without() {
    let seaweed = Seaweed::start(Key::Present);
    assert_eq!(put(seaweed.client(), "k", &[SSE], b"x").status, 200);
    assert_eq!(seaweed.client().encryption(BUCKET, "k").as_deref(), Some("AES256"));
    let keyless = Seaweed::start(Key::Absent);
    assert_eq!(put(keyless.client(), "k", &[SSE], b"x").status, 500);
}
