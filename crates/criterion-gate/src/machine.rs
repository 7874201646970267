//! The machine sheet: what a recorded result was measured on, and of what.

use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Stands for what could not be found out.
pub const UNKNOWN: &str = "unknown";

/// The machine, the compiler and the revision behind a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model name.
    pub cpu: String,
    /// Its vector extensions that matter here.
    pub cpu_features: Vec<String>,
    /// Hardware threads this process may use.
    pub cores: usize,
    /// Main memory in bytes.
    pub memory_bytes: Option<u64>,
    /// The operating system with its release.
    pub os: String,
    /// The target architecture.
    pub architecture: String,
    /// The version of the compiler on the path (or in `RUSTC`).
    pub rustc: String,
    /// The features that the measured crate was built with. [`Machine::detect`] cannot know
    /// them.
    pub features: Vec<String>,
    /// The git revision of the working directory; where the sources differ from it,
    /// `-dirty-` and a digest of how.
    pub revision: String,
}

impl Machine {
    /// Describes this machine. What cannot be found out is [`UNKNOWN`] or `None`;
    /// nothing here fails.
    ///
    /// The revision is `MNEMO_REVISION` where that is set, so that a bench can be
    /// run outside its repository.
    pub fn detect() -> Self {
        Self {
            cpu: read("/proc/cpuinfo").and_then(|info| cpu_model(&info)).unwrap_or_else(unknown),
            cpu_features: cpu_features(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: read("/proc/meminfo").and_then(|info| memory_total(&info)),
            os: os(),
            architecture: std::env::consts::ARCH.to_owned(),
            rustc: rustc(),
            features: Vec::new(),
            revision: revision(),
        }
    }

    /// Whether wall times measured on both can be compared: the same processor
    /// with as many cores, the same architecture.
    pub fn is_comparable(&self, other: &Self) -> bool {
        (&self.cpu, self.cores, &self.architecture) == (&other.cpu, other.cores, &other.architecture)
            && self.cpu != UNKNOWN
    }
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The value of the first `key : value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim()).filter(|value| !value.is_empty())
    })
}

/// x86 names a model; Arm only numbers its implementer and part.
fn cpu_model(info: &str) -> Option<String> {
    let model = field(info, "model name").or_else(|| field(info, "Model")).map(str::to_owned);
    model.or_else(|| {
        let (implementer, part) = (field(info, "CPU implementer")?, field(info, "CPU part")?);
        Some(format!("implementer {implementer} part {part}"))
    })
}

fn memory_total(info: &str) -> Option<u64> {
    let kilobytes = field(info, "MemTotal")?.strip_suffix("kB")?.trim();
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}

fn os() -> String {
    let pretty = read("/etc/os-release").and_then(|release| {
        let line = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(line.trim_matches('"').to_owned())
    });
    let name = pretty.unwrap_or_else(|| std::env::consts::OS.to_owned());
    match read("/proc/sys/kernel/osrelease") {
        Some(kernel) => format!("{name}, kernel {}", kernel.trim()),
        None => name,
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<String> {
    let detected = [
        ("popcnt", is_x86_feature_detected!("popcnt")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512vpopcntdq", is_x86_feature_detected!("avx512vpopcntdq")),
    ];
    detected.iter().filter(|(_, here)| *here).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<String> {
    vec!["neon".to_owned()]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<String> {
    Vec::new()
}

fn rustc() -> String {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    output(&compiler, &["--version"]).unwrap_or_else(unknown)
}

fn revision() -> String {
    if let Ok(revision) = std::env::var("MNEMO_REVISION") {
        return revision;
    }
    let Some(revision) = output("git", &["rev-parse", "--short=12", "HEAD"]) else {
        return unknown();
    };
    match changes() {
        None => revision,
        Some(digest) => format!("{revision}-dirty-{digest:016x}"),
    }
}

/// Git pathspecs of the sources that a bench is built from, anywhere in the repository.
const SOURCES: [&str; 4] = [":(top)*.rs", ":(top)*.sql", ":(top)*Cargo.toml", ":(top)*Cargo.lock"];

/// A digest of how the sources differ from the revision; `None` if they do not.
fn changes() -> Option<u64> {
    // Both print nothing if nothing differs.
    let git = |arguments: &[&str]| output("git", &[arguments, &["--"], &SOURCES].concat());
    let changed = git(&["diff", "--no-ext-diff", "HEAD"]);
    let added = git(&["ls-files", "--others", "--exclude-standard"]);
    if changed.is_none() && added.is_none() {
        return None;
    }
    let mut digest = Xxh3::new();
    digest.update(changed.unwrap_or_default().as_bytes());
    for file in added.unwrap_or_default().lines() {
        digest.update(file.as_bytes());
        digest.update(&fs::read(file).unwrap_or_default());
    }
    Some(digest.digest())
}

/// Runs a program and returns its trimmed standard output, or `None` if it fails or prints nothing.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nmodel name\t: other\n";
        assert_eq!(cpu_model(x86).as_deref(), Some("AMD EPYC 7B13"));
        let arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(cpu_model(arm).as_deref(), Some("implementer 0x41 part 0xd0c"));
        assert_eq!(cpu_model("nonsense"), None);
        assert_eq!(memory_total("MemTotal:       16384 kB\n"), Some(16_777_216));
        assert_eq!(memory_total("MemTotal: lots\n"), None);
    }

    #[test]
    fn a_sheet_survives_json_and_is_comparable_with_itself_where_the_cpu_is_known() {
        let machine = Machine::detect();
        let json = serde_json::to_string(&machine).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&json).unwrap(), machine);
        assert_eq!(machine.is_comparable(&machine), machine.cpu != UNKNOWN);
        let other = Machine { cores: machine.cores + 1, ..machine.clone() };
        assert!(!machine.is_comparable(&other));
    }

    #[test]
    fn a_missing_program_is_unknown_and_no_failure() {
        assert_eq!(output("no-such-program-anywhere", &[]), None);
        assert_eq!(output("git", &["no-such-command"]), None);
    }
}
