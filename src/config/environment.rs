//! The process's environment: the only file that reads it.

/// The value of a variable; `None` when it is unset, empty, or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
