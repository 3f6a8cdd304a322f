//! What S3 answers about a bucket, as values: unfinished uploads, default encryption, policy,
//! public access, versioning, lock, the state of a key. Pure: sends nothing.

use quick_xml::de::from_str;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// What a store told, or why it did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told<T> {
    /// It said so.
    Yes(T),
    /// It was not asked, or did not answer; a reason for people.
    No(String),
}

/// How a bucket is set up, as far as its store tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketFacts {
    /// What is done to objects for which nothing is asked: `none`, `AES256`, `aws:kms KEY`.
    pub default_encryption: Told<String>,
    /// Whether the bucket's policy denies uploads that do not ask for encryption.
    pub denies_unencrypted: Told<bool>,
    /// Whether it denies requests without TLS.
    pub denies_plain_http: Told<bool>,
    /// Whether the policy lets everybody in.
    pub public: Told<bool>,
    /// Whether public access is blocked, whatever policies say.
    pub public_access_blocked: Told<bool>,
    /// `off`, `enabled`, `suspended`.
    pub versioning: Told<String>,
    /// `off`, or the default retention.
    pub object_lock: Told<String>,
    /// The state of the key that the volume names: `Enabled`, `Disabled`, …
    pub key_state: Told<String>,
}

/// An upload in parts that was begun and neither completed nor given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The object's name inside the volume.
    pub name: String,
    /// The upload's id.
    pub id: String,
    /// When it was begun, as the store writes it.
    pub initiated: String,
}

