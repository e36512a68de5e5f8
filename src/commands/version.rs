//! The version of this program: its release, and the commit if the build was told it.

use std::sync::LazyLock;

/// The commit is not asked of git: a build without git gives the same program, and a new commit alone
/// compiles nothing anew.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("SOURCE_COMMIT") {
    Some(commit) if !commit.is_empty() => format!("{RELEASE} ({commit})"),
    Some(_) | None => RELEASE.to_owned(),
});

const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Returns the release and, if `SOURCE_COMMIT` was set for the build, the commit: `0.1.0 (1a2b3c4)`.
pub(super) fn version() -> &'static str {
    VERSION.as_str()
}
