//! What `--version` says of a build: its commit, profile, target and features.
//!
//! The commit is that of `LIVEKIT_OTEL_COMMIT`, of the package's `.cargo_vcs_info.json`, or of the work tree. A debug
//! build has none from the work tree: each commit would compile it again.

use std::path::Path;
use std::process::Command;

const COMMIT: &str = "LIVEKIT_OTEL_COMMIT";
// As long as LiveKit's and most others are shown.
const SHOWN: usize = 12;

#[allow(dead_code)] // the tests use the rest
fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let root = variable("CARGO_MANIFEST_DIR");
    let root = Path::new(&root);
    let (profile, target) = (variable("PROFILE"), variable("TARGET"));
    let given = Some(variable(COMMIT)).filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| packaged(root)).or_else(|| {
        let commit = (profile == "release").then(|| checked_out(root)).flatten()?;
        // A checkout of another commit changes one of these.
        for name in
            ["HEAD".to_owned(), git(root, &["symbolic-ref", "-q", "HEAD"]).unwrap_or_default()]
        {
            if let Some(path) = git(root, &["rev-parse", "--git-path", &name]) {
                println!("cargo:rerun-if-changed={}", root.join(path).display());
            }
        }
        Some(commit)
    });
    let commit =
        commit.map(|commit| format!("commit {}", commit.chars().take(SHOWN).collect::<String>()));
    let commit = commit.unwrap_or_else(|| "commit not recorded".to_owned());
    let is_set =
        |feature: &&str| !variable(&format!("CARGO_FEATURE_{}", feature.to_uppercase())).is_empty();
    let features: Vec<_> = ["tls", "mimalloc"].into_iter().filter(is_set).collect();
    let features =
        if features.is_empty() { "no features".to_owned() } else { features.join(" + ") };
    println!("cargo:rustc-env=LIVEKIT_OTEL_BUILD={commit}, {profile}, {target}, {features}");
}

/// The commit that a package was made from, which cargo writes into it.
pub(crate) fn packaged(root: &Path) -> Option<String> {
    let info = std::fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let rest = info.split("\"sha1\"").nth(1)?;
    let commit = rest.split('"').nth(1)?;
    commit.chars().all(|c| c.is_ascii_hexdigit()).then(|| commit.to_owned())
}

/// The commit of the work tree. `None` if the root of the repository is another
/// directory: that would be another project's commit.
pub(crate) fn checked_out(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    git(root, &["rev-parse", "HEAD"])
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
