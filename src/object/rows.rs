//! Provider rows and volumes for tests, so that they do not move when `providers.toml` does.

use crate::provider::AtRest;
use crate::provider::ConditionalCreate;
use crate::provider::Provider;
use crate::provider::Service;
use crate::provider::SseRequest;

/// `memory`.
pub(super) fn memory() -> Provider {
    plain("memory", Service::Memory, ConditionalCreate::Native)
}

/// A row of a store that can do everything except encrypt.
fn plain(name: &str, service: Service, conditional_create: ConditionalCreate) -> Provider {
    Provider {
        name: name.to_owned(),
        title: name.to_owned(),
        service,
        endpoint: None,
        virtual_host: false,
        region: Some("us-east-1".to_owned()),
        sse_request: SseRequest::Unsupported,
        at_rest: AtRest::Never,
        proof: None,
        refusals: Vec::new(),
        omit_on_refusal: false,
        conditional_create,
        conditional_update: true,
        delete_batch: 1000,
        single_put_max: 5 << 30,
    }
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
    use crate::config::SseVerify;
    use crate::config::VolumeConfig;
    use crate::object::Policy;
    use crate::provider::SseMode;
    use crate::provider::SseProof;
    use crate::provider::SseRefusal;

    pub(in crate::object) fn local() -> Provider {
        let row = plain("local", Service::Fs, ConditionalCreate::HardLink);
        Provider { conditional_update: false, ..row }
    }

    pub(in crate::object) fn minio() -> Provider {
        let refusal = |status, code: &str, meaning: &str| SseRefusal {
            status,
            code: Some(code.to_owned()),
            meaning: meaning.to_owned(),
            hint: "give the server a key".to_owned(),
        };
        let header = "x-amz-server-side-encryption".to_owned();
        Provider {
            sse_request: SseRequest::Header,
            at_rest: AtRest::ServerConfig,
            proof: Some(SseProof {
                on_write: true,
                on_head: true,
                write_header: header.clone(),
                head_header: header,
                accept: vec!["AES256".to_owned(), "aws:kms".to_owned()],
            }),
            refusals: vec![
                refusal(501, "NotImplemented", "the server has no KMS"),
                refusal(500, "InternalError", "the server has no key"),
            ],
            ..plain("minio", Service::S3, ConditionalCreate::IfNoneMatch)
        }
    }

    pub(in crate::object) fn gcs_compat() -> Provider {
        Provider {
            sse_request: SseRequest::CompatHeader,
            at_rest: AtRest::Always,
            delete_batch: 1,
            ..plain("gcs", Service::S3, ConditionalCreate::None)
        }
    }

    pub(in crate::object) fn azblob() -> Provider {
        Provider {
            sse_request: SseRequest::Default,
            at_rest: AtRest::Always,
            proof: Some(SseProof {
                on_write: true,
                on_head: true,
                write_header: "x-ms-request-server-encrypted".to_owned(),
                head_header: "x-ms-server-encrypted".to_owned(),
                accept: vec!["true".to_owned()],
            }),
            ..plain("azblob", Service::Azblob, ConditionalCreate::IfNoneMatch)
        }
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
        }
    }

    pub(in crate::object) fn directory(path: &Path) -> VolumeConfig {
        VolumeConfig { path: Some(path.to_owned()), ..volume(local()) }
    }

    pub(in crate::object) fn policy(mode: SseMode) -> Policy {
        Policy { mode, verify: SseVerify::Strict }
    }
}
