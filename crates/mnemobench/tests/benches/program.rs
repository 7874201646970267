//! Executables of the benches, which another package of the workspace has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::home::{Home, Judged};

/// Whether the test is built with all features, and so are the benches.
pub const ALL_FEATURES: bool = cfg!(all(feature = "inject", feature = "object-store", feature = "postgres"));

/// The benches that the tests run. The last one needs a feature.
pub const BENCHES: &[&str] = if ALL_FEATURES {
    &["footprint", "kernels", "latency", "quality", "throughput", "remote"]
} else {
    &["footprint", "kernels", "latency", "quality", "throughput"]
};

/// The executables, in the order of [`BENCHES`].
static PROGRAMS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--no-run", "--package", "mnemocore", "--message-format", "json"]);
    cargo.arg("--target-dir").arg(target).current_dir(root);
    cargo.args(BENCHES.iter().flat_map(|bench| ["--bench", bench]));
    if ALL_FEATURES {
        cargo.arg("--all-features");
    }
    if cfg!(not(debug_assertions)) {
        cargo.arg("--release");
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages: Vec<serde_json::Value> = String::from_utf8(built.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let program = |bench: &&str| {
        let built = messages
            .iter()
            .find(|message| message["target"]["name"] == *bench && message["target"]["kind"][0] == "bench");
        PathBuf::from(built.unwrap()["executable"].as_str().unwrap())
    };
    BENCHES.iter().map(program).collect()
});

/// Runs a bench as `cargo bench` does, with its results in `home`.
pub fn run(home: &Home, bench: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Judged {
    let program = &PROGRAMS[BENCHES.iter().position(|name| *name == bench).unwrap()];
    let mut command = Command::new(program);
    command.arg("--bench").args(arguments).current_dir(home.folder.path());
    command.env("CRITERION_HOME", home.path()).env("MNEMO_PROFILE", "quick");
    for variable in ["MNEMO_DATA", "MNEMO_WORKERS", "MNEMO_MAX_SCALE", "MNEMO_BUCKET", "MNEMO_POSTGRES"] {
        command.env_remove(variable);
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Judged { code: output.status.code(), text: text(output.stdout), errors: text(output.stderr) }
}
