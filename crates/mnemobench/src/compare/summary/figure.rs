//! What systems are compared by.

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
    /// Share of the relevant among five.
    RecallAt5,
    /// Share of the relevant among ten.
    RecallAt10,
    /// Their rank among ten.
    Ndcg,
    /// The median time of a store.
    Store,
    /// The same without the embedder.
    StoreAlone,
    /// The median time of a recall of ten.
    Recall,
    /// The same without the embedder.
    RecallAlone,
    /// The 99th percentile of a recall of ten.
    RecallP99,
    /// Recalls a second with so many clients.
    Throughput(usize),
    /// Main memory of all processes.
    Ram,
    /// Disk for a thousand memories.
    Disk,
    /// From nothing to the first store.
    ColdStart,
    /// From a closed store to the first recall.
    Restart,
}

impl Figure {
    /// All, with these numbers of clients.
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

    /// Which way is better.
    pub fn better(self) -> Better {
        match self {
            Self::RecallAt5 | Self::RecallAt10 | Self::Ndcg | Self::Throughput(_) => Better::Higher,
            _ => Better::Lower,
        }
    }

    /// What it counts.
    pub fn unit(self) -> Unit {
        match self {
            Self::RecallAt5 | Self::RecallAt10 | Self::Ndcg => Unit::Ratio,
            Self::Throughput(_) => Unit::OperationsPerSecond,
            Self::Ram | Self::Disk => Unit::Bytes,
            _ => Unit::Nanoseconds,
        }
    }

    /// Whether two systems are compared by the difference, and not by the ratio.
    pub fn is_difference(self) -> bool {
        self.unit() == Unit::Ratio
    }

    /// Whether the embedder's time is left out.
    pub fn is_alone(self) -> bool {
        matches!(self, Self::StoreAlone | Self::RecallAlone)
    }

    /// How the values of a round become one.
    pub(super) fn statistic(self) -> Statistic {
        match self {
            Self::RecallAt5 | Self::RecallAt10 | Self::Ndcg => Statistic::Mean,
            Self::RecallP99 => Statistic::P99,
            _ => Statistic::P50,
        }
    }

    /// The values of a cell: of each memory, of each question, or one of all; with
    /// what is missing as not a number, so that places stay.
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

    /// How many values a cell has, of so many memories and questions.
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

/// One value of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The median.
    P50,
    /// The value that 95 % do not exceed.
    P95,
    /// The value that 99 % do not exceed.
    P99,
}

impl Statistic {
    /// Of `values`, which it puts into another order; `None` of nothing.
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
