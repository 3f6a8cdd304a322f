//! One row: its shape in the file, and the same once it is complete and does not contradict
//! itself. Knows no file and no other row.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Access;
use crate::provider::Addressing;
use crate::provider::Api;
use crate::provider::AtRest;
use crate::provider::Checksum;
use crate::provider::Claim;
use crate::provider::ConditionalCreate;
use crate::provider::CopyKeeps;
use crate::provider::Costs;
use crate::provider::Day;
use crate::provider::Evidence;
use crate::provider::KeySupport;
use crate::provider::Limits;
use crate::provider::ListVersion;
use crate::provider::OnMissing;
use crate::provider::PayloadSigning;
use crate::provider::Permissions;
use crate::provider::RegionRule;
use crate::provider::Service;
use crate::provider::Signature;
use crate::provider::SseOperations;
use crate::provider::SseProof;
use crate::provider::SseRefusal;
use crate::provider::SseRequest;

/// A row of the matrix.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The row's name: `minio`.
    pub name: String,
    /// The name a person knows: `MinIO`.
    pub title: String,
    /// The OpenDAL service.
    pub service: Service,
    /// Whether that is the provider's own protocol.
    pub api: Api,
    /// The row is a hint only: version and settings of the server decide, so the probe at mount
    /// time has the last word.
    pub deployment_dependent: bool,
    /// Why no volume can be here yet, as the end of a sentence; `None`: volumes can.
    pub not_yet: Option<String>,
    /// `https://s3.{region}.amazonaws.com`, with `{region}`, `{account}`, `{namespace}`;
    /// `None`: the config must say.
    pub endpoint: Option<String>,
    /// Whether virtual-host addressing is used.
    pub virtual_host: bool,
    /// A region to use when the config has none (`auto`, `us-east-1`).
    pub region: Option<String>,
    /// How the store is reached.
    pub access: Access,
    /// What a write carries.
    pub sse_request: SseRequest,
    /// The value of the header when the store's own keys are asked for: `AES256`.
    pub sse_header_value: String,
    /// What happens without asking.
    pub at_rest: AtRest,
    /// Objects written earlier may not be encrypted.
    pub at_rest_since: Option<Day>,
    /// Which requests may carry the header.
    pub operations: SseOperations,
    /// Whether a copy made with the header is encrypted.
    pub copy_keeps: CopyKeeps,
    /// Where the evidence is; `None`: the store gives none.
    pub proof: Option<SseProof>,
    /// Answers that refuse encryption for good.
    pub refusals: Vec<SseRefusal>,
    /// On a refusal, mount without the header (the store encrypts anyway).
    pub omit_on_refusal: bool,
    /// SSE-KMS.
    pub kms: KeySupport,
    /// DSSE-KMS.
    pub dsse: KeySupport,
    /// SSE-C, or the provider's name for a customer's key.
    pub customer_key: KeySupport,
    /// Whether GetBucketEncryption says something true.
    pub bucket_default_probe: bool,
    /// The checksum to send with writes.
    pub checksum: Checksum,
    /// Keys in one batch delete; 1: one by one.
    pub delete_batch: usize,
    /// A batch delete must carry `Content-MD5`.
    pub delete_needs_md5: bool,
    /// Which LIST request to use.
    pub list_version: ListVersion,
    /// How create-if-absent works.
    pub conditional_create: ConditionalCreate,
    /// The HTTP statuses by which a create that lost is told so.
    pub conflict_statuses: Vec<u16>,
    /// Whether `If-Match` updates work.
    pub conditional_update: bool,
    /// Objects larger than this cannot be written with one PUT (bytes).
    pub single_put_max: u64,
    /// The bounds of sizes.
    pub limits: Limits,
    /// What it costs; `None`: the operator's own machines, or nobody has looked it up.
    pub costs: Option<Costs>,
    /// Why all this is believed.
    pub evidence: BTreeMap<Claim, Evidence>,
}

