//! Inodes, names, links, attributes, targets and orphans. Knows no extent.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::Look;
use super::Report;
use crate::crypto::NameKey;
use crate::crypto::name_hash;
use crate::error::Result;
use crate::meta::dentry::COOKIE_MIN;
use crate::meta::dentry::cookie;
use crate::meta::key;
use crate::meta::value::Cut;
use crate::meta::value::Dentries;
use crate::meta::value::Dentry;
use crate::meta::value::Inode;
use crate::meta::value::flag;
use crate::meta::value::mode;
use crate::types::ContentId;
use crate::types::Ino;

/// What is kept of an inode, and counted for it.
struct Node {
    kind: u32,
    nlink: u32,
    size: u64,
    flags: u64,
    /// Of a directory, the parent it claims.
    parent: Ino,
    names: u32,
    /// A directory that has its name.
    named_in: Option<Ino>,
    entries: u64,
    subdirectories: u32,
    orphan: bool,
    target: bool,
}

/// The bytes of a regular file, as its inode describes them.
pub(super) struct Content {
    pub(super) ino: Ino,
    pub(super) size: u64,
    pub(super) cuts: Vec<Cut>,
}

/// All inodes.
#[derive(Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<Ino, Node>,
    pub(super) contents: BTreeMap<ContentId, Content>,
}

impl Nodes {
    /// The largest inode number and content id.
    pub(super) fn largest(&self) -> (u64, u64) {
        let ino = self.nodes.last_key_value().map_or(0, |(ino, _)| ino.0);
        (ino, self.contents.last_key_value().map_or(0, |(content, _)| content.0))
    }
}

pub(super) async fn check(look: &Look<'_>, names: &NameKey, report: &mut Report) -> Result<Nodes> {
    let mut nodes = Nodes::default();
    look.each(key::inodes(), |key, value| nodes.inode(&key, &value, report)).await?;
    look.each(key::orphans(), |key, _| nodes.orphan(&key, report)).await?;
    look.each(key::symlinks(), |key, value| nodes.symlink(&key, &value, report)).await?;
    look.each(key::xattrs_all(), |key, _| nodes.xattr(&key, report)).await?;
    look.each(key::dentries(), |key, value| nodes.dentries(&key, &value, names, report)).await?;
    report.usage.inodes = nodes.nodes.len() as u64;
    nodes.conclude(report);
    nodes.find_unreachable(report);
    Ok(nodes)
}

impl Nodes {
    fn inode(&mut self, key: &Bytes, value: &Bytes, report: &mut Report) {
        let Some(ino) = key::ino_of(key) else {
            return report.find(format!("an inode's key does not parse: {key:x}"));
        };
        let Some(inode) = report.decoded(format!("inode {ino}"), Inode::decode(value)) else {
            return;
        };
        let node = Node {
            kind: inode.mode & mode::TYPE,
            nlink: inode.nlink,
            size: inode.size,
            flags: inode.flags,
            parent: inode.parent(),
            names: 0,
            named_in: None,
            entries: 0,
            subdirectories: 0,
            orphan: false,
            target: false,
        };
        if node.kind == mode::REGULAR {
            let content = Content { ino, size: inode.size, cuts: inode.cuts };
            if let Some(other) = self.contents.insert(inode.content, content) {
                report.find(format!(
                    "inodes {} and {ino} both have content {}",
                    other.ino, inode.content
                ));
            }
        }
        self.nodes.insert(ino, node);
    }

    fn orphan(&mut self, key: &Bytes, report: &mut Report) {
        match key::ino_of(key).and_then(|ino| self.nodes.get_mut(&ino)) {
            Some(node) => node.orphan = true,
            None => report.find(format!("an orphan names no inode: key {key:x}")),
        }
    }

    fn symlink(&mut self, key: &Bytes, value: &Bytes, report: &mut Report) {
        match key::ino_of(key).and_then(|ino| self.nodes.get_mut(&ino)) {
            Some(node) if node.kind == mode::SYMLINK => {
                node.target = true;
                let (size, len) = (node.size, value.len());
                report.expect(size == len as u64, || {
                    format!("a symbolic link of size {size} has {len} bytes: key {key:x}")
                });
            }
            _ => report.find(format!("a target belongs to no symbolic link: key {key:x}")),
        }
    }

    fn xattr(&mut self, key: &Bytes, report: &mut Report) {
        match key::ino_of(key).and_then(|ino| self.nodes.get(&ino)) {
            Some(node) => report.expect(node.flags & flag::XATTRS != 0, || {
                format!("an attribute's inode says that it has none: key {key:x}")
            }),
            None => report.find(format!("an attribute belongs to no inode: key {key:x}")),
        }
    }

