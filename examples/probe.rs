use mnemocore::harness::workload::{Workload, partial_query};
use mnemocore::*;
use std::time::Instant;
fn main() {
    let n: usize = std::env::args().nth(1).map_or(100_000, |a| a.parse().unwrap());
    let config = Config { hot_capacity: n, background: false, ..Config::default() };
    let engine = Engine::in_memory(config).unwrap();
    let items: Vec<_> = Workload::new(42).take(n).collect();
    let t = Instant::now();
    for chunk in items.chunks(8192) {
        engine.store_batch(chunk.iter().map(|i| NewMemory::new(i.content())).collect()).unwrap();
    }
    println!("store {:?} each", t.elapsed() / n as u32);
    let t = Instant::now();
    println!("{:?} {:?}", engine.consolidate().unwrap(), t.elapsed());
    println!("{:?}", engine.stats());
    let queries: Vec<(usize, String)> = (0..200).map(|i| { let at = (i * 7919) % n; (at, partial_query(&items[at].content(), 0.6, i as u64)) }).collect();
    let mut lat = vec![]; let mut exact_time = 0.0; let mut over = 0.0; let mut src = 0; let mut worst = vec![];
    for (at, q) in &queries {
        let query = Query::text(q.clone()).touch(false);
        engine.recall(&query).unwrap();
        let t = Instant::now();
        let r = engine.recall(&query).unwrap();
        lat.push(t.elapsed().as_secs_f64() * 1e6);
        let t = Instant::now();
        let e = engine.recall(&query.clone().method(Method::Exact)).unwrap();
        exact_time += t.elapsed().as_secs_f64() * 1e6;
        let kth = e.hits.last().unwrap().score;
        let o = r.hits.iter().filter(|h| h.score >= kth).count() as f64 / e.hits.len() as f64;
        over += o; if o < 0.9 { worst.push((o, q.clone())); }
        let text = items[*at].content();
        src += r.hits.iter().any(|h| h.memory.text == text) as usize;
    }
    lat.sort_by(f64::total_cmp);
    let mean = lat.iter().sum::<f64>() / lat.len() as f64;
    println!("p50 {:.0} p99 {:.0} mean {mean:.0} us; exact mean {:.0} us; ratio p50 {:.1} mean {:.1}; overlap {:.4}; source {}/{}", lat[lat.len()/2], lat[lat.len()*99/100], exact_time / 200.0, exact_time / 200.0 / lat[lat.len()/2], exact_time/200.0/mean, over / 200.0, src, queries.len());
    for w in worst.iter().take(5) { println!("{w:?}"); }
}
