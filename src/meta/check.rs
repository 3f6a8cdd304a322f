//! x
pub struct Report { pub findings: Vec<String> }
pub async fn check(_s: &super::kv::Store, _n: &crate::crypto::NameKey) -> crate::error::Result<Report> { Ok(Report { findings: vec![] }) }
