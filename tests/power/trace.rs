//! Records every call that changes a watched folder, in order.
//!
//! The standard library calls libc, and a symbol that an executable defines takes precedence over
//! the one in libc. So the functions below replace those that write files. Each makes the system
//! call itself and records it, under one lock. Nothing is flushed to the real disk:
//! [`disk`](super::disk) models the effect of a flush.
#![allow(unsafe_code, reason = "takes the place of functions of libc")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{c_char, c_int, c_long, c_uint, c_void, iovec, mode_t, off_t, size_t, ssize_t};

/// A file or a folder, independent of its name, and even without one.
pub(crate) type Node = usize;

/// The watched folder.
pub(crate) const ROOT: Node = 0;

/// A name in a folder.
pub(crate) type Entry = (Node, OsString);

/// A change, or a sync of earlier ones.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A new file, or folder, gets its name.
    Make {
        node: Node,
        folder: bool,
        at: Entry,
    },
    Rename {
        node: Node,
        from: Entry,
        to: Entry,
    },
    /// A name is removed.
    Remove {
        at: Entry,
    },
    Write {
        node: Node,
        at: u64,
        bytes: Vec<u8>,
    },
    SetLength {
        node: Node,
        length: u64,
    },
    /// The content of a file or the names in a folder are on the disk.
    Sync {
        node: Node,
    },
}

/// Folders, and the names in them.
#[derive(Default)]
pub(crate) struct Tree(HashMap<Node, BTreeMap<OsString, Node>>);

impl Tree {
    /// Applies a change of names. Other operations have no effect.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Make { node, folder, at } => {
                self.names(at.0).insert(at.1.clone(), *node);
                if *folder {
                    self.names(*node);
                }
            }
            Op::Rename { node, from, to } => {
                self.names(from.0).remove(&from.1);
                self.names(to.0).insert(to.1.clone(), *node);
            }
            Op::Remove { at } => drop(self.names(at.0).remove(&at.1)),
            Op::Write { .. } | Op::SetLength { .. } | Op::Sync { .. } => {}
        }
    }

    fn names(&mut self, folder: Node) -> &mut BTreeMap<OsString, Node> {
        self.0.entry(folder).or_default()
    }

    /// The names in `node`, if that is a folder.
    pub(crate) fn folder(&self, node: Node) -> Option<&BTreeMap<OsString, Node>> {
        self.0.get(&node)
    }

    fn find(&self, from: Node, path: &Path) -> Option<Node> {
        path.iter().try_fold(from, |node, name| self.folder(node)?.get(name).copied())
    }
}

/// Calls that are refused, as on a full disk, until the refusal is lifted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// The error code of libc.
    pub(crate) error: c_int,
    /// Prefixes of the names of the refused functions of libc. `create` stands for an `open` that
    /// may make a file.
    pub(crate) calls: &'static [&'static str],
    /// Calls of this kind that still succeed first.
    pub(crate) after: usize,
}

struct Recorder {
    root: PathBuf,
    refusal: Option<Refusal>,
    refused: usize,
    ops: Vec<Op>,
    tree: Tree,
    /// The files behind open descriptors.
    open: HashMap<c_int, Node>,
    nodes: usize,
}

static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);
static RECORDING: AtomicBool = AtomicBool::new(false);

fn lock() -> MutexGuard<'static, Option<Recorder>> {
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts watching `root`. Existing content counts as synced.
pub(crate) fn start(root: &Path) {
    let mut recorder = Recorder {
        root: root.into(),
        refusal: None,
        refused: 0,
        ops: Vec::new(),
        tree: Tree::default(),
        open: HashMap::new(),
        nodes: 1,
    };
    recorder.adopt(ROOT, root);
    *lock() = Some(recorder);
    RECORDING.store(true, Ordering::SeqCst);
}

/// The number of operations so far.
pub(crate) fn position() -> usize {
    lock().as_ref().expect("recording").ops.len()
}

/// Refuses calls from now on, or stops refusing. Returns the number of calls refused before.
pub(crate) fn refuse(refusal: Option<Refusal>) -> usize {
    let mut recorder = lock();
    let recorder = recorder.as_mut().expect("recording");
    recorder.refusal = refusal;
    std::mem::take(&mut recorder.refused)
}

/// Ends the recording.
pub(crate) fn stop() -> Vec<Op> {
    RECORDING.store(false, Ordering::SeqCst);
    lock().take().expect("recording").ops
}

