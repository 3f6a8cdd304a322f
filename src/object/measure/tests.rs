//! How a measurement is judged, and that the row made of one is read back as it was meant.

use super::*;
use crate::provider::Day;
use crate::provider::Matrix;
use crate::provider::Provider;
use crate::provider::SseRequest;

fn reply(status: u16, told: Option<&str>) -> Reply {
    Reply { status, told: told.map(str::to_owned), ..Reply::default() }
}

fn asked(wanted: Option<&'static str>, write: Option<&str>, head: Option<&str>) -> Asked {
    Asked { wanted, write: reply(200, write), head: Some(reply(200, head)) }
}

fn refused(status: u16, code: &str) -> Asked {
    let write = Reply { code: Some(code.to_owned()), ..reply(status, None) };
    Asked { wanted: Some("AES256"), write, head: None }
}

/// A store that does everything, over the network.
fn sound() -> Measurement {
    Measurement {
        clock_ahead_seconds: Some(0),
        region_ignored: Some(true),
        plain: asked(None, None, None),
        aes256: Some(asked(Some("AES256"), Some("AES256"), Some("AES256"))),
        copy: Some(asked(Some("AES256"), Some("AES256"), Some("AES256"))),
        kms: Some(refused(400, "InvalidArgument")),
        dsse: Some(refused(400, "InvalidArgument")),
        customer_key: Some(asked(Some("AES256"), Some("AES256"), Some("AES256"))),
        create_existing: reply(412, None),
        race_winners: vec![1],
        conditional_update: Some(true),
        lists_at_once: true,
        ranges: Some(true),
        batch_delete: Some(true),
        crc32c: Some(true),
        ..Measurement::default()
    }
}

/// What is left of it when trouble kept the store from answering.
fn in_trouble() -> Measurement {
    Measurement {
        aes256: None,
        copy: None,
        create_existing: reply(503, None),
        race_winners: Vec::new(),
        conditional_update: None,
        ranges: None,
        batch_delete: None,
        crc32c: None,
        ..sound()
    }
}

fn row(name: &str) -> Provider {
    Provider::clone(&Matrix::builtin().unwrap().provider(name).unwrap())
}

fn contradicted(measured: &Measurement, row: &Provider) -> Vec<&'static str> {
    let findings = measured.findings(row).into_iter();
    findings.filter(|each| each.verdict == Verdict::Contradicts).map(|each| each.about).collect()
}

/// Each way in which a store can be other than MinIO's row says.
fn deviants() -> Vec<(Measurement, &'static [&'static str])> {
    let aes = Some("AES256");
    vec![
        (sound(), &[]),
        (
            Measurement { aes256: Some(asked(aes, None, None)), copy: None, ..sound() },
            &["sse.request"],
        ),
        (Measurement { aes256: Some(asked(aes, None, aes)), ..sound() }, &["sse.request"]),
        (Measurement { aes256: Some(refused(501, "NotImplemented")), copy: None, ..sound() }, &[]),
        (
            Measurement { aes256: Some(refused(403, "Forbidden")), copy: None, ..sound() },
            &["sse.request"],
        ),
        (Measurement { copy: Some(asked(aes, None, aes)), ..sound() }, &[]),
        (Measurement { copy: Some(asked(aes, None, None)), ..sound() }, &["sse.copy-keeps"]),
        (
            Measurement { create_existing: reply(200, None), ..sound() },
            &["objects.conditional-create"],
        ),
        (
            Measurement { create_existing: reply(409, None), ..sound() },
            &["objects.conditional-create"],
        ),
        (
            Measurement { create_existing: reply(500, None), ..sound() },
            &["objects.conditional-create"],
        ),
        (in_trouble(), &[]),
        (Measurement { race_winners: vec![1, 2], ..sound() }, &["objects.conditional-create"]),
        (
            Measurement { conditional_update: Some(false), ..sound() },
            &["objects.conditional-update"],
        ),
        (Measurement { batch_delete: Some(false), ..sound() }, &["objects.delete"]),
        (Measurement { lists_at_once: false, ..sound() }, &["list after write"]),
        (Measurement { clock_ahead_seconds: Some(-3600), ..sound() }, &["clock"]),
        (Measurement { region_ignored: Some(false), ..sound() }, &["access.region"]),
    ]
}

