//! Server-side encryption as pure rules: what a mode makes a write carry, and what the headers
//! of an answer prove. Sends nothing; `witness.rs` applies both.

use std::io::Read;
use std::path::Path;

use http::HeaderMap;

use super::answer::Posture;
use crate::config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::AtRest;
use crate::provider::Provider;
use crate::provider::Service;
use crate::provider::SseMode;
use crate::provider::SseRequest;

/// The header of SSE-S3 and SSE-KMS, in requests and answers.
pub(super) const SSE: &str = "x-amz-server-side-encryption";
/// The key of SSE-KMS, in requests and answers.
pub(super) const SSE_KMS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
/// SSE-C's algorithm, in requests and answers.
pub(super) const SSE_C_ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
const SSE_C_KEY: &str = "x-amz-server-side-encryption-customer-key";
const SSE_C_KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";
/// Azure's counterpart of SSE-C, in requests.
const AZURE_ALGORITHM: &str = "x-ms-encryption-algorithm";
const AZURE_KEY: &str = "x-ms-encryption-key";
/// Azure's name of the key that was used, in answers.
const AZURE_KEY_SHA256: &str = "x-ms-encryption-key-sha256";

/// What a posture calls encryption under a customer's key.
const CUSTOMER: &str = "SSE-C";

/// A customer key's length in bytes: AES-256, the only algorithm any store takes.
const CUSTOMER_KEY_BYTES: usize = 32;

/// Enough of a file to see that it is no key (bytes).
const BYTES_READ_MAX: u64 = CUSTOMER_KEY_BYTES as u64 + 1;

/// One header that every write must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Required {
    /// The header's name, lower case.
    pub header: &'static str,
    /// Its value; `None` for secrets, of which only the presence is checked.
    pub value: Option<String>,
}

/// Which answer is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The answer to a write.
    Write,
    /// The answer to a HEAD.
    Head,
}

/// What writes to this provider must carry under `mode`.
/// [`Kind::Config`] if the provider, or OpenDAL for it, cannot do what is asked.
pub(super) fn required(row: &Provider, mode: &SseMode) -> Result<Vec<Required>> {
    let exactly = |header, value: &str| Required { header, value: Some(value.to_owned()) };
    let present = |header| Required { header, value: None };
    match (row.sse_request, row.service, mode) {
        (_, _, SseMode::None) | (SseRequest::Default, _, SseMode::Aes256) => Ok(Vec::new()),
        (SseRequest::Header | SseRequest::CompatHeader, Service::S3, SseMode::Aes256) => {
            Ok(vec![exactly(SSE, "AES256")])
        }
        (SseRequest::Header, Service::S3, SseMode::Kms(key)) => {
            Ok(vec![exactly(SSE, "aws:kms"), exactly(SSE_KMS_KEY, key)])
        }
        (SseRequest::Header, Service::S3, SseMode::Dsse(key)) => {
            Ok(vec![exactly(SSE, "aws:kms:dsse"), exactly(SSE_KMS_KEY, key)])
        }
        // A store that has no keys of its own may still take the customer's.
        (_, Service::S3, SseMode::CustomerKeyFile(_)) => {
            Ok(vec![exactly(SSE_C_ALGORITHM, "AES256"), present(SSE_C_KEY), present(SSE_C_KEY_MD5)])
        }
        (_, Service::Azblob, SseMode::CustomerKeyFile(_)) => Ok(vec![
            exactly(AZURE_ALGORITHM, "AES256"),
            present(AZURE_KEY),
            present(AZURE_KEY_SHA256),
        ]),
        (SseRequest::Unsupported, ..) => Err(cannot(row, "does not encrypt at rest")),
        _ => Err(cannot(row, "cannot be asked for this kind of encryption")),
    }
}

/// The first required header that a request lacks, or carries with another value.
pub(super) fn missing<'a>(required: &'a [Required], headers: &HeaderMap) -> Option<&'a Required> {
    required.iter().find(|wanted| {
        let carried = headers.get(wanted.header).and_then(|value| value.to_str().ok());
        match (&wanted.value, carried) {
            (_, None) => true,
            (Some(value), Some(carried)) => value != carried,
            (None, Some(carried)) => carried.is_empty(),
        }
    })
}

