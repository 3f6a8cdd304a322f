//! One config file, a volume at each of the seven providers that the design begins with, all of
//! them mounted at once. Where no server can be had, a double answers as the row says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::cycle;
use crate::support::mounted::Mounted;
use crate::support::s3_double;
use crate::support::s3_double::Encryption;
use crate::support::s3_double::S3Double;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::servers::Store;
use crate::support::servers::azurite::azurite;
use crate::support::servers::ceph::Ceph;
use crate::support::servers::ceph::Gateway;
use crate::support::servers::ceph::KMS_KEY;
use crate::support::volume::TestVolume;

/// A volume to be: its name, its table, the keys that open its store.
struct Place {
    name: &'static str,
    table: String,
    keys: (String, String),
}

/// A place at a double.
fn doubled(provider: &'static str, double: &S3Double) -> Place {
    let (access_key, secret_key) = (s3_double::ACCESS_KEY, s3_double::SECRET_KEY);
    Place {
        name: provider,
        table: format!(
            "provider = \"{provider}\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
             bucket = \"{}\"\nsse = \"aes256\"\n",
            double.endpoint(),
            s3_double::BUCKET
        ),
        keys: (access_key.to_owned(), secret_key.to_owned()),
    }
}

fn served(store: &Store, sse: &str) -> Place {
    let settings = store.settings.lines().filter(|line| !line.starts_with("credentials"));
    let settings: String = settings.map(|line| format!("{line}\n")).collect();
    Place {
        name: store.provider,
        table: format!("provider = \"{}\"\n{settings}sse = {sse}\n", store.provider),
        keys: store.keys.clone().expect("each of these stores has keys"),
    }
}

/// The config with all places, each with its keys in a file of their own.
fn config(places: &[Place], keys_dir: &Path) -> String {
    let table = |place: &Place| {
        let file = keys_dir.join(place.name);
        let (id, secret) = &place.keys;
        let text = match place.name {
            "azblob" => format!("account_name = {id}\naccount_key = {secret}\n"),
            _ => format!("access_key_id = {id}\nsecret_access_key = {secret}\n"),
        };
        std::fs::write(&file, text.replace(" = ", "=")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (name, table) = (place.name, &place.table);
        let credentials = format!("credentials = {{ file = \"{}\" }}\n", file.display());
        format!("[volumes.{name}]\n{table}{credentials}\n")
    };
    places.iter().map(table).collect()
}

#[test]
fn one_config_mounts_a_volume_at_each_of_the_seven_providers_at_once() {
    let [amazon, gcs, wasabi, oci] = [(); 4].map(|()| S3Double::start());
    for silent in [&gcs, &wasabi, &oci] {
        silent.encryption(Encryption::Ignore);
        silent.ignore_conditions();
    }
    gcs.refuse_batch_deletes();
    let minio = Minio::start(Key::Present).into_store();
    let ceph = Ceph::start();
    let rgw = ceph.gateway(Gateway::WithKeys);
    let azure = azurite();
    let places = [
        doubled("amazon-s3", &amazon),
        doubled("gcs", &gcs),
        served(&minio, "\"aes256\""),
        doubled("wasabi", &wasabi),
        served(&rgw, &format!("{{ kms = \"{KMS_KEY}\" }}")),
        served(&azure, "\"aes256\""),
        doubled("oci", &oci),
    ];
    let volume = TestVolume::local();
    volume.write_config(&config(&places, &volume.scratch("keys")));
    let mounts = places.each_ref().map(|place| {
        let (name, dir) = (place.name, volume.mount_point(place.name));
        std::fs::create_dir_all(&dir).unwrap();
        volume.call("cairnfs", &["volume", "create", name]).expect_success(name);
        let at = dir.to_str().unwrap().to_owned();
        volume.call("mount.cairnfs", &["start", name, &at]).expect_success(name);
        Mounted::adopt(&volume, dir)
    });
    mounts.iter().for_each(cycle::work);
    for (place, mounted) in places.iter().zip(&mounts) {
        cycle::find(mounted.dir());
        let status = mounted.status();
        assert_eq!(status["provider"], place.name);
        let count = |posture: &str| status["sse"][posture].as_u64().unwrap();
        assert!(count("confirmed") + count("provider_default") > 0, "{status}");
        assert_eq!(count("unconfirmed") + count("absent"), 0, "{status}");
    }
    let page = volume.call("cairnfs", &["status"]).expect_success("status").stdout;
    for place in &places {
        assert!(page.contains(place.name), "{} is not on the page: {page}", place.name);
    }
    println!("{page}");
    mounts.into_iter().for_each(Mounted::stop);
}