#[test]
fn a_store_that_is_other_than_its_row_is_found_out() {
    for (measured, expected) in deviants() {
        assert_eq!(contradicted(&measured, &row("minio")), expected, "{measured:?}");
    }
}

#[test]
fn a_row_made_of_a_measurement_is_read_back_and_agrees_with_it() {
    let today: Day = "2026-11-24".parse().unwrap();
    for (measured, expected) in deviants() {
        let text = measured.toml("lab", &row("minio"), today);
        let matrix = Matrix::builtin().unwrap().with_user_file(&text, "lab.toml");
        let matrix = matrix.unwrap_or_else(|error| panic!("{error}:\n{text}"));
        let lab = matrix.provider("lab").unwrap();
        // No row can make up for a wrong clock, or for a list that lags behind.
        let of_no_row = ["clock", "list after write"];
        let left: Vec<_> = expected.iter().copied().filter(|e| of_no_row.contains(e)).collect();
        assert_eq!(contradicted(&measured, &lab), left, "{text}");
    }
}

#[test]
fn passing_trouble_is_no_measurement_and_stands_in_no_row() {
    let text = in_trouble().toml("lab", &row("minio"), "2026-11-24".parse().unwrap());
    for words in ["503", "conditional", "refusals", "request", "delete"] {
        assert!(!text.contains(words), "{words}: {text}");
    }
    let findings = in_trouble().findings(&row("minio"));
    for about in ["sse.request", "objects.conditional-create", "objects.delete"] {
        let finding = findings.iter().find(|each| each.about == about).unwrap();
        assert_eq!(finding.verdict, Verdict::Unmeasured, "{about}");
    }
    for (status, passes, measures) in
        [(429, true, false), (500, true, true), (501, false, true), (503, true, false)]
    {
        let reply = reply(status, None);
        assert_eq!((reply.may_pass(), !reply.is_trouble()), (passes, measures), "{status}");
    }
}

#[test]
fn a_policy_that_refuses_plain_writes_says_nothing_of_encryption_at_rest() {
    let plain = Asked { wanted: None, write: reply(403, None), head: None };
    let measured = Measurement { plain, kms: None, dsse: None, customer_key: None, ..sound() };
    assert_eq!(contradicted(&measured, &row("amazon-s3")), [""; 0]);
    let findings = measured.findings(&row("amazon-s3"));
    let at_rest = findings.iter().find(|each| each.about == "sse.at-rest").unwrap();
    assert_eq!(at_rest.measured, "plain writes: refused (403)");
    assert_eq!(at_rest.verdict, Verdict::Unmeasured);
}

#[test]
fn a_store_that_keeps_plain_text_gets_a_row_that_refuses_to_ask() {
    let aes256 = Some(asked(Some("AES256"), None, None));
    let measured = Measurement { aes256, copy: None, ..sound() };
    let text = measured.toml("lab", &row("s3"), "2026-11-24".parse().unwrap());
    let matrix = Matrix::builtin().unwrap().with_user_file(&text, "lab.toml").unwrap();
    let lab = matrix.provider("lab").unwrap();
    assert_eq!((lab.sse_request, lab.proof.is_none()), (SseRequest::Unsupported, true));
    assert!(lab.check_mode(&SseMode::Aes256).is_err());
}

#[test]
fn a_provider_that_encrypts_everything_is_not_measured_away() {
    let aes256 = Some(asked(Some("AES256"), None, None));
    let measured = Measurement { aes256, copy: None, ..sound() };
    for name in ["gcs", "wasabi"] {
        assert!(!contradicted(&measured, &row(name)).contains(&"sse.request"), "{name}");
        let text = measured.toml("mine", &row(name), "2026-11-24".parse().unwrap());
        let matrix = Matrix::builtin().unwrap().with_user_file(&text, "mine.toml").unwrap();
        assert!(matrix.provider("mine").unwrap().encrypts_anyway(), "{text}");
    }
    let azure = Measurement { aes256: None, copy: None, kms: None, dsse: None, ..sound() };
    assert!(contradicted(&azure, &row("azblob")).contains(&"sse.request"), "no proof, no peace");
    let proved = Measurement { plain: asked(None, Some("true"), Some("true")), ..azure };
    assert_eq!(contradicted(&proved, &row("azblob")), [""; 0]);
}