impl Recorder {
    fn adopt(&mut self, folder: Node, path: &Path) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let node = self.make(path.is_dir(), (folder, path.file_name().unwrap().into()));
            if path.is_dir() {
                self.adopt(node, &path);
            } else {
                // Without the zeros at the end of a journal.
                let content = std::fs::read(&path).unwrap();
                let used = content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                self.ops.push(Op::Write { node, at: 0, bytes: content[..used].into() });
                self.ops.push(Op::SetLength { node, length: content.len() as u64 });
                self.ops.push(Op::Sync { node });
            }
        }
        self.ops.push(Op::Sync { node: folder });
    }

    fn make(&mut self, folder: bool, at: Entry) -> Node {
        let node = self.nodes;
        self.nodes += 1;
        self.rename(Op::Make { node, folder, at });
        node
    }

    fn rename(&mut self, op: Op) {
        self.tree.apply(&op);
        self.ops.push(op);
    }

    /// The folder that `path` begins at, and the rest of it.
    fn start<'p>(&self, beside: c_int, path: &'p Path) -> Option<(Node, &'p Path)> {
        if let Ok(inside) = path.strip_prefix(&self.root) {
            return Some((ROOT, inside));
        }
        // A path through an open folder, as the engine uses for its own folder.
        if let Ok(inside) = path.strip_prefix("/proc/thread-self/fd") {
            let mut parts = inside.components();
            let descriptor = parts.next()?.as_os_str().to_str()?.parse().ok()?;
            return Some((*self.open.get(&descriptor)?, parts.as_path()));
        }
        if path.is_absolute() { None } else { Some((*self.open.get(&beside)?, path)) }
    }

    /// Returns the name that `path` means in a watched folder, and its node.
    fn entry(&self, beside: c_int, path: &Path) -> Option<(Entry, Option<Node>)> {
        let (from, path) = self.start(beside, path)?;
        let folder = self.tree.find(from, path.parent()?)?;
        Some(((folder, path.file_name()?.into()), self.tree.find(from, path)))
    }

    /// Returns the node at `path`, also if `path` is the watched folder itself.
    fn node(&self, beside: c_int, path: &Path) -> Option<Node> {
        match self.start(beside, path)? {
            (node, inside) if inside.as_os_str().is_empty() => Some(node),
            _ => self.entry(beside, path)?.1,
        }
    }

    fn opened(&mut self, descriptor: c_int, beside: c_int, path: &Path, flags: c_int) {
        let known = self.node(beside, path);
        if let (Some(node), true) = (known, flags & libc::O_TRUNC != 0) {
            self.ops.push(Op::SetLength { node, length: 0 });
        }
        let new = |(at, _)| (flags & libc::O_CREAT != 0).then_some(at);
        let made = if known.is_none() { self.entry(beside, path).and_then(new) } else { None };
        let node = known.or_else(|| made.map(|at| self.make(false, at)));
        self.open.remove(&descriptor);
        self.open.extend(node.map(|node| (descriptor, node)));
    }

    /// Returns the error if the call is to be refused.
    fn refuses(&mut self, name: &str, arguments: &[Argument]) -> Option<c_int> {
        let refusal = self.refusal?;
        let watched = arguments.iter().any(|argument| match argument {
            // SAFETY: an argument of one of libc's functions, a string of C.
            Argument::Path(name) => self.is_watched(unsafe { path(*name) }),
            Argument::Number(number) => self.open.contains_key(number),
            Argument::Other => false,
        });
        // The only numbers with this flag are flags.
        let creating = libc::O_CLOEXEC | libc::O_CREAT;
        let creates = arguments
            .iter()
            .any(|argument| matches!(argument, Argument::Number(flags) if flags & creating == creating));
        let meant =
            |call: &&str| name.starts_with(call) || *call == "create" && name.starts_with("open") && creates;
        if name == "close" || !watched || !refusal.calls.iter().any(meant) {
            return None;
        }
        if let Some(after) = refusal.after.checked_sub(1) {
            self.refusal = Some(Refusal { after, ..refusal });
            return None;
        }
        self.refused += 1;
        Some(refusal.error)
    }

    fn is_watched(&self, path: &Path) -> bool {
        path.starts_with(&self.root) || self.start(libc::AT_FDCWD, path).is_some()
    }

    fn closed(&mut self, descriptor: c_int) {
        self.open.remove(&descriptor);
    }

    /// Records a write at the descriptor's position.
    fn written(&mut self, descriptor: c_int, at: impl FnOnce() -> u64, bytes: impl FnOnce() -> Vec<u8>) {
        if let Some(&node) = self.open.get(&descriptor) {
            self.ops.push(Op::Write { node, at: at(), bytes: bytes() });
        }
    }

    fn renamed(&mut self, from: (c_int, &Path), to: (c_int, &Path)) {
        if let (Some((from, Some(node))), Some((to, _))) =
            (self.entry(from.0, from.1), self.entry(to.0, to.1))
        {
            self.rename(Op::Rename { node, from, to });
        }
    }

    fn removed(&mut self, beside: c_int, path: &Path) {
        if let Some((at, Some(_))) = self.entry(beside, path) {
            self.rename(Op::Remove { at });
        }
    }
}

