//! The least permissions that a volume needs, in its provider's own words. Pure: knows the config
//! and the row, and asks nobody.

mod amazon;
#[cfg(test)]
mod tests;

use serde_json::Value;
use serde_json::json;

use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Permissions;
use crate::provider::Service;
use crate::provider::SseMode;

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
    /// What to do with it, and what it leaves out; a line of text.
    pub hint: String,
    /// The document, where it is JSON.
    pub json: Value,
    /// The document, where it is not.
    pub text: Option<String>,
}

impl Document {
    fn json(hints: &[String], json: Value) -> Self {
        Self { hint: hints.join("; "), json, text: None }
    }
}

/// What the volume's keys must be permitted. `mode` is the encryption that its writes ask for;
/// `None`: nobody said.
pub fn permissions(
    config: &VolumeConfig,
    mode: Option<&SseMode>,
    purpose: Purpose,
) -> Result<Document> {
    match config.provider.access.permissions {
        Permissions::Amazon | Permissions::Minio | Permissions::Ceph => {
            Ok(amazon::policy(config, mode, purpose))
        }
        Permissions::Google => Ok(google(config, purpose)),
        Permissions::Azure => Ok(azure(config, purpose)),
        Permissions::Oracle => Ok(oracle(config, purpose)),
        Permissions::None => Err(unspoken(config)),
    }
}

/// A policy for the bucket that refuses what the volume would never send.
pub fn bucket_policy(config: &VolumeConfig, mode: Option<&SseMode>) -> Result<Document> {
    match config.provider.access.permissions {
        Permissions::Amazon | Permissions::Minio | Permissions::Ceph => {
            amazon::bucket_policy(config, mode)
        }
        Permissions::Google | Permissions::Azure | Permissions::Oracle => {
            let title = &config.provider.title;
            Err(Error::new(Kind::Unsupported, format!("{title} knows no bucket policies"))
                .hint("without `--bucket-policy` it prints what the volume's keys need"))
        }
        Permissions::None => Err(unspoken(config)),
    }
}

/// That there is no language to say it in.
fn unspoken(config: &VolumeConfig) -> Error {
    let title = &config.provider.title;
    match config.provider.service {
        Service::Fs | Service::Memory => {
            Error::new(Kind::Unsupported, "its provider knows no permissions but the system's")
                .hint("who mounts must be able to write to the directory")
        }
        Service::S3 | Service::Gcs | Service::Azblob => {
            let message = format!("no language of permissions is known for {title}");
            let place = match config.prefix.as_str() {
                "" => format!("in bucket `{}`", config.bucket),
                prefix => format!("below `{prefix}` of bucket `{}`", config.bucket),
            };
            Error::new(Kind::Unsupported, message).hint(format!(
                "permit its keys in its own console: read, write, list, delete {place}"
            ))
        }
    }
}

fn google(config: &VolumeConfig, purpose: Purpose) -> Document {
    let mut permissions = vec!["storage.objects.get", "storage.objects.list"];
    if config.provider.service == Service::S3 {
        // The audit asks for the bucket's settings, its ACL and its uploads there.
        permissions.extend([
            "storage.buckets.get",
            "storage.buckets.getIamPolicy",
            "storage.multipartUploads.list",
        ]);
    }
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
    let hint = "a custom role; grant it on the bucket, under the condition if there is one";
    Document::json(&[hint.to_owned()], document)
}

fn azure(config: &VolumeConfig, purpose: Purpose) -> Document {
    let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
    let mut actions = vec![format!("{blobs}/read")];
    if purpose == Purpose::Write {
        actions.extend([format!("{blobs}/write"), format!("{blobs}/delete")]);
    }
    let account = config.account.as_deref().unwrap_or("ACCOUNT");
    let document = json!({
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
    });
    let hint = "a custom role; assign it on the container's scope";
    Document::json(&[hint.to_owned()], document)
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
        hint: "two policy statements; name the group whose customer secret key the volume uses"
            .to_owned(),
        json: Value::Null,
        text: Some([statement("read", "buckets"), statement(verb, "objects")].join("\n")),
    }
}
