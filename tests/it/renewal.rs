//! Keys that a command prints and that expire: it is run again before they do, so that the store
//! may forget the old ones.

use std::fs;
use std::time::Duration;

use crate::support::s3_double::ACCESS_KEY;
use crate::support::s3_double::BUCKET;
use crate::support::s3_double::S3Double;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const NEXT_KEY: &str = "next-key";

#[test]
fn a_mount_outlives_the_keys_that_it_was_started_with() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    let dir = volume.scratch("keys");
    let id = dir.join("id");
    fs::write(&id, ACCESS_KEY).unwrap();
    let script = dir.join("keys.sh");
    let text = format!(
        "id=$(cat {}) expires=$(date -u -d '+8 seconds' +%FT%TZ)\n\
         printf '{{\"access_key_id\": \"%s\", \"secret_access_key\": \"s\", \"expires\": \"%s\"}}' \
         \"$id\" \"$expires\"\n",
        id.display()
    );
    fs::write(&script, text).unwrap();
    volume.write_config(&format!(
        "[volumes.{NAME}]\nprovider = \"amazon-s3\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
         bucket = \"{BUCKET}\"\ncredentials = {{ command = \"sh {}\" }}\n",
        double.endpoint(),
        script.display()
    ));
    let mounted = volume.created(&[]);
    fs::write(mounted.path("first"), "with the first keys").unwrap();
    mounted.sync();

    double.take_keys(&[ACCESS_KEY, NEXT_KEY]);
    fs::write(&id, NEXT_KEY).unwrap();
    let renewed = tools::within(Duration::from_secs(60), || {
        fs::write(mounted.path("between"), "with whichever keys").unwrap();
        mounted.sync();
        double.record().iter().any(|seen| seen.authorization.contains(NEXT_KEY))
    });
    assert!(renewed, "the command was not run again");

    double.take_keys(&[NEXT_KEY]);
    fs::write(mounted.path("second"), "with the next keys").unwrap();
    mounted.sync();
    mounted.stop();
    let refused = double.record().iter().filter(|seen| seen.status == 403).count();
    assert_eq!(refused, 0, "a request went out with keys that had expired");

    let mounted = volume.start(&[]);
    assert_eq!(fs::read(mounted.path("first")).unwrap(), b"with the first keys");
    assert_eq!(fs::read(mounted.path("second")).unwrap(), b"with the next keys");
    mounted.stop();
}
