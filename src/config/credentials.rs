//! Where keys come from: the environment, a file that only its owner reads, a command.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Lookup;
use super::Secret;
use super::environment;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Day;
use crate::provider::nearest;

/// A command that prints keys may ask a person or a far server, but not for ever.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const BYTES_MAX: u64 = 64 * 1024;
const NAMES: [&str; 4] = ["access_key_id", "secret_access_key", "session_token", "expires"];

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The provider's own chain (environment, profile, instance or workload identity).
    Chain,
    /// `$PREFIX_ACCESS_KEY_ID`, `$PREFIX_SECRET_ACCESS_KEY`, `$PREFIX_SESSION_TOKEN`.
    Environment(String),
    /// A file of keys, refused when others can read it.
    File(PathBuf),
    /// A command that prints the keys as JSON.
    Command(String),
}

/// A key pair, read.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The access key id (for Azure: the account's name).
    pub access_key_id: String,
    /// The secret (for Azure: the account's key).
    pub secret_access_key: Secret,
    /// A session token, with temporary keys.
    pub session_token: Option<Secret>,
    /// When the keys end: resolve them again before. `None`: they do not end.
    pub expires: Option<Timestamp>,
}

impl Credentials {
    /// Reads the keys; `None`: use the provider's own chain. Blocks, for a command up to a minute.
    pub fn resolve(&self) -> Result<Option<KeyPair>> {
        match self {
            Self::Chain => Ok(None),
            Self::Environment(prefix) => from_environment(prefix, &environment).map(Some),
            Self::File(path) => from_file(path).map(Some).map_err(|error| {
                error.while_doing("cannot read the keys").with("file", path.display())
            }),
            Self::Command(command) => from_command(command, COMMAND_TIMEOUT).map(Some),
        }
    }
}

fn from_environment(prefix: &str, lookup: Lookup<'_>) -> Result<KeyPair> {
    let read = |tail: &str| {
        let name = format!("{prefix}_{tail}");
        lookup(&name).ok_or_else(|| {
            Error::new(Kind::Config, format!("${name} is not set"))
                .hint("set it where the mount is started, or change the volume's `credentials`")
        })
    };
    Ok(KeyPair {
        access_key_id: read("ACCESS_KEY_ID")?,
        secret_access_key: Secret::new(read("SECRET_ACCESS_KEY")?),
        session_token: lookup(&format!("{prefix}_SESSION_TOKEN")).map(Secret::new),
        expires: None,
    })
}

/// Opens a file that holds a secret. [`Kind::Config`]: others can read it.
pub fn open_private(path: &Path) -> Result<File> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let message = format!("others can read it, its mode is {mode:04o}");
        return Err(Error::new(Kind::Config, message)
            .hint(format!("run `chmod 600 {}`, and think about a new secret", path.display())));
    }
    Ok(file)
}

fn from_file(path: &Path) -> Result<KeyPair> {
    let mut file = open_private(path)?;
    let mut text = Zeroizing::new(String::new());
    file.by_ref().take(BYTES_MAX).read_to_string(&mut text)?;
    from_lines(&text)
}

/// Reads lines of `KEY=value`. No error repeats a line: it may hold a secret.
fn from_lines(text: &str) -> Result<KeyPair> {
    let mut written = Written::default();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((key, value)) = line.split_once('=') else {
            let message = format!("line {} is not `KEY=value`", at + 1);
            return Err(Error::new(Kind::Config, message)
                .hint("write `access_key_id=…` and `secret_access_key=…`, each on a line"));
        };
        let key = key.trim().to_lowercase();
        let value = unquoted(value.trim()).to_owned();
        let name = key.trim_start_matches("aws_").trim_start_matches("azure_storage_");
        match name {
            "access_key_id" | "account_name" => written.access_key_id = Some(value),
            "secret_access_key" | "account_key" => written.secret_access_key = Some(value),
            "session_token" => written.session_token = Some(value),
            "expires" => written.expires = Some(value),
            _ => {
                // The key is not repeated: base64 that ends in `=` would be taken for one.
                let guess = nearest(name, &NAMES);
                let guess = guess.map(|near| format!(", did you mean `{near}`?"));
                let message = format!("line {}: unknown key{}", at + 1, guess.unwrap_or_default());
                return Err(Error::new(Kind::Config, message)
                    .hint(format!("known are `{}`", NAMES.join("`, `"))));
            }
        }
    }
    written.pair()
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

