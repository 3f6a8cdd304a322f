//! Object names: the only place that builds or parses one. See `docs/format.md`, "Names".

use crate::error::Result;
use crate::types::BlockId;
use crate::types::SessionId;

/// The volume's header.
pub const HEADER: &str = "cairnfs.volume";
/// Before each state object's number.
pub const STATE_PREFIX: &str = "cairnfs.state.";
/// Below it lie all blocks.
pub const BLOCKS_PREFIX: &str = "blocks/";
/// Below it lie the terms.
pub const TERMS_PREFIX: &str = "meta/term/";
/// Below it lie the metadata engine's objects.
pub const ENGINE_PREFIX: &str = "meta/db/";
/// The probe object of mount `session`.
pub const PROBE_PREFIX: &str = "meta/probe/";

/// The name of a block.
pub fn block(id: BlockId) -> String {
    let text = id.to_string();
    format!("{BLOCKS_PREFIX}{}/{text}", &text[..2])
}

/// The block a name below [`BLOCKS_PREFIX`] stands for; an error for a foreign object.
pub fn parse_block(name: &str) -> Result<BlockId> {
    let tail = name.rsplit('/').next().unwrap_or(name);
    let id = tail.parse::<BlockId>()?;
    if block(id) == name {
        Ok(id)
    } else {
        Err(crate::error::Error::new(crate::error::Kind::Invalid, "not a block's name").with("object", name))
    }
}

/// The name of state `n`.
pub fn state(n: u64) -> String {
    format!("{STATE_PREFIX}{n:08}")
}

/// The record of who has, or had, a session.
pub fn term(session: SessionId) -> String {
    format!("{TERMS_PREFIX}{:012}", session.0)
}

/// The record that a session ended cleanly.
pub fn term_closed(session: SessionId) -> String {
    format!("{TERMS_PREFIX}{:012}.closed", session.0)
}
