//! The sticky policy: which encryption a mount demands, from what the volume remembers, what is
//! asked for now, and what the provider can do. Pure.

use super::state::Purpose;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Policy;
use crate::provider::SseMode;
use crate::provider::SseRequest;

/// What a mount demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// What every write is held to.
    pub(super) policy: Policy,
    /// The volume remembered no encryption; from now on it remembers this.
    pub(super) raise: Option<SseMode>,
    /// What the user should know, in sentences.
    pub(super) notices: Vec<String>,
}

/// Decides for a volume that remembers `recorded`. `asked` is what this mount asks for; the
/// config's own wish stands behind it. [`Kind::Policy`]: it may not be, with what to do instead.
pub(super) fn decide(
    config: &VolumeConfig,
    recorded: &SseMode,
    asked: Option<&SseMode>,
    purpose: Purpose,
) -> Result<Decision> {
    let asked = asked.or(config.sse.as_ref());
    let mut notices = Vec::new();
    let mut raise = match asked {
        Some(asked) if asked == recorded => None,
        Some(asked) if *recorded == SseMode::None => Some(asked.clone()),
        Some(asked) => return Err(contradiction(config, recorded, asked)),
        None => None,
    };
    if purpose == Purpose::Read && raise.take().is_some() {
        notices.push("a read-only mount does not record the encryption asked for".to_owned());
    }
    let mode = raise.clone().unwrap_or_else(|| recorded.clone());
    config.check_mode(&mode)?;
    let sends_nothing = config.provider.sse_request == SseRequest::Default;
    if sends_nothing && asked == Some(&SseMode::Aes256) {
        notices.push(no_op(config));
    }
    Ok(Decision { policy: Policy { verify: config.verify(&mode), mode }, raise, notices })
}

/// Checks that a volume in use can go from one mode to another. What was written under a customer's
/// key is read with that key only, and the key is sent with every read: so all objects of a volume
/// are under one customer key, from the first to the last.
pub(super) fn check_change(name: &str, recorded: &SseMode, next: &SseMode) -> Result<()> {
    let under_key = |mode: &SseMode| matches!(mode, SseMode::CustomerKeyFile(_));
    if under_key(recorded) == under_key(next) {
        return Ok(());
    }
    let message = format!("volume `{name}` cannot go from encryption `{recorded}` to `{next}`");
    Err(Error::new(Kind::Policy, message)
        .hint("a customer's key must cover every object: create another volume and copy the files"))
}

/// What to tell of a store that refuses to be asked for encryption and encrypts anyway.
pub(super) fn omitted(config: &VolumeConfig) -> String {
    let title = &config.provider.title;
    format!("{title} refuses the encryption header and encrypts every object anyway: not sent")
}

fn no_op(config: &VolumeConfig) -> String {
    let title = &config.provider.title;
    let proof = match &config.provider.proof {
        Some(_) => "its answers confirm it",
        None => "it gives no proof of it",
    };
    format!("{title} encrypts every object anyway: asking for it changes nothing, and {proof}")
}

