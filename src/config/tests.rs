//! A config file read as a person writes it, and each sentence it is refused with.

use std::path::Path;

use super::*;
use crate::error::Result;
use crate::provider::SseMode;

fn nothing(_: &str) -> Option<String> {
    None
}

fn load(text: &str, set: &[&str]) -> Result<Config> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let set: Vec<String> = set.iter().map(|setting| (*setting).to_owned()).collect();
    Config::load(Some(&path), &nothing, &set)
}

/// The error for volume `v` with these keys, from the line on.
fn refusal(keys: &str) -> String {
    let error = match load(&format!("[volumes.v]\n{keys}\n"), &[]) {
        Ok(config) => config.volume("v").unwrap_err(),
        Err(error) => error,
    };
    let told = format!("{error} | {}", error.hint_text().unwrap_or("-"));
    told.split_once("config.toml:").expect("it names file and line").1.to_owned()
}

const EVERY_PROVIDER: &str = r#"
[volumes.scratch]
provider = "local"
path = "/var/lib/cairnfs/scratch"
memory = "256MiB"
commit-interval = "500ms"

[volumes.photos]
provider = "amazon-s3"
region = "eu-central-1"
bucket = "acme-photos"
prefix = "/cairn"
sse = { kms = "KEY" }
sse-verify = "strict"

[volumes.photos.metadata]
engine = "bucket"
fencing = "auto"

[volumes.logs]
provider = "gcs"
bucket = "acme-logs"
credentials = { env = "GCS" }

[volumes.lab]
provider = "minio"
endpoint = "http://minio.lab:9000/"
plain-http = true
bucket = "lab"
sse = "aes256"
credentials = { file = "/etc/cairnfs/lab.keys" }

[volumes.office]
provider = "azblob"
account = "acme"
bucket = "office"

[volumes.tax]
provider = "oci"
namespace = "acmens"
region = "eu-frankfurt-1"
bucket = "tax"
credentials = { command = "vault-read oci" }
"#;

#[test]
fn every_volume_of_the_manual_is_understood() {
    let config = load(EVERY_PROVIDER, &[]).unwrap();
    let volume = |name| config.volume(name).unwrap();
    let names: Vec<_> = config.names().collect();
    assert_eq!(names, ["lab", "logs", "office", "photos", "scratch", "tax"]);

    let scratch = volume("scratch");
    assert_eq!(scratch.path.as_deref(), Some(Path::new("/var/lib/cairnfs/scratch")));
    assert_eq!((scratch.endpoint, scratch.sse), (None, None));
    assert_eq!(scratch.mount.memory_bytes, 256 << 20);

    let photos = volume("photos");
    assert_eq!(photos.endpoint.as_deref(), Some("https://s3.eu-central-1.amazonaws.com"));
    assert_eq!(photos.prefix, "cairn/");
    assert_eq!(photos.sse, Some(SseMode::Kms("KEY".to_owned())));
    assert_eq!(photos.credentials, Credentials::Chain);

    assert_eq!(volume("logs").verify(&SseMode::Aes256), SseVerify::Warn);
    assert_eq!(volume("logs").region.as_deref(), Some("auto"));
    assert_eq!(volume("lab").verify(&SseMode::Aes256), SseVerify::Strict);
    assert_eq!(volume("lab").endpoint.as_deref(), Some("http://minio.lab:9000"));
    assert_eq!(volume("office").endpoint.as_deref(), Some("https://acme.blob.core.windows.net"));
    assert_eq!(volume("tax").credentials, Credentials::Command("vault-read oci".to_owned()));
}

#[test]
fn a_key_of_ones_own_is_proved_also_where_the_store_documents_encryption() {
    let logs = load(EVERY_PROVIDER, &[]).unwrap().volume("logs").unwrap();
    let own = SseMode::CustomerKeyFile("/key".into());
    assert_eq!(logs.verify(&own), SseVerify::Strict);
    assert_eq!(logs.verify(&SseMode::Aes256), SseVerify::Warn);
}