fn from_command(command: &str, timeout: Duration) -> Result<KeyPair> {
    let failed = |message: String| Error::new(Kind::Denied, message).with("command", command);
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|cause| failed("cannot run the command for keys".to_owned()).because(cause))?;
    let mut stdout = child.stdout.take().expect("it was asked for above").take(BYTES_MAX);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut printed = Zeroizing::new(Vec::new());
        let read = stdout.read_to_end(&mut printed).map(|_| printed);
        // Nobody listens any more after the time-out.
        let _ = sender.send(read);
    });
    let Ok(printed) = receiver.recv_timeout(timeout) else {
        // It may have ended by itself in between; then there is nothing to kill.
        let _ = child.kill();
        let _ = child.wait();
        let seconds = timeout.as_secs();
        return Err(failed(format!("the command for keys does not end within {seconds} s")));
    };
    let status = child.wait()?;
    if !status.success() {
        return Err(failed(format!("the command for keys failed with {status}"))
            .hint("run it by hand: it should print one JSON object and end with 0"));
    }
    from_json(&printed?).map_err(|error| {
        error.while_doing("the command for keys prints something else").with("command", command)
    })
}

fn from_json(printed: &[u8]) -> Result<KeyPair> {
    // The parser's own message could repeat a value.
    let written: Written = serde_json::from_slice(printed).map_err(|cause| {
        let place = format!("line {}, column {}", cause.line(), cause.column());
        Error::new(Kind::Config, format!("not one JSON object of texts ({place})"))
            .hint("print an object with `access_key_id`, `secret_access_key` and perhaps `expires`")
    })?;
    written.pair()
}

/// Keys as text or JSON has them, not yet complete.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(alias = "AccessKeyId", alias = "AWS_ACCESS_KEY_ID", alias = "account_name")]
    access_key_id: Option<String>,
    #[serde(alias = "SecretAccessKey", alias = "AWS_SECRET_ACCESS_KEY", alias = "account_key")]
    secret_access_key: Option<String>,
    #[serde(alias = "SessionToken", alias = "AWS_SESSION_TOKEN")]
    session_token: Option<String>,
    #[serde(alias = "Expiration")]
    expires: Option<String>,
}

impl Written {
    fn pair(self) -> Result<KeyPair> {
        let missing = |key: &str| Error::new(Kind::Config, format!("there is no `{key}`"));
        let secret = self.secret_access_key.map(Secret::new);
        Ok(KeyPair {
            access_key_id: self.access_key_id.ok_or_else(|| missing("access_key_id"))?,
            secret_access_key: secret.ok_or_else(|| missing("secret_access_key"))?,
            session_token: self.session_token.map(Secret::new),
            expires: self.expires.map(|text| instant(&text)).transpose()?,
        })
    }
}

/// Reads an instant of RFC 3339: `2026-11-24T10:00:00Z`, `2026-11-24T10:00:00.5+01:00`.
fn instant(text: &str) -> Result<Timestamp> {
    let parse = || {
        let day: Day = text.get(..10)?.parse().ok()?;
        let time = text.get(10..)?.strip_prefix(['T', 't', ' '])?;
        let (clock, zone) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
        let minutes = match zone.split_at(1) {
            ("Z" | "z", "") => 0,
            (sign, offset) => {
                let (hours, minutes) = offset.split_once(':')?;
                let minutes = number(hours, 23)? * 60 + number(minutes, 59)?;
                if sign == "-" { -minutes } else { minutes }
            }
        };
        let whole = clock.split('.').next()?;
        let [hours, minute, second] = whole.split(':').collect::<Vec<_>>().try_into().ok()?;
        let of_day = (number(hours, 23)? * 60 + number(minute, 59)?) * 60 + number(second, 60)?;
        Some(Timestamp { seconds: day.seconds() + of_day - minutes * 60, nanoseconds: 0 })
    };
    parse().ok_or_else(|| {
        Error::new(Kind::Config, format!("`expires` is no instant: `{text}`"))
            .hint("write it as `2026-11-24T10:00:00Z`")
    })
}

