//! The memories that the crash tests store, and the checks for them.

use fastrand::Rng;
use mnemocore::{Engine, MemoryId, Namespace, NewMemory, Query};

use super::note;

pub(crate) fn namespaces() -> [Namespace; 2] {
    ["ada", "bob"].map(|name| Namespace::new(name).unwrap())
}

/// The parts of a stored memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) namespace: usize,
    pub(crate) word: String,
    pub(crate) importance: u32,
    /// Bytes of incompressible metadata.
    pub(crate) ballast: usize,
}

impl Stored {
    pub(crate) fn random(random: &mut Rng, seed: u64, number: u64) -> Self {
        let word = format!("q{seed}x{number}z");
        let ballast = if random.u8(0..3) == 0 { random.usize(..5_000) } else { 0 };
        Self { namespace: random.usize(0..2), word, importance: random.u32(1..4), ballast }
    }

    pub(crate) fn memory(&self) -> NewMemory {
        let memory = NewMemory::new(note(&self.word))
            .namespace(namespaces()[self.namespace].clone())
            .importance(self.importance as f32)
            .metadata("word", &self.word);
        if self.ballast == 0 { memory } else { memory.metadata("ballast", self.ballast()) }
    }

    fn ballast(&self) -> String {
        let seed = self.word.bytes().fold(0, |sum, byte| 31_u64.wrapping_mul(sum) + u64::from(byte));
        let mut random = Rng::with_seed(seed);
        std::iter::repeat_with(|| random.alphanumeric()).take(self.ballast).collect()
    }

    /// Fails unless `get` and `recall` both find the memory as it was stored.
    pub(crate) fn check(&self, engine: &Engine, id: MemoryId) {
        let namespace = namespaces()[self.namespace].clone();
        let memory = engine.get(id).unwrap().unwrap_or_else(|| panic!("memory {id} is lost"));
        assert_eq!(memory.text, note(&self.word));
        assert_eq!(memory.importance, self.importance as f32);
        assert_eq!(memory.metadata["word"], self.word);
        let ballast = memory.metadata.get("ballast").cloned().unwrap_or_default();
        assert!(ballast == self.ballast(), "the ballast of memory {id} is another one");
        assert_eq!(memory.namespace, namespace);
        let query = Query::text(&self.word).namespace(namespace).limit(1).touch(false);
        let recall = engine.recall(&query).unwrap();
        assert_eq!(recall.hits.first().map(|hit| &hit.memory), Some(&memory));
    }
}