#[test]
fn a_typo_names_file_line_the_nearest_and_all() {
    for (keys, expected) in [
        ("\nbuckett = \"b\"", "3: unknown key `buckett`, did you mean `bucket`? | known are `prov"),
        (
            "provider = \"mino\"",
            "2: unknown provider `mino`, did you mean `minio`? | known are `am",
        ),
        (
            "sse = \"aes265\"",
            "2: unknown value `aes265`, did you mean `aes256`? | known are `none`",
        ),
        (
            "metadata.fencing = \"red-back\"",
            "2: unknown value `red-back`, did you mean `read-back`?",
        ),
        (
            "credentials = { fil = \"x\" }",
            "2: unknown value `fil`, did you mean `file`? | known are",
        ),
        ("memory = \"much\"", "2: `much` is no size"),
        ("plain-http = \"yes\"", "2: invalid type: string \"yes\", expected a boolean"),
        ("bucket = \"b", "2: invalid basic string"),
    ] {
        let told = refusal(keys);
        assert!(told.starts_with(expected), "expected: {expected}\ngot: {told}");
    }
    let error = load("[volume.v]", &[]).unwrap_err().to_string();
    assert!(error.ends_with("config.toml:1: unknown key `volume`, did you mean `volumes`?"));
    let error = load("[volumes.\"a/b\"]", &[]).unwrap_err().to_string();
    assert!(error.ends_with("config.toml:1: `a/b` is no volume's name"), "{error}");
}

#[test]
fn a_volume_that_contradicts_its_row_is_refused() {
    let minio = "provider = \"minio\"\nendpoint = \"https://m\"\nbucket = \"b\"\n";
    let gcs = "provider = \"gcs\"\nbucket = \"b\"\n";
    for (keys, expected) in [
        ("bucket = \"b\"".to_owned(), "it does not say `provider` | known are `amazon-s3`"),
        ("provider = \"local\"".to_owned(), "it does not say `path`"),
        ("provider = \"local\"\npath = \"here\"".to_owned(), "path `here` is not absolute"),
        ("provider = \"local\"\nbucket = \"b\"".to_owned(), "`bucket` means nothing for provider"),
        (minio.to_owned() + "credentials = { file = \"k\" }", "path `k` is not absolute"),
        ("provider = \"minio\"".to_owned(), "it does not say `bucket`"),
        ("provider = \"minio\"\nbucket = \"b\"".to_owned(), "it does not say `endpoint`"),
        ("provider = \"amazon-s3\"\nbucket = \"b\"".to_owned(), "it does not say `region`"),
        ("provider = \"azblob\"\nbucket = \"b\"".to_owned(), "it does not say `account`"),
        (minio.to_owned() + "path = \"/x\"", "`path` means nothing for provider `minio`"),
        (minio.to_owned() + "namespace = \"x\"", "`namespace` means nothing for provider `minio`"),
        (minio.to_owned() + "prefix = \"a/../b\"", "`a/../b` is no prefix"),
        (minio.to_owned() + "sse = { dsse = \"K\" }", "MinIO has no DSSE-KMS"),
        (minio.to_owned() + "sse = { kms = \"two words\" }", "`two words` is no key's name"),
        (minio.to_owned() + "memory = 1024", "1KiB of memory is too little"),
        (minio.to_owned() + "metadata.engine = \"postgres\"", "`postgres` is not available yet"),
        (
            minio.replace("https", "http"),
            "the endpoint would send everything in plain text (endpoint http://m)",
        ),
        (
            minio.replace("https", "http")
                + "plain-http = true\nsse = { customer-key-file = \"/k\" }",
            "MinIO takes `customer-key-file:/k` over TLS only",
        ),
        (gcs.to_owned() + "metadata.fencing = \"conditional-create\"", "does not refuse to create"),
        (
            gcs.to_owned() + "sse = \"aes256\"\nsse-verify = \"strict\"",
            "`sse-verify = \"strict\"` cannot be met",
        ),
    ] {
        let told = refusal(&keys);
        assert!(told.starts_with("1: volume `v`: ") && told.contains(expected), "{told}");
    }
}

