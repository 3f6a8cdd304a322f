//! What the matrix holds, and each sentence it refuses a row with.

use super::*;
use crate::ambient::Ambient;

fn builtin() -> Matrix {
    Matrix::builtin().unwrap()
}

/// The error of a user's text, with its hint behind it.
fn refusal(text: &str) -> String {
    let error = builtin().with_user_file(text, "my.toml").unwrap_err();
    format!("{error} | {}", error.hint_text().unwrap_or("-"))
}

#[test]
fn every_provider_of_the_design_has_a_row_in_the_files_order() {
    let names: Vec<_> = builtin().providers().map(|row| row.name.clone()).collect();
    assert_eq!(
        names,
        [
            "amazon-s3",
            "gcs",
            "gcs-native",
            "minio",
            "wasabi",
            "ceph-rgw",
            "azblob",
            "oci",
            "s3",
            "local",
            "memory",
            "amazon-s3-express",
            "cloudflare-r2",
            "backblaze-b2",
            "digitalocean-spaces",
            "tigris",
            "ibm-cos",
            "alibaba-oss",
            "tencent-cos",
            "huawei-obs",
            "scaleway",
            "ovhcloud",
            "hetzner",
            "linode",
            "seaweedfs",
            "garage",
            "rustfs",
            "versity",
        ]
    );
}

#[test]
fn no_compiled_in_evidence_is_of_the_future() {
    let today = Day::of(Ambient::system().now());
    for row in builtin().providers() {
        for (claim, evidence) in &row.evidence {
            evidence.check(today).unwrap_or_else(|error| panic!("{} {claim:?}: {error}", row.name));
        }
    }
}

#[test]
fn the_table_in_the_documentation_is_the_matrix() {
    let page = include_str!("../../docs/providers.md");
    let table = builtin().markdown();
    assert!(page.contains(&table), "docs/providers.md should hold this table:\n{table}");
}

#[test]
fn an_unknown_provider_names_the_nearest_and_all() {
    let error = builtin().provider("mino").unwrap_err();
    assert_eq!(error.to_string(), "unknown provider `mino`, did you mean `minio`?");
    assert!(error.hint_text().unwrap().contains("`amazon-s3`, `gcs`"));
}

#[test]
fn azure_proves_by_its_own_headers_and_wasabi_by_documentation() {
    let azure = builtin().provider("azblob").unwrap();
    let proof = azure.proof.as_ref().unwrap();
    assert_eq!(proof.write_header, "x-ms-request-server-encrypted");
    assert_eq!(proof.head_header, "x-ms-server-encrypted");
    assert_eq!(proof.accept, ["true"]);
    let wasabi = builtin().provider("wasabi").unwrap();
    assert!(wasabi.proof.is_none() && wasabi.omit_on_refusal && wasabi.encrypts_anyway());
}

#[test]
fn refusals_are_told_from_passing_faults() {
    let find = |name: &str, status, code, message, scope| {
        let row = builtin().provider(name).unwrap();
        let answer = Refused { status, code, message, scope, mode: &SseMode::Aes256 };
        row.refusal(answer).map(|refusal| refusal.meaning.clone())
    };
    let always = RefusalScope::Always;
    let message = "Server side encryption specified but KMS is not configured";
    let meaning = find("minio", 501, "NotImplemented", message, always).unwrap();
    assert_eq!(meaning, "the server has no key service, so it cannot encrypt");
    assert!(find("s3", 500, "InternalError", "", RefusalScope::Probe).is_some());
    assert!(find("s3", 500, "InternalError", "", always).is_none());
    let message = "Request specifies Server Side Encryption but server configuration does not";
    assert!(find("ceph-rgw", 400, "InvalidArgument", message, always).is_some());
    assert!(find("ceph-rgw", 400, "InvalidArgument", "bad name", always).is_none());
    assert!(find("ceph-rgw", 503, "SlowDown", "", RefusalScope::Probe).is_none());
}