/// What the headers of an answer prove about the object, under `mode`.
pub(super) fn judge(
    row: &Provider,
    mode: &SseMode,
    evidence: Evidence,
    headers: &HeaderMap,
) -> Posture {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let confirmed = |mode: &str, key: Option<&str>| Posture::Confirmed {
        mode: mode.to_owned(),
        key: key.map(str::to_owned),
    };
    let told = told(row, evidence).and_then(text).filter(|value| !value.is_empty());
    let sends_header = matches!(row.sse_request, SseRequest::Header | SseRequest::CompatHeader);
    match mode {
        SseMode::None => match told.filter(|value| accepted(row, value)) {
            // Azure says that it encrypts also where the customer's key did it.
            Some(_) if text(AZURE_KEY_SHA256).is_some() => {
                confirmed(CUSTOMER, text(AZURE_KEY_SHA256))
            }
            Some(value) => confirmed(value, text(SSE_KMS_KEY)),
            None if text(SSE_C_ALGORITHM) == Some("AES256") => confirmed(CUSTOMER, None),
            None if always_unproved(row) => Posture::ProviderDefault,
            None => Posture::Absent,
        },
        SseMode::CustomerKeyFile(_) => match (text(SSE_C_ALGORITHM), text(AZURE_KEY_SHA256)) {
            (Some("AES256"), _) => confirmed(CUSTOMER, None),
            (_, Some(key)) if row.service == Service::Azblob => confirmed(CUSTOMER, Some(key)),
            _ => Posture::Unconfirmed,
        },
        SseMode::Aes256 if !sends_header => match told.filter(|value| accepted(row, value)) {
            Some(value) => confirmed(value, text(SSE_KMS_KEY)),
            None if always_unproved(row) => Posture::ProviderDefault,
            None => Posture::Unconfirmed,
        },
        SseMode::Aes256 => match told {
            Some("AES256") => confirmed("AES256", None),
            None if always_unproved(row) => Posture::ProviderDefault,
            _ => Posture::Unconfirmed,
        },
        SseMode::Kms(key) | SseMode::Dsse(key) => {
            let wanted = if matches!(mode, SseMode::Kms(_)) { "aws:kms" } else { "aws:kms:dsse" };
            let used = text(SSE_KMS_KEY);
            if told == Some(wanted) && used.is_some_and(|used| same_key(key, used)) {
                confirmed(wanted, used)
            } else {
                Posture::Unconfirmed
            }
        }
    }
}

/// Whether an object of this posture is what `mode` asks for. The posture is judged without a
/// mode, so that it tells what the store really did.
pub fn meets(row: &Provider, mode: &SseMode, posture: &Posture) -> bool {
    let sends_header = matches!(row.sse_request, SseRequest::Header | SseRequest::CompatHeader);
    match (mode, posture) {
        (SseMode::None, _) => true,
        (SseMode::Aes256, Posture::ProviderDefault) => true,
        (SseMode::Aes256, Posture::Confirmed { mode, .. }) => !sends_header || mode == "AES256",
        (SseMode::Kms(key), Posture::Confirmed { mode, key: Some(used) }) => {
            mode == "aws:kms" && same_key(key, used)
        }
        (SseMode::Dsse(key), Posture::Confirmed { mode, key: Some(used) }) => {
            mode == "aws:kms:dsse" && same_key(key, used)
        }
        (SseMode::CustomerKeyFile(_), Posture::Confirmed { mode, .. }) => mode == CUSTOMER,
        _ => false,
    }
}