    fn dentries(&mut self, key: &Bytes, value: &Bytes, names: &NameKey, report: &mut Report) {
        let Some((dir, hash)) = key::dentry_of(key) else {
            return report.find(format!("a directory entry's key does not parse: {key:x}"));
        };
        let what = format!("directory {dir}, hash {hash:014x}");
        let Some(group) = report.decoded(&what, Dentries::decode(value)) else { return };
        report.expect(!group.0.is_empty(), || format!("{what}: no name"));
        let mut seen = BTreeSet::new();
        for dentry in &group.0 {
            let Dentry { name, index, .. } = dentry;
            report.expect(name_hash(names, dir, name) == hash, || {
                format!("{what}: {name:?} has another hash")
            });
            report.expect(seen.insert(name.as_bytes()), || format!("{what}: {name:?} twice"));
            let others = group.0.iter().filter(|other| other.index == *index).count();
            let fits = *index < Dentries::MAX && cookie(hash, *index) >= COOKIE_MIN;
            report.expect(others == 1 && fits, || {
                format!("{what}: {name:?} has no place of its own in a listing")
            });
            self.dentry(dir, dentry, report);
        }
    }

    fn dentry(&mut self, dir: Ino, dentry: &Dentry, report: &mut Report) {
        let Dentry { ino, kind, name, .. } = dentry;
        match self.nodes.get_mut(&dir) {
            Some(node) if node.kind == mode::DIRECTORY => {
                node.entries += 1;
                node.subdirectories += u32::from(*kind == mode::DIRECTORY);
            }
            _ => report.find(format!("{name:?} is in {dir}, which is no directory")),
        }
        match self.nodes.get_mut(ino) {
            Some(node) => {
                node.names += 1;
                node.named_in = Some(dir);
                report.expect(node.kind == *kind, || {
                    format!("{name:?} in directory {dir} has another type than its inode {ino}")
                });
            }
            None => report.find(format!("{name:?} in directory {dir} leads to no inode ({ino})")),
        }
    }

    /// What can be said of each inode once everything was counted.
    fn conclude(&self, report: &mut Report) {
        report.expect(self.nodes.contains_key(&Ino::ROOT), || "there is no root".to_owned());
        for (ino, node) in &self.nodes {
            let Node { nlink, names, .. } = *node;
            let named = names > 0 || *ino == Ino::ROOT;
            report.expect(named || node.orphan, || {
                format!("inode {ino} has neither a name nor an orphan's key")
            });
            report.expect(!(named && node.orphan), || format!("orphan {ino} has a name"));
            let links = match (node.kind, named) {
                (mode::DIRECTORY, true) => 2 + node.subdirectories,
                (mode::DIRECTORY, false) => 0,
                _ => names,
            };
            report.expect(nlink == links, || {
                format!("inode {ino} has link count {nlink} instead of {links}")
            });
            report.expect(node.kind != mode::SYMLINK || node.target, || {
                format!("symbolic link {ino} has no target")
            });
            if node.kind == mode::DIRECTORY {
                self.conclude_directory(*ino, node, report);
            }
        }
    }

    fn conclude_directory(&self, ino: Ino, node: &Node, report: &mut Report) {
        let Node { size, entries, names, parent, .. } = *node;
        report.expect(size == entries, || {
            format!("directory {ino} has {entries} entries but claims {size}")
        });
        let root = ino == Ino::ROOT;
        report.expect(names <= u32::from(!root), || format!("directory {ino} has {names} names"));
        let named_in = if root { Some(Ino::ROOT) } else { node.named_in };
        report.expect(named_in.is_none_or(|dir| dir == parent), || {
            format!("the parent of directory {ino} is not {parent}")
        });
    }

    /// Directories that only lead to one another.
    fn find_unreachable(&self, report: &mut Report) {
        let mut reachable = BTreeSet::from([Ino::ROOT]);
        for start in self.nodes.iter().filter(|(_, node)| node.kind == mode::DIRECTORY) {
            let mut path = BTreeSet::new();
            let mut at = *start.0;
            while !reachable.contains(&at) && path.insert(at) {
                match self.nodes.get(&at).and_then(|node| node.named_in) {
                    Some(dir) => at = dir,
                    // Nameless, which is said already.
                    None => reachable.extend([at]),
                }
            }
            if reachable.contains(&at) {
                reachable.append(&mut path);
            } else {
                report.find(format!("directory {} is not reachable from the root", start.0));
            }
        }
    }
}
