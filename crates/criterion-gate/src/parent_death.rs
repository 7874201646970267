//! Ends a process when its parent ends.
//!
//! A program that runs a bench stops the bench when it is stopped itself. If it was killed, it
//! cannot, and the kernel ends the bench instead. This works on Linux only; elsewhere it does
//! nothing.

use std::process::Command;

/// The variable that holds the process ID of the parent.
const VARIABLE: &str = "MNEMO_TIED_TO";

/// Lets the process that `command` starts [end](end_with_parent) with this process.
pub fn tie(command: &mut Command) {
    command.env(VARIABLE, std::process::id().to_string());
}

/// Ends this process as soon as its parent does, if the parent [asked](tie) for it.
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    if let Some(parent) = std::env::var(VARIABLE).ok().and_then(|number| number.parse::<i32>().ok()) {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        // It fails on no supported Linux. If it did, the process would merely run to its end.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // The parent may have ended before the call.
        if getppid().is_none_or(|actual| actual.as_raw_nonzero().get() != parent) {
            std::process::exit(2);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    use std::thread::sleep;
    use std::time::Duration;

    const LIFE: Duration = Duration::from_secs(60);

    /// A process that has ended is in `Z` until its new parent asks for its status.
    fn is_running(process: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z"))
    }

    /// Started by the other test.
    #[test]
    #[ignore = "lives as long as its parent"]
    fn tied_child() {
        end_with_parent();
        println!("tied {}", std::process::id());
        sleep(LIFE);
    }

    #[test]
    fn a_tied_process_ends_with_a_parent_that_is_killed() {
        let test = format!("{}::tied_child", module_path!().split_once("::").unwrap().1);
        let script = format!("{VARIABLE}=$$ \"$0\" --exact {test} --ignored --nocapture & wait");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(std::env::current_exe().unwrap()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said = |line: String| Some(line.split_once("tied ")?.1.parse::<u32>().unwrap());
        let child = lines.filter_map(said).next().expect("the child did not start");
        shell.kill().unwrap();
        shell.wait().unwrap();
        let mut looks = 0..500;
        while is_running(child) {
            assert!(looks.next().is_some(), "it outlives its parent");
            sleep(Duration::from_millis(10));
        }
    }
}
