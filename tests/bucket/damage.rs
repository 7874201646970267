//! A log whose objects, or whose copy, are not what was left there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mnemocore::Error;
use mnemocore::internals::log::{Log, ObjectLog};

use super::faulty::{Faulty, LIMITS, on_every_server};
use super::sequence::{commit, open, records, value};

on_every_server! {
    a_damaged_or_missing_object_is_named_and_a_machine_with_a_copy_makes_it_anew,
    a_machine_with_a_copy_mends_what_is_damaged_while_it_writes,
    a_bucket_that_has_less_than_the_copy_is_refused_and_neither_is_changed,
    a_bucket_without_conditional_writes_is_refused,
    a_copy_is_kept_while_the_bucket_lacks_what_would_replace_it,
    a_copy_of_another_log_that_had_more_is_made_anew,
    a_copy_of_another_log_with_as_many_commits_is_made_anew,
    a_folder_of_other_objects_is_refused,
}

/// A log of five commits, whose engine has ended; its copy has them all.
fn write_five(objects: &Arc<Faulty>, copy: &Path) {
    let log = open(objects, copy);
    (0..5).for_each(|number| commit(&log, number, "kept").unwrap());
}

#[test]
fn a_damaged_or_missing_object_is_named_and_a_machine_with_a_copy_makes_it_anew() {
    let objects = Faulty::new(1);
    let disk = tempfile::tempdir().unwrap();
    write_five(&objects, disk.path());
    let (name, mut content) = objects.contents().into_iter().nth(3).unwrap();
    let whole = content.clone();
    content[60] ^= 1;
    for damage in [Some(content), None] {
        objects.overwrite(&name, damage);
        let elsewhere = tempfile::tempdir().unwrap();
        let refused = ObjectLog::open(objects.bucket(LIMITS), elsewhere.path()).map(drop);
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::CorruptObject { .. }), "{error}");
        assert!(
            error.to_string().contains("test://agents/anna") && error.to_string().contains('3'),
            "{error}"
        );
        objects.overwrite(&name, Some(whole.clone()));
    }
    objects.overwrite(&name, None);
    drop(open(&objects, disk.path()));
    let elsewhere = tempfile::tempdir().unwrap();
    let log = open(&objects, elsewhere.path());
    assert!((0..5).all(|number| value(&log, number).unwrap() == "kept"));
}

#[test]
fn a_machine_with_a_copy_mends_what_is_damaged_while_it_writes() {
    let objects = Faulty::new(1);
    let disk = tempfile::tempdir().unwrap();
    write_five(&objects, disk.path());
    let (name, mut content) = objects.contents().into_iter().nth(3).unwrap();
    content[60] ^= 1;
    objects.overwrite(&name, Some(content));
    // The copy has it all, so nobody reads what is damaged until it is folded.
    let log = open(&objects, disk.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let read = || ObjectLog::snapshot(objects.bucket(LIMITS), elsewhere.path());
    assert!(matches!(read().map(drop), Err(Error::CorruptObject { .. })));
    for number in 5..60 {
        commit(&log, number, "kept").unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let snapshot = read().unwrap();
    assert!((0..60).all(|number| value(&snapshot, number).unwrap() == "kept"));
}

#[test]
fn a_bucket_that_has_less_than_the_copy_is_refused_and_neither_is_changed() {
    let objects = Faulty::new(1);
    let disk = tempfile::tempdir().unwrap();
    write_five(&objects, disk.path());
    let all = objects.contents();
    // Another place is mounted there, or an old backup.
    for left in [0, 3] {
        all.iter().skip(left).for_each(|(name, _)| objects.overwrite(name, None));
        let before = objects.contents();
        for refused in [
            ObjectLog::open(objects.bucket(LIMITS), disk.path()).map(drop),
            ObjectLog::snapshot(objects.bucket(LIMITS), disk.path()).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, Error::BucketBehindCache { there, .. } if there == left as u64),
                "{error}"
            );
            assert!(error.to_string().contains(&disk.path().display().to_string()), "{error}");
        }
        assert_eq!(objects.contents(), before);
        all.iter().for_each(|(name, content)| objects.overwrite(name, Some(content.clone())));
    }
    let log = open(&objects, disk.path());
    assert!((0..5).all(|number| value(&log, number).unwrap() == "kept"));
}

#[test]
fn a_bucket_without_conditional_writes_is_refused() {
    let objects = Faulty::new(1);
    objects.take_any();
    let disk = tempfile::tempdir().unwrap();
    let refused = ObjectLog::open(objects.bucket(LIMITS), disk.path()).map(drop);
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains("If-None-Match"), "{error}");
}

#[test]
fn a_copy_is_kept_while_the_bucket_lacks_what_would_replace_it() {
    let objects = Faulty::new(1);
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let log = open(&objects, here.path());
    commit(&log, 1, "kept").unwrap();
    drop(ObjectLog::snapshot(objects.bucket(LIMITS), there.path()).unwrap());
    (2..4).for_each(|number| commit(&log, number, "later").unwrap());
    let (name, content) = objects.contents().into_iter().nth(2).unwrap();
    objects.overwrite(&name, None);
    let refused = ObjectLog::snapshot(objects.bucket(LIMITS), there.path()).map(drop);
    assert!(matches!(refused, Err(Error::CorruptObject { .. })));
    objects.overwrite(&name, Some(content));
    // Only the copy has it now.
    let first = objects.contents().into_iter().nth(1).unwrap().0;
    objects.overwrite(&first, None);
    let snapshot = ObjectLog::snapshot(objects.bucket(LIMITS), there.path()).unwrap();
    assert!(value(&snapshot, 1).unwrap() == "kept" && value(&snapshot, 3).unwrap() == "later");
}

#[test]
fn a_copy_of_another_log_that_had_more_is_made_anew() {
    let disk = tempfile::tempdir().unwrap();
    for count in [40, 3] {
        let (objects, elsewhere) = (Faulty::new(1), tempfile::tempdir().unwrap());
        let log = open(&objects, elsewhere.path());
        (0..count).for_each(|number| commit(&log, number, "value").unwrap());
        log.close().unwrap();
        drop(log);
        assert_eq!(records(&open(&objects, disk.path())).len() as u64, count);
    }
}

#[test]
fn a_copy_of_another_log_with_as_many_commits_is_made_anew() {
    let [here, there, disk] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut shown = Vec::new();
    for (place, text) in [(&here, "of the first"), (&there, "of the second")] {
        let objects = Faulty::new(1);
        let log = open(&objects, place.path());
        (0..3).for_each(|number| commit(&log, number, text).unwrap());
        let snapshot = ObjectLog::snapshot(objects.bucket(LIMITS), disk.path()).unwrap();
        shown.push(value(&snapshot, 1).unwrap());
    }
    assert_eq!(shown, ["of the first", "of the second"]);
}

#[test]
fn a_folder_of_other_objects_is_refused() {
    let objects = Faulty::new(1);
    objects.overwrite("agents/anna/log/readme", Some(b"something else".into()));
    let disk = tempfile::tempdir().unwrap();
    let refused = ObjectLog::open(objects.bucket(LIMITS), disk.path()).map(drop);
    assert!(matches!(refused, Err(Error::NotAStore { found, .. }) if found == "log/readme"));
}