/// A row as a file has it. A row that changes another one has only what differs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RawRow {
    pub(crate) based_on: Option<String>,
    title: Option<String>,
    service: Option<Service>,
    api: Option<Api>,
    deployment_dependent: Option<bool>,
    not_yet: Option<String>,
    access: Option<RawAccess>,
    sse: RawSse,
    objects: RawObjects,
    limits: Option<RawLimits>,
    costs: Option<Costs>,
    pub(crate) evidence: BTreeMap<Claim, Evidence>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawAccess {
    endpoint: Option<String>,
    addressing: Option<Addressing>,
    region: Option<RegionRule>,
    region_default: Option<String>,
    signature: Option<Signature>,
    payload_signing: Option<PayloadSigning>,
    tls_required: Option<bool>,
    permissions: Option<Permissions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawSse {
    request: Option<SseRequest>,
    header_value: Option<String>,
    at_rest: Option<AtRest>,
    at_rest_since: Option<Day>,
    operations: Option<SseOperations>,
    copy_keeps: Option<CopyKeeps>,
    proof: Option<RawProof>,
    refusals: Option<Vec<SseRefusal>>,
    on_refusal: Option<OnRefusal>,
    kms: Option<KeySupport>,
    dsse: Option<KeySupport>,
    customer_key: Option<KeySupport>,
    bucket_default_probe: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnRefusal {
    Fail,
    Omit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawProof {
    #[serde(rename = "where")]
    place: ProofPlace,
    write_header: Option<String>,
    head_header: Option<String>,
    #[serde(default)]
    accept: Vec<String>,
    on_missing: OnMissing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ProofPlace {
    Write,
    Head,
    Both,
    None,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawObjects {
    checksum: Option<Checksum>,
    delete: Option<RawDelete>,
    list: Option<ListVersion>,
    conditional_create: Option<RawCreate>,
    conditional_update: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawDelete {
    batch: usize,
    needs_md5: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCreate {
    how: ConditionalCreate,
    #[serde(default)]
    conflict: Vec<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawLimits {
    single_put_max_bytes: Option<u64>,
    part_min_bytes: Option<u64>,
    parts_max: Option<u32>,
    equal_parts: Option<bool>,
    part_copy: Option<bool>,
}

impl RawRow {
    /// What this row says, so what it owes evidence for.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        let (sse, objects) = (&self.sse, &self.objects);
        let at_rest = sse.at_rest.is_some() || sse.at_rest_since.is_some();
        [
            (Claim::Access, self.access.is_some()),
            (Claim::SseRequest, sse.request.is_some() || sse.header_value.is_some()),
            (Claim::AtRest, at_rest),
            (Claim::Operations, sse.operations.is_some()),
            (Claim::Copy, sse.copy_keeps.is_some()),
            (Claim::Proof, sse.proof.is_some()),
            (Claim::Refusals, sse.refusals.is_some() || sse.on_refusal.is_some()),
            (Claim::Kms, sse.kms.is_some()),
            (Claim::Dsse, sse.dsse.is_some()),
            (Claim::CustomerKey, sse.customer_key.is_some()),
            (Claim::BucketDefaultProbe, sse.bucket_default_probe.is_some()),
            (Claim::Checksum, objects.checksum.is_some()),
            (Claim::Delete, objects.delete.is_some()),
            (Claim::List, objects.list.is_some()),
            (Claim::ConditionalCreate, objects.conditional_create.is_some()),
            (Claim::ConditionalUpdate, objects.conditional_update.is_some()),
            (Claim::Limits, self.limits.is_some()),
            (Claim::Costs, self.costs.is_some()),
        ]
        .into_iter()
        .filter_map(|(claim, stated)| stated.then_some(claim))
        .collect()
    }

    /// Completes the row; what is still missing, or does not fit together, is an error.
    pub(crate) fn complete(self, name: &str) -> Result<Provider> {
        let access = self.access.unwrap_or_default();
        let (sse, objects) = (self.sse, self.objects);
        let delete = need(objects.delete, "objects.delete")?;
        let create = need(objects.conditional_create, "objects.conditional-create")?;
        let limits = limits(self.limits.unwrap_or_default())?;
        let addressing = need(access.addressing, "access.addressing")?;
        let service = need(self.service, "service")?;
        let provider = Provider {
            name: name.to_owned(),
            title: need(self.title, "title")?,
            service,
            api: need(self.api, "api")?,
            deployment_dependent: need(self.deployment_dependent, "deployment-dependent")?,
            not_yet: self.not_yet,
            endpoint: access.endpoint,
            virtual_host: addressing == Addressing::VirtualHost,
            region: access.region_default,
            access: Access {
                addressing,
                region_rule: need(access.region, "access.region")?,
                signature: need(access.signature, "access.signature")?,
                payload_signing: need(access.payload_signing, "access.payload-signing")?,
                tls_required: need(access.tls_required, "access.tls-required")?,
                permissions: access.permissions.unwrap_or(Permissions::of(service)),
            },
            sse_request: need(sse.request, "sse.request")?,
            sse_header_value: sse.header_value.unwrap_or_default(),
            at_rest: need(sse.at_rest, "sse.at-rest")?,
            at_rest_since: sse.at_rest_since,
            operations: need(sse.operations, "sse.operations")?,
            copy_keeps: need(sse.copy_keeps, "sse.copy-keeps")?,
            proof: proof(need(sse.proof, "sse.proof")?)?,
            refusals: need(sse.refusals, "sse.refusals")?,
            omit_on_refusal: need(sse.on_refusal, "sse.on-refusal")? == OnRefusal::Omit,
            kms: need(sse.kms, "sse.kms")?,
            dsse: need(sse.dsse, "sse.dsse")?,
            customer_key: need(sse.customer_key, "sse.customer-key")?,
            bucket_default_probe: need(sse.bucket_default_probe, "sse.bucket-default-probe")?,
            checksum: need(objects.checksum, "objects.checksum")?,
            delete_batch: delete.batch,
            delete_needs_md5: delete.needs_md5,
            list_version: need(objects.list, "objects.list")?,
            conditional_create: create.how,
            conflict_statuses: create.conflict,
            conditional_update: need(objects.conditional_update, "objects.conditional-update")?,
            single_put_max: limits.single_put_max_bytes,
            limits,
            costs: self.costs,
            evidence: self.evidence,
        };
        consistent(&provider)?;
        Ok(provider)
    }
}

fn need<T>(value: Option<T>, key: &'static str) -> Result<T> {
    value.ok_or_else(|| {
        Error::new(Kind::Config, format!("it does not say `{key}`"))
            .hint("add the key, or `based-on = \"s3\"` to take what is missing from that row")
    })
}

fn limits(raw: RawLimits) -> Result<Limits> {
    Ok(Limits {
        single_put_max_bytes: need(raw.single_put_max_bytes, "limits.single-put-max-bytes")?,
        part_min_bytes: raw.part_min_bytes,
        parts_max: raw.parts_max,
        equal_parts: need(raw.equal_parts, "limits.equal-parts")?,
        part_copy: need(raw.part_copy, "limits.part-copy")?,
    })
}

fn proof(raw: RawProof) -> Result<Option<SseProof>> {
    let on_write = matches!(raw.place, ProofPlace::Write | ProofPlace::Both);
    let on_head = matches!(raw.place, ProofPlace::Head | ProofPlace::Both);
    let header = |wanted, header: Option<String>, key: &'static str| match (wanted, header) {
        (true, header) => need(header, key),
        (false, None) => Ok(String::new()),
        (false, Some(_)) => Err(Error::new(
            Kind::Config,
            format!("it has `{key}`, but `sse.proof.where` looks for no evidence there"),
        )),
    };
    let proof = SseProof {
        on_write,
        on_head,
        write_header: header(on_write, raw.write_header, "sse.proof.write-header")?,
        head_header: header(on_head, raw.head_header, "sse.proof.head-header")?,
        accept: raw.accept,
        on_missing: raw.on_missing,
    };
    if raw.place == ProofPlace::None {
        return Ok(None);
    }
    if proof.accept.is_empty() {
        return Err(Error::new(Kind::Config, "its `sse.proof` accepts no value"));
    }
    Ok(Some(proof))
}

/// What no row may say, whatever its evidence.
fn consistent(row: &Provider) -> Result<()> {
    let fault = |message| Err(Error::new(Kind::Config, message));
    let sends = matches!(row.sse_request, SseRequest::Header | SseRequest::CompatHeader);
    if row.sse_request == SseRequest::Default && row.at_rest != AtRest::Always {
        return fault("`sse.request = \"default\"` is for stores with `at-rest = \"always\"` only");
    }
    if row.omit_on_refusal && row.at_rest != AtRest::Always {
        return fault("`sse.on-refusal = \"omit\"` is for stores with `at-rest = \"always\"` only");
    }
    if sends && row.proof.is_none() && row.at_rest != AtRest::Always {
        return fault("a header without proof is for stores with `at-rest = \"always\"` only");
    }
    // A store that does not know a value may take it and keep plain text, so it is fixed here.
    if sends != (row.sse_header_value == "AES256") {
        return fault(
            "`sse.header-value` is \"AES256\" where a header is sent, and absent elsewhere",
        );
    }
    if sends && row.service != Service::S3 {
        return fault("an S3 header goes with `service = \"s3\"` only");
    }
    if row.operations.allowed.iter().any(|each| row.operations.forbidden.contains(each)) {
        return fault("an operation is both allowed and forbidden in `sse.operations`");
    }
    if !row.access.permissions.fits(row.service) {
        return fault("`access.permissions` is another service's language");
    }
    // Whoever is told so by a create has lost, and gives up the volume for good.
    if row.conflict_statuses.iter().any(|status| *status == 429 || *status >= 500) {
        return fault("a status in `conditional-create.conflict` is passing trouble, no conflict");
    }
    if row.delete_batch == 0 {
        return fault("`objects.delete` has a batch of 0 keys; 1 means one by one");
    }
    let proof = row.proof.iter().flat_map(|proof| [&proof.write_header, &proof.head_header]);
    if proof.into_iter().any(|header| header.chars().any(|each| each.is_ascii_uppercase())) {
        return fault("a header in `sse.proof` is not in lower case");
    }
    Ok(())
}
