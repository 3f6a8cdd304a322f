//! Permissions in the language of Amazon's policies, and in the dialects of it that others speak.
//! Pure: what a store does not know is left out, since it spoils the whole document.

use serde_json::Value;
use serde_json::json;

use super::Document;
use super::Purpose;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Permissions;
use crate::provider::SseMode;
use crate::provider::SseRequest;

const VERSION: &str = "2012-10-17";

/// A policy for the user or role whose keys the volume uses, `mode` being what its writes ask for.
pub(super) fn policy(config: &VolumeConfig, mode: Option<&SseMode>, purpose: Purpose) -> Document {
    let speaks = config.provider.access.permissions;
    let mut hints =
        vec!["an IAM policy; attach it to the user or role whose keys the volume uses".to_owned()];
    let mut list = json!({
        "Sid": "ListTheVolume", "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
        "Resource": bucket(config),
    });
    match speaks {
        _ if config.prefix.is_empty() => {}
        Permissions::Ceph => hints.push(
            "it permits to list the whole bucket: before its releases of mid 2026, Ceph RGW \
             answers 403 to the question for an object that is not there where listing is \
             permitted below a prefix only"
                .to_owned(),
        ),
        _ => {
            let below = format!("{}*", config.prefix);
            list["Condition"] = json!({ "StringLike": { "s3:prefix": below } });
        }
    }
    let mut actions = vec!["s3:GetObject", "s3:GetObjectVersion"];
    if purpose == Purpose::Write {
        actions.extend(["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]);
    }
    let look = json!({
        "Sid": "LookAtTheBucket", "Effect": "Allow", "Action": questions(config),
        "Resource": bucket(config),
    });
    let objects = json!({
        "Sid": "TheVolumesObjects", "Effect": "Allow", "Action": actions,
        "Resource": objects(config),
    });
    let mut statements = vec![list, look, objects];
    // Only Amazon's own key service is permitted by such policies.
    match mode {
        Some(SseMode::Kms(key) | SseMode::Dsse(key)) if speaks == Permissions::Amazon => {
            statements.push(key_statement(config, key, purpose));
        }
        None if speaks == Permissions::Amazon && config.provider.kms.settable => hints.push(
            "it covers no KMS key, since the config names no encryption: if the volume was \
             created with a key, add `--sse kms:KEY`"
                .to_owned(),
        ),
        _ => {}
    }
    Document::json(&hints, json!({ "Version": VERSION, "Statement": statements }))
}

/// What an audit asks of the bucket itself.
fn questions(config: &VolumeConfig) -> Vec<&'static str> {
    let mut questions = vec![
        "s3:ListBucketMultipartUploads",
        "s3:GetBucketPolicy",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketVersioning",
        "s3:GetBucketObjectLockConfiguration",
    ];
    if config.provider.bucket_default_probe {
        questions.push("s3:GetEncryptionConfiguration");
    }
    // MinIO does not know these: it blocks nothing, and who may read the policy may read the ACL.
    if config.provider.access.permissions != Permissions::Minio {
        questions.extend(["s3:GetBucketPublicAccessBlock", "s3:GetBucketAcl"]);
    }
    questions
}

/// The use of the volume's key. An alias as the resource of a statement stands for itself, not for
/// its key.
fn key_statement(config: &VolumeConfig, key: &str, purpose: Purpose) -> Value {
    let mut actions = vec!["kms:Decrypt", "kms:DescribeKey"];
    if purpose == Purpose::Write {
        actions.push("kms:GenerateDataKey");
    }
    let region = config.region.as_deref().unwrap_or("*");
    let keys_of = match key.rsplit_once(':') {
        Some((service, _)) => format!("{service}:"),
        None => format!("arn:{}:kms:{region}:*:", partition(config)),
    };
    let name = key.rsplit(':').next().unwrap_or(key);
    let is_alias = name.starts_with("alias/");
    let resource = match name {
        _ if is_alias => format!("{keys_of}key/*"),
        _ if name.starts_with("key/") => format!("{keys_of}{name}"),
        _ => format!("{keys_of}key/{name}"),
    };
    let mut statement = json!({
        "Sid": "TheVolumesKey", "Effect": "Allow", "Action": actions, "Resource": resource,
    });
    if is_alias {
        statement["Condition"] =
            json!({ "ForAnyValue:StringEquals": { "kms:ResourceAliases": name } });
    }
    statement
}

/// A policy for the bucket that refuses what the volume would never send: only what each of its
/// writes carries may be demanded, or the volume is locked out.
pub(super) fn bucket_policy(config: &VolumeConfig, mode: Option<&SseMode>) -> Result<Document> {
    let objects = objects(config);
    let (mut statements, mut hints) = (Vec::new(), vec!["a bucket policy".to_owned()]);
    if config.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        hints.push("it permits plain HTTP, as the volume's endpoint is http://".to_owned());
    } else {
        statements.push(json!({
            "Sid": "DenyPlainHttp", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": [bucket(config), objects],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }));
        hints.push("other prefixes of the bucket must be listed over TLS too then".to_owned());
    }
    if config.provider.access.permissions == Permissions::Minio {
        hints.push(
            "MinIO holds only requests without keys to it: give the statements, without \
             `Principal`, to the policies of its users too"
                .to_owned(),
        );
    }
    match demand(config, mode) {
        Ok(header) => statements.push(json!({
            "Sid": "DenyUnencrypted", "Effect": "Deny", "Principal": "*",
            "Action": "s3:PutObject", "Resource": objects,
            "Condition": { "Null": { format!("s3:{header}"): "true" } },
        })),
        Err(why) => hints.push(format!("it permits uploads without encryption: {why}")),
    }
    if statements.is_empty() {
        let why = hints.pop().unwrap_or_default();
        let message = "nothing is left that a policy of the bucket could refuse";
        return Err(Error::new(Kind::Unsupported, message).hint(why));
    }
    Ok(Document::json(&hints, json!({ "Version": VERSION, "Statement": statements })))
}

/// The header that every write of the volume carries; or why there is none.
fn demand(
    config: &VolumeConfig,
    mode: Option<&SseMode>,
) -> std::result::Result<&'static str, String> {
    let row = &config.provider;
    let (sse, title) = ("x-amz-server-side-encryption", &row.title);
    match mode {
        None => Err("the config does not name the volume's; add `--sse MODE` with the mode that \
                     it was created with"
            .to_owned()),
        Some(SseMode::None) => Err("the volume asks for none".to_owned()),
        Some(SseMode::Aes256) => match row.sse_request {
            SseRequest::Header | SseRequest::CompatHeader if !row.omit_on_refusal => Ok(sse),
            SseRequest::Header | SseRequest::CompatHeader => {
                Err(format!("{title} may refuse the header, and writes go without it then"))
            }
            SseRequest::Default => Err(format!("{title} encrypts without being asked")),
            SseRequest::Unsupported => Err(format!("{title} cannot be asked for it")),
        },
        Some(SseMode::Kms(_) | SseMode::Dsse(_)) => Ok(sse),
        // To RGW's policies that header is never there.
        Some(SseMode::CustomerKeyFile(_)) if row.access.permissions == Permissions::Ceph => {
            Err(format!("the policies of {title} do not see the header of a customer's key"))
        }
        Some(SseMode::CustomerKeyFile(_)) => Ok("x-amz-server-side-encryption-customer-algorithm"),
    }
}

fn bucket(config: &VolumeConfig) -> String {
    format!("arn:{}:s3:::{}", partition(config), config.bucket)
}

fn objects(config: &VolumeConfig) -> String {
    format!("{}/{}*", bucket(config), config.prefix)
}

/// The part of Amazon's world that the region is in; others call everything `aws`.
fn partition(config: &VolumeConfig) -> &'static str {
    let region = config.region.as_deref().unwrap_or_default();
    match config.provider.access.permissions {
        Permissions::Amazon if region.starts_with("cn-") => "aws-cn",
        Permissions::Amazon if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}