/// A page of unfinished uploads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UploadsPage {
    pub uploads: Vec<Upload>,
    /// Key and id after which the next page begins.
    pub next: Option<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadsXml {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<UploadXml>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadXml {
    key: String,
    upload_id: String,
    #[serde(default)]
    initiated: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptionXml {
    #[serde(default, rename = "Rule")]
    rules: Vec<RuleXml>,
}

#[derive(Deserialize)]
struct RuleXml {
    #[serde(rename = "ApplyServerSideEncryptionByDefault")]
    by_default: Option<ByDefaultXml>,
}

#[derive(Deserialize)]
struct ByDefaultXml {
    #[serde(rename = "SSEAlgorithm")]
    algorithm: String,
    #[serde(rename = "KMSMasterKeyID")]
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersioningXml {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyStatusXml {
    is_public: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct PublicAccessXml {
    block_public_acls: bool,
    ignore_public_acls: bool,
    block_public_policy: bool,
    restrict_public_buckets: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LockXml {
    object_lock_enabled: Option<String>,
    rule: Option<LockRuleXml>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LockRuleXml {
    default_retention: Option<RetentionXml>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RetentionXml {
    mode: String,
    days: Option<u32>,
    years: Option<u32>,
}

/// Reads a page of ListMultipartUploads. Names lose the volume's prefix.
pub(super) fn uploads(xml: &str, prefix: &str) -> Result<UploadsPage> {
    let page: UploadsXml = parsed(xml)?;
    let inside = |key: String| key.strip_prefix(prefix).map_or(key.clone(), str::to_owned);
    let next = page.is_truncated.then_some((page.next_key_marker, page.next_upload_id_marker));
    let uploads = page.uploads.into_iter().map(|upload| Upload {
        name: inside(upload.key),
        id: upload.upload_id,
        initiated: upload.initiated,
    });
    Ok(UploadsPage { uploads: uploads.collect(), next })
}

/// Reads GetBucketEncryption.
pub(super) fn default_encryption(xml: &str) -> Result<String> {
    let config: EncryptionXml = parsed(xml)?;
    let rule = config.rules.into_iter().find_map(|rule| rule.by_default);
    Ok(match rule {
        Some(ByDefaultXml { algorithm, key: Some(key) }) if !key.is_empty() => {
            format!("{algorithm} {key}")
        }
        Some(ByDefaultXml { algorithm, .. }) => algorithm,
        None => "none".to_owned(),
    })
}

/// Reads GetBucketVersioning.
pub(super) fn versioning(xml: &str) -> Result<String> {
    let config: VersioningXml = parsed(xml)?;
    Ok(config.status.map_or_else(|| "off".to_owned(), |status| status.to_lowercase()))
}

/// Reads GetBucketPolicyStatus.
pub(super) fn is_public(xml: &str) -> Result<bool> {
    let status: PolicyStatusXml = parsed(xml)?;
    Ok(status.is_public.eq_ignore_ascii_case("true"))
}

/// Reads GetPublicAccessBlock: whether all four doors are shut.
pub(super) fn public_access_blocked(xml: &str) -> Result<bool> {
    let block: PublicAccessXml = parsed(xml)?;
    Ok(block.block_public_acls
        && block.ignore_public_acls
        && block.block_public_policy
        && block.restrict_public_buckets)
}

/// Reads GetObjectLockConfiguration.
pub(super) fn object_lock(xml: &str) -> Result<String> {
    let config: LockXml = parsed(xml)?;
    if config.object_lock_enabled.as_deref() != Some("Enabled") {
        return Ok("off".to_owned());
    }
    let retention = config.rule.and_then(|rule| rule.default_retention);
    Ok(match retention {
        Some(RetentionXml { mode, days: Some(days), .. }) => format!("{mode}, {days} days"),
        Some(RetentionXml { mode, years: Some(years), .. }) => format!("{mode}, {years} years"),
        _ => "enabled, without a default retention".to_owned(),
    })
}

/// Whether a bucket policy denies uploads that do not ask for encryption.
pub(super) fn denies_unencrypted(policy: &Value) -> bool {
    let header = "s3:x-amz-server-side-encryption";
    denials(policy, &["s3:putobject", "s3:put*"]).any(|statement| {
        let condition = &statement["Condition"];
        // A negated comparison is also true where the header is missing.
        holds(&condition["Null"][header], "true")
            || !condition["StringNotEquals"][header].is_null()
            || !condition["StringNotLike"][header].is_null()
    })
}

/// Whether a bucket policy denies requests without TLS.
pub(super) fn denies_plain_http(policy: &Value) -> bool {
    denials(policy, &[])
        .any(|statement| holds(&statement["Condition"]["Bool"]["aws:SecureTransport"], "false"))
}

/// Reads KMS's DescribeKey.
pub(super) fn key_state(json: &str) -> Result<String> {
    let answer: Value = serde_json::from_str(json).map_err(senseless)?;
    let state = answer["KeyMetadata"]["KeyState"].as_str();
    state.map(str::to_owned).ok_or_else(|| Error::new(Kind::Internal, "it names no state"))
}

/// The statements that deny everybody one of `actions`, or everything.
fn denials<'a>(policy: &'a Value, actions: &'a [&str]) -> impl Iterator<Item = &'a Value> {
    each(&policy["Statement"]).filter(move |statement| {
        let principal = &statement["Principal"];
        let everybody = holds(principal, "*") || holds(&principal["AWS"], "*");
        let covers = |action: &Value| {
            let action = action.as_str().unwrap_or_default().to_lowercase();
            action == "*" || action == "s3:*" || actions.contains(&action.as_str())
        };
        statement["Effect"] == "Deny" && everybody && each(&statement["Action"]).any(covers)
    })
}

/// A policy writes one thing as itself and several as a list.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let list = value.as_array();
    list.into_iter().flatten().chain(list.is_none().then_some(value))
}

/// Whether a value, or one of a list, is `wanted`, as text or as what the text stands for.
fn holds(value: &Value, wanted: &str) -> bool {
    each(value).any(|one| match one {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => flag.to_string() == wanted,
        _ => false,
    })
}

fn parsed<T: for<'de> Deserialize<'de>>(xml: &str) -> Result<T> {
    from_str(xml).map_err(senseless)
}

fn senseless(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Internal, "the store's answer has no sense").because(cause)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;

    #[test]
    fn unfinished_uploads_come_in_pages_without_the_volumes_prefix() {
        let xml = format!(
            "{XML}<ListMultipartUploadsResult><Bucket>b</Bucket>\
             <NextKeyMarker>cairn/b</NextKeyMarker>\
             <NextUploadIdMarker>2</NextUploadIdMarker><IsTruncated>true</IsTruncated>\
             <Upload><Key>cairn/a</Key><UploadId>1</UploadId><Owner><ID>x</ID></Owner>\
             <Initiated>2026-11-24T08:00:00.000Z</Initiated></Upload>\
             <Upload><Key>cairn/b</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>"
        );
        let page = uploads(&xml, "cairn/").unwrap();
        let names: Vec<_> = page.uploads.iter().map(|upload| upload.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(page.next, Some(("cairn/b".to_owned(), "2".to_owned())));
        let last = format!("{XML}<ListMultipartUploadsResult></ListMultipartUploadsResult>");
        assert_eq!(uploads(&last, "").unwrap(), UploadsPage { uploads: Vec::new(), next: None });
    }

    #[test]
    fn the_default_encryption_is_told_with_its_key() {
        let rule = |inside: &str| {
            format!(
                "{XML}<ServerSideEncryptionConfiguration><Rule>{inside}\
                 <BucketKeyEnabled>true</BucketKeyEnabled></Rule>\
                 </ServerSideEncryptionConfiguration>"
            )
        };
        let by_default = |inside: &str| {
            let tag = "ApplyServerSideEncryptionByDefault";
            rule(&format!("<{tag}>{inside}</{tag}>"))
        };
        let aes = by_default("<SSEAlgorithm>AES256</SSEAlgorithm>");
        assert_eq!(default_encryption(&aes).unwrap(), "AES256");
        let kms =
            by_default("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>k1</KMSMasterKeyID>");
        assert_eq!(default_encryption(&kms).unwrap(), "aws:kms k1");
        assert_eq!(default_encryption(&rule("")).unwrap(), "none");
        assert!(default_encryption("<html>").is_err());
    }

    #[test]
    fn the_small_documents_are_understood() {
        let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        assert_eq!(versioning(on).unwrap(), "enabled");
        assert_eq!(versioning("<VersioningConfiguration/>").unwrap(), "off");
        let public = |is| format!("<PolicyStatus><IsPublic>{is}</IsPublic></PolicyStatus>");
        assert!(is_public(&public("TRUE")).unwrap() && !is_public(&public("false")).unwrap());
        let block = |last: &str| {
            format!(
                "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
                 <IgnorePublicAcls>true</IgnorePublicAcls>\
                 <BlockPublicPolicy>true</BlockPublicPolicy>{last}\
                 </PublicAccessBlockConfiguration>"
            )
        };
        let last = "<RestrictPublicBuckets>true</RestrictPublicBuckets>";
        assert!(public_access_blocked(&block(last)).unwrap());
        assert!(!public_access_blocked(&block("")).unwrap());
        let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
             <DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule>\
             </ObjectLockConfiguration>";
        assert_eq!(object_lock(lock).unwrap(), "COMPLIANCE, 30 days");
        assert_eq!(key_state(r#"{"KeyMetadata":{"KeyState":"Disabled"}}"#).unwrap(), "Disabled");
    }

    #[test]
    fn a_policy_denies_only_what_it_denies_everybody() {
        let deny = |action: Value, principal: Value, condition: Value| {
            json!({ "Statement": [{ "Effect": "Deny", "Principal": principal, "Action": action,
                "Resource": "arn:aws:s3:::b/*", "Condition": condition }] })
        };
        let header = "s3:x-amz-server-side-encryption";
        let missing = || json!({ "Null": { header: "true" } });
        let other = || json!({ "StringNotEquals": { header: "AES256" } });
        let plain = || json!({ "Bool": { "aws:SecureTransport": "false" } });
        for (policy, unencrypted, plain_http) in [
            (deny(json!("s3:PutObject"), json!("*"), missing()), true, false),
            (deny(json!(["s3:GetObject", "s3:*"]), json!({ "AWS": "*" }), other()), true, false),
            (deny(json!("s3:GetObject"), json!("*"), missing()), false, false),
            // As MinIO writes back what it was given.
            (
                deny(
                    json!(["s3:*"]),
                    json!({ "AWS": ["*"] }),
                    json!({ "Bool": { "aws:SecureTransport": ["false"] } }),
                ),
                false,
                true,
            ),
            (deny(json!("s3:PutObject"), json!({ "AWS": "arn:x" }), missing()), false, false),
            (deny(json!("s3:*"), json!("*"), plain()), false, true),
            (deny(json!("s3:PutObject"), json!("*"), plain()), false, false),
            (json!({ "Statement": [] }), false, false),
        ] {
            assert_eq!(denies_unencrypted(&policy), unencrypted, "{policy}");
            assert_eq!(denies_plain_http(&policy), plain_http, "{policy}");
        }
    }
}
