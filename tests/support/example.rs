//! Examples as programs: built as they are now, and run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of the example `name`: `cargo test --test ...` by itself would not build it.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile_dir = test.parent().and_then(Path::parent).unwrap();
    let profile = match profile_dir.file_name().and_then(OsStr::to_str).unwrap() {
        "debug" => "dev",
        other => other,
    };
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--offline", "--example", name]);
        build.args(["--profile", profile, "--target-dir"]).arg(profile_dir.parent().unwrap());
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "the example does not compile");
    }
    profile_dir.join("examples").join(name)
}
