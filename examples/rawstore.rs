//! The store without a file system, for `scripts/bench.sh`: objects written and read through the
//! same operator, with the same encryption, that a volume's blocks go through. Prints the lines of
//! JSON that `load` prints.
//!
//! ```text
//! rawstore VOLUME BYTES SMALL WORKLOAD...     of $CAIRNFS_CONFIG
//!
//! write-stream read-stream random-read        BYTES in objects of 4 MiB
//! create read                                 SMALL objects of 4 KiB
//! fsync                                       such objects one by one
//! remove                                      everything
//! ```

use std::error::Error;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairnfs::ambient::Ambient;
use cairnfs::ambient::instant;
use cairnfs::config::Config;
use cairnfs::config::environment;
use cairnfs::object::Bucket;
use cairnfs::object::Policy;
use cairnfs::object::name;
use cairnfs::provider::SseMode;
use cairnfs::types::BlockId;
use cairnfs::types::SessionId;
use futures::StreamExt as _;
use futures::TryStreamExt as _;

const LARGE_BYTES: usize = 4 << 20;
const SMALL_BYTES: usize = 4096;
const LARGE_AT_ONCE: usize = 8;
const SMALL_AT_ONCE: usize = 16;
const ALONE: usize = 100;

type Fault = Box<dyn Error>;
type Refusal = cairnfs::error::Error;

fn main() -> Result<(), Fault> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [volume, bytes, small, workloads @ ..] = &args[..] else {
        return Err("usage: rawstore VOLUME BYTES SMALL WORKLOAD...".into());
    };
    let config = Config::load(None, &environment, &[])?.volume(volume)?;
    let mode = config.sse.clone().unwrap_or(SseMode::None);
    let policy = Policy { verify: config.verify(&mode), mode };
    let store = Arc::new(Store {
        bucket: Bucket::open(&config, Some(policy))?,
        large: bytes.parse::<usize>()? / LARGE_BYTES,
        small: small.parse()?,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    workloads.iter().try_for_each(|workload| runtime.block_on(measure(&store, workload)))
}

async fn measure(store: &Arc<Store>, workload: &str) -> Result<(), Fault> {
    let (large, small) = (0..store.large, store.large..store.large + store.small);
    let singles = small.end..small.end + ALONE;
    let (large_body, small_body) = (noise(LARGE_BYTES)?, noise(SMALL_BYTES)?);
    let put = |n, body: &Bytes| store.clone().put(n, body.clone());
    let get = |n, range| store.clone().get(n, range);
    let page = |n: usize| (n * 37 % (LARGE_BYTES / SMALL_BYTES)) * SMALL_BYTES;
    let random = |n| get(n * 13 % store.large, page(n)..page(n) + SMALL_BYTES);
    let (bytes, begun) = (store.large * LARGE_BYTES, instant());
    match workload {
        "write-stream" => {
            all(large, LARGE_AT_ONCE, |n| put(n, &large_body)).await?;
            stream(workload, bytes, begun.elapsed())
        }
        "read-stream" => {
            all(large, LARGE_AT_ONCE, |n| get(n, 0..LARGE_BYTES)).await?;
            stream(workload, bytes, begun.elapsed())
        }
        "random-read" => {
            all(0..store.small, 1, random).await?;
            rate(workload, store.small, begun.elapsed())
        }
        "create" => {
            all(small, SMALL_AT_ONCE, |n| put(n, &small_body)).await?;
            rate(workload, store.small, begun.elapsed())
        }
        "read" => {
            all(small, SMALL_AT_ONCE, |n| get(n, 0..SMALL_BYTES)).await?;
            rate(workload, store.small, begun.elapsed())
        }
        "fsync" => {
            let mut waits = Vec::new();
            for n in singles {
                let begun = instant();
                put(n, &small_body).await?;
                waits.push(begun.elapsed());
            }
            waits.sort_unstable();
            let ms = |rank: usize| waits[rank].as_secs_f64() * 1e3;
            line(workload, "ms", ms(ALONE / 2), &format!(",\"p99\":{:.3}", ms(ALONE * 99 / 100)))
        }
        "remove" => {
            let names: Vec<_> = (0..singles.end).map(name_of).collect();
            Ok(store.bucket.delete(&names).await?)
        }
        _ => Err(format!("there is no workload {workload}").into()),
    }
}

/// Runs `request` for each number, a few at a time.
async fn all<F>(
    numbers: impl IntoIterator<Item = usize>,
    at_once: usize,
    request: impl Fn(usize) -> F,
) -> Result<(), Fault>
where
    F: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    // Each on a task of its own, so that all processors take part.
    let requests = numbers.into_iter().map(|n| tokio::spawn(request(n)));
    let answers = futures::stream::iter(requests).buffer_unordered(at_once);
    answers.map(|answer| Ok::<_, Fault>(answer??)).try_collect().await
}

struct Store {
    bucket: Bucket,
    large: usize,
    small: usize,
}

impl Store {
    async fn put(self: Arc<Self>, n: usize, body: Bytes) -> Result<(), Refusal> {
        self.bucket.put(&name_of(n), body).await.map(drop)
    }

    async fn get(self: Arc<Self>, n: usize, range: Range<usize>) -> Result<(), Refusal> {
        let range = range.start as u64..range.end as u64;
        self.bucket.get(&name_of(n), Some(range), None).await.map(drop)
    }
}

/// The name of a block that no session has made.
fn name_of(n: usize) -> String {
    let mut random = [0; 11];
    random[3..].copy_from_slice(&(n as u64).to_be_bytes());
    random[0] = random[10];
    name::block(BlockId::new(SessionId(0), random))
}

fn noise(length: usize) -> Result<Bytes, Fault> {
    let mut bytes = vec![0; length];
    Ambient::system().fill(&mut bytes)?;
    Ok(bytes.into())
}

fn rate(name: &str, count: usize, took: Duration) -> Result<(), Fault> {
    line(name, "/s", float(count) / took.as_secs_f64(), "")
}

fn stream(name: &str, bytes: usize, took: Duration) -> Result<(), Fault> {
    line(name, "MiB/s", float(bytes >> 20) / took.as_secs_f64(), "")
}

fn line(name: &str, unit: &str, value: f64, more: &str) -> Result<(), Fault> {
    let text = format!("{{\"name\":\"{name}\",\"unit\":\"{unit}\",\"value\":{value:.3}{more}}}");
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn float(number: usize) -> f64 {
    number as f64
}
