//! stub
pub struct Swept { pub blocks: u64, pub bytes: u64, pub foreign: Vec<String> }
pub async fn sweep(_b: &crate::object::Bucket, _own: crate::types::SessionId, _issued: impl Fn(crate::types::BlockId) -> bool, _known: impl AsyncFn(crate::types::BlockId) -> crate::error::Result<bool>) -> crate::error::Result<Swept> { Ok(Swept{blocks:0,bytes:0,foreign:vec![]}) }
