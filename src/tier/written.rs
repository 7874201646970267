//! What a merge or a move has made of the memories of a tier.

use super::Done;
use super::files::SegmentFiles;
use super::plan::Plan;
use crate::error::Error;
use crate::key::{NamespaceId, TierKind};
use crate::log::SegmentEntry;
use crate::segment::Segment;

/// A segment that was made, and those that it replaces.
pub(super) struct Written {
    pub namespace: NamespaceId,
    pub made: Option<Segment>,
    pub entry: Option<SegmentEntry>,
    pub plan: Plan,
}

/// Writes a segment to its file, if it is to have one.
///
/// # Errors
/// As [`SegmentFiles::write`].
pub(super) fn write(
    files: Option<&SegmentFiles>,
    tier: TierKind,
    namespace: NamespaceId,
    made: Option<Segment>,
    plan: Plan,
) -> Result<Done, Error> {
    let (made, entry) = write_file(files, tier, namespace, made)?;
    Ok(Box::new(Written { namespace, made, entry, plan }))
}

/// Writes a segment to its file, if it is to have one, and reads it from there.
///
/// # Errors
/// As [`SegmentFiles::write`].
pub(super) fn write_file(
    files: Option<&SegmentFiles>,
    tier: TierKind,
    namespace: NamespaceId,
    made: Option<Segment>,
) -> Result<(Option<Segment>, Option<SegmentEntry>), Error> {
    match (files, made) {
        (Some(files), Some(segment)) if !segment.is_loose() => {
            let (segment, entry) = files.write(files.take_number(), tier, namespace, &segment)?;
            Ok((Some(segment), Some(entry)))
        }
        (_, made) => Ok((made, None)),
    }
}
