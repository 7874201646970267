//! Temporary.
#![allow(missing_docs)]
use crate::hdv::{Dimension, Hypervector, SignedPlanes};
use crate::index::terms::{QueryTerm, Scorer};
use xxhash_rust::xxh3::xxh3_64;
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);
pub trait TermStatistics { fn documents(&self) -> usize; fn document_frequency(&self, term: Term) -> usize; }
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("projection")]
pub struct ProjectionError;
pub struct TermVector { terms: Vec<(Term, u8)>, scale: f32, dim: usize }
impl TermVector {
    pub fn weights(&self) -> impl Iterator<Item = (Term, f32)> + '_ { self.terms.iter().map(|&(t, w)| (t, w as f32 * self.scale)) }
    pub fn norm(&self) -> f32 { let s: f32 = self.terms.iter().map(|t| (t.1 as f32).powi(2)).sum(); self.scale * s.sqrt() * 1.2533 / self.dim as f32 }
    pub fn contains(&self, t: Term) -> bool { self.terms.iter().any(|x| x.0 == t) }
}
#[derive(Debug)]
pub struct QueryVector { terms: Vec<QueryTerm>, planes: SignedPlanes, sigma: f32 }
impl QueryVector {
    pub fn terms(&self) -> &[QueryTerm] { &self.terms }
    pub fn coverage(&self, has: impl Fn(Term) -> bool) -> f32 {
        let all: f32 = self.terms.iter().map(|t| t.weight).sum();
        let c: Vec<_> = self.terms.iter().filter(|t| has(t.term)).collect();
        if self.terms.is_empty() { return 0.0 }
        0.5 * c.iter().map(|t| t.weight).sum::<f32>() / all + 0.5 * c.len() as f32 / self.terms.len() as f32
    }
}
impl Scorer for QueryVector {
    fn score(&self, v: &[u64], norm: f32) -> f32 { self.planes.score(v).unwrap_or(0) as f32 * self.planes.unit() as f32 * norm / 100.0 }
    fn noise(&self, norm: f32) -> f32 { self.sigma * norm }
}
pub struct Encoder { dim: Dimension }
impl Encoder {
    pub const VERSION: u32 = 1;
    pub fn new(dim: Dimension, _b: usize) -> Self { Self { dim } }
    fn words(text: &str) -> Vec<Term> { text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|w| w.len() > 2).map(|w| Term(xxh3_64(w.as_bytes()))).collect() }
    pub fn analyze_memory(&self, text: &str, _roles: &[(String, String)]) -> TermVector {
        let mut w = Self::words(text); w.sort(); w.dedup();
        TermVector { terms: w.into_iter().map(|t| (t, 16)).collect(), scale: 0.7 / 16.0, dim: self.dim.bits() }
    }
    pub fn encode(&self, d: &TermVector) -> Hypervector {
        if d.terms.is_empty() { return Hypervector::random(self.dim, 0) }
        let v: Vec<_> = d.terms.iter().map(|t| Hypervector::random(self.dim, t.0.0)).collect();
        let r: Vec<(&Hypervector, u8)> = v.iter().zip(&d.terms).map(|(v, t)| (v, t.1)).collect();
        Hypervector::weighted_bundle(&r).unwrap()
    }
    pub fn encode_memory(&self, text: &str, roles: &[(String, String)]) -> Hypervector { self.encode(&self.analyze_memory(text, roles)) }
    pub fn query(&self, text: &str, _roles: &[(String, String)], stats: &dyn TermStatistics) -> QueryVector {
        let mut w = Self::words(text); w.sort(); w.dedup(); if w.is_empty() { w.push(Term(0)) }
        let n = stats.documents() as f32;
        let terms: Vec<QueryTerm> = w.iter().map(|&term| { let df = stats.document_frequency(term) as f32; QueryTerm { term, weight: (1.0 + (n - df + 0.5).max(0.0) / (df + 0.5)).ln() } }).collect();
        let v: Vec<_> = w.iter().map(|t| Hypervector::random(self.dim, t.0)).collect();
        let rows: Vec<&[u64]> = v.iter().map(|v| v.words()).collect();
        let weights: Vec<u16> = terms.iter().map(|t| (t.weight * 100.0) as u16 + 1).collect();
        let sigma = terms.iter().map(|t| t.weight.powi(2)).sum::<f32>().sqrt() * (self.dim.bits() as f32).sqrt();
        QueryVector { terms, planes: SignedPlanes::new(&rows, &weights, 4).unwrap(), sigma }
    }
    pub fn metadata_term(&self, k: &str, v: &str) -> Term { Term(xxh3_64(format!("meta\0{k}\0{v}").as_bytes())) }
    pub fn project(&self, v: &[f32]) -> Result<Hypervector, ProjectionError> { let _ = v; Err(ProjectionError) }
}
