//! The objects of a log: each holds the changes of a span of it.
//!
//! A commit is a span of one, `log/7-7` with the numbers written out to twenty
//! digits. Several are folded into a longer one, `log/0-7`, that has the last
//! change of every key. Objects are never changed, and what a span holds follows
//! from the commits in it alone, so it does not matter who folds them, nor how
//! often.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MNEMOSPN` |
//! | 8 | version of this layout, 1 |
//! | 8 each | first and last commit of the span |
//! | 8 | the log that it belongs to, a number made at random with it |
//! | 8 | the engine that wrote it, another such number |
//! | | the changes, compressed with zstd: for each its table, its key, and its value or nothing |
//! | 8 | XXH3-64 of what is before |

use std::cmp::Reverse;

use xxhash_rust::xxh3::xxh3_64;

use crate::log::codec::{Reader, put_bytes, put_length, u64_le};
use crate::log::{Changes, Table};

const MAGIC: &[u8; 8] = b"MNEMOSPN";
const VERSION: u64 = 1;
const HEADER_WORDS: usize = 6;
const LOG_WORD: usize = 4;

/// Bytes before the changes.
pub(super) const HEADER_BYTES: usize = 8 * HEADER_WORDS;

/// zstd's own default.
const LEVEL: i32 = 3;

/// Which commits an object holds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    /// The span of one commit.
    pub(super) fn of(commit: u64) -> Self {
        Self { first: commit, last: commit }
    }

    /// The name of its object.
    pub(super) fn name(self) -> String {
        format!("log/{:020}-{:020}", self.first, self.last)
    }

    /// Reads a name within the folder `log`; `None` if it is none of ours.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (first, last) = name.split_once('-')?;
        let span = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (first.len() == 20 && last.len() == 20 && span.first <= span.last).then_some(span)
    }
}

/// What an object holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Content {
    pub span: Span,
    pub log: u64,
    pub writer: u64,
    pub changes: Changes,
}

impl Content {
    /// The object's bytes.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        put_length(&mut plain, self.changes.len());
        for ((table, key), value) in &self.changes {
            plain.push(*table as u8);
            put_bytes(&mut plain, key);
            plain.push(u8::from(value.is_some()));
            value.iter().for_each(|value| put_bytes(&mut plain, value));
        }
        let mut bytes = MAGIC.to_vec();
        for word in [VERSION, self.span.first, self.span.last, self.log, self.writer] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend(zstd::encode_all(plain.as_slice(), LEVEL)?);
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// The bytes of an object without changes, which all have the same; every other
    /// one has more.
    pub(super) fn empty_bytes() -> std::io::Result<usize> {
        let (span, changes) = (Span::of(0), Changes::new());
        Self { span, log: 0, writer: 0, changes }.encode().map(|bytes| bytes.len())
    }

    /// The log that an object belongs to, by the start of it.
    pub(super) fn log_of(start: &[u8]) -> Option<u64> {
        start.get(..HEADER_BYTES)?.chunks_exact(8).nth(LOG_WORD).and_then(u64_le)
    }

    /// Reads an object; `None` if it is not as it was written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (hashed, checksum) =
            bytes.split_last_chunk::<8>().map(|(rest, last)| (rest, u64::from_le_bytes(*last)))?;
        let (header, packed) = hashed.split_at_checked(HEADER_BYTES)?;
        (xxh3_64(hashed) == checksum && header.starts_with(MAGIC)).then_some(())?;
        let words: Vec<u64> = header.chunks_exact(8).filter_map(u64_le).collect();
        let [_, VERSION, first, last, log, writer] = words[..] else { return None };
        let plain = zstd::decode_all(packed).ok()?;
        let mut reader = Reader(&plain);
        let mut changes = Changes::new();
        for _ in 0..reader.length()? {
            let table = *Table::ALL.get(reader.byte()? as usize)?;
            let key = reader.bytes()?.to_vec();
            let value = match reader.byte()? {
                0 => None,
                _ => Some(reader.bytes()?.into()),
            };
            changes.insert((table, key), value);
        }
        let span = Span { first, last };
        reader.0.is_empty().then_some(Self { span, log, writer, changes })
    }
}

