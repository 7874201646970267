//! Where a search looks, and what it leaves out.

use std::ops::Range;

use crate::encoder::Term;
use crate::key::TierKind;
use crate::segment::Part;

/// Where a search looks.
pub struct Scope<'a> {
    /// The segments.
    pub parts: &'a [Part],
    /// The tier that they belong to.
    pub tier: TierKind,
    /// What is left out.
    pub filter: &'a RowFilter,
}

/// What a search leaves out: memories without a metadata pair, or outside of a
/// range of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowFilter {
    /// Terms of metadata pairs that a memory must hold, all of them.
    pub holding: Vec<Term>,
    /// Half-open range of times, in milliseconds since 1970.
    pub created: Option<Range<i64>>,
}

impl RowFilter {
    /// Whether all rows pass.
    pub fn is_empty(&self) -> bool {
        self.holding.is_empty() && self.created.is_none()
    }

    /// The rows of `part` that pass, as a test to be asked row by row.
    pub fn admits<'a>(&'a self, part: &'a Part) -> impl Fn(u32) -> bool + 'a {
        let holding = (!self.holding.is_empty()).then(|| part.segment.holding(&self.holding));
        let created = self.created.clone().map(|range| (range, &part.segment.created));
        move |row| {
            part.live.contains(row)
                && holding.as_ref().is_none_or(|rows| rows.contains(row))
                && created.as_ref().is_none_or(|(range, times)| {
                    times.get(row as usize).is_some_and(|time| range.contains(&time))
                })
        }
    }
}
