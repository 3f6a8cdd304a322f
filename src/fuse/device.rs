//! Attaches the kernel's FUSE device to a directory and takes it off again: by mount(2) for root,
//! by fusermount3 for others. Knows no protocol.
//!
//! fuser can mount too, but gives root's mounts no subtype and unmounts once more when a session
//! ends, whatever is mounted at the directory by then; so it is given an open device.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::mount::MountFlags;
use rustix::mount::UnmountFlags;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;

use super::mountpoint::Occupied;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The part of the type after `fuse.`, and the name of the mount and unmount helpers.
const SUBTYPE: &str = "cairnfs";

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

/// How a volume is mounted.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// The source that mount(8) shows: the volume's name.
    pub fsname: String,
    /// The kernel refuses writes.
    pub read_only: bool,
    /// Other users may enter; always so when root mounts.
    pub allow_other: bool,
    /// The kernel collects small writes before it sends them.
    pub writeback: bool,
    /// Shown as `noatime`.
    pub noatime: bool,
    /// The kernel's own flags: `dev`, `nodev`, `suid`, `nosuid`, `exec`, `noexec`, `sync`,
    /// `async`, `dirsync`. A later one wins; without any, devices and set-user-id are off.
    pub kernel_flags: Vec<String>,
    /// What becomes of entries that the mount point has.
    pub occupied: Occupied,
}

/// When a mount is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detach {
    /// At once, or not at all while it is in use.
    Unused,
    /// From the tree at once, from its users as they let go.
    Lazily,
}

/// Mounts a new device at `dir`, an absolute path. The kernel now waits for the handshake.
pub(super) fn attach(dir: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let attached = if rustix::process::geteuid().is_root() {
        attach_directly(dir, options)
    } else {
        attach_by_helper(dir, options)
    };
    attached.map_err(|error| error.while_doing(format_args!("cannot mount `{}`", dir.display())))
}

fn attach_directly(dir: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let device = File::options().read(true).write(true).open(DEVICE).map_err(|cause| {
        Error::new(Kind::Unsupported, "the kernel's FUSE device cannot be opened")
            .with("device", DEVICE)
            .because(cause)
            .hint(
                "load it with `modprobe fuse`, or give it to the container (`--device /dev/fuse`)",
            )
    })?;
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,allow_other",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let data = CString::new(data).expect("numbers and words have no NUL");
    let (source, flags) = (options.fsname.as_str(), mount_flags(options)?);
    rustix::mount::mount(source, dir, format!("fuse.{SUBTYPE}"), flags, data.as_c_str()).map_err(
        |cause| {
            Error::new(Kind::Denied, "the kernel refuses the mount")
                .because(cause)
                .hint("in a container, mounting needs the capability SYS_ADMIN")
        },
    )?;
    Ok(device.into())
}

fn mount_flags(options: &MountOptions) -> Result<MountFlags> {
    let mut flags = MountFlags::NODEV | MountFlags::NOSUID;
    flags.set(MountFlags::RDONLY, options.read_only);
    flags.set(MountFlags::NOATIME, options.noatime);
    for name in &options.kernel_flags {
        match name.as_str() {
            "dev" => flags.remove(MountFlags::NODEV),
            "nodev" => flags.insert(MountFlags::NODEV),
            "suid" => flags.remove(MountFlags::NOSUID),
            "nosuid" => flags.insert(MountFlags::NOSUID),
            "exec" => flags.remove(MountFlags::NOEXEC),
            "noexec" => flags.insert(MountFlags::NOEXEC),
            "async" => flags.remove(MountFlags::SYNCHRONOUS),
            "sync" => flags.insert(MountFlags::SYNCHRONOUS),
            "dirsync" => flags.insert(MountFlags::DIRSYNC),
            _ => {
                let message = format!("mount option `{name}` is not known");
                return Err(Error::new(Kind::Usage, message)
                    .hint("the kernel's are dev, suid, exec, sync (each with no-), and dirsync"));
            }
        }
    }
    Ok(flags)
}

fn attach_by_helper(dir: &Path, options: &MountOptions) -> Result<OwnedFd> {
    mount_flags(options)?;
    let (ours, theirs) = UnixStream::pair()?;
    // The helper sends the device over the socket it is told of: here its standard input.
    let helper = Command::new(HELPER)
        .arg("-o")
        .arg(helper_options(options))
        .arg("--")
        .arg(dir)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_helper)?;
    let device = receive_device(&ours);
    let output = helper.wait_with_output()?;
    match device? {
        Some(device) => Ok(device),
        None => Err(refused(complaint(HELPER, &output))),
    }
}

fn refused(complaint: String) -> Error {
    let hint = if complaint.contains(DEVICE) {
        "`chmod 666 /dev/fuse`, as it is where udev makes it: the mount itself is what is protected"
    } else if complaint.contains("allow_other") {
        "`allow_other` needs the line `user_allow_other` in /etc/fuse.conf"
    } else {
        "the mount point must be yours, and writable"
    };
    Error::new(Kind::Denied, complaint).hint(hint)
}

fn helper_options(options: &MountOptions) -> String {
    let fsname = options.fsname.replace('\\', "\\\\").replace(',', "\\,");
    let mut words = vec![
        format!("fsname={fsname}"),
        format!("subtype={SUBTYPE}"),
        "default_permissions".to_owned(),
    ];
    let named = [
        (options.allow_other, "allow_other"),
        (options.read_only, "ro"),
        (options.noatime, "noatime"),
    ];
    words.extend(named.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_owned()));
    words.extend(options.kernel_flags.iter().cloned());
    words.join(",")
}

