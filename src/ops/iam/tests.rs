//! That each document says enough, no more, and only what its reader understands.

use super::*;
use crate::config::Config;

fn config(table: &str) -> VolumeConfig {
    with_rows(table, "")
}

fn with_rows(table: &str, rows: &str) -> VolumeConfig {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, format!("[volumes.v]\n{table}\n{rows}")).unwrap();
    let config = Config::load(Some(&file), &|_| None, &[]).unwrap();
    config.volume("v").unwrap()
}

fn volume_at(provider: &str, more: &str) -> VolumeConfig {
    config(&format!("provider = \"{provider}\"\nbucket = \"b\"\nprefix = \"cairn/\"\n{more}"))
}

fn amazon_in(region: &str) -> VolumeConfig {
    volume_at("amazon-s3", &format!("region = \"{region}\"\n"))
}

fn server(provider: &str) -> VolumeConfig {
    volume_at(provider, "endpoint = \"https://m\"\n")
}

fn mode(text: &str) -> Option<SseMode> {
    Some(text.parse().unwrap())
}

fn write_policy(config: &VolumeConfig, mode: Option<&SseMode>) -> Document {
    permissions(config, mode, Purpose::Write).unwrap()
}

/// The statement of that name, or null.
fn statement(document: &Document, sid: &str) -> Value {
    let mut statements = document.json["Statement"].as_array().unwrap().iter();
    statements.find(|each| each["Sid"] == sid).cloned().unwrap_or_default()
}

#[test]
fn a_policy_reaches_no_further_than_the_volume() {
    let document = write_policy(&amazon_in("eu-central-1"), mode("kms:k1").as_ref());
    let list = statement(&document, "ListTheVolume");
    assert_eq!(list["Condition"]["StringLike"]["s3:prefix"], "cairn/*");
    assert_eq!(statement(&document, "TheVolumesObjects")["Resource"], "arn:aws:s3:::b/cairn/*");
    let key = statement(&document, "TheVolumesKey");
    assert_eq!(key["Resource"], "arn:aws:kms:eu-central-1:*:key/k1");
    let text = document.json.to_string();
    assert!(!text.contains("\"s3:*\"") && !text.contains("\"Resource\":\"*\""), "{text}");
    assert!(text.contains("s3:GetBucketAcl"), "{text}");
}

#[test]
fn who_only_reads_is_permitted_no_change() {
    let gcs = config("provider = \"gcs-native\"\nbucket = \"b\"\n");
    let azure = config("provider = \"azblob\"\naccount = \"a\"\nbucket = \"b\"\n");
    let kms = mode("kms:k1");
    for (config, mode) in [(amazon_in("eu-central-1"), &kms), (gcs, &None), (azure, &None)] {
        let read = permissions(&config, mode.as_ref(), Purpose::Read).unwrap().json.to_string();
        let write = write_policy(&config, mode.as_ref()).json.to_string();
        let changes = ["Put", "Delete", "create", "delete", "write", "GenerateDataKey"];
        for change in changes {
            assert!(!read.contains(change), "{change}: {read}");
        }
        assert!(changes.iter().any(|change| write.contains(change)), "{write}");
    }
}

#[test]
fn an_alias_is_permitted_as_the_key_behind_it() {
    let volume = amazon_in("eu-central-1");
    for (key, resource, alias) in [
        ("alias/mine", "arn:aws:kms:eu-central-1:*:key/*", "alias/mine"),
        ("arn:aws:kms:eu-west-1:12:alias/its", "arn:aws:kms:eu-west-1:12:key/*", "alias/its"),
        ("arn:aws:kms:eu-west-1:12:key/k2", "arn:aws:kms:eu-west-1:12:key/k2", ""),
        ("mrk-1", "arn:aws:kms:eu-central-1:*:key/mrk-1", ""),
    ] {
        let document = write_policy(&volume, Some(&SseMode::Kms(key.to_owned())));
        let statement = statement(&document, "TheVolumesKey");
        assert_eq!(statement["Resource"], resource);
        let known = &statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"];
        assert_eq!(known.as_str().unwrap_or_default(), alias);
    }
}

