//! Engines whose WARM is in a database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mnemocore::encoder::Encoder;
use mnemocore::log::{Batch, DiskLog, Durability, Log};
use mnemocore::remote::Limits;
use mnemocore::tier::cold::ColdTier;
use mnemocore::tier::hot::HotTier;
use mnemocore::tier::postgres::{Database, PostgresTier};
use mnemocore::{Config, Engine, Error, Parts};

/// Time limits that a test can wait for.
pub(crate) const QUICK: Limits =
    Limits { call: Duration::from_millis(1_500), attempts: 2, pause: Duration::from_millis(20) };

/// Opens the store in `folder`, with WARM in the database that `connection` names.
pub(crate) fn open(folder: &Path, config: &Config, connection: &str) -> Result<Engine, Error> {
    let log: Arc<dyn Log> = Arc::new(DiskLog::open(&folder.join("log"), config.log_cache_bytes)?);
    let encoder = Arc::new(Encoder::new(config.dimension, config.token_cache_bytes));
    let mut batch = Batch::default();
    let database = Database::parse(connection)?;
    let warm = PostgresTier::open(database, encoder.clone(), log.clone(), config.remote, &mut batch)?;
    let (cold, _) = ColdTier::open(&folder.join("cold"), None, encoder.clone(), &log, &mut batch)?;
    log.commit(&batch, Durability::Buffered)?;
    let hot = HotTier::new(encoder.clone());
    let parts = Parts { encoder, log, tiers: [Box::new(hot), Box::new(warm), Box::new(cold)] };
    Engine::from_parts(config.clone(), parts)
}
