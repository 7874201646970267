//! The figures by which systems are compared.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::cell::{Call, Measured};
use super::{alone, total};
use criterion_gate::measure::{Better, Unit};

/// A figure in which one system can be better than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Share of the relevant memories among the first five.
    RecallAt5,
    /// Share of the relevant memories among the first ten.
    RecallAt10,
    /// nDCG of the first ten.
    Ndcg,
    /// Median time of a store.
    Store,
    /// Median time of a store without the embedder.
    StoreAlone,
    /// Median time of a recall of ten memories.
    Recall,
    /// Median time of a recall of ten memories without the embedder.
    RecallAlone,
    /// 99th percentile of the time of a recall of ten memories.
    RecallP99,
    /// Recalls per second with this many concurrent clients.
    Throughput(usize),
    /// Proportional set size of all processes.
    Ram,
    /// Allocated disk space per 1,000 memories.
    Disk,
    /// Time of the first `open`, on an empty folder.
    ColdStart,
    /// Time of `open` on the folder of a closed store, in a new process.
    Restart,
}

impl Figure {
    /// Returns all figures, with a throughput for each number of `clients`.
    pub fn all(clients: &BTreeSet<usize>) -> Vec<Self> {
        let before = [
            Self::RecallAt5,
            Self::RecallAt10,
            Self::Ndcg,
            Self::Store,
            Self::StoreAlone,
            Self::Recall,
            Self::RecallAlone,
            Self::RecallP99,
        ];
        let after = [Self::Ram, Self::Disk, Self::ColdStart, Self::Restart];
        let load = clients.iter().map(|&clients| Self::Throughput(clients));
        before.into_iter().chain(load).chain(after).collect()
    }

    /// The direction in which a value is better.
    pub fn better(self) -> Better {
        match self {
            Self::RecallAt5 | Self::RecallAt10 | Self::Ndcg | Self::Throughput(_) => Better::Higher,
            _ => Better::Lower,
        }
    }

    /// The unit of its values.
    pub fn unit(self) -> Unit {
        match self {
            Self::RecallAt5 | Self::RecallAt10 | Self::Ndcg => Unit::Ratio,
            Self::Throughput(_) => Unit::OperationsPerSecond,
            Self::Ram | Self::Disk => Unit::Bytes,
            _ => Unit::Nanoseconds,
        }
    }

    /// Whether two systems are compared by their difference rather than by their ratio.
    pub fn is_difference(self) -> bool {
        self.unit() == Unit::Ratio
    }

    /// Whether the embedder's time is excluded.
    pub fn is_alone(self) -> bool {
        matches!(self, Self::StoreAlone | Self::RecallAlone)
    }

    /// The statistic that reduces the values of a round to one.
    pub(super) fn statistic(self) -> Statistic {
        match self {
            Self::RecallAt5 | Self::RecallAt10 | Self::Ndcg => Statistic::Mean,
            Self::RecallP99 => Statistic::P99,
            _ => Statistic::P50,
        }
    }

    /// Returns the values of a cell: one for each memory, one for each question, or a single one. A
    /// missing value is NaN, so that positions stay aligned between systems.
    pub(super) fn values(self, measured: &Measured) -> Vec<f64> {
        let aligned = |calls: &[Option<Call>], of: fn(&Call) -> f64| -> Vec<f64> {
            calls.iter().map(|call| call.as_ref().map_or(f64::NAN, of)).collect()
        };
        let quality = |at: usize| -> Vec<f64> {
            measured.qualities.iter().map(|all| all.get(at).copied().unwrap_or(f64::NAN)).collect()
        };
        let one = |value: Option<f64>| vec![value.unwrap_or(f64::NAN)];
        match self {
            Self::RecallAt5 => quality(0),
            Self::RecallAt10 => quality(1),
            Self::Ndcg => quality(2),
            Self::Store => aligned(&measured.stores, total),
            Self::StoreAlone => aligned(&measured.stores, alone),
            Self::Recall | Self::RecallP99 => aligned(&measured.recalls, total),
            Self::RecallAlone => aligned(&measured.recalls, alone),
            Self::Throughput(clients) => one(measured.throughput.get(&clients).copied().flatten()),
            Self::Ram => one(measured.ram.map(|bytes| bytes as f64)),
            Self::Disk => {
                let per_thousand = |bytes: u64| bytes as f64 * 1e3 / measured.stores.len().max(1) as f64;
                one(measured.disk.map(per_thousand))
            }
            Self::ColdStart => one(Some(measured.cold_start[0] as f64)),
            Self::Restart => one(measured.restart.done().map(|restart| restart.open[0] as f64)),
        }
    }

    /// The number of values in a cell with this many memories and questions.
    pub(super) fn count(self, [memories, questions]: [usize; 2]) -> usize {
        match self {
            Self::Store | Self::StoreAlone => memories,
            Self::RecallAt5
            | Self::RecallAt10
            | Self::Ndcg
            | Self::Recall
            | Self::RecallAlone
            | Self::RecallP99 => questions,
            _ => 1,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecallAt5 => "recall@5",
            Self::RecallAt10 => "recall@10",
            Self::Ndcg => "nDCG@10",
            Self::Store => "store, P50",
            Self::StoreAlone => "store without embedding, P50",
            Self::Recall => "recall, P50",
            Self::RecallAlone => "recall without embedding, P50",
            Self::RecallP99 => "recall, P99",
            Self::Throughput(1) => "recalls a second, 1 client",
            Self::Throughput(clients) => return write!(f, "recalls a second, {clients} clients"),
            Self::Ram => "RAM",
            Self::Disk => "disk per 1,000 memories",
            Self::ColdStart => "cold start",
            Self::Restart => "restart",
        })
    }
}

/// A statistic of many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The median.
    P50,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
}

impl Statistic {
    /// Computes the statistic by nearest rank, and may reorder `values`. Returns `None` if there
    /// are no values.
    pub fn of(self, values: &mut [f64]) -> Option<f64> {
        let count = values.len();
        let share = match self {
            Self::Mean => return (count > 0).then(|| values.iter().sum::<f64>() / count as f64),
            Self::P50 => 0.5,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        };
        let rank = ((share * count as f64).ceil() as usize).max(1) - 1;
        (rank < count).then(|| *values.select_nth_unstable_by(rank, f64::total_cmp).1)
    }
}
