//! Finds the config file, reads it, lays the call's own settings over it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::Lookup;
use super::SseVerify;
use super::VolumeConfig;
use super::file::RawConfig;
use super::file::RawProviders;
use super::file::RawVolume;
use super::file::parse;
use super::file::place;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Matrix;
use crate::provider::Provider;
use crate::provider::SseMode;
use crate::provider::unknown;

const VARIABLE: &str = "CAIRNFS_CONFIG";
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
const SYSTEM_FILE: &str = "/etc/cairnfs/config.toml";
const USER_FILE: &str = ".config/cairnfs/config.toml";

/// The config, read: every key and every provider of it is known. What a volume says is checked
/// when the volume is asked for, so that one volume's fault does not keep the others away.
#[derive(Debug)]
pub struct Config {
    origin: Option<PathBuf>,
    searched: Vec<PathBuf>,
    matrix: Matrix,
    volumes: BTreeMap<String, Entry>,
    /// What the environment says for Amazon's tools.
    standard_region: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// `FILE:LINE` of the volume's table.
    at: String,
    provider: Option<Arc<Provider>>,
    table: toml::Table,
}

impl Config {
    /// Reads `explicit`, else `$CAIRNFS_CONFIG`, else the first of `~/.config/cairnfs/config.toml`
    /// and `/etc/cairnfs/config.toml` that exists; none is a config without volumes. Root passes
    /// over a home that is somebody else's, as sudo may leave it. `set` holds overrides as
    /// `volumes.NAME.KEY=VALUE`; they never weaken a volume's encryption.
    pub fn load(explicit: Option<&Path>, lookup: Lookup<'_>, set: &[String]) -> Result<Self> {
        let named = explicit.map(Path::to_owned).or_else(|| lookup(VARIABLE).map(PathBuf::from));
        let home = lookup("HOME").map(|home| Path::new(&home).join(USER_FILE));
        let usual: Vec<_> = home.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect();
        let fits = |path: &&PathBuf| path.exists() && (!is_root() || owner(path) == Some(0));
        let found = named.clone().or_else(|| usual.iter().find(fits).cloned());
        let mut config = match found {
            Some(path) => Self::read(&path)?,
            None => Self {
                origin: None,
                searched: usual,
                matrix: Matrix::builtin()?,
                volumes: BTreeMap::new(),
                standard_region: None,
            },
        };
        config.standard_region = REGION_VARIABLES.into_iter().find_map(lookup);
        for setting in set {
            let doing = |error: Error| error.while_doing(format!("cannot set `{setting}`"));
            config.set(setting).map_err(doing)?;
        }
        Ok(config)
    }

    /// The file that was read.
    pub fn origin(&self) -> Option<&Path> {
        self.origin.as_deref()
    }

