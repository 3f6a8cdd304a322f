//! The life of a volume at a real account: `make test-live`. The store's usual variables hold the
//! keys (`AWS_ACCESS_KEY_ID`, `AZURE_STORAGE_ACCOUNT_KEY`, …); what is created is deleted again.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic, its helpers too")]
#![expect(clippy::disallowed_methods, reason = "tests wait for real processes, by the real clock")]
#![expect(dead_code, reason = "the other tests use more of the support than this one")]

#[path = "it/support/mod.rs"]
mod support;

use std::time::SystemTime;

use support::cycle;
use support::volume::NAME;
use support::volume::TestVolume;

/// Keys of the volume's table, each from the variable of that name in capitals.
const KEYS: [&str; 6] = ["provider", "bucket", "region", "endpoint", "account", "namespace"];

/// A volume that is deleted whatever happens to the test.
struct Live(TestVolume);

impl Drop for Live {
    fn drop(&mut self) {
        let _told_by_the_listing =
            self.0.call("cairnfs", &["volume", "delete", NAME, "--yes", NAME]);
    }
}

#[test]
fn a_volume_lives_at_a_real_account() {
    let given = |key: &str| std::env::var(key.to_uppercase()).ok().filter(|text| !text.is_empty());
    assert!(
        given("provider").is_some() && given("bucket").is_some(),
        "name the store: make test-live PROVIDER=amazon-s3 BUCKET=mine REGION=eu-central-1"
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let lines = KEYS.iter().filter_map(|key| Some(format!("{key} = \"{}\"\n", given(key)?)));
    let table: String = lines.chain([format!("prefix = \"cairnfs-live-{now}/\"\n")]).collect();
    let live = Live(TestVolume::with_table(&table));
    let status = cycle::whole_life(&live.0);
    let sse = |posture: &str| status["sse"][posture].as_u64().unwrap();
    assert!(sse("confirmed") + sse("provider_default") > 0, "{status}");
    assert_eq!(sse("unconfirmed") + sse("absent"), 0, "{status}");
}