#[test]
fn a_mode_the_store_or_opendal_lacks_is_refused_in_a_sentence() {
    let check = |name: &str, mode: &str| {
        let error = builtin().provider(name).unwrap().check_mode(&mode.parse().unwrap());
        error.map_err(|error| error.to_string())
    };
    for (name, mode) in [
        ("local", "none"),
        ("minio", "aes256"),
        ("azblob", "aes256"),
        ("oci", "aes256"),
        ("amazon-s3", "dsse:KEY"),
        ("ceph-rgw", "kms:KEY"),
        ("wasabi", "customer-key-file:/k"),
        ("cloudflare-r2", "aes256"),
        ("hetzner", "customer-key-file:/k"),
    ] {
        assert_eq!(check(name, mode), Ok(()), "{name} {mode}");
    }
    for (name, mode, sentence) in [
        ("local", "aes256", "a local directory does not encrypt at rest"),
        ("hetzner", "aes256", "Hetzner Object Storage does not encrypt at rest"),
        (
            "scaleway",
            "aes256",
            "Scaleway Object Storage cannot be asked to encrypt: a setting of the bucket or the \
             server decides",
        ),
        ("tigris", "customer-key-file:/k", "Tigris has no SSE-C"),
        (
            "digitalocean-spaces",
            "customer-key-file:/k",
            "nobody has measured whether DigitalOcean Spaces has SSE-C",
        ),
        ("wasabi", "kms:KEY", "Wasabi has no SSE-KMS"),
        ("minio", "dsse:KEY", "MinIO has no DSSE-KMS"),
        (
            "azblob",
            "kms:KEY",
            "Azure Blob Storage has SSE-KMS, but it cannot be asked for through OpenDAL",
        ),
    ] {
        assert_eq!(check(name, mode).unwrap_err(), sentence);
    }
    let amazon = builtin().provider("amazon-s3").unwrap();
    let nameless = amazon.check_mode(&SseMode::Kms(String::new())).unwrap_err();
    assert_eq!(nameless.to_string(), "SSE-KMS at Amazon S3 needs a key");
    assert!(amazon.mode_requires_tls(&"kms:KEY".parse().unwrap()));
}

#[test]
fn a_mode_survives_its_text() {
    for text in ["none", "aes256", "kms:arn:aws:kms:eu:1:key/2", "dsse:K", "customer-key-file:/k"] {
        assert_eq!(text.parse::<SseMode>().unwrap().to_string(), text);
    }
    for (text, sentence) in [
        ("kms", "encryption mode `kms` needs a key"),
        ("aes256:K", "encryption mode `aes256` takes no key"),
        ("aes265", "unknown encryption mode `aes265`, did you mean `aes256`?"),
    ] {
        assert_eq!(text.parse::<SseMode>().unwrap_err().to_string(), sentence);
    }
}

#[test]
fn a_user_changes_one_claim_of_a_row_and_adds_rows() {
    let text = r#"
        [volumes.other]
        is = "not read here"
        [providers.minio.objects]
        delete = { batch = 1, needs-md5 = false }
        [providers.minio.evidence]
        delete = { confidence = "measured", kind = "probe", source = "lab", date = "2026-11-01" }
        [providers.lab-garage]
        based-on = "s3"
        title = "Garage"
        [providers.lab-garage.sse]
        request = "unsupported"
        header-value = ""
        at-rest = "never"
        proof = { where = "none", on-missing = "fail" }
        [providers.lab-garage.evidence]
        sse-request = { confidence = "assumed", kind = "none", date = "2026-11" }
        at-rest = { confidence = "assumed", kind = "none", date = "2026-11" }
        proof = { confidence = "assumed", kind = "none", date = "2026-11" }
    "#;
    let matrix = builtin().with_user_file(text, "my.toml").unwrap();
    let minio = matrix.provider("minio").unwrap();
    assert_eq!((minio.delete_batch, minio.title.as_str()), (1, "MinIO"));
    let garage = matrix.provider("lab-garage").unwrap();
    assert_eq!((garage.delete_batch, garage.sse_request), (1000, SseRequest::Unsupported));
    assert_eq!(matrix.providers().last().unwrap().name, "lab-garage");
}

