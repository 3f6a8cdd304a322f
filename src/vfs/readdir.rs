//! Open directories and their listings. Knows no byte of a file.

use futures::future::try_join_all;

use super::Vfs;
use super::attr::file_kind;
use super::types::DirEntry;
use super::types::FileKind;
use super::types::OpenFlags;
use super::types::Opened;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::Listed;
use crate::types::Ino;

/// The cookies of `.` and `..`; 0 is the start, names begin at 3.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

/// Inodes that a listing with attributes fetches at once: each may be one request to the store.
const FETCHES_MAX: usize = 64;

impl Vfs {
    /// opendir.
    pub async fn opendir(&self, ino: Ino) -> Result<Opened> {
        // Counted before the look, so that a removal in between leaves an orphan to read.
        let handle = self.handles.open(ino, OpenFlags::default(), 0);
        match self.directory(ino).await {
            // While nobody else changes the volume, the kernel's copy of a listing stays true.
            Ok(_) => {
                let keep_cache = self.volume.is_as_opened();
                Ok(Opened { handle, keep_cache, mode_changed: false })
            }
            Err(error) => {
                self.releasedir(ino, handle).await;
                Err(error)
            }
        }
    }

    /// readdir: up to `limit` entries after `cookie` (0: from the start, `.` and `..` first),
    /// with attributes when `plus`. Empty at the end.
    pub async fn readdir(
        &self,
        ino: Ino,
        _handle: u64,
        cookie: u64,
        limit: usize,
        plus: bool,
    ) -> Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        if cookie < DOT_DOT {
            let parent = self.directory(ino).await?.parent();
            let dots = [(DOT, ino, "."), (DOT_DOT, parent, "..")];
            for (at, ino, name) in dots.into_iter().filter(|(at, ..)| *at > cookie).take(limit) {
                let attr = match plus {
                    true => Some(self.getattr(ino).await?),
                    false => None,
                };
                let (name, kind) = (name.into(), FileKind::Directory);
                entries.push(DirEntry { ino, cookie: at, kind, name, attr });
            }
        }
        let mut after = cookie.max(DOT_DOT);
        // Names may go while their attributes are fetched; an empty answer would mean the end.
        while entries.len() < limit {
            let listed = self.meta.readdir(ino, after, limit - entries.len()).await?;
            let Some(last) = listed.last() else { break };
            after = last.cookie;
            if plus {
                entries.extend(self.with_attrs(ino, &listed).await?);
            } else {
                for name in listed {
                    entries.push(without_attr(name)?);
                }
            }
            if !entries.is_empty() {
                break;
            }
        }
        Ok(entries)
    }

    /// releasedir.
    pub async fn releasedir(&self, ino: Ino, handle: u64) {
        self.release(ino, handle).await;
    }

    /// The entries with their attributes, without those whose names are gone by now.
    async fn with_attrs(&self, dir: Ino, listed: &[Listed]) -> Result<Vec<DirEntry>> {
        let mut entries = Vec::with_capacity(listed.len());
        for names in listed.chunks(FETCHES_MAX) {
            let found = try_join_all(names.iter().map(|name| self.with_attr(dir, name))).await?;
            entries.extend(found.into_iter().flatten());
        }
        Ok(entries)
    }

    /// The entry with its attributes; `None` if its name is gone by now.
    async fn with_attr(&self, dir: Ino, listed: &Listed) -> Result<Option<DirEntry>> {
        let attr = match self.getattr(listed.ino).await {
            Ok(attr) if attr.nlink > 0 => Ok(attr),
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            // The inode lost its last name; maybe a rename put another one under this name.
            _ => self.lookup(dir, listed.name.clone()).await,
        };
        match attr {
            Ok(attr) => Ok(Some(DirEntry {
                ino: attr.ino,
                cookie: listed.cookie,
                kind: attr.kind,
                name: listed.name.as_bytes().to_vec().into(),
                attr: Some(attr),
            })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn without_attr(listed: Listed) -> Result<DirEntry> {
    Ok(DirEntry {
        ino: listed.ino,
        cookie: listed.cookie,
        kind: file_kind(listed.kind)?,
        name: listed.name.as_bytes().to_vec().into(),
        attr: None,
    })
}
