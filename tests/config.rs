//! Extreme values of each setting: the engine refuses a value with a typed error, or works with it.

mod common;

use common::{note, tiny, word};
use mnemocore::hdv::{Dimension, Hypervector};
use mnemocore::{Band, CascadeLimits, Config, Engine, Error, NewMemory, Query, Timestamp};

const COUNT: usize = 48;
const YEAR: i64 = 365 * 86_400_000;

fn band(leave: f64, enter: f64) -> Band {
    Band { leave, enter }
}

fn cascade(candidates: usize, z: f64) -> Config {
    tiny().cascade_limits(CascadeLimits { candidates, z })
}

/// Invalid settings, each with the name that the error says.
fn refused() -> Vec<(&'static str, Config)> {
    #[allow(unused_mut, reason = "only features add settings")]
    let mut refused = vec![
        ("memory_budget", tiny().memory_budget(0)),
        ("memory_budget", tiny().memory_budget((8 << 20) - 1)),
        ("token_cache_bytes", tiny().token_cache_bytes(usize::MAX)),
        ("token_cache_bytes", tiny().token_cache_bytes((1 << 30) + 1)),
        // The engine made a table of 20 GB for this one.
        ("token_cache_bytes", tiny().memory_budget(usize::MAX).token_cache_bytes(1 << 40)),
        ("hot_band", tiny().hot_band(band(0.6, 0.3))),
        ("hot_band", tiny().hot_band(band(f64::NAN, 0.6))),
        ("hot_band", tiny().hot_band(band(f64::INFINITY, f64::NEG_INFINITY))),
        ("warm_band", tiny().warm_band(band(0.1, f64::NAN))),
        ("warm_band", tiny().warm_band(band(0.1, -0.1))),
        ("decay_per_day", tiny().decay_per_day(-0.01)),
        ("decay_per_day", tiny().decay_per_day(f64::NAN)),
        ("decay_per_day", tiny().decay_per_day(f64::INFINITY)),
        // With this one, memories left a tier in the order of their ids.
        ("decay_per_day", tiny().decay_per_day(f64::MAX)),
        ("cascade_limits.z", cascade(4_096, f64::NAN)),
        ("cascade_limits.z", cascade(4_096, -1.0)),
        // With this one, searches left out nearly all vectors of 512 bits and fewer.
        ("cascade_limits.z", cascade(4_096, f64::INFINITY)),
    ];
    #[cfg(feature = "object-store")]
    {
        refused.push(("cache_folder", tiny().cache_folder("")));
        refused.extend(bucket::refused().map(|(name, limits)| (name, tiny().remote(limits))));
    }
    refused
}

/// Unusual settings that are valid.
fn accepted() -> Vec<Config> {
    let accepted = vec![
        tiny().memory_budget(8 << 20),
        tiny().memory_budget(usize::MAX),
        tiny().memory_budget(usize::MAX).hot_capacity(usize::MAX).warm_capacity(usize::MAX),
        tiny().dimension(Dimension::new(64).unwrap()),
        tiny().dimension(Dimension::new(Dimension::MAX_BITS).unwrap()),
        tiny().hot_capacity(0),
        tiny().hot_capacity(0).warm_capacity(0),
        tiny().hot_capacity(usize::MAX).warm_capacity(0),
        tiny().hot_capacity(1).warm_capacity(1),
        tiny().token_cache_bytes(0),
        tiny().token_cache_bytes(1 << 30),
        tiny().hot_band(band(0.5, 0.5)),
        tiny().hot_band(band(f64::NEG_INFINITY, f64::INFINITY)),
        tiny().hot_band(band(f64::INFINITY, f64::INFINITY)).warm_band(band(f64::INFINITY, f64::INFINITY)),
        tiny().hot_band(band(-1.0, 0.0)).warm_band(band(0.9, 1.0)),
        tiny().decay_per_day(0.0),
        tiny().decay_per_day(1e6),
        tiny().background(true).hot_capacity(0).warm_capacity(0),
        cascade(0, 2.25),
        cascade(usize::MAX, 0.0),
        cascade(usize::MAX, f64::MAX),
    ];
    #[cfg(feature = "object-store")]
    let accepted = accepted.into_iter().chain([0, u64::MAX].map(|bytes| tiny().cache_bytes(bytes))).collect();
    accepted
}

