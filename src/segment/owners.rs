//! Whose memories the rows of a shared segment are.
//!
//! Small namespaces share segments, so that a million of them take a few files. The rows of a shared segment
//! are in ascending order of namespaces, and of ids in each. To a namespace, its rows are the whole segment.

use std::ops::Range;

use super::column::Column;
use super::numbers::Numbers;
use crate::key::NamespaceId;

/// The namespaces of a shared segment.
pub struct Owners {
    /// In ascending order.
    namespaces: Column<u32>,
    /// Where the rows of each end.
    ends: Column<u32>,
    /// The rows in ascending order of ids.
    order: Column<u32>,
}

impl Owners {
    /// Those of rows whose namespaces ascend.
    pub fn new(rows: impl IntoIterator<Item = NamespaceId>, ids: &Numbers) -> Self {
        let (mut namespaces, mut ends) = (Vec::new(), Vec::<u32>::new());
        for (namespace, end) in rows.into_iter().zip(1..) {
            if namespaces.last() != Some(&namespace.0) {
                namespaces.push(namespace.0);
                ends.push(end);
            }
            ends.last_mut().into_iter().for_each(|last| *last = end);
        }
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_unstable_by_key(|&row| ids.get(row as usize));
        Self { namespaces: namespaces.into(), ends: ends.into(), order: order.into() }
    }

    /// Takes the columns of a file; `None` if they contradict one another, or `ids`.
    pub fn from_columns(
        namespaces: Column<u32>,
        ends: Column<u32>,
        order: Column<u32>,
        ids: &Numbers,
    ) -> Option<Self> {
        let owners = Self { namespaces, ends, order };
        let ascends = |range: Range<u32>| {
            let within = range.clone().filter_map(|row| ids.get(row as usize));
            !range.is_empty() && within.is_sorted_by(|a, b| a < b)
        };
        let in_order = owners.order.iter().map(|&row| ids.get(row as usize));
        let is_sound = owners.namespaces.len() == owners.ends.len()
            && owners.namespaces.is_sorted_by(|a, b| a < b)
            && owners.ends.last().is_some_and(|&end| end as usize == ids.len())
            && owners.ends.is_sorted()
            && owners.windows().all(|(_, range)| ascends(range))
            && owners.order.len() == ids.len()
            && in_order.clone().all(|id| id.is_some())
            // So they are all different.
            && in_order.is_sorted_by(|a, b| a < b);
        is_sound.then_some(owners)
    }

    /// The columns, for writing them to a file.
    pub fn columns(&self) -> [&Column<u32>; 3] {
        [&self.namespaces, &self.ends, &self.order]
    }

    /// Each namespace with its rows.
    pub fn windows(&self) -> impl Iterator<Item = (NamespaceId, Range<u32>)> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.namespaces
            .iter()
            .zip(starts.zip(self.ends.iter()))
            .map(|(&namespace, (start, &end))| (NamespaceId(namespace), start..end))
    }

    /// The rows of a namespace.
    pub fn window(&self, namespace: NamespaceId) -> Option<Range<u32>> {
        let at = self.namespaces.binary_search(&namespace.0).ok()?;
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        Some(start..*self.ends.get(at)?)
    }

    /// Whose memory is in a row.
    pub fn of(&self, row: u32) -> Option<NamespaceId> {
        let at = self.ends.partition_point(|&end| end <= row);
        self.namespaces.get(at).copied().map(NamespaceId)
    }

    /// The row with an id.
    pub fn find(&self, id: i64, ids: &Numbers) -> Option<u32> {
        let at = self.order.binary_search_by_key(&Some(id), |&row| ids.get(row as usize)).ok()?;
        self.order.get(at).copied()
    }

    /// Bytes of anonymous memory.
    pub fn heap_bytes(&self) -> usize {
        self.columns().into_iter().map(Column::heap_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_found_as_in_a_map(rows in prop::collection::btree_set((0u32..20, 0i64..1_000), 1..60)) {
            // An id is in one namespace alone.
            let by_id: BTreeMap<i64, u32> = rows.iter().map(|&(namespace, id)| (id, namespace)).collect();
            let mut rows: Vec<(u32, i64)> = by_id.iter().map(|(&id, &namespace)| (namespace, id)).collect();
            rows.sort_unstable();
            let ids: Numbers = rows.iter().map(|&(_, id)| id).collect();
            let owners = Owners::new(rows.iter().map(|&(namespace, _)| NamespaceId(namespace)), &ids);
            for (row, &(namespace, id)) in (0..).zip(&rows) {
                prop_assert_eq!(owners.of(row), Some(NamespaceId(namespace)));
                prop_assert_eq!(owners.find(id, &ids), Some(row));
                prop_assert!(owners.window(NamespaceId(namespace)).unwrap().contains(&row));
            }
            prop_assert_eq!(owners.of(rows.len() as u32), None);
            let counted: usize = owners.windows().map(|(_, range)| range.len()).sum();
            prop_assert_eq!(counted, rows.len());
            let all: Vec<u32> = owners.windows().map(|(namespace, _)| namespace.0).collect();
            for namespace in 0..25 {
                let window = owners.window(NamespaceId(namespace));
                prop_assert_eq!(window.is_some(), all.contains(&namespace));
                prop_assert_eq!(window, owners.windows().find(|(of, _)| of.0 == namespace).map(|(_, rows)| rows));
            }
            for id in (0..1_000).filter(|id| !by_id.contains_key(id)) {
                prop_assert_eq!(owners.find(id, &ids), None);
            }
            let [namespaces, ends, order] = owners.columns().map(|column| Column::from(column.to_vec()));
            prop_assert!(Owners::from_columns(namespaces, ends, order, &ids).is_some());
        }

        #[test]
        fn columns_that_contradict_one_another_are_refused(
            columns in prop::collection::vec(prop::collection::vec(0u32..6, 0..6), 3),
            count in 1i64..6,
        ) {
            let ids: Numbers = (0..count).collect();
            let [namespaces, ends, order] = [0, 1, 2].map(|at| Column::from(columns[at].clone()));
            if let Some(owners) = Owners::from_columns(namespaces, ends, order, &ids) {
                prop_assert!((0..count as u32).all(|row| owners.of(row).is_some()));
                prop_assert!((0..count).all(|id| owners.find(id, &ids).is_some()));
            }
        }
    }
}