/// Reads the key of SSE-C: a file of exactly 32 bytes.
pub(super) fn customer_key(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let unreadable =
        |error: Error| error.while_doing(format!("cannot read customer key `{shown}`"));
    let mut file = config::open_private(path).map_err(unreadable)?.take(BYTES_READ_MAX);
    let mut key = Vec::new();
    file.read_to_end(&mut key).map_err(|cause| unreadable(cause.into()))?;
    if key.len() == CUSTOMER_KEY_BYTES {
        Ok(key)
    } else {
        Err(Error::new(Kind::Config, "the customer key is not 32 bytes long")
            .with("file", shown)
            .hint(
                "make one with `head -c 32 /dev/urandom`, and keep a copy: it cannot be replaced",
            ))
    }
}

/// The header by which this provider proves encryption in such an answer.
fn told(row: &Provider, evidence: Evidence) -> Option<&str> {
    let proof = row.proof.as_ref()?;
    match evidence {
        Evidence::Write => proof.on_write.then_some(proof.write_header.as_str()),
        Evidence::Head => proof.on_head.then_some(proof.head_header.as_str()),
    }
}

fn accepted(row: &Provider, value: &str) -> bool {
    row.proof.as_ref().is_some_and(|proof| proof.accept.iter().any(|accept| accept == value))
}

fn always_unproved(row: &Provider) -> bool {
    row.at_rest == AtRest::Always && row.proof.is_none()
}

/// Whether the key a store names is the one asked for. Stores answer with the full ARN
/// (`arn:aws:kms:REGION:ACCOUNT:key/ID`, MinIO: `arn:aws:kms:NAME`), so an id is compared with its
/// end; an alias names no key that could be compared.
fn same_key(asked: &str, used: &str) -> bool {
    let alias = asked.starts_with("alias/") || asked.contains(":alias/");
    asked == used || alias || used.strip_suffix(asked).is_some_and(|arn| arn.ends_with(['/', ':']))
}