#[test]
fn a_rows_language_of_permissions_is_its_own_its_bases_or_its_services() {
    let matrix = builtin();
    let speaks = |row: &str| matrix.provider(row).unwrap().access.permissions;
    assert_eq!(speaks("amazon-s3"), Permissions::Amazon);
    assert_eq!(speaks("oci"), Permissions::Oracle);
    for row in ["s3", "cloudflare-r2", "hetzner", "backblaze-b2", "local"] {
        assert_eq!(speaks(row), Permissions::None, "{row}");
    }
    for service in [Service::S3, Service::Gcs, Service::Azblob, Service::Fs, Service::Memory] {
        assert!(Permissions::of(service).fits(service));
    }
}

#[test]
fn what_a_row_takes_from_another_is_assumed_of_it() {
    let matrix = builtin();
    let confidence = |row: &str, claim| matrix.provider(row).unwrap().evidence[&claim].confidence;
    assert_eq!(confidence("s3", Claim::Checksum), Confidence::Measured);
    assert_eq!(confidence("cloudflare-r2", Claim::Checksum), Confidence::Assumed);
    assert_eq!(confidence("cloudflare-r2", Claim::CustomerKey), Confidence::Documented);
    assert_eq!(confidence("seaweedfs", Claim::Checksum), Confidence::Measured);
}

#[test]
fn what_surprises_on_the_bill_is_a_sentence() {
    let notices = |name: &str| builtin().provider(name).unwrap().cost_notices();
    assert!(notices("wasabi")[0].contains("charges 90 days for every object"));
    assert!(notices("gcs")[0].contains("keeps deleted objects for 7 days"));
    assert!(notices("backblaze-b2")[0].contains("hides deleted objects"));
    for cheap in ["amazon-s3", "minio", "local"] {
        assert!(notices(cheap).is_empty(), "{cheap}");
    }
}

#[test]
fn a_row_that_says_what_it_must_not_is_refused_with_its_line() {
    let evidence = |claim: &str, date: &str| {
        format!(
            "[providers.minio.evidence]\n\
             {claim} = {{ confidence = \"assumed\", kind = \"none\", date = \"{date}\" }}\n"
        )
    };
    let at_rest = "[providers.minio.sse]\nat-rest = \"always\"\n";
    for (text, expected) in [
        ("providers = 1".to_owned(), "my.toml:1: invalid type"),
        (
            "\n[providers.minio]\ntitel = \"x\"".to_owned(),
            "my.toml:3: unknown key `titel`, did you mean `title`? | known are `based-on`",
        ),
        (
            "[providers.minio.sse]\nrequest = \"heder\"".to_owned(),
            "my.toml:2: unknown value `heder`, did you mean `header`? | known are `header`",
        ),
        (
            "[providers.new]\ntitle = \"x\"".to_owned(),
            "row `new`: it does not say `objects.delete`",
        ),
        ("[providers.x]\nbased-on = \"s4\"".to_owned(), "row `x`: unknown provider `s4`"),
        (at_rest.to_owned(), "row `minio`: claim `at-rest` has no evidence"),
        (at_rest.to_owned() + &evidence("at-rest", "9000-01-01"), "is in the future"),
        (at_rest.to_owned() + &evidence("at-rest", "2026-13"), "`2026-13` is no date"),
        (evidence("at-rest", "2026-11"), "evidence for `at-rest`, which it does not say"),
        (
            "[providers.minio.sse]\nrequest = \"default\"\n".to_owned()
                + &evidence("sse-request", "2026-11"),
            "is for stores with `at-rest = \"always\"` only",
        ),
        (
            "[providers.minio.sse]\nheader-value = \"AES512\"\n".to_owned()
                + &evidence("sse-request", "2026-11"),
            "`sse.header-value` is \"AES256\" where a header is sent",
        ),
        (
            "[providers.minio.objects]\n\
             conditional-create = { how = \"if-none-match\", conflict = [412, 503] }\n"
                .to_owned()
                + &evidence("conditional-create", "2026-11"),
            "is passing trouble, no conflict",
        ),
        (
            "[providers.minio.access]\npermissions = \"azure\"\n".to_owned()
                + &evidence("access", "2026-11"),
            "`access.permissions` is another service's language",
        ),
    ] {
        let told = refusal(&text);
        assert!(told.contains(expected), "expected: {expected}\ngot: {told}");
    }
}
