//! What is hashed and, later, sealed: the auditor's first page. Knows no storage, no layout of
//! blocks, no file system.
//!
//! What protects what, today:
//!
//! * **At rest, the store encrypts** (server-side encryption, asked for and proved in `object`).
//!   The store and whoever holds its credentials can read everything.
//! * **Tags** ([`TagKey`]) find damage: flipped bits, torn objects, a block stored under another
//!   name, a frame returned for another. Their key follows from the volume's id and is no secret,
//!   so they do not stop an attacker who can write to the bucket. Nothing whose tag fails is
//!   ever returned.
//! * **The name hash** ([`NameKey`], [`name_hash`]) is keyed with a secret of the volume, so that
//!   nobody can choose file names that collide, and so that directory keys tell no names once
//!   values are sealed. It is not a commitment: names are compared byte by byte after it.
//! * **Checksums** ([`checksum`]) find damage in the volume's small records. They have no key.
//!
//! Under end-to-end encryption (reserved in `docs/format.md`) the cipher's own tag takes the place
//! of a frame's tag, under the same binding. Hash functions and ciphers are called in this module
//! and nowhere else. Keys do not print, do not serialise, and are wiped on drop.

mod hash;

pub use hash::NameKey;
pub use hash::TAG_BYTES;
pub use hash::TagKey;
pub use hash::checksum;
pub use hash::name_hash;