fn receive_device(socket: &UnixStream) -> Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut slices, &mut control, flags))
        .map_err(io::Error::from)?;
    let device = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(device)
}

/// Tells util-linux which helper takes the mount off, so that `umount DIR` waits until everything
/// is stored: umount(8) asks its own table, which neither mount(2) nor fusermount3 writes. A
/// faked mount does. Only root can; others stop the mount by name.
pub(super) fn register(dir: &Path, options: &MountOptions) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let mut command = Command::new("mount");
    // mount(8) takes a volume's name for a path where such a file is, and umount(8) then finds no
    // entry for the mount: in this directory names are numbers.
    command
        .current_dir("/proc/self/fdinfo")
        .args(["-i", "-f", "-t", &format!("fuse.{SUBTYPE}")])
        .args(["-o", &format!("helper={SUBTYPE},uhelper={SUBTYPE}"), "--"])
        .arg(&options.fsname)
        .arg(dir);
    run(&mut command, "mount")
}

/// Takes the mount off. umount(8) rather than umount(2), since it clears its table as well.
///
/// # Errors
/// `Busy` when the mount is in use and `detach` does not leave its users alone.
pub(super) fn detach(dir: &Path, detach: Detach) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    let (name, words): (_, &[&str]) = match (root, detach) {
        (true, Detach::Unused) => ("umount", &["-i", "--"]),
        (true, Detach::Lazily) => ("umount", &["-i", "-l", "--"]),
        (false, Detach::Unused) => (HELPER, &["-u", "--"]),
        (false, Detach::Lazily) => (HELPER, &["-u", "-z", "--"]),
    };
    let taken = run(Command::new(name).args(words).arg(dir), name);
    match taken {
        Err(error) if root && error.kind() == Kind::NotFound => detach_directly(dir, detach),
        taken => taken,
    }
    .map_err(|error| error.while_doing(format_args!("cannot unmount `{}`", dir.display())))
}

fn detach_directly(dir: &Path, detach: Detach) -> Result<()> {
    let flags = match detach {
        Detach::Unused => UnmountFlags::empty(),
        Detach::Lazily => UnmountFlags::DETACH,
    };
    rustix::mount::unmount(dir, flags).map_err(|cause| match cause {
        rustix::io::Errno::BUSY => busy("the kernel says that it is busy"),
        cause => Error::from(io::Error::from(cause)),
    })
}

/// Ends the connection and leaves the dead mount: a forced unmount cuts requests off first and
/// finds only then that the mount is in use, by the descriptor that is held here. Root only.
pub(super) fn cut_off(dir: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let _in_use = rustix::fs::open(dir, flags, Mode::empty()).map_err(io::Error::from)?;
    match rustix::mount::unmount(dir, UnmountFlags::FORCE) {
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(cause) => Err(Error::from(io::Error::from(cause))),
    }
}

fn run(command: &mut Command, name: &'static str) -> Result<()> {
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| Error::from(cause).while_doing(format_args!("cannot run {name}")))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = complaint(name, &output);
    if complaint.contains("busy") {
        return Err(busy(complaint));
    }
    Err(Error::new(Kind::Internal, complaint))
}

fn busy(complaint: impl Into<String>) -> Error {
    Error::new(Kind::Busy, complaint.into())
        .hint("close what is open there (`fuser -vm DIR` lists it) and try again")
}

fn complaint(name: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => line.trim().trim_end_matches('.').to_owned(),
        None => format!("{name} ended with {}", output.status),
    }
}

fn no_helper(cause: io::Error) -> Error {
    Error::from(cause)
        .while_doing(format_args!("cannot run {HELPER}"))
        .hint("install the package `fuse3`, or mount as root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kernel_flags: &[&str]) -> MountOptions {
        let kernel_flags = kernel_flags.iter().map(ToString::to_string).collect();
        MountOptions { fsname: "a,b".into(), noatime: true, kernel_flags, ..Default::default() }
    }

    #[test]
    fn devices_and_set_user_id_are_off_unless_asked_for() {
        let flags = mount_flags(&options(&[])).unwrap();
        assert_eq!(flags, MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME);
        let flags = mount_flags(&options(&["dev", "suid", "noexec", "exec", "sync"])).unwrap();
        assert_eq!(flags, MountFlags::NOATIME | MountFlags::SYNCHRONOUS);
        assert_eq!(mount_flags(&options(&["devs"])).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn what_the_helper_says_has_its_own_hint() {
        for (complaint, hint) in [
            ("fusermount3: failed to open /dev/fuse: Permission denied", "chmod 666"),
            ("fusermount3: option allow_other only allowed if …", "user_allow_other"),
            ("fusermount3: user has no write access to mountpoint /mnt", "must be yours"),
        ] {
            let error = refused(complaint.to_owned());
            assert!(error.hint_text().unwrap().contains(hint), "{complaint}");
        }
    }

    #[test]
    fn a_comma_in_a_name_does_not_make_an_option() {
        let expected = "fsname=a\\,b,subtype=cairnfs,default_permissions,noatime,noexec";
        assert_eq!(helper_options(&options(&["noexec"])), expected);
    }
}
