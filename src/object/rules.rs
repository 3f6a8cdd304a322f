//! What a row forbids, held against a request that is about to leave. OpenDAL's capabilities say
//! what may be asked of it; none keeps a request back, not even when it is overridden. Pure.

use http::HeaderMap;

use super::counts::Access;
use super::sse::SSE;
use crate::provider::CopyKeeps;
use crate::provider::ListVersion;
use crate::provider::Provider;
use crate::provider::SseMode;

/// Why the row does not let request `named` (by its name in the protocol) leave, if it does not.
pub(super) fn forbidden(
    row: &Provider,
    mode: &SseMode,
    access: Access,
    named: &str,
    headers: &HeaderMap,
) -> Option<String> {
    let title = &row.title;
    let carries = |name: &str| access == Access::Write && headers.contains_key(name);
    if named == "DeleteObjects" && row.delete_batch <= 1 {
        return Some(format!("{title} has no batch deletes"));
    }
    if named == "ListObjectsV2" && row.list_version == ListVersion::V1 {
        return Some(format!("{title} is listed with ListObjects, not with its second version"));
    }
    if carries("if-none-match") && !row.conditional_create.works() {
        return Some(format!("{title} does not refuse to create what exists"));
    }
    if carries("if-match") && !row.conditional_update {
        return Some(format!("{title} does not compare versions on writes"));
    }
    let copies_lose_it = matches!(row.copy_keeps, CopyKeeps::No | CopyKeeps::Unknown);
    if named == "CopyObject" && *mode != SseMode::None && copies_lose_it {
        return Some(format!("a copy inside {title} may not be encrypted"));
    }
    let refuses = row.operations.forbidden.iter().any(|each| format!("{each:?}") == named);
    (refuses && headers.contains_key(SSE)).then(|| format!("{title} refuses `{SSE}` with {named}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::rows::row;

    #[test]
    fn what_the_row_forbids_does_not_leave_whatever_built_it() {
        let aes = SseMode::Aes256;
        let cases = [
            ("gcs", &aes, Access::Delete, "DeleteObjects", "", true),
            ("minio", &aes, Access::Delete, "DeleteObjects", "", false),
            ("ibm-cos", &aes, Access::List, "ListObjectsV2", "", true),
            ("ibm-cos", &aes, Access::List, "ListObjects", "", false),
            ("minio", &aes, Access::List, "ListObjectsV2", "", false),
            ("gcs", &aes, Access::Write, "PutObject", "if-none-match", true),
            ("wasabi", &aes, Access::Write, "PutObject", "if-none-match", true),
            ("wasabi", &aes, Access::Read, "GetObject", "if-none-match", false),
            ("amazon-s3", &aes, Access::Write, "PutObject", "if-none-match", false),
            ("s3", &aes, Access::Write, "PutObject", "if-match", true),
            ("amazon-s3", &aes, Access::Write, "PutObject", "if-match", false),
            ("ceph-rgw", &aes, Access::Write, "CopyObject", SSE, true),
            ("ceph-rgw", &SseMode::None, Access::Write, "CopyObject", "", false),
            ("seaweedfs", &aes, Access::Write, "CopyObject", SSE, false),
            ("amazon-s3", &aes, Access::Write, "UploadPart", SSE, true),
            ("minio", &aes, Access::Read, "GetObject", SSE, true),
            ("minio", &aes, Access::Read, "GetObject", "range", false),
        ];
        for (name, mode, access, named, header, refused) in cases {
            let header = header.parse::<http::HeaderName>().ok();
            let headers = header.map(|name| (name, http::HeaderValue::from_static("*")));
            let headers: HeaderMap = headers.into_iter().collect();
            let why = forbidden(&row(name), mode, access, named, &headers);
            assert_eq!(why.is_some(), refused, "{name} {named} {headers:?}: {why:?}");
        }
    }
}