#[test]
fn a_key_is_named_to_amazon_only_and_said_to_be_missing_where_nobody_named_it() {
    let said = |document: &Document| document.hint.contains("add `--sse kms:KEY`");
    let amazon = amazon_in("eu-central-1");
    assert!(said(&write_policy(&amazon, None)));
    assert!(!said(&write_policy(&amazon, mode("kms:k").as_ref())));
    assert!(!said(&write_policy(&amazon, mode("aes256").as_ref())));
    for row in ["minio", "ceph-rgw"] {
        let document = write_policy(&server(row), mode("kms:k").as_ref());
        let text = document.json.to_string();
        assert!(!text.contains("kms") && !said(&document), "{row}: {text}");
    }
}

#[test]
fn each_server_is_told_only_what_it_understands() {
    let text = |config: &VolumeConfig| write_policy(config, None).json.to_string();
    let minio = text(&server("minio"));
    for unknown in ["GetBucketAcl", "PublicAccessBlock"] {
        assert!(!minio.contains(unknown), "{minio}");
    }
    let rgw = write_policy(&server("ceph-rgw"), None);
    assert_eq!(statement(&rgw, "ListTheVolume")["Condition"], Value::Null);
    assert!(rgw.hint.contains("answers 403"), "{}", rgw.hint);
    let rgw = rgw.json.to_string();
    assert!(!rgw.contains("GetEncryptionConfiguration") && rgw.contains("s3:GetBucketAcl"));
    let whole = config("provider = \"ceph-rgw\"\nbucket = \"b\"\nendpoint = \"https://m\"\n");
    assert!(!write_policy(&whole, None).hint.contains("403"));
}

#[test]
fn a_role_of_google_is_what_the_protocol_needs() {
    let permits = |provider: &str| {
        let role = write_policy(&volume_at(provider, ""), None).json;
        role["includedPermissions"].as_array().unwrap().clone()
    };
    let (compat, native) = (permits("gcs"), permits("gcs-native"));
    for bucket in ["storage.buckets.get", "storage.multipartUploads.list"] {
        assert!(compat.iter().any(|each| each == bucket), "{compat:?}");
    }
    let objects = ["get", "list", "create", "delete"].map(|verb| format!("storage.objects.{verb}"));
    assert_eq!(native, objects);
}

#[test]
fn the_language_is_the_rows_and_inherited() {
    let row = |base: &str| format!("[providers.mine]\nbased-on = \"{base}\"\ntitle = \"mine\"\n");
    let place = "provider = \"mine\"\nbucket = \"b\"\nregion = \"r\"\nendpoint = \"https://m\"\n";
    let printed = |base: &str| {
        permissions(&with_rows(place, &row(base)), None, Purpose::Write)
            .map(|document| document.text.unwrap_or_else(|| document.json.to_string()))
    };
    assert!(printed("oci").unwrap().starts_with("Allow group GROUP"));
    assert!(printed("gcs").unwrap().contains("includedPermissions"));
    assert!(!printed("minio").unwrap().contains("PublicAccessBlock"));
    for base in ["s3", "hetzner", "backblaze-b2", "tigris"] {
        let error = printed(base).unwrap_err();
        assert_eq!(error.to_string(), "no language of permissions is known for mine");
        let hint = error.hint_text().unwrap();
        assert!(hint.contains("console: read, write, list, delete in bucket `b`"), "{hint}");
    }
    let local = config("provider = \"local\"\npath = \"/x\"\n");
    assert!(permissions(&local, None, Purpose::Read).is_err());
    assert!(bucket_policy(&local, None).is_err() && bucket_policy(&server("s3"), None).is_err());
    let oracle = "provider = \"oci\"\nbucket = \"b\"\nnamespace = \"n\"\nregion = \"r\"\n";
    let oracle = bucket_policy(&config(oracle), None).unwrap_err();
    assert!(oracle.to_string().contains("knows no bucket policies"), "{oracle}");
}

