//! A subscriber that keeps every span and event of the process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

/// A span or an event.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub level: Level,
    /// The name of a span; empty for an event.
    pub name: &'static str,
    /// All fields as text, with spaces around each: ` field=value `.
    pub fields: String,
    /// The number of the span around it, and its own if it is one.
    pub within: Option<u64>,
    pub id: Option<u64>,
}

#[derive(Default)]
struct Kept {
    entries: Vec<Entry>,
    /// Where the spans are, and their metadata.
    spans: HashMap<u64, (usize, &'static Metadata<'static>)>,
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The spans that this thread is in.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that the engine has told so far.
pub(crate) fn entries() -> Vec<Entry> {
    kept().entries.clone()
}

/// Listens from now on, at every level.
pub(crate) fn listen() {
    static LISTENING: LazyLock<()> =
        LazyLock::new(|| tracing::subscriber::set_global_default(Collector::default()).unwrap());
    LazyLock::force(&LISTENING);
}

#[derive(Default)]
struct Collector {
    last: AtomicU64,
}

struct Fields<'s>(&'s mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?} ", field.name()).unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value} ", field.name()).unwrap();
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("mnemocore")
}

fn within() -> Option<u64> {
    ENTERED.with_borrow(|entered| entered.last().copied())
}

impl Subscriber for Collector {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (metadata, mut fields) = (span.metadata(), String::new());
        span.record(&mut Fields(&mut fields));
        if is_ours(metadata) {
            let mut kept = kept();
            let at = kept.entries.len();
            kept.spans.insert(number, (at, metadata));
            let (level, name) = (*metadata.level(), metadata.name());
            kept.entries.push(Entry { level, name, fields, within: within(), id: Some(number) });
        }
        Id::from_u64(number)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut kept = kept();
        if let Some(&(at, _)) = kept.spans.get(&span.into_u64()) {
            values.record(&mut Fields(&mut kept.entries[at].fields));
        }
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if is_ours(event.metadata()) {
            let mut fields = String::new();
            event.record(&mut Fields(&mut fields));
            let level = *event.metadata().level();
            kept().entries.push(Entry { level, name: "", fields, within: within(), id: None });
        }
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.retain(|&other| other != span.into_u64()));
    }

    fn current_span(&self) -> Current {
        let kept = kept();
        let current = within().and_then(|number| Some((number, kept.spans.get(&number)?.1)));
        current.map_or_else(Current::none, |(number, metadata)| Current::new(Id::from_u64(number), metadata))
    }
}
