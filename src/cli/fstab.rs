//! How mount(8) and umount(8) call their helpers: `mount.cairnfs SPEC DIR [-sfnv] [-N ns] [-o opts]
//! [-t type]` and `umount.cairnfs DIR [-nlfrv] [-N ns] [-t type]`. Pure; knows no clap.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Options that are for mount(8), init or the reader of fstab.
const NOT_OURS: &[&str] = &[
    "defaults", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner",
    "group", "nogroup", "_netdev", "nofail", "_rnetdev", "rw",
];
const NOT_OURS_PREFIXES: &[&str] = &["x-", "X-", "comment=", "user=", "helper=", "uhelper="];

/// A call of `mount.cairnfs` as mount(8) makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MountCall {
    /// The first field of fstab: the volume.
    pub volume: String,
    /// The mount point.
    pub dir: PathBuf,
    /// The options that are for us, in order.
    pub options: Vec<String>,
    /// `-f`: everything but the mount.
    pub fake: bool,
    /// `-s`: options we do not know are no error.
    pub sloppy: bool,
    /// `-v`: say what is done.
    pub verbose: bool,
}

/// A call of `umount.cairnfs` as umount(8) makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UmountCall {
    /// The mount point.
    pub dir: PathBuf,
    /// `-l`: detach although it is in use.
    pub lazy: bool,
    /// `-f`: detach although the store does not answer.
    pub force: bool,
    /// `-v`: say what is done.
    pub verbose: bool,
}

/// Reads the arguments after the program's name.
pub(super) fn mount_call(arguments: &[OsString]) -> Result<MountCall> {
    let mut call = MountCall::default();
    let mut operands = Vec::new();
    let mut rest = Letters::new(arguments);
    while let Some(next) = rest.next()? {
        match next {
            Argument::Operand(operand) => operands.push(operand),
            Argument::Letter(b's') => call.sloppy = true,
            Argument::Letter(b'f') => call.fake = true,
            Argument::Letter(b'v') => call.verbose = true,
            Argument::Letter(b'r') => call.options.push("ro".to_owned()),
            Argument::Letter(b'n' | b'w') => {}
            Argument::Letter(b'o') => call.options.extend(options(&rest.text('o')?)),
            Argument::Letter(b't') => drop(rest.text('t')?),
            Argument::Letter(other) => return Err(unknown(other)),
        }
    }
    let [volume, dir] = operands.as_slice() else {
        return Err(Error::new(Kind::Usage, "a volume and a directory are needed")
            .hint("mount.cairnfs VOLUME DIR [-o OPTIONS]"));
    };
    if call.options.iter().any(|option| option == "remount") {
        return Err(Error::new(Kind::Usage, "a mount cannot be changed while it lasts")
            .hint("stop it, and start it with the other options"));
    }
    call.volume = text(volume)?;
    call.dir = PathBuf::from(dir);
    Ok(call)
}

/// Reads the arguments after the program's name.
pub(super) fn umount_call(arguments: &[OsString]) -> Result<UmountCall> {
    let mut call = UmountCall::default();
    let mut operands = Vec::new();
    let mut rest = Letters::new(arguments);
    while let Some(next) = rest.next()? {
        match next {
            Argument::Operand(operand) => operands.push(operand),
            Argument::Letter(b'l') => call.lazy = true,
            Argument::Letter(b'f') => call.force = true,
            Argument::Letter(b'v') => call.verbose = true,
            Argument::Letter(b'n' | b'r' | b'i') => {}
            Argument::Letter(b't') => drop(rest.text('t')?),
            Argument::Letter(other) => return Err(unknown(other)),
        }
    }
    let [dir] = operands.as_slice() else {
        return Err(
            Error::new(Kind::Usage, "one directory is needed").hint("umount.cairnfs DIR [-lf]")
        );
    };
    call.dir = PathBuf::from(dir);
    Ok(call)
}

/// The options of a comma-separated list that are for us. A comma between double quotes is part of
/// its option, as in fstab(5); the quotes go.
pub(super) fn options(list: &str) -> Vec<String> {
    let mut options = vec![String::new()];
    let mut quoted = false;
    for letter in list.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => options.push(String::new()),
            other => options.last_mut().expect("it starts with one").push(other),
        }
    }
    options.retain(|option| !option.is_empty() && is_ours(option));
    options
}

fn is_ours(option: &str) -> bool {
    !NOT_OURS.contains(&option)
        && !NOT_OURS_PREFIXES.iter().any(|prefix| option.starts_with(prefix))
}

enum Argument {
    Operand(OsString),
    Letter(u8),
}

/// Arguments in the manner of getopt(3): letters may share a dash, a value may stick to its letter.
struct Letters<'a> {
    arguments: std::slice::Iter<'a, OsString>,
    letters: &'a [u8],
    operands_only: bool,
}

