//! The number of this process, asked for without a system call where Linux allows it.
#![allow(unsafe_code, reason = "a mapped page tells of a fork; the arguments stand at the calls")]

/// The number of this process, as [`std::process::id`] gives it.
///
/// Every call of an engine asks for it, and the system call behind `std::process::id` takes
/// one percent of the fastest calls. So Linux keeps the number in a page of memory that the
/// kernel empties in a forked process (`MADV_WIPEONFORK`, from Linux 4.14; BoringSSL tells
/// forks in the same way: `crypto/rand/fork_detect.cc`).
pub(crate) fn id() -> u32 {
    #[cfg(target_os = "linux")]
    if let Some(number) = *linux::PAGE {
        return linux::number_in(number);
    }
    std::process::id()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use memmap2::MmapMut;
    use rustix::mm::{Advice, madvise};

    /// The number of the process, or 0 in a page that the kernel has emptied; `None` where
    /// it does not empty pages.
    pub(super) static PAGE: LazyLock<Option<&'static AtomicU32>> = LazyLock::new(page);

    fn page() -> Option<&'static AtomicU32> {
        let map = Box::leak(Box::new(MmapMut::map_anon(size_of::<AtomicU32>()).ok()?));
        // SAFETY: the advice concerns the page of this mapping alone, which is private and
        // anonymous. Emptied, it holds a valid number, 0.
        unsafe { madvise(map.as_mut_ptr().cast(), map.len(), Advice::LinuxWipeOnFork) }.ok()?;
        // SAFETY: a mapping is aligned to pages and as long as a number. It is never
        // unmapped, and reached through this reference alone.
        Some(unsafe { AtomicU32::from_ptr(map.as_mut_ptr().cast()) })
    }

    /// Puts the number into an emptied page.
    pub(super) fn number_in(page: &AtomicU32) -> u32 {
        match page.load(Ordering::Relaxed) {
            0 => {
                let number = std::process::id();
                page.store(number, Ordering::Relaxed);
                number
            }
            number => number,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::id;

    /// Ends with `status` the process that calls it.
    fn exit(status: bool) -> ! {
        // SAFETY: takes no memory and returns nowhere.
        unsafe { libc::_exit(i32::from(!status)) }
    }

    #[test]
    fn the_number_is_that_of_the_system_in_a_process_its_child_and_its_grandchild() {
        let is_right = || id() == std::process::id() && id() == std::process::id();
        fn forked(act: impl FnOnce() -> bool) -> bool {
            // SAFETY: the child only asks for numbers, forks and exits.
            match unsafe { libc::fork() } {
                0 => exit(act()),
                child => {
                    let mut status = 0;
                    // SAFETY: waits for a child of this process and writes its status.
                    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
                    child > 0 && waited == child && status == 0
                }
            }
        }
        assert!(is_right());
        assert!(forked(|| is_right() && forked(is_right) && is_right()));
        assert!(is_right());
    }
}
