//! The least permissions that a volume needs, in its provider's own words. Pure: knows the config
//! and the row, and asks nobody.

use serde_json::Value;
use serde_json::json;

use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Service;
use crate::provider::SseMode;
use crate::provider::SseRequest;

const VERSION: &str = "2012-10-17";

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Read-only mounts and audits.
    Read,
    /// Everything, `audit --fix` included.
    Write,
}

/// A document to give to the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What to do with it, a sentence.
    pub hint: &'static str,
    /// The document, where it is JSON.
    pub json: Value,
    /// The document, where it is not.
    pub text: Option<String>,
}

/// What the volume's keys must be permitted.
pub fn permissions(config: &VolumeConfig, purpose: Purpose) -> Result<Document> {
    let document = |hint, json| Document { hint, json, text: None };
    match config.provider.service {
        Service::S3 if config.provider.name == "oci" => Ok(oracle(config, purpose)),
        Service::S3 if config.provider.name.starts_with("gcs") => Ok(google(config, purpose)),
        Service::S3 => Ok(document(
            "an IAM policy; attach it to the user or role whose keys the volume uses",
            amazon(config, purpose),
        )),
        Service::Gcs => Ok(google(config, purpose)),
        Service::Azblob => Ok(document(
            "a custom role; assign it on the container's scope",
            azure(config, purpose),
        )),
        Service::Fs | Service::Memory => {
            Err(Error::new(Kind::Unsupported, "its provider knows no permissions but the system's")
                .hint("who mounts must be able to write to the directory"))
        }
    }
}

/// A policy for the bucket that refuses what the volume would never send.
pub fn bucket_policy(config: &VolumeConfig) -> Result<Document> {
    let row = &config.provider;
    if row.service != Service::S3 {
        return Err(Error::new(Kind::Unsupported, "its provider knows no bucket policies"));
    }
    let objects = objects(config);
    let mut statements = vec![json!({
        "Sid": "DenyPlainHttp", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": [bucket(config), objects],
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })];
    if row.sse_request == SseRequest::Header {
        statements.push(json!({
            "Sid": "DenyUnencrypted", "Effect": "Deny", "Principal": "*",
            "Action": "s3:PutObject", "Resource": objects,
            "Condition": { "Null": { "s3:x-amz-server-side-encryption": "true" } },
        }));
    }
    Ok(Document {
        hint: "a bucket policy; other prefixes of the bucket must ask for TLS too then",
        json: json!({ "Version": VERSION, "Statement": statements }),
        text: None,
    })
}

