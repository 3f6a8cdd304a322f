//! Ordered keys and values, durable in epochs. (skeleton)

mod engine;
mod memory;
mod slate;
#[cfg(test)]
mod suite;

pub use engine::Batch;
pub use engine::Engine;
pub use memory::MemoryEngine;
pub use slate::SlateEngine;
pub use slate::SlateOptions;
pub use slate::SlateReader;
