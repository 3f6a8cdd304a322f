//! What the tests stand on: a recording S3 double, real servers, a mounted volume, small tools.

pub mod tools;
pub mod http;
pub mod s3_client;
pub mod azure_client;
pub mod s3_double;
pub mod recorder;
pub mod servers;
pub mod records;
pub mod volume;
pub mod mounted;
pub mod cycle;
pub mod cgroup;