/// The objects to read, in this order, for all commits from `next` on: the one
/// that begins with the first commit, then each time the one that reaches
/// furthest.
///
/// Such a one repeats some of what is known, and has the last change of each key,
/// which does no harm. But the one that begins with the first commit is not told
/// what was removed; where it reaches beyond `next`, only an empty log can follow.
/// And within what it holds, an object of one commit proves nothing: its name
/// may have been free, and taken by a writer who did not know that.
///
/// # Errors
/// A commit that is in none of them, although later ones are.
pub(super) fn chain(spans: &[Span], mut next: u64) -> Result<Vec<Span>, u64> {
    let mut found = Vec::new();
    let base = spans.iter().filter(|span| span.first == 0).max_by_key(|span| span.last);
    if let Some(base) = base.filter(|base| base.last >= next) {
        if next > 0 {
            return Err(next);
        }
        found.push(*base);
        next = base.last + 1;
    }
    while spans.iter().any(|span| span.last >= next) {
        let serves = |span: &&Span| 0 < span.first && span.first <= next && next <= span.last;
        let furthest = spans.iter().filter(serves).max_by_key(|span| (span.last, Reverse(span.first)));
        let span = furthest.ok_or(next)?;
        found.push(*span);
        next = span.last + 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_changes() -> impl Strategy<Value = Changes> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        let change = ((0usize..3, bytes()), prop::option::of(bytes()));
        prop::collection::vec(change, 0..20).prop_map(|changes| {
            changes
                .into_iter()
                .map(|((table, key), value)| ((Table::ALL[table], key), value.map(Into::into)))
                .collect()
        })
    }

    fn spans(ends: &[(u64, u64)]) -> Vec<Span> {
        ends.iter().map(|&(first, last)| Span { first, last }).collect()
    }

    proptest! {
        #[test]
        fn an_object_reads_back_as_it_was(changes in some_changes(), first in 0u64..9, more in 0u64..9) {
            let span = Span { first, last: first + more };
            let content = Content { span, log: 3, writer: 4, changes };
            let bytes = content.encode().unwrap();
            prop_assert_eq!(bytes.len() == Content::empty_bytes().unwrap(), content.changes.is_empty());
            prop_assert_eq!(Content::log_of(&bytes), Some(content.log));
            prop_assert_eq!(Content::decode(&bytes).unwrap(), content);
        }

        #[test]
        fn an_object_that_was_cut_or_flipped_is_none(
            changes in some_changes(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let content = Content { span: Span::of(1), log: 3, writer: 4, changes };
            let bytes = content.encode().unwrap();
            prop_assert_eq!(Content::decode(&bytes[..at.index(bytes.len())]), None);
            let mut flipped = bytes.clone();
            flipped[at.index(bytes.len())] ^= 1u8 << bit;
            prop_assert_eq!(Content::decode(&flipped), None);
        }

        #[test]
        fn a_chain_has_every_commit_or_says_which_is_missing(
            ends in prop::collection::vec((0u64..20, 0u64..6), 0..12), next in 0u64..20,
        ) {
            let spans: Vec<Span> =
                ends.iter().map(|&(first, more)| Span { first, last: first + more }).collect();
            let last = spans.iter().map(|span| span.last).max();
            match chain(&spans, next) {
                Ok(chain) => {
                    let mut at = next;
                    for span in &chain {
                        prop_assert!(span.first <= at && at <= span.last);
                        prop_assert!(span.first > 0 || at == 0);
                        at = span.last + 1;
                    }
                    prop_assert!(last.is_none_or(|last| at > last));
                }
                Err(missing) => {
                    let from_start = |span: &Span| span.first == 0;
                    let reaches = |span: &Span| span.first <= missing && missing <= span.last;
                    let useless = next > 0 && spans.iter().any(|span| from_start(span) && span.last >= next);
                    prop_assert!(useless || spans.iter().all(|span| !reaches(span) || from_start(span)));
                }
            }
        }
    }

    #[test]
    fn names_say_which_commits_an_object_holds_and_sort_by_them() {
        let span = Span { first: 7, last: 123 };
        let name = span.name();
        assert_eq!(name, "log/00000000000000000007-00000000000000000123");
        assert_eq!(Span::named(name.strip_prefix("log/").unwrap()), Some(span));
        for other in ["7-123", "mark", "00000000000000000008-00000000000000000007", "-"] {
            assert_eq!(Span::named(other), None, "{other}");
        }
    }

    #[test]
    fn a_chain_takes_what_reaches_furthest_and_repeats_nothing_that_was_removed() {
        let spans = spans(&[(0, 0), (0, 7), (1, 1), (4, 9), (9, 9), (8, 8), (10, 10)]);
        let names = |chain: Vec<Span>| chain.iter().map(|span| (span.first, span.last)).collect::<Vec<_>>();
        assert_eq!(chain(&spans, 0).map(names), Ok(vec![(0, 7), (4, 9), (10, 10)]));
        assert_eq!(chain(&spans, 8).map(names), Ok(vec![(4, 9), (10, 10)]));
        assert_eq!(chain(&spans, 9).map(names), Ok(vec![(4, 9), (10, 10)]), "the wider of two");
        assert_eq!(chain(&spans, 7), Err(7), "what was removed by the first seven is not known");
        assert_eq!(chain(&spans, 11).map(names), Ok(vec![]));
    }
}
