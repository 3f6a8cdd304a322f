//! stub
pub async fn close_term(_b: &crate::object::Bucket, _s: crate::types::SessionId) -> crate::error::Result<()> { Ok(()) }