#[test]
fn an_invalid_setting_is_refused_with_an_error_that_names_it() {
    for (expected, config) in refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        for refused in [
            Engine::open(&path, config.clone()).map(drop),
            Engine::in_memory(config.clone()).map(drop),
            Engine::repair(&path, config.clone()).map(drop),
        ] {
            let Err(Error::InvalidConfig { name, .. }) = refused else {
                panic!("{refused:?} for {config:?}")
            };
            assert_eq!(name, expected);
        }
        assert!(!path.exists(), "{config:?}");
    }
}

#[test]
fn unusual_settings_work() {
    for config in accepted() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), config.clone()).unwrap();
        let batch = (0..COUNT / 2).map(|number| NewMemory::new(note(&word(number))));
        engine.store_batch(batch.collect()).unwrap();
        for number in COUNT / 2..COUNT {
            let vector = Hypervector::random(config.dimension, number as u64);
            engine.store(NewMemory::new(note(&word(number))).vector(vector)).unwrap();
        }
        assert_found(&engine, &config);
        engine.consolidate().unwrap();
        assert_found(&engine, &config);
        engine.consolidate_at(Timestamp(Timestamp::now().0 + YEAR)).unwrap();
        assert_found(&engine, &config);
        engine.close().unwrap();
        assert_found(&Engine::open(folder.path(), config.clone()).unwrap(), &config);
    }
}

/// Asserts that recalls find all memories by their words and their vectors.
fn assert_found(engine: &Engine, config: &Config) {
    let [hot, warm, cold] = engine.stats().memories;
    assert_eq!(hot + warm + cold, COUNT, "{config:?}");
    for number in 0..COUNT {
        let best = |query: Query| engine.recall(query.limit(1)).unwrap().hits.remove(0);
        assert_eq!(best(Query::text(word(number))).memory.text, note(&word(number)), "{config:?}");
        if number >= COUNT / 2 {
            let vector = Hypervector::random(config.dimension, number as u64);
            assert_eq!(best(Query::vector(vector)).score, 1.0, "{number}: {config:?}");
        }
    }
}

#[cfg(feature = "object-store")]
mod bucket {
    use std::path::Path;
    use std::time::Duration;

    use mnemocore::{Bucket, RemoteLimits};

    use super::*;

    /// With these limits, no call succeeds, or a call that fails panics or does not end.
    pub(super) fn refused() -> [(&'static str, RemoteLimits); 7] {
        let usual = RemoteLimits::default();
        [
            ("remote.call", RemoteLimits { call: Duration::ZERO, ..usual }),
            ("remote.call", RemoteLimits { call: Duration::from_millis(9), ..usual }),
            ("remote.call", RemoteLimits { call: Duration::MAX, ..usual }),
            ("remote.attempts", RemoteLimits { attempts: 0, ..usual }),
            ("remote.attempts", RemoteLimits { attempts: u32::MAX, ..usual }),
            ("remote.pause", RemoteLimits { pause: Duration::from_secs(61), ..usual }),
            ("remote.pause", RemoteLimits { pause: Duration::MAX, ..usual }),
        ]
    }

    fn bucket(folder: &Path, limits: RemoteLimits) -> Result<Bucket, Error> {
        Bucket::at(&format!("file://{}", folder.display()), limits)
    }

    #[test]
    fn a_bucket_refuses_invalid_limits() {
        for (expected, limits) in refused() {
            let Err(Error::InvalidConfig { name, .. }) = bucket(Path::new("/memories"), limits) else {
                panic!("{limits:?}")
            };
            assert_eq!(name, expected);
        }
    }

    #[test]
    fn a_cache_of_zero_bytes_is_refused_and_disturbs_no_writer() {
        let folder = tempfile::tempdir().unwrap();
        let open = |bytes| {
            let config = tiny().cache_folder(folder.path().join("cache")).cache_bytes(bytes);
            let pause = RemoteLimits { pause: Duration::ZERO, ..RemoteLimits::default() };
            Engine::open_bucket(bucket(&folder.path().join("store"), pause)?, config)
        };
        let engine = open(u64::MAX).unwrap();
        engine.store(note(&word(0))).unwrap();
        let refused = open(0).map(drop);
        assert!(matches!(refused, Err(Error::InvalidConfig { name: "cache_bytes", .. })), "{refused:?}");
        engine.store(note(&word(1))).unwrap();
    }
}