#[test]
fn a_provider_that_holds_no_volumes_yet_says_why() {
    let told = refusal("provider = \"amazon-s3-express\"\nbucket = \"b--euc1-az1--x-s3\"");
    assert!(told.contains("cannot hold a volume yet: its directory buckets"), "{told}");
}

#[test]
fn a_store_that_cannot_encrypt_is_done_without_only_where_that_is_allowed() {
    let asked = |keys: &str, words: &str| {
        let text = format!("[volumes.v]\nprovider = \"local\"\npath = \"/x\"\n{keys}\n");
        let volume = load(&text, &[]).unwrap().volume("v").unwrap();
        let mut mount = volume.mount.clone();
        words.split_whitespace().for_each(|word| mount.apply_option(word).unwrap());
        volume.asked_mode(&mount)
    };
    assert_eq!(asked("", "sse"), Some(SseMode::Aes256));
    assert_eq!(asked("", "sse allow-unencrypted"), Some(SseMode::None));
    assert_eq!(asked("sse = \"aes256\"", ""), Some(SseMode::Aes256));
    assert_eq!(asked("sse = \"aes256\"", "allow-unencrypted"), Some(SseMode::None));
    assert_eq!(asked("sse = \"aes256\"\nallow-unencrypted = true", ""), Some(SseMode::None));
    assert_eq!(asked("", "allow-unencrypted"), None);
    assert_eq!(asked("", "sse=kms:K allow-unencrypted"), Some(SseMode::Kms("K".to_owned())));
    let minio = "[volumes.v]\nprovider = \"minio\"\nendpoint = \"https://m\"\nbucket = \"b\"\n";
    let minio = load(minio, &[]).unwrap().volume("v").unwrap();
    let mut mount = minio.mount.clone();
    for word in ["sse", "allow-unencrypted"] {
        mount.apply_option(word).unwrap();
    }
    assert_eq!(minio.asked_mode(&mount), Some(SseMode::Aes256), "this store can encrypt");
    assert_eq!(minio.notices(&mount), [""; 0]);
}

#[test]
fn one_call_overrides_a_key_but_never_weakens_encryption() {
    let set = |setting| load(EVERY_PROVIDER, &[setting]);
    let photos = |setting| set(setting).unwrap().volume("photos").unwrap();
    let moved = photos("volumes.photos.region=eu-west-1");
    assert_eq!(moved.endpoint.as_deref(), Some("https://s3.eu-west-1.amazonaws.com"));
    assert_eq!(photos("volumes.photos.bucket=123").bucket, "123");
    assert_eq!(photos("volumes.photos.metadata.fencing=read-back").fencing, Fencing::ReadBack);
    assert_eq!(photos("volumes.photos.sse.kms=KEY").sse, Some(SseMode::Kms("KEY".to_owned())));
    let logs = set("volumes.logs.sse=aes256").unwrap().volume("logs").unwrap();
    assert_eq!(logs.sse, Some(SseMode::Aes256));
    for (setting, expected) in [
        ("volumes.photos.sse=none", "one call cannot weaken a volume's encryption"),
        ("volumes.photos.sse=aes256", "one call cannot weaken a volume's encryption"),
        ("volumes.photos.sse-verify=warn", "one call cannot weaken a volume's encryption"),
        ("volumes.scratch.allow-unencrypted=true", "one call cannot weaken"),
        ("volumes.photos.regoin=x", "--set:1: unknown key `regoin`, did you mean `region`?"),
        ("volumes.potos.region=x", "unknown volume `potos`, did you mean `photos`?"),
        ("volumes.photos.provider=mino", "unknown provider `mino`, did you mean `minio`?"),
        ("volumes.lab.plain-http=maybe", "expected a boolean"),
        ("photos.region=x", "it is not `volumes.NAME.KEY=VALUE`"),
        ("volumes.photos.region", "it is not `volumes.NAME.KEY=VALUE`"),
    ] {
        let told = set(setting).unwrap_err().to_string();
        let doing = format!("cannot set `{setting}`: ");
        assert!(told.starts_with(&doing) && told.contains(expected), "{told}");
    }
}

