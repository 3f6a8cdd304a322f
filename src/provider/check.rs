//! Whether a row can do a mode of encryption, as a sentence for a person.

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::AtRest;
use crate::provider::Claim;
use crate::provider::Confidence;
use crate::provider::Day;
use crate::provider::Evidence;
use crate::provider::KeyId;
use crate::provider::KeySupport;
use crate::provider::Provider;
use crate::provider::Refused;
use crate::provider::SseMode;
use crate::provider::SseRefusal;
use crate::provider::SseRequest;
use crate::provider::Support;

impl Provider {
    /// Whether volumes here can have `mode`; if not, why, and what to do. What the store or
    /// OpenDAL cannot do is refused here, never silently dropped.
    pub fn check_mode(&self, mode: &SseMode) -> Result<()> {
        if let SseMode::Kms(key) | SseMode::Dsse(key) = mode {
            check_key_name(key)?;
        }
        match mode {
            SseMode::None => Ok(()),
            SseMode::Aes256 if !self.can_encrypt() => {
                Err(Error::new(Kind::Policy, self.cannot_encrypt()).hint(self.instead()))
            }
            SseMode::Aes256 => Ok(()),
            SseMode::Kms(key) => self.check_key("SSE-KMS", &self.kms, key.is_empty()),
            SseMode::Dsse(key) => self.check_key("DSSE-KMS", &self.dsse, key.is_empty()),
            SseMode::CustomerKeyFile(path) => {
                let nameless = path.as_os_str().is_empty();
                self.check_key("SSE-C", &self.customer_key, nameless)
            }
        }
    }

    /// Whether the store takes `mode` over TLS only.
    pub fn mode_requires_tls(&self, mode: &SseMode) -> bool {
        match mode {
            SseMode::None | SseMode::Aes256 => false,
            SseMode::Kms(_) => self.kms.requires_tls,
            SseMode::Dsse(_) => self.dsse.requires_tls,
            SseMode::CustomerKeyFile(_) => self.customer_key.requires_tls,
        }
    }

    /// Whether the store encrypts with keys of its own, asked or not.
    pub fn can_encrypt(&self) -> bool {
        self.sse_request != SseRequest::Unsupported
    }

    /// That it does not, as far as a client can tell.
    pub fn cannot_encrypt(&self) -> String {
        let title = &self.title;
        match self.at_rest {
            AtRest::Never | AtRest::Unknown => format!("{title} does not encrypt at rest"),
            AtRest::Always | AtRest::BucketDefault | AtRest::ServerConfig => format!(
                "{title} cannot be asked to encrypt: a setting of the bucket or the server decides"
            ),
        }
    }

    /// Whether asking for `AES256` changes nothing, because every object is encrypted anyway.
    pub fn encrypts_anyway(&self) -> bool {
        self.at_rest == AtRest::Always
    }

    /// The refusal that an answer to a write with encryption asked for amounts to, if any: it is
    /// for good and must not be retried.
    pub fn refusal(&self, answer: Refused<'_>) -> Option<&SseRefusal> {
        self.refusals.iter().find(|refusal| refusal.matches(answer))
    }

    /// The least confidence among the claims that encryption and fencing rest on.
    pub fn confidence(&self) -> Confidence {
        let least = self.load_bearing().map(|evidence| evidence.confidence).min();
        least.unwrap_or(Confidence::Assumed)
    }

    /// When the oldest of those claims was last looked into.
    pub fn looked_at(&self) -> Day {
        let oldest = self.load_bearing().map(|evidence| evidence.date).min();
        oldest.expect("a row says what a write carries, and a claim has evidence")
    }

    fn load_bearing(&self) -> impl Iterator<Item = &Evidence> {
        let claims = [Claim::SseRequest, Claim::AtRest, Claim::Proof, Claim::ConditionalCreate];
        claims.into_iter().filter_map(|claim| self.evidence.get(&claim))
    }

    fn check_key(&self, what: &str, row: &KeySupport, nameless: bool) -> Result<()> {
        let title = &self.title;
        let refuse = |message: String| Error::new(Kind::Policy, message).hint(self.instead());
        match row.support {
            Support::Yes | Support::OptIn => {}
            Support::No => return Err(refuse(format!("{title} has no {what}"))),
            Support::Unknown => {
                return Err(refuse(format!("nobody has measured whether {title} has {what}")));
            }
        }
        if !row.settable {
            return Err(refuse(format!(
                "{title} has {what}, but it cannot be asked for through OpenDAL"
            )));
        }
        if nameless && row.key_id != KeyId::None {
            return Err(Error::new(Kind::Config, format!("{what} at {title} needs a key"))
                .hint("name the key, as in `sse = { kms = \"KEY\" }`"));
        }
        if nameless {
            return Err(Error::new(Kind::Config, format!("{what} needs the file of the key"))
                .hint("name it, as in `sse = { customer-key-file = \"PATH\" }`"));
        }
        Ok(())
    }

    fn instead(&self) -> &'static str {
        match self.sse_request {
            SseRequest::Unsupported => {
                "accept that with `--allow-unencrypted`, or with `allow-unencrypted = true` in the \
                 volume's table; end-to-end encryption by the mount is not built yet"
            }
            SseRequest::Header | SseRequest::CompatHeader | SseRequest::Default => {
                "use `sse = \"aes256\"`; a key of your own can be set as the bucket's default"
            }
        }
    }
}

/// A key's name travels in a header.
fn check_key_name(key: &str) -> Result<()> {
    if key.chars().all(|each| each.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::new(Kind::Config, format!("`{}` is no key's name", key.escape_default()))
        .hint("write the key's id, its ARN or its alias, without spaces"))
}
