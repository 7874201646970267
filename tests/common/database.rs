//! Engines whose WARM is in a database that is named in the program.

use std::path::Path;
use std::sync::Arc;

use mnemocore::encoder::Encoder;
use mnemocore::internals::Parts;
use mnemocore::internals::log::{DiskLog, Log};
use mnemocore::internals::tier::Limits;
use mnemocore::internals::tier::files::{OpenedFiles, SegmentFiles};
use mnemocore::internals::tier::local::tiers;
use mnemocore::internals::tier::postgres::{Database, PostgresTier};
use mnemocore::{Config, Engine, Error};

/// Opens the store in `folder`, with WARM in the database that `connection` names.
pub(crate) fn open(folder: &Path, config: &Config, connection: &str) -> Result<Engine, Error> {
    let log: Arc<dyn Log> = Arc::new(DiskLog::open(folder)?);
    let encoder = Arc::new(Encoder::new(config.dimension, config.token_cache_bytes));
    let database = Database::parse(connection)?;
    let decay = config.decay_per_day;
    let warm = PostgresTier::open(database, encoder.clone(), log.clone(), config.remote, decay)?;
    let OpenedFiles { files, segments } = SegmentFiles::open(&folder.join("segments"), None, &log)?;
    let [hot, _, cold] = tiers(&files, segments, true, &encoder, decay, Limits::default());
    let files = Some(files);
    let parts = Parts { encoder, log, files, tiers: [Box::new(hot), Box::new(warm), Box::new(cold)] };
    Engine::from_parts(config.clone(), parts)
}