fn contradiction(config: &VolumeConfig, recorded: &SseMode, asked: &SseMode) -> Error {
    let name = &config.name;
    let message = format!("volume `{name}` demands encryption `{recorded}`, not `{asked}`");
    Error::new(Kind::Policy, message).hint(format!(
        "leave `sse` out, or change it for good with `cairnfs volume set {name} --sse {asked}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SseVerify;
    use crate::volume::testing;

    fn mode(text: &str) -> SseMode {
        text.parse().unwrap()
    }

    fn decided(provider: &str, recorded: &str, asked: Option<&str>) -> Result<Decision> {
        let config = testing::config_of(provider, "photos");
        decide(&config, &mode(recorded), asked.map(mode).as_ref(), Purpose::Write)
    }

    #[test]
    fn the_policy_is_what_was_recorded_and_rises_but_never_falls() {
        let cases = [
            ("none", None, Ok(("none", false))),
            ("none", Some("none"), Ok(("none", false))),
            ("none", Some("aes256"), Ok(("aes256", true))),
            ("none", Some("kms:K"), Ok(("kms:K", true))),
            ("aes256", None, Ok(("aes256", false))),
            ("aes256", Some("aes256"), Ok(("aes256", false))),
            ("kms:K", Some("kms:K"), Ok(("kms:K", false))),
            ("aes256", Some("none"), Err("--sse none")),
            ("aes256", Some("kms:K"), Err("--sse kms:K")),
            ("kms:K", Some("aes256"), Err("--sse aes256")),
            ("kms:K", Some("kms:L"), Err("--sse kms:L")),
        ];
        for (recorded, asked, expected) in cases {
            let case = format!("{recorded} {asked:?}");
            match (decided("amazon-s3", recorded, asked), expected) {
                (Ok(decision), Ok((wanted, raises))) => {
                    assert_eq!(decision.policy.mode, mode(wanted), "{case}");
                    assert_eq!(decision.raise, raises.then(|| mode(wanted)), "{case}");
                    assert_eq!(decision.notices.len(), 0, "{case}");
                }
                (Err(error), Err(hint)) => {
                    assert_eq!(error.kind(), Kind::Policy, "{case}");
                    assert!(error.hint_text().unwrap().contains(hint), "{case}: {error}");
                }
                (decision, expected) => panic!("{case}: {decision:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_customers_key_covers_a_volume_from_its_creation_or_never() {
        let check = |from: &str, to: &str| check_change("photos", &mode(from), &mode(to));
        for (from, to) in [("none", "aes256"), ("aes256", "kms:K"), ("kms:K", "none")] {
            assert!(check(from, to).is_ok(), "{from} {to}");
        }
        assert!(check("customer-key-file:/a", "customer-key-file:/b").is_ok());
        for (from, to) in [("none", "customer-key-file:/a"), ("customer-key-file:/a", "aes256")] {
            let error = check(from, to).unwrap_err();
            assert_eq!(error.kind(), Kind::Policy);
            assert!(error.to_string().contains("cannot go from encryption"), "{error}");
        }
    }

    #[test]
    fn the_config_asks_where_the_mount_does_not() {
        let config = testing::config_of("minio", "lab");
        let config = VolumeConfig { sse: Some(SseMode::Aes256), ..config };
        let write = Purpose::Write;
        let decision = decide(&config, &SseMode::None, None, write).unwrap();
        assert_eq!(decision.raise, Some(SseMode::Aes256));
        let explicit = VolumeConfig { sse: Some(SseMode::None), ..config };
        assert!(decide(&explicit, &SseMode::Aes256, None, write).is_err());
        assert!(decide(&explicit, &SseMode::Aes256, Some(&SseMode::Aes256), write).is_ok());
    }

    #[test]
    fn a_write_must_be_confirmed_where_the_row_can_prove_it() {
        for (provider, verify) in [("minio", SseVerify::Strict), ("gcs", SseVerify::Warn)] {
            let decision = decided(provider, "aes256", None).unwrap();
            assert_eq!(decision.policy.verify, verify, "{provider}");
        }
        let config = testing::config_of("minio", "lab");
        let config = VolumeConfig { sse_verify: Some(SseVerify::Warn), ..config };
        let decision = decide(&config, &SseMode::Aes256, None, Purpose::Write).unwrap();
        assert_eq!(decision.policy.verify, SseVerify::Warn);
    }

    #[test]
    fn who_only_reads_is_not_held_to_what_the_store_cannot_do() {
        let config = testing::config_of("local", "plain");
        let config = VolumeConfig { sse: Some(SseMode::Aes256), ..config };
        assert!(decide(&config, &SseMode::None, None, Purpose::Write).is_err());
        let decision = decide(&config, &SseMode::None, None, Purpose::Read).unwrap();
        assert_eq!((decision.raise, decision.policy.mode), (None, SseMode::None));
        assert_eq!(decision.notices.len(), 1);
    }

    #[test]
    fn asking_a_store_that_encrypts_anyway_says_so() {
        for provider in ["azblob", "oci"] {
            let decision = decided(provider, "none", Some("aes256")).unwrap();
            assert_eq!(decision.notices.len(), 1, "{provider}");
            assert!(decision.notices[0].contains("encrypts every object anyway"), "{provider}");
        }
    }

    #[test]
    fn a_store_that_cannot_encrypt_is_refused_with_the_choices() {
        let error = decided("local", "none", Some("aes256")).unwrap_err();
        assert_eq!(error.kind(), Kind::Policy);
        assert!(error.hint_text().unwrap().contains("--allow-unencrypted"), "{error}");
        assert!(decided("azblob", "none", Some("kms:K")).is_err());
    }
}
