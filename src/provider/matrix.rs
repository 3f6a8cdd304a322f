//! Reads `providers.toml`. (skeleton: the fields below are what other layers use)

use super::*;
use std::sync::Arc;
use crate::error::Result;

/// A row of the matrix.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The row's name: `minio`.
    pub name: String,
    /// The name a person knows: `MinIO`.
    pub title: String,
    /// The OpenDAL service.
    pub service: Service,
    /// `https://s3.{region}.amazonaws.com`, with `{region}`, `{account}`, `{namespace}`; `None`: the config must say.
    pub endpoint: Option<String>,
    /// Whether virtual-host addressing is used.
    pub virtual_host: bool,
    /// A region to use when the config has none (`auto`, `us-east-1`).
    pub region: Option<String>,
    /// What a write carries.
    pub sse_request: SseRequest,
    /// What happens without asking.
    pub at_rest: AtRest,
    /// Where the evidence is; `None`: the store gives none.
    pub proof: Option<SseProof>,
    /// Answers that refuse encryption for good.
    pub refusals: Vec<SseRefusal>,
    /// On a refusal, mount without the header (the store encrypts anyway).
    pub omit_on_refusal: bool,
    /// How create-if-absent works.
    pub conditional_create: ConditionalCreate,
    /// Whether `If-Match` updates work.
    pub conditional_update: bool,
    /// Keys in one batch delete; 1: one by one.
    pub delete_batch: usize,
    /// Objects larger than this cannot be written with one PUT (bytes).
    pub single_put_max: u64,
}

/// The whole matrix: the compiled-in rows, and the user's.
#[derive(Debug, Clone)]
pub struct Matrix {
    _rows: Vec<Arc<Provider>>,
}

impl Matrix {
    /// The compiled-in matrix.
    pub fn builtin() -> Result<Self> { todo!() }
    /// The row of that name, or an error that names the nearest and lists all.
    pub fn provider(&self, _name: &str) -> Result<Arc<Provider>> { todo!() }
    /// All rows, in the file's order.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> { self._rows.iter() }
}