/// Makes a system call. If it succeeds while a folder is watched, records it.
fn call(
    name: &str,
    arguments: &[Argument],
    make: impl FnOnce() -> c_long,
    note: impl FnOnce(&mut Recorder, c_long),
) -> c_long {
    if !RECORDING.load(Ordering::SeqCst) {
        return make();
    }
    let mut recorder = lock();
    if let Some(error) = recorder.as_mut().and_then(|recorder| recorder.refuses(name, arguments)) {
        drop(recorder);
        // SAFETY: libc's own place for the error of the last call of this thread.
        unsafe { *libc::__errno_location() = error };
        return -1;
    }
    let made = make();
    // SAFETY: libc's own place for the error of the last call of this thread.
    let error = unsafe { *libc::__errno_location() };
    if let (true, Some(recorder)) = (made >= 0, &mut *recorder) {
        note(recorder, made);
    }
    drop(recorder);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = error };
    made
}

/// An argument of a call, as far as it identifies the call's target.
enum Argument {
    Path(*const c_char),
    /// A descriptor, or flags.
    Number(c_int),
    Other,
}

impl From<*const c_char> for Argument {
    fn from(name: *const c_char) -> Self {
        Self::Path(name)
    }
}

impl From<c_int> for Argument {
    fn from(number: c_int) -> Self {
        Self::Number(number)
    }
}

/// Arguments of other types, which identify nothing.
macro_rules! others {
    ($($kind:ty),*) => { $(
        impl From<$kind> for Argument {
            fn from(_: $kind) -> Self {
                Self::Other
            }
        }
    )* };
}

others!(c_uint, size_t, off_t, *const c_void, *const iovec);

/// # Safety
/// `path` is a C string.
unsafe fn path<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: said above.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

/// # Safety
/// `bytes` points to `count` bytes.
unsafe fn copied(bytes: *const c_void, count: c_long) -> Vec<u8> {
    // SAFETY: said above.
    unsafe { std::slice::from_raw_parts(bytes.cast(), count as usize) }.to_vec()
}

/// Returns the start of a write of `count` bytes that has just been made.
fn start_of_write(descriptor: c_int, count: c_long) -> u64 {
    // SAFETY: asks where a descriptor stands.
    (unsafe { libc::lseek64(descriptor, 0, libc::SEEK_CUR) } - count) as u64
}

/// Functions of libc that end in a system call with the same arguments, and the record of each.
macro_rules! functions {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty = $call:expr, $note:expr;)*) => { $(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $kind),*) -> $result {
            // SAFETY: the arguments are as the function of this name takes them,
            // and so are those of the system call behind it.
            call(stringify!($name), &[$($argument.into()),*], || unsafe { $call }, |recorder, done| {
                let note: fn(&mut Recorder, c_long, $($kind),*) = $note;
                note(recorder, done, $($argument),*);
            }) as $result
        }
    )* };
}