#[test]
fn files_are_looked_for_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, volume: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("[volumes.{volume}]\nprovider = \"memory\"\n")).unwrap();
        path
    };
    let home = dir.path().to_str().unwrap().to_owned();
    write(".config/cairnfs/config.toml", "of-home");
    let of_variable = write("variable.toml", "of-variable").to_str().unwrap().to_owned();
    let explicit = write("explicit.toml", "of-flag");
    let at_home = |name: &str| (name == "HOME").then(|| home.clone());
    let with_variable = |name: &str| match name {
        "CAIRNFS_CONFIG" => Some(of_variable.clone()),
        _ => at_home(name),
    };
    let first = |explicit: Option<&Path>, lookup: Lookup<'_>| {
        let config = Config::load(explicit, lookup, &[]).unwrap();
        config.names().next().unwrap().to_owned()
    };
    assert_eq!(first(Some(&explicit), &with_variable), "of-flag");
    assert_eq!(first(None, &with_variable), "of-variable");
    assert_eq!(first(None, &at_home), "of-home");
    let error = Config::load(Some(Path::new("/no/such.toml")), &at_home, &[]).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the config file `/no/such.toml`: "));
}

#[test]
fn a_config_that_others_may_have_written_is_not_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".config/cairnfs/config.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "[volumes.mine]\nprovider = \"memory\"\n").unwrap();
    for mode in [0o620, 0o602, 0o666] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Config::load(Some(&path), &nothing, &[]).unwrap_err();
        assert!(error.to_string().starts_with("others can change the config file"), "{error}");
        assert!(error.hint_text().unwrap().starts_with("run `chmod go-w "), "{error}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Config::load(Some(&path), &nothing, &[]).is_ok());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let error = Config::load(Some(&path), &nothing, &[]).unwrap_err();
        assert!(error.to_string().contains("belongs to user 65534"), "{error}");
        // Found in a home that sudo left: passed over, not run.
        let home = dir.path().to_str().unwrap().to_owned();
        let kept = |name: &str| (name == "HOME").then(|| home.clone());
        let config = Config::load(None, &kept, &[]).unwrap();
        assert_ne!(config.origin(), Some(path.as_path()));
    }
}

#[test]
fn a_providers_file_is_found_beside_the_config_and_holds_rows_only() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "providers-file = \"rows.toml\"").unwrap();
    let rows = |text: &str| {
        std::fs::write(dir.path().join("rows.toml"), text).unwrap();
        Config::load(Some(&config), &nothing, &[])
    };
    let garage = rows("[providers.garage]\nbased-on = \"s3\"").unwrap();
    assert!(garage.matrix().provider("garage").is_ok());
    let error = rows("[provider.garage]").unwrap_err().to_string();
    assert!(error.ends_with("rows.toml:1: unknown key `provider`, did you mean `providers`?"));
}

#[test]
fn the_environment_gives_amazons_region_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let text = "[volumes.a]\nprovider = \"amazon-s3\"\nbucket = \"b\"\n\
                [volumes.m]\nprovider = \"minio\"\nbucket = \"b\"\nendpoint = \"https://m\"";
    std::fs::write(&path, text).unwrap();
    let lookup = |name: &str| (name == "AWS_REGION").then(|| "eu-west-1".to_owned());
    let config = Config::load(Some(&path), &lookup, &[]).unwrap();
    assert_eq!(config.volume("a").unwrap().region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.volume("m").unwrap().region.as_deref(), Some("us-east-1"));
}

#[test]
fn a_users_rows_count_before_the_volumes_that_name_them() {
    let text = r#"
        [volumes.v]
        provider = "garage"
        endpoint = "https://garage.lab"
        bucket = "b"
        [providers.garage]
        based-on = "s3"
        title = "Garage"
    "#;
    let config = load(text, &[]).unwrap();
    assert_eq!(config.volume("v").unwrap().provider.title, "Garage");
    assert!(config.volume("w").unwrap_err().to_string().starts_with("unknown volume `w`"));
    let faulty = text.replace("title", "titel");
    let error = load(&faulty, &[]).unwrap_err().to_string();
    assert!(error.contains("config.toml:8: unknown key `titel`, did you mean `title`?"), "{error}");
}
