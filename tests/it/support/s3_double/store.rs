//! The double's objects: a sorted map, conditional writes, pages of names, uploads in parts.
//! Knows no HTTP.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use sha2::Digest as _;
use sha2::Sha256;

/// One stored object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// Quoted, as it travels.
    pub etag: String,
    /// The encryption it was stored with.
    pub sse: Option<String>,
    /// `x-amz-meta-*` and `content-type`, names in lower case.
    pub headers: Vec<(String, String)>,
    /// When it was written.
    pub modified: SystemTime,
}

/// What a write demands of what is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match: ETAG`.
    Is(String),
}

/// Why a conditional write was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// 412.
    Precondition,
    /// 404: `If-Match` on nothing.
    NoSuchKey,
}

#[derive(Debug)]
struct Upload {
    key: String,
    sse: Option<String>,
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Bytes>,
}

/// A page of names.
#[derive(Debug)]
pub struct Page {
    /// Key and object, in order.
    pub objects: Vec<(String, Object)>,
    /// Common prefixes, in order.
    pub prefixes: Vec<String>,
    /// Where the next page starts; `None`: this was the last.
    pub next: Option<String>,
}

/// All that is stored.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    uploads_begun: u64,
}

impl Store {
    /// Every key, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    /// An object's bytes.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.objects.get(key).map(|object| object.bytes.to_vec())
    }

    /// Keys of objects without encryption.
    pub fn unencrypted(&self) -> Vec<String> {
        let plain = self.objects.iter().filter(|(_, object)| object.sse.is_none());
        plain.map(|(key, _)| key.clone()).collect()
    }

    /// An object.
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Whether a write under `condition` may happen.
    pub fn admits(&self, key: &str, condition: &Condition) -> Result<(), Refused> {
        match (condition, self.objects.get(key)) {
            (Condition::None, _) | (Condition::Absent, None) => Ok(()),
            (Condition::Is(_), None) => Err(Refused::NoSuchKey),
            (Condition::Is(etag), Some(object)) if object.etag == *etag => Ok(()),
            (Condition::Absent | Condition::Is(_), Some(_)) => Err(Refused::Precondition),
        }
    }

    /// Stores an object and returns its etag.
    pub fn insert(
        &mut self,
        key: &str,
        bytes: Bytes,
        sse: Option<String>,
        headers: Vec<(String, String)>,
    ) -> String {
        let digest = Sha256::digest(&bytes);
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("\"{hex}\"");
        let modified = SystemTime::now();
        let object = Object { bytes, etag: etag.clone(), sse, headers, modified };
        self.objects.insert(key.to_owned(), object);
        etag
    }

    /// Removes an object, if it is there.
    pub fn remove(&mut self, key: &str) {
        self.objects.remove(key);
    }

    /// Names that start with `prefix`, after `after`, at most `max` of them, folded at `delimiter`.
    pub fn page(&self, prefix: &str, delimiter: &str, after: &str, max: usize) -> Page {
        let mut page = Page { objects: Vec::new(), prefixes: Vec::new(), next: None };
        let from = if after > prefix { after } else { prefix };
        let mut last = String::new();
        for (key, object) in self.objects.range(from.to_owned()..) {
            if !key.starts_with(prefix) {
                break;
            }
            let tail = &key[prefix.len()..];
            let folded = match tail.find(delimiter) {
                Some(at) if !delimiter.is_empty() => {
                    Some(format!("{prefix}{}", &tail[..at + delimiter.len()]))
                }
                _ => None,
            };
            let seen_before = match &folded {
                Some(folded) => folded.as_str() <= after || page.prefixes.last() == Some(folded),
                None => key.as_str() <= after,
            };
            if seen_before {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == max {
                page.next = Some(last);
                break;
            }
            match folded {
                Some(folded) => {
                    last.clone_from(&folded);
                    page.prefixes.push(folded);
                }
                None => {
                    last.clone_from(key);
                    page.objects.push((key.clone(), object.clone()));
                }
            }
        }
        page
    }

    /// Starts an upload in parts and returns its id.
    pub fn begin_upload(
        &mut self,
        key: &str,
        sse: Option<String>,
        headers: Vec<(String, String)>,
    ) -> String {
        self.uploads_begun += 1;
        let id = format!("upload-{}", self.uploads_begun);
        let upload = Upload { key: key.to_owned(), sse, headers, parts: BTreeMap::new() };
        self.uploads.insert(id.clone(), upload);
        id
    }

    /// Adds a part; `None`: there is no such upload.
    pub fn add_part(&mut self, id: &str, number: u32, bytes: Bytes) -> Option<String> {
        let upload = self.uploads.get_mut(id)?;
        upload.parts.insert(number, bytes);
        Some(format!("\"part-{number}\""))
    }

    /// Joins the parts into an object and returns its etag; `None`: there is no such upload.
    pub fn end_upload(&mut self, id: &str) -> Option<String> {
        let upload = self.uploads.remove(id)?;
        let bytes: Vec<u8> = upload.parts.values().flatten().copied().collect();
        Some(self.insert(&upload.key, bytes.into(), upload.sse, upload.headers))
    }

    /// Forgets an upload.
    pub fn abort_upload(&mut self, id: &str) {
        self.uploads.remove(id);
    }
}