// SAFETY, for the blocks below: pointers are those of a call that succeeded.
functions! {
    openat64(beside: c_int, name: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        libc::syscall(libc::SYS_openat, beside, name, flags, mode),
        |recorder, done, beside, name, flags, _| recorder.opened(done as c_int, beside, unsafe { path(name) }, flags);
    openat(beside: c_int, name: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        libc::syscall(libc::SYS_openat, beside, name, flags, mode),
        |recorder, done, beside, name, flags, _| recorder.opened(done as c_int, beside, unsafe { path(name) }, flags);
    open64(name: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, name, flags, mode),
        |recorder, done, name, flags, _| recorder.opened(done as c_int, libc::AT_FDCWD, unsafe { path(name) }, flags);
    open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, name, flags, mode),
        |recorder, done, name, flags, _| recorder.opened(done as c_int, libc::AT_FDCWD, unsafe { path(name) }, flags);
    close(descriptor: c_int) -> c_int =
        libc::syscall(libc::SYS_close, descriptor),
        |recorder, _, descriptor| recorder.closed(descriptor);
    write(descriptor: c_int, bytes: *const c_void, count: size_t) -> ssize_t =
        libc::syscall(libc::SYS_write, descriptor, bytes, count),
        |recorder, done, descriptor, bytes, _| recorder.written(
            descriptor, || start_of_write(descriptor, done), || unsafe { copied(bytes, done) });
    pwrite64(descriptor: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t =
        libc::syscall(libc::SYS_pwrite64, descriptor, bytes, count, at),
        |recorder, done, descriptor, bytes, _, at| recorder.written(
            descriptor, || at as u64, || unsafe { copied(bytes, done) });
    writev(descriptor: c_int, parts: *const iovec, count: c_int) -> ssize_t =
        libc::syscall(libc::SYS_writev, descriptor, parts, count),
        |recorder, done, descriptor, parts, count| recorder.written(
            descriptor, || start_of_write(descriptor, done), || {
                let parts = unsafe { std::slice::from_raw_parts(parts, count as usize) };
                let mut bytes: Vec<u8> = parts
                    .iter()
                    .flat_map(|part| unsafe { copied(part.iov_base, part.iov_len as c_long) })
                    .collect();
                bytes.truncate(done as usize);
                bytes
            });
    ftruncate64(descriptor: c_int, length: off_t) -> c_int =
        libc::syscall(libc::SYS_ftruncate, descriptor, length),
        |recorder, _, descriptor, length| if let Some(&node) = recorder.open.get(&descriptor) {
            recorder.ops.push(Op::SetLength { node, length: length as u64 });
        };
    fsync(descriptor: c_int) -> c_int =
        c_long::from(libc::fcntl(descriptor, libc::F_GETFD)).min(0),
        |recorder, _, descriptor| if let Some(&node) = recorder.open.get(&descriptor) {
            recorder.ops.push(Op::Sync { node });
        };
    fdatasync(descriptor: c_int) -> c_int =
        c_long::from(libc::fcntl(descriptor, libc::F_GETFD)).min(0),
        |recorder, _, descriptor| if let Some(&node) = recorder.open.get(&descriptor) {
            recorder.ops.push(Op::Sync { node });
        };
    mkdir(name: *const c_char, mode: mode_t) -> c_int =
        libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, name, mode),
        |recorder, _, name, _| if let Some((at, _)) = recorder.entry(libc::AT_FDCWD, unsafe { path(name) }) {
            recorder.make(true, at);
        };
    rename(from: *const c_char, to: *const c_char) -> c_int =
        libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0),
        |recorder, _, from, to| recorder.renamed(
            (libc::AT_FDCWD, unsafe { path(from) }), (libc::AT_FDCWD, unsafe { path(to) }));
    renameat(beside: c_int, from: *const c_char, beside_new: c_int, to: *const c_char) -> c_int =
        libc::syscall(libc::SYS_renameat2, beside, from, beside_new, to, 0),
        |recorder, _, beside, from, beside_new, to| recorder.renamed(
            (beside, unsafe { path(from) }), (beside_new, unsafe { path(to) }));
    renameat2(beside: c_int, from: *const c_char, beside_new: c_int, to: *const c_char, flags: c_uint) -> c_int =
        libc::syscall(libc::SYS_renameat2, beside, from, beside_new, to, flags),
        |recorder, _, beside, from, beside_new, to, _| recorder.renamed(
            (beside, unsafe { path(from) }), (beside_new, unsafe { path(to) }));
    unlink(name: *const c_char) -> c_int =
        libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, name, 0),
        |recorder, _, name| recorder.removed(libc::AT_FDCWD, unsafe { path(name) });
    rmdir(name: *const c_char) -> c_int =
        libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, name, libc::AT_REMOVEDIR),
        |recorder, _, name| recorder.removed(libc::AT_FDCWD, unsafe { path(name) });
    unlinkat(beside: c_int, name: *const c_char, flags: c_int) -> c_int =
        libc::syscall(libc::SYS_unlinkat, beside, name, flags),
        |recorder, _, beside, name, _| recorder.removed(beside, unsafe { path(name) });
}
