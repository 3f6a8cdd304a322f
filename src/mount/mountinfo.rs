//! `/proc/self/mountinfo`: what is mounted where. Pure but for reading the one file.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;

use crate::error::Error;
use crate::error::Result;

/// The type our mounts show: FUSE's, with our subtype.
pub(super) const FSTYPE: &str = "fuse.cairnfs";

/// A line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountLine {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// `fuse.cairnfs`, `ext4`, …
    pub fstype: String,
    /// What is mounted: for our mounts the volume's name.
    pub source: OsString,
}

/// The mount that is visible at `dir`, if `dir` is a mount point.
pub(super) fn mounted_at(dir: &Path) -> Result<Option<MountLine>> {
    let table = fs::read("/proc/self/mountinfo")
        .map_err(|cause| Error::from(cause).while_doing("cannot read the table of mounts"))?;
    // A later mount covers an earlier one.
    Ok(parse(&table).into_iter().rfind(|line| line.mountpoint == dir))
}

/// `36 35 98:0 /root /mnt/point rw,noatime master:1 - ext4 /dev/sda1 rw`; the fields before the
/// dash vary in number.
fn parse(table: &[u8]) -> Vec<MountLine> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountLine> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mountpoint = PathBuf::from(unescape(fields.nth(4)?));
    let mut after_dash = fields.skip_while(|field| *field != b"-").skip(1);
    let fstype = String::from_utf8_lossy(after_dash.next()?).into_owned();
    let source = unescape(after_dash.next()?);
    Some(MountLine { mountpoint, fstype, source })
}

/// The kernel writes blank, tab, line break and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, others)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| others.get(..3).and_then(octal_byte)).flatten();
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[3..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    OsString::from_vec(bytes)
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_mounts_is_read_with_its_escapes() {
        let table = b"36 35 98:0 / /mnt/a\\040b rw - fuse.cairnfs photos rw,user_id=0\n\
                      37 35 98:1 / / rw,noatime master:1 propagate_from:2 - ext4 /dev/vda1 rw\n\n";
        let lines = parse(table);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].mountpoint, Path::new("/mnt/a b"));
        assert_eq!(lines[0].fstype, FSTYPE);
        assert_eq!(lines[0].source, "photos");
        assert_eq!(lines[1].source, "/dev/vda1");
    }

    #[test]
    fn the_root_is_a_mount_point_and_a_file_is_none() {
        assert!(mounted_at(Path::new("/")).unwrap().is_some());
        assert!(mounted_at(Path::new("/proc/self/mountinfo")).unwrap().is_none());
    }
}