impl<'a> Letters<'a> {
    fn new(arguments: &'a [OsString]) -> Self {
        Self { arguments: arguments.iter(), letters: &[], operands_only: false }
    }

    fn next(&mut self) -> Result<Option<Argument>> {
        if let Some((letter, rest)) = self.letters.split_first() {
            self.letters = rest;
            return Ok(Some(Argument::Letter(*letter)));
        }
        let Some(argument) = self.arguments.next() else { return Ok(None) };
        match argument.as_bytes() {
            _ if self.operands_only => Ok(Some(Argument::Operand(argument.clone()))),
            b"--" => {
                self.operands_only = true;
                self.next()
            }
            [b'-', b'-', ..] => {
                let sentence = format!("`{}` is not known here", argument.to_string_lossy());
                Err(Error::new(Kind::Usage, sentence).hint("give options as `-o NAME[=VALUE],…`"))
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                self.letters = letters;
                self.next()
            }
            _ => Ok(Some(Argument::Operand(argument.clone()))),
        }
    }

    /// The value of the letter that was read last.
    fn text(&mut self, letter: char) -> Result<String> {
        if !self.letters.is_empty() {
            let value = OsStr::from_bytes(self.letters);
            self.letters = &[];
            return text(value);
        }
        match self.arguments.next() {
            Some(value) => text(value),
            None => Err(Error::new(Kind::Usage, format!("`-{letter}` needs a value"))),
        }
    }
}

fn text(value: &OsStr) -> Result<String> {
    value.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(Kind::Usage, format!("`{}` is not UTF-8", value.to_string_lossy()))
    })
}

fn unknown(letter: u8) -> Error {
    Error::new(Kind::Usage, format!("`-{}` is not known here", letter.escape_ascii()))
        .hint("give options as `-o NAME[=VALUE],…`")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_forms_that_mount_uses_are_understood() {
        let expected = MountCall {
            volume: "photos".into(),
            dir: "/mnt/p".into(),
            options: vec!["sse".into(), "noatime".into()],
            ..MountCall::default()
        };
        for line in [
            "photos /mnt/p -o rw,_netdev,nofail,sse,x-systemd.automount,noatime",
            "photos /mnt/p -n -o sse,noatime -t fuse.cairnfs",
            "-osse,noatime photos /mnt/p",
            "photos -o sse /mnt/p -o noatime,defaults",
            "-o sse,noatime -- photos /mnt/p",
        ] {
            assert_eq!(mount_call(&arguments(line)).unwrap(), expected, "{line}");
        }
        let call = mount_call(&arguments("photos /mnt/p -sfnv -r")).unwrap();
        assert!(call.sloppy && call.fake && call.verbose);
        assert_eq!(call.options, ["ro"]);
    }

    #[test]
    fn the_forms_that_umount_uses_are_understood() {
        let call = umount_call(&arguments("/mnt/p -nlv -t fuse.cairnfs")).unwrap();
        assert!(call.lazy && call.verbose && !call.force);
        assert_eq!(call.dir, PathBuf::from("/mnt/p"));
    }

    #[test]
    fn what_cannot_be_meant_is_a_usage_error_in_a_sentence() {
        for (line, sentence) in [
            ("photos", "a volume and a directory are needed"),
            ("a b c", "a volume and a directory are needed"),
            ("photos /mnt -o", "`-o` needs a value"),
            ("photos /mnt -x", "`-x` is not known here"),
            ("photos /mnt --sse", "`--sse` is not known here"),
            ("photos /mnt -o remount,ro", "a mount cannot be changed while it lasts"),
        ] {
            let error = mount_call(&arguments(line)).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Usage, sentence));
        }
    }

    #[test]
    fn a_quoted_comma_belongs_to_its_option() {
        assert_eq!(options(r#"a="x,y",,b"#), ["a=x,y", "b"]);
    }

    proptest! {
        #[test]
        fn no_arguments_panic(words in vec("[-a-zA-Z=,\" ]{0,8}", 0..6)) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let _ = (mount_call(&words), umount_call(&words));
        }

        #[test]
        fn options_come_back_in_order(names in vec("[a-z]{3,9}=[a-z0-9/]{0,9}", 0..8)) {
            let ours: Vec<_> = names.into_iter().filter(|name| is_ours(name)).collect();
            assert_eq!(options(&ours.join(",")), ours);
        }

        #[test]
        fn operands_survive_every_order_of_options(
            fake in any::<bool>(), before in any::<bool>(), volume in "[a-z]{1,9}",
        ) {
            let flags = if fake { "-f -o sse" } else { "-o sse" };
            let line = match before {
                true => format!("{flags} {volume} /mnt"),
                false => format!("{volume} /mnt {flags}"),
            };
            let call = mount_call(&arguments(&line)).unwrap();
            assert_eq!((call.volume, call.fake), (volume, fake));
        }
    }
}
