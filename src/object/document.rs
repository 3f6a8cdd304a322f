//! What S3 answers about a bucket, as values: unfinished uploads, default encryption, public
//! access, versioning, lock, the state of a key. A document of another name than the one that was
//! asked for tells nothing. Pure: sends nothing.

use quick_xml::Reader;
use quick_xml::de::from_str;
use quick_xml::events::Event;
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
    /// The keys may not ask, whatever the answer is; the store's own words.
    Denied(String),
}

impl<T> Told<T> {
    /// What became of a question.
    pub fn of(answer: Result<T>) -> Self {
        match answer {
            Ok(told) => Self::Yes(told),
            Err(error) if error.kind() == Kind::Denied => Self::Denied(error.to_string()),
            Err(error) => Self::No(error.to_string()),
        }
    }

    /// Why it is not told, if it is not.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Yes(_) => None,
            Self::No(why) | Self::Denied(why) => Some(why),
        }
    }
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
    /// Whether the bucket's ACL grants something to everybody, or to whoever has an account.
    pub public_acl: Told<bool>,
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
#[serde(rename_all = "PascalCase")]
struct AclXml {
    access_control_list: GrantsXml,
}

#[derive(Deserialize)]
struct GrantsXml {
    #[serde(default, rename = "Grant")]
    grants: Vec<GrantXml>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GrantXml {
    grantee: GranteeXml,
}

#[derive(Deserialize)]
struct GranteeXml {
    #[serde(rename = "URI")]
    group: Option<String>,
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
    let page: UploadsXml = parsed(xml, "ListMultipartUploadsResult")?;
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
    let config: EncryptionXml = parsed(xml, "ServerSideEncryptionConfiguration")?;
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
    let config: VersioningXml = parsed(xml, "VersioningConfiguration")?;
    Ok(config.status.map_or_else(|| "off".to_owned(), |status| status.to_lowercase()))
}

/// Reads GetBucketPolicyStatus.
pub(super) fn is_public(xml: &str) -> Result<bool> {
    let status: PolicyStatusXml = parsed(xml, "PolicyStatus")?;
    Ok(status.is_public.eq_ignore_ascii_case("true"))
}

/// Reads GetBucketAcl: whether it grants anything to everybody, or to whoever has an account.
pub(super) fn is_public_acl(xml: &str) -> Result<bool> {
    let acl: AclXml = parsed(xml, "AccessControlPolicy")?;
    let everybody = |group: String| {
        let name = group.rsplit('/').next().unwrap_or_default();
        matches!(name, "AllUsers" | "AuthenticatedUsers")
    };
    let grants = acl.access_control_list.grants.into_iter();
    Ok(grants.filter_map(|grant| grant.grantee.group).any(everybody))
}

/// Reads GetPublicAccessBlock: whether all four doors are shut.
pub(super) fn public_access_blocked(xml: &str) -> Result<bool> {
    let block: PublicAccessXml = parsed(xml, "PublicAccessBlockConfiguration")?;
    Ok(block.block_public_acls
        && block.ignore_public_acls
        && block.block_public_policy
        && block.restrict_public_buckets)
}

/// Reads GetObjectLockConfiguration.
pub(super) fn object_lock(xml: &str) -> Result<String> {
    let config: LockXml = parsed(xml, "ObjectLockConfiguration")?;
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

/// Reads KMS's DescribeKey.
pub(super) fn key_state(json: &str) -> Result<String> {
    let answer: Value = serde_json::from_str(json).map_err(senseless)?;
    let state = answer["KeyMetadata"]["KeyState"].as_str();
    state.map(str::to_owned).ok_or_else(|| Error::new(Kind::Internal, "it names no state"))
}

/// Reads a document whose outermost element is `root`. Every field may be missing, so that any
/// other document would read as one that says nothing.
fn parsed<T: for<'de> Deserialize<'de>>(xml: &str, root: &str) -> Result<T> {
    match root_of(xml) {
        Some(found) if found == root => from_str(xml).map_err(senseless),
        Some(found) => Err(Error::new(Kind::Unsupported, "the store answers another question")
            .with("wanted", root)
            .with("answered", found)),
        None => Err(Error::new(Kind::Internal, "the store's answer has no sense")),
    }
}

/// The name of a document's outermost element, without its namespace.
pub(super) fn root_of(xml: &str) -> Option<String> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) | Event::Empty(tag) => {
                return Some(tag.local_name().as_ref().to_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

fn senseless(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Internal, "the store's answer has no sense").because(cause)
}

#[cfg(test)]
mod tests {
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
    fn an_acl_is_open_to_everybody_by_a_grant_to_a_group_of_all() {
        let grant = |grantee: &str| {
            format!(
                "{XML}<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee \
                 xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                 xsi:type=\"CanonicalUser\"><ID>o</ID></Grantee>\
                 <Permission>FULL_CONTROL</Permission></Grant><Grant>\
                 <Grantee>{grantee}</Grantee><Permission>READ</Permission></Grant>\
                 </AccessControlList></AccessControlPolicy>"
            )
        };
        let group = |name| format!("<URI>http://acs.amazonaws.com/groups/{name}</URI>");
        for (grantee, open) in [
            ("<ID>friend</ID>".to_owned(), false),
            (group("s3/LogDelivery"), false),
            (group("global/AllUsers"), true),
            (group("global/AuthenticatedUsers"), true),
        ] {
            assert_eq!(is_public_acl(&grant(&grantee)).unwrap(), open, "{grantee}");
        }
    }

    #[test]
    fn an_answer_to_another_question_tells_nothing() {
        let listing = format!("{XML}<ListBucketResult><Name>b</Name></ListBucketResult>");
        for told in [
            versioning(&listing).err(),
            object_lock(&listing).err(),
            default_encryption(&listing).err(),
            is_public_acl(&listing).err(),
            public_access_blocked(&listing).err(),
            is_public(&listing).err(),
            uploads(&listing, "").err(),
        ] {
            let error = told.expect("it says nothing of the kind");
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains("ListBucketResult"), "{error}");
        }
        assert!(versioning("").is_err() && versioning("no").is_err());
        let named = "<s3:VersioningConfiguration xmlns:s3='x'></s3:VersioningConfiguration>";
        assert_eq!(root_of(named).as_deref(), Some("VersioningConfiguration"));
    }
}