fn cannot(row: &Provider, what: &str) -> Error {
    Error::new(Kind::Config, format!("the provider {what}"))
        .with("provider", &row.name)
        .hint("use `sse = \"none\"`: its objects stay in plain text then")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::object::rows;

    const KMS_KEY: &str = "arn:aws:kms:eu-central-1:1:key/k1";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_is_judged_by_row_and_mode() {
        let confirmed = |mode: &str, key: Option<&str>| Posture::Confirmed {
            mode: mode.to_owned(),
            key: key.map(str::to_owned),
        };
        let kms = || SseMode::Kms("k1".to_owned());
        let (s3, gcs, azure) = (rows::minio(), rows::gcs_compat(), rows::azblob());
        let cases = [
            (&s3, SseMode::Aes256, vec![(SSE, "AES256")], confirmed("AES256", None)),
            (&s3, SseMode::Aes256, vec![(SSE, "aws:kms")], Posture::Unconfirmed),
            (&s3, SseMode::Aes256, vec![(SSE, "")], Posture::Unconfirmed),
            (&s3, SseMode::Aes256, vec![], Posture::Unconfirmed),
            (&s3, SseMode::None, vec![(SSE, "aws:kms")], confirmed("aws:kms", None)),
            (&s3, SseMode::None, vec![(SSE, "AES512")], Posture::Absent),
            (&s3, SseMode::None, vec![], Posture::Absent),
            (&s3, kms(), vec![(SSE, "aws:kms")], Posture::Unconfirmed),
            (
                &s3,
                kms(),
                vec![(SSE, "aws:kms"), (SSE_KMS_KEY, KMS_KEY)],
                confirmed("aws:kms", Some(KMS_KEY)),
            ),
            (
                &s3,
                kms(),
                vec![(SSE, "aws:kms"), (SSE_KMS_KEY, "arn:aws:kms:k1")],
                confirmed("aws:kms", Some("arn:aws:kms:k1")),
            ),
            (&s3, kms(), vec![(SSE, "aws:kms"), (SSE_KMS_KEY, "k2")], Posture::Unconfirmed),
            (
                &s3,
                kms(),
                vec![(SSE, "aws:kms"), (SSE_KMS_KEY, "arn:x/not-k1")],
                Posture::Unconfirmed,
            ),
            (&gcs, SseMode::Aes256, vec![], Posture::ProviderDefault),
            (&gcs, SseMode::None, vec![], Posture::ProviderDefault),
            (
                &azure,
                SseMode::Aes256,
                vec![("x-ms-request-server-encrypted", "true")],
                confirmed("true", None),
            ),
            (
                &azure,
                SseMode::None,
                vec![("x-ms-request-server-encrypted", "true"), (AZURE_KEY_SHA256, "hash")],
                confirmed(CUSTOMER, Some("hash")),
            ),
            (
                &azure,
                SseMode::Aes256,
                vec![("x-ms-request-server-encrypted", "false")],
                Posture::Unconfirmed,
            ),
        ];
        for (row, mode, answer, expected) in cases {
            let judged = judge(row, &mode, Evidence::Write, &headers(&answer));
            assert_eq!(judged, expected, "{} {mode:?} {answer:?}", row.name);
        }
    }

    #[test]
    fn an_object_meets_a_policy_only_if_it_is_encrypted_as_asked() {
        let confirmed = |mode: &str, key: Option<&str>| Posture::Confirmed {
            mode: mode.to_owned(),
            key: key.map(str::to_owned),
        };
        let (aes, kms) = (SseMode::Aes256, SseMode::Kms("k1".to_owned()));
        let (s3, azure) = (rows::minio(), rows::azblob());
        for (row, mode, posture, fine) in [
            (&s3, &SseMode::None, Posture::Absent, true),
            (&s3, &aes, confirmed("AES256", None), true),
            (&s3, &aes, confirmed("aws:kms", Some(KMS_KEY)), false),
            (&s3, &aes, Posture::Absent, false),
            (&s3, &aes, Posture::ProviderDefault, true),
            (&s3, &kms, confirmed("aws:kms", Some(KMS_KEY)), true),
            (&s3, &kms, confirmed("aws:kms", Some("arn:aws:kms:eu:1:key/k2")), false),
            (&s3, &kms, confirmed("AES256", None), false),
            (&azure, &aes, confirmed("true", None), true),
            (&azure, &aes, Posture::Absent, false),
        ] {
            assert_eq!(meets(row, mode, &posture), fine, "{} {mode:?} {posture:?}", row.name);
        }
    }

    #[test]
    fn a_write_that_lacks_the_header_or_has_another_value_is_found() {
        let required = required(&rows::minio(), &SseMode::Aes256).unwrap();
        assert!(missing(&required, &headers(&[(SSE, "AES256")])).is_none());
        for bad in [vec![], vec![(SSE, "aws:kms")], vec![(SSE_C_ALGORITHM, "AES256")]] {
            assert!(missing(&required, &headers(&bad)).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_customer_key_is_32_bytes_that_nobody_else_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = |bytes: usize, mode: u32| {
            std::fs::write(&path, vec![7; bytes]).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            customer_key(&path).map_err(|error| error.to_string())
        };
        assert_eq!(key(32, 0o600).unwrap(), [7; 32]);
        assert!(key(32, 0o644).unwrap_err().contains("others can read it"));
        assert!(key(31, 0o600).unwrap_err().contains("is not 32 bytes long"));
        assert!(customer_key(&dir.path().join("none")).is_err());
    }

    #[test]
    fn what_a_provider_cannot_do_is_refused_and_never_dropped() {
        let kms = SseMode::Kms("k".to_owned());
        assert!(required(&rows::local(), &SseMode::Aes256).is_err());
        assert!(required(&rows::azblob(), &kms).is_err());
        assert!(required(&rows::gcs_compat(), &kms).is_err());
        assert!(required(&rows::azblob(), &SseMode::Aes256).unwrap().is_empty());
        let (hetzner, key) = (rows::row("hetzner"), SseMode::CustomerKeyFile("/k".into()));
        assert!(required(&hetzner, &SseMode::Aes256).is_err());
        assert_eq!(required(&hetzner, &key).unwrap().len(), 3);
        assert!(required(&rows::local(), &SseMode::None).unwrap().is_empty());
    }
}
