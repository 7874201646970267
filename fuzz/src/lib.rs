//! What the fuzz targets share.

use std::path::Path;
use std::sync::Once;

use mnemocore::Config;
use mnemocore::hdv::Dimension;
use tempfile::TempDir;

/// A folder that ends with its value, in RAM where the system has such a place: an
/// input then takes a millisecond instead of ten. What the library puts into
/// temporary folders goes there, too.
pub fn scratch() -> TempDir {
    const IN_RAM: &str = "/dev/shm";
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        if Path::new(IN_RAM).is_dir() {
            let _ = tempfile::env::override_temp_dir(Path::new(IN_RAM));
        }
    });
    TempDir::with_prefix("mnemocore-fuzz-").expect("a temporary folder")
}

/// Short vectors, tiers so small that a few memories fill them, and no thread whose
/// work would make a run differ from the next.
pub fn tiny() -> Config {
    Config::default()
        .dimension(Dimension::new(512).expect("a multiple of 64"))
        .hot_capacity(4)
        .warm_capacity(8)
        .background(false)
        .token_cache_bytes(1 << 20)
}
