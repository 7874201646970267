//! Engines whose WARM is in a database that is named in the program.

use std::path::Path;
use std::sync::Arc;

use mnemocore::encoder::Encoder;
use mnemocore::internals::Parts;
use mnemocore::internals::log::{Batch, DiskLog, Durability, Log};
use mnemocore::internals::tier::files::{OpenedFiles, SegmentFiles};
use mnemocore::internals::tier::local::tiers;
use mnemocore::internals::tier::postgres::{Database, PostgresTier};
use mnemocore::{Config, Engine, Error};

/// Opens the store in `folder`, with WARM in the database that `connection` names.
pub(crate) fn open(folder: &Path, config: &Config, connection: &str) -> Result<Engine, Error> {
    let log: Arc<dyn Log> = Arc::new(DiskLog::open(folder, config.log_cache_bytes)?);
    let encoder = Arc::new(Encoder::new(config.dimension, config.token_cache_bytes));
    let mut batch = Batch::default();
    let database = Database::parse(connection)?;
    let decay = config.decay_per_day;
    let warm = PostgresTier::open(database, encoder.clone(), log.clone(), config.remote, decay)?;
    let opened = SegmentFiles::open(&folder.join("segments"), None, &log, &mut batch)?;
    log.commit(&batch, Durability::Buffered)?;
    let OpenedFiles { files, segments, .. } = opened;
    let [hot, _, cold] = tiers(&files, segments, true, &encoder, decay);
    let parts = Parts { encoder, log, tiers: [Box::new(hot), Box::new(warm), Box::new(cold)] };
    Engine::from_parts(config.clone(), parts)
}
