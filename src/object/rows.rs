//! Provider rows and volumes for tests, from the compiled-in matrix.

use crate::provider::Matrix;
use crate::provider::Provider;

/// `memory`.
pub(super) fn memory() -> Provider {
    row("memory")
}

/// The row of that name.
pub(super) fn row(name: &str) -> Provider {
    let matrix = Matrix::builtin().expect("a test holds the compiled-in matrix to be sound");
    let row = matrix.provider(name).expect("the matrix has the row");
    Provider::clone(&row)
}

#[cfg(test)]
pub(super) use unit::*;

#[cfg(test)]
mod unit {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::Credentials;
    use crate::config::Fencing;
    use crate::config::MountConfig;
    use crate::config::SseVerify;
    use crate::config::VolumeConfig;
    use crate::object::Policy;
    use crate::provider::SseMode;

    pub(in crate::object) fn local() -> Provider {
        row("local")
    }

    /// MinIO's row, and the refusal of a server that answers 500 without a key.
    pub(in crate::object) fn minio() -> Provider {
        let mut minio = row("minio");
        minio.refusals.extend(row("s3").refusals.into_iter().filter(|r| r.status == 500));
        minio
    }

    pub(in crate::object) fn gcs_compat() -> Provider {
        row("gcs")
    }

    pub(in crate::object) fn azblob() -> Provider {
        row("azblob")
    }

    pub(in crate::object) fn volume(provider: Provider) -> VolumeConfig {
        VolumeConfig {
            name: "photos".to_owned(),
            provider: Arc::new(provider),
            bucket: "bucket".to_owned(),
            prefix: "some/prefix/".to_owned(),
            path: None,
            endpoint: None,
            region: None,
            account: None,
            plain_http: false,
            credentials: Credentials::Chain,
            sse: None,
            sse_verify: None,
            fencing: Fencing::Auto,
            mount: MountConfig::default(),
        }
    }

    pub(in crate::object) fn directory(path: &Path) -> VolumeConfig {
        VolumeConfig { path: Some(path.to_owned()), ..volume(local()) }
    }

    pub(in crate::object) fn policy(mode: SseMode) -> Policy {
        Policy { mode, verify: SseVerify::Strict }
    }
}