#[test]
fn amazon_is_named_by_its_part_of_the_world() {
    for (region, partition) in
        [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-central-1", "aws")]
    {
        let (volume, kms) = (amazon_in(region), mode("kms:k1"));
        let policy = write_policy(&volume, kms.as_ref());
        let bucket = statement(&policy, "ListTheVolume")["Resource"].clone();
        assert_eq!(bucket, format!("arn:{partition}:s3:::b"));
        let key = statement(&policy, "TheVolumesKey")["Resource"].clone();
        assert_eq!(key, format!("arn:{partition}:kms:{region}:*:key/k1"));
        let denied = bucket_policy(&volume, kms.as_ref()).unwrap();
        let objects = statement(&denied, "DenyUnencrypted")["Resource"].clone();
        assert_eq!(objects, format!("arn:{partition}:s3:::b/cairn/*"));
    }
    let minio = volume_at("minio", "endpoint = \"https://m\"\nregion = \"cn-north-1\"\n");
    assert!(write_policy(&minio, None).json.to_string().contains("arn:aws:s3:::b"));
}

#[test]
fn a_bucket_policy_demands_only_what_each_write_of_the_volume_carries() {
    let sse = "s3:x-amz-server-side-encryption";
    let own = "s3:x-amz-server-side-encryption-customer-algorithm";
    let wasabi = volume_at("wasabi", "region = \"eu-1\"\n");
    let amazon = || amazon_in("eu-central-1");
    for (volume, asked, demanded) in [
        (amazon(), mode("aes256"), Ok(sse)),
        (amazon(), mode("kms:k"), Ok(sse)),
        (amazon(), mode("dsse:k"), Ok(sse)),
        (amazon(), mode("customer-key-file:/k"), Ok(own)),
        (amazon(), mode("none"), Err("the volume asks for none")),
        (amazon(), None, Err("add `--sse MODE`")),
        (server("minio"), mode("aes256"), Ok(sse)),
        (server("minio"), mode("customer-key-file:/k"), Ok(own)),
        (server("ceph-rgw"), mode("kms:k"), Ok(sse)),
        (server("ceph-rgw"), mode("customer-key-file:/k"), Err("do not see the header")),
        (wasabi.clone(), mode("aes256"), Err("may refuse the header")),
        (wasabi, mode("customer-key-file:/k"), Ok(own)),
    ] {
        let document = bucket_policy(&volume, asked.as_ref()).unwrap();
        let statement = statement(&document, "DenyUnencrypted");
        let headers = statement["Condition"]["Null"].as_object();
        let headers: Vec<_> = headers.into_iter().flat_map(|each| each.keys()).collect();
        match demanded {
            Ok(header) => assert_eq!(headers, [header], "{asked:?}"),
            Err(why) => {
                assert_eq!(statement, Value::Null, "{asked:?}");
                assert!(document.hint.contains(why), "{asked:?}: {}", document.hint);
            }
        }
        assert_ne!(self::statement(&document, "DenyPlainHttp"), Value::Null);
    }
}

#[test]
fn a_bucket_policy_does_not_refuse_the_volumes_own_plain_http() {
    let lab = volume_at("minio", "endpoint = \"http://m.lab:9000\"\nplain-http = true\n");
    let document = bucket_policy(&lab, mode("aes256").as_ref()).unwrap();
    assert_eq!(statement(&document, "DenyPlainHttp"), Value::Null);
    assert!(document.hint.contains("it permits plain HTTP"), "{}", document.hint);
    let nothing = bucket_policy(&lab, None).unwrap_err();
    assert_eq!(nothing.kind(), Kind::Unsupported);
    assert!(nothing.hint_text().unwrap().contains("add `--sse MODE`"));
}