fn amazon(config: &VolumeConfig, purpose: Purpose) -> Value {
    let mut list = json!({
        "Sid": "ListTheVolume", "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
        "Resource": bucket(config),
    });
    if !config.prefix.is_empty() {
        let below = format!("{}*", config.prefix);
        list["Condition"] = json!({ "StringLike": { "s3:prefix": below } });
    }
    let mut actions = vec!["s3:GetObject", "s3:GetObjectVersion"];
    if purpose == Purpose::Write {
        actions.extend(["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]);
    }
    let mut questions = vec![
        "s3:ListBucketMultipartUploads",
        "s3:GetEncryptionConfiguration",
        "s3:GetBucketPolicy",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketVersioning",
        "s3:GetBucketObjectLockConfiguration",
    ];
    if config.provider.name.starts_with("amazon-s3") {
        // MinIO takes no policy that names an action it does not know.
        questions.push("s3:GetBucketPublicAccessBlock");
    }
    let look = json!({
        "Sid": "LookAtTheBucket", "Effect": "Allow", "Action": questions,
        "Resource": bucket(config),
    });
    let objects = json!({
        "Sid": "TheVolumesObjects", "Effect": "Allow", "Action": actions,
        "Resource": objects(config),
    });
    let mut statements = vec![list, look, objects];
    if let Some(SseMode::Kms(key) | SseMode::Dsse(key)) = &config.sse {
        let mut actions = vec!["kms:Decrypt", "kms:DescribeKey"];
        if purpose == Purpose::Write {
            actions.push("kms:GenerateDataKey");
        }
        statements.push(json!({
            "Sid": "TheVolumesKey", "Effect": "Allow", "Action": actions,
            "Resource": key_arn(config, key),
        }));
    }
    json!({ "Version": VERSION, "Statement": statements })
}

fn bucket(config: &VolumeConfig) -> String {
    format!("arn:aws:s3:::{}", config.bucket)
}

fn objects(config: &VolumeConfig) -> String {
    format!("{}/{}*", bucket(config), config.prefix)
}

fn key_arn(config: &VolumeConfig, key: &str) -> String {
    if key.starts_with("arn:") {
        return key.to_owned();
    }
    let region = config.region.as_deref().unwrap_or("*");
    match key.starts_with("alias/") {
        true => format!("arn:aws:kms:{region}:*:{key}"),
        false => format!("arn:aws:kms:{region}:*:key/{key}"),
    }
}

fn google(config: &VolumeConfig, purpose: Purpose) -> Document {
    let mut permissions =
        vec!["storage.buckets.get", "storage.objects.get", "storage.objects.list"];
    if purpose == Purpose::Write {
        permissions.extend(["storage.objects.create", "storage.objects.delete"]);
    }
    let resource = format!("projects/_/buckets/{}/objects/{}", config.bucket, config.prefix);
    let mut document = json!({ "title": "CairnFS volume", "includedPermissions": permissions });
    if !config.prefix.is_empty() {
        document["condition"] = json!({
            "title": "below the volume's prefix",
            "expression": format!(
                "resource.type != \"storage.googleapis.com/Object\" || \
                 resource.name.startsWith(\"{resource}\")"
            ),
        });
    }
    Document {
        hint: "a custom role; grant it on the bucket, under the condition if there is one",
        json: document,
        text: None,
    }
}

fn azure(config: &VolumeConfig, purpose: Purpose) -> Value {
    let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
    let mut actions = vec![format!("{blobs}/read")];
    if purpose == Purpose::Write {
        actions.extend([format!("{blobs}/write"), format!("{blobs}/delete")]);
    }
    let account = config.account.as_deref().unwrap_or("ACCOUNT");
    json!({
        "Name": format!("CairnFS volume {}", config.name),
        "IsCustom": true,
        "Description": "What a CairnFS volume needs of its container",
        "Actions": ["Microsoft.Storage/storageAccounts/blobServices/containers/read"],
        "DataActions": actions,
        "AssignableScopes": [format!(
            "/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Storage/\
             storageAccounts/{account}/blobServices/default/containers/{}",
            config.bucket
        )],
    })
}

fn oracle(config: &VolumeConfig, purpose: Purpose) -> Document {
    let verb = match purpose {
        Purpose::Read => "read",
        Purpose::Write => "manage",
    };
    let bucket = &config.bucket;
    let statement = |verb, what| {
        format!(
            "Allow group GROUP to {verb} {what} in compartment COMPARTMENT \
             where target.bucket.name = '{bucket}'"
        )
    };
    Document {
        hint: "two policy statements; name the group whose customer secret key the volume uses",
        json: Value::Null,
        text: Some([statement("read", "buckets"), statement(verb, "objects")].join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;

    fn config(table: &str) -> VolumeConfig {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, format!("[volumes.v]\n{table}")).unwrap();
        let config = Config::load(Some(&file), &|_| None, &[]).unwrap();
        config.volume("v").unwrap()
    }

    fn amazon_volume() -> VolumeConfig {
        config(
            "provider = \"amazon-s3\"\nregion = \"eu-central-1\"\nbucket = \"b\"\n\
             prefix = \"cairn/\"\nsse = { kms = \"k1\" }\n",
        )
    }

    #[test]
    fn a_policy_reaches_no_further_than_the_volume() {
        let document = permissions(&amazon_volume(), Purpose::Write).unwrap().json;
        let statements = document["Statement"].as_array().unwrap();
        assert_eq!(statements[0]["Condition"]["StringLike"]["s3:prefix"], "cairn/*");
        assert_eq!(statements[2]["Resource"], "arn:aws:s3:::b/cairn/*");
        assert_eq!(statements[3]["Resource"], "arn:aws:kms:eu-central-1:*:key/k1");
        let text = document.to_string();
        assert!(!text.contains("\"s3:*\"") && !text.contains("\"Resource\":\"*\""), "{text}");
    }

    #[test]
    fn who_only_reads_is_permitted_no_change() {
        let gcs = config("provider = \"gcs-native\"\nbucket = \"b\"\n");
        let azure = config("provider = \"azblob\"\naccount = \"a\"\nbucket = \"b\"\n");
        for config in [amazon_volume(), gcs, azure] {
            let read = permissions(&config, Purpose::Read).unwrap().json.to_string();
            let write = permissions(&config, Purpose::Write).unwrap().json.to_string();
            let changes = ["Put", "Delete", "create", "delete", "write", "GenerateDataKey"];
            for change in changes {
                assert!(!read.contains(change), "{change}: {read}");
            }
            assert!(changes.iter().any(|change| write.contains(change)), "{write}");
        }
    }

    #[test]
    fn a_bucket_policy_asks_for_the_header_only_where_it_is_sent() {
        let minio = config("provider = \"minio\"\nbucket = \"b\"\nendpoint = \"https://m\"\n");
        let policy = bucket_policy(&minio).unwrap().json;
        assert!(policy.to_string().contains("DenyUnencrypted"));
        let mut silent = minio.clone();
        let row = crate::provider::Provider {
            sse_request: SseRequest::Default,
            ..(*minio.provider).clone()
        };
        silent.provider = Arc::new(row);
        let policy = bucket_policy(&silent).unwrap().json;
        assert!(!policy.to_string().contains("DenyUnencrypted"));
        let local = config("provider = \"local\"\npath = \"/x\"\n");
        assert!(bucket_policy(&local).is_err() && permissions(&local, Purpose::Read).is_err());
    }
}