fn number(text: &str, max: i64) -> Option<i64> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= max)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, Credentials) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.keys");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, Credentials::File(path))
    }

    #[test]
    fn keys_come_from_the_environment() {
        let lookup = |name: &str| match name {
            "GCS_ACCESS_KEY_ID" => Some("id".to_owned()),
            "GCS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
            _ => None,
        };
        let pair = from_environment("GCS", &lookup).unwrap();
        assert_eq!(
            (pair.access_key_id.as_str(), pair.secret_access_key.expose()),
            ("id", "secret")
        );
        let error = from_environment("OCI", &lookup).unwrap_err();
        assert_eq!(error.to_string(), "$OCI_ACCESS_KEY_ID is not set");
    }

    #[test]
    fn keys_come_from_a_file_that_only_its_owner_reads() {
        let text = "# lab\nAWS_ACCESS_KEY_ID = \"id\"\n\nsecret_access_key=a=b\n";
        let (_dir, credentials) = file(text, 0o600);
        let pair = credentials.resolve().unwrap().unwrap();
        assert_eq!((pair.access_key_id.as_str(), pair.secret_access_key.expose()), ("id", "a=b"));
        for mode in [0o640, 0o604] {
            let (_dir, credentials) = file(text, mode);
            let error = credentials.resolve().unwrap_err();
            assert!(error.to_string().contains("others can read it"), "{error}");
            assert!(error.hint_text().unwrap().starts_with("run `chmod 600 "));
        }
    }

    #[test]
    fn no_error_repeats_a_secret() {
        for text in ["hunter2", "secret_access_keey=hunter2", "secret_access_key=hunter2"] {
            let error = from_lines(text).unwrap_err();
            assert!(!format!("{error}{:?}", error.hint_text()).contains("hunter2"), "{error}");
        }
        for json in ["hunter2", "[\"hunter2\"]", "{\"secret_access_key\": {\"hunter2\": 1}}"] {
            let error = from_json(json.as_bytes()).unwrap_err();
            assert!(!format!("{error}{:?}", error.hint_text()).contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn keys_come_from_a_command_as_both_dialects_of_json() {
        let ours = r#"echo '{"access_key_id": "id", "secret_access_key": "s",
            "expires": "1970-01-02T01:00:00.25+01:00"}'"#;
        let pair = Credentials::Command(ours.to_owned()).resolve().unwrap().unwrap();
        assert_eq!(pair.expires, Some(Timestamp { seconds: 86_400, nanoseconds: 0 }));
        let aws = r#"{"Version": 1, "AccessKeyId": "id", "SecretAccessKey": "s",
            "SessionToken": "t", "Expiration": "1970-01-01T00:00:01Z"}"#;
        let pair = from_json(aws.as_bytes()).unwrap();
        assert_eq!(pair.session_token.unwrap().expose(), "t");
        assert_eq!(pair.expires.unwrap().seconds, 1);
    }

    #[test]
    fn a_command_that_fails_or_hangs_says_so() {
        let error = from_command("exit 3", COMMAND_TIMEOUT).unwrap_err().to_string();
        assert!(error.contains("failed with exit status: 3 (command exit 3)"), "{error}");
        let error = from_command("echo no", COMMAND_TIMEOUT).unwrap_err().to_string();
        assert!(error.contains("not one JSON object"), "{error}");
        // Waits for input that never comes: `tail` of a fifo would do, but needs none.
        let error = from_command("exec tail -f /dev/null", Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("does not end within 0 s"), "{error}");
        assert!(instant("tomorrow").is_err() && instant("2026-11-24T25:00:00Z").is_err());
    }
}