    /// The matrix, with the user's rows.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The volumes' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.volumes.keys().map(String::as_str)
    }

    /// A volume, checked against its provider's row, or an error that names the nearest.
    pub fn volume(&self, name: &str) -> Result<VolumeConfig> {
        let entry = self.entry(name)?;
        let build = || {
            let raw: RawVolume = entry.raw()?;
            let row = entry.provider.clone().ok_or_else(|| {
                let names: Vec<_> =
                    self.matrix.providers().map(|row| format!("`{}`", row.name)).collect();
                Error::new(Kind::Config, "it does not say `provider`")
                    .hint(format!("known are {}", names.join(", ")))
            })?;
            VolumeConfig::build(name, raw, row, self.standard_region.as_deref())
        };
        build().map_err(|error| error.while_doing(format!("{}: volume `{name}`", entry.at)))
    }

    /// A volume that is in no file: keys and values as a `[volumes.NAME]` table would have them.
    pub fn described(&self, keys: &[(&str, &str)]) -> Result<VolumeConfig> {
        let mut table = toml::Table::new();
        for (key, value) in keys {
            table.extend(assignment(key, value)?.1);
        }
        let provider = table.get("provider").and_then(toml::Value::as_str).unwrap_or_default();
        let row = self.matrix.provider(provider)?;
        let entry = Entry { at: "the command line".to_owned(), provider: Some(row.clone()), table };
        VolumeConfig::build("probe", entry.raw()?, row, self.standard_region.as_deref())
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.volumes.get(name).ok_or_else(|| match &self.origin {
            Some(path) => {
                let names: Vec<_> = self.names().collect();
                let error = unknown("volume", name, &names).with("config", path.display());
                error.hint(format!("add a table `[volumes.{name}]`"))
            }
            None => {
                let places: Vec<_> =
                    self.searched.iter().map(|path| path.display().to_string()).collect();
                let message = format!("volume `{name}` is not known: there is no config file");
                Error::new(Kind::Config, message).hint(format!(
                    "write `[volumes.{name}]`, `provider = \"local\"`, `path = \"/DIR\"` into one \
                     of {}, or name a file with `--config`",
                    places.join(", ")
                ))
            }
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let text = read_text(path)?;
        let raw: RawConfig = parse(&text, &origin)?;
        let mut matrix = Matrix::builtin()?;
        if let Some(file) = &raw.providers_file {
            let file = path.parent().unwrap_or(Path::new("")).join(file);
            let (text, origin) = (read_text(&file)?, file.display().to_string());
            let RawProviders { .. } = parse(&text, &origin)?;
            matrix = matrix.with_user_file(&text, &origin)?;
        }
        matrix = matrix.with_user_file(&text, &origin)?;
        let tables: toml::Table = parse(&text, &origin)?;
        let mut volumes = BTreeMap::new();
        for (name, volume) in raw.volumes {
            let at = place(&text, &origin, &volume);
            check_name(&name).map_err(|error| error.while_doing(&at))?;
            let provider = match &volume.get_ref().provider {
                Some(provider) => {
                    let at = place(&text, &origin, provider);
                    let row = matrix.provider(provider.get_ref());
                    Some(row.map_err(|error| error.while_doing(at))?)
                }
                None => None,
            };
            let table = tables["volumes"][&name].as_table().expect("it was read as a volume");
            volumes.insert(name, Entry { at, provider, table: table.clone() });
        }
        Ok(Self {
            origin: Some(path.to_owned()),
            searched: Vec::new(),
            matrix,
            volumes,
            standard_region: None,
        })
    }

    fn set(&mut self, setting: &str) -> Result<()> {
        let shape = || {
            Error::new(Kind::Usage, "it is not `volumes.NAME.KEY=VALUE`")
                .hint("write it as `--set volumes.photos.region=eu-west-1`")
        };
        let (key, value) = setting.split_once('=').ok_or_else(shape)?;
        let (name, key) = key
            .trim()
            .strip_prefix("volumes.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(shape)?;
        self.entry(name)?;
        let (over, table) = assignment(key, value.trim())?;
        let provider = match &over.provider {
            Some(provider) => Some(self.matrix.provider(provider.get_ref())?),
            None => None,
        };
        let entry = self.volumes.get_mut(name).expect("it was found above");
        if let (Some(row), Some(other)) = (&entry.provider, &provider)
            && row.name != other.name
        {
            // Another row may promise less, so that the same store is asked for nothing.
            let message = format!("one call cannot make another provider of `{}`", row.name);
            return Err(Error::new(Kind::Policy, message).hint("change the config file"));
        }
        refuse_weaker(&entry.raw()?, &over)?;
        entry.provider = provider.or(entry.provider.take());
        for (key, value) in table {
            match (entry.table.get_mut(&key), value) {
                (Some(toml::Value::Table(old)), toml::Value::Table(new)) if key == "metadata" => {
                    old.extend(new);
                }
                (_, value) => {
                    entry.table.insert(key, value);
                }
            }
        }
        Ok(())
    }
}

impl Entry {
    /// The volume's keys but its provider, which is known already.
    fn raw(&self) -> Result<RawVolume> {
        let mut table = self.table.clone();
        table.remove("provider");
        table
            .try_into()
            .map_err(|cause: toml::de::Error| Error::new(Kind::Config, cause.message().to_owned()))
    }
}

/// Reads `key = value`, the value as TOML or else as bare text.
fn assignment(key: &str, value: &str) -> Result<(RawVolume, toml::Table)> {
    let read = |value: &str| {
        let text = format!("{key} = {value}");
        Ok::<_, Error>((parse(&text, "--set")?, parse(&text, "--set")?))
    };
    read(value).or_else(|_| read(&toml::Value::String(value.to_owned()).to_string()))
}

fn refuse_weaker(file: &RawVolume, over: &RawVolume) -> Result<()> {
    let mode = file.sse.as_ref().filter(|mode| **mode != SseMode::None);
    let weaker_mode = match (mode, &over.sse) {
        (Some(mode), Some(other)) => mode != other,
        (_, None) | (None, Some(_)) => false,
    };
    let weaker_verify =
        over.sse_verify == Some(SseVerify::Warn) && file.sse_verify != Some(SseVerify::Warn);
    let unencrypted = over.allow_unencrypted == Some(true) && file.allow_unencrypted != Some(true);
    if weaker_mode || weaker_verify || unencrypted {
        return Err(Error::new(Kind::Policy, "one call cannot weaken a volume's encryption")
            .hint("change the config file, and use `cairnfs volume set NAME --sse MODE`"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let plain = |each: char| each.is_ascii_alphanumeric() || matches!(each, '-' | '_');
    let fine = (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('-');
    if fine {
        return Ok(());
    }
    Err(Error::new(Kind::Config, format!("`{name}` is no volume's name"))
        .hint("use letters, digits, `-` and `_`, at most 64"))
}

/// Reads a config file, which may name a command to be run: so only its user and root may have
/// written it.
fn read_text(path: &Path) -> Result<String> {
    let read = || {
        let mut file = File::open(path)?;
        let status = file.metadata()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((text, status.uid(), status.mode()))
    };
    let (text, owner, mode) = read().map_err(|cause: std::io::Error| {
        Error::new(Kind::Config, format!("cannot read the config file `{}`", path.display()))
            .because(cause)
            .hint("name another file with `--config`, or correct `CAIRNFS_CONFIG`")
    })?;
    let shown = path.display();
    let user = rustix::process::geteuid().as_raw();
    let strangers = mode & 0o022;
    if strangers != 0 && mode & 0o170_000 == 0o100_000 {
        let message = format!("others can change the config file `{shown}`");
        return Err(Error::new(Kind::Config, message).hint(format!("run `chmod go-w {shown}`")));
    }
    if owner != 0 && owner != user {
        let message = format!("the config file `{shown}` belongs to user {owner}");
        return Err(Error::new(Kind::Config, message)
            .hint("copy it to a file of your own: it can name commands that you would run"));
    }
    Ok(text)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::metadata(path).map(|status| status.uid()).ok()
}
