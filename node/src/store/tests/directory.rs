//! Whose directory it is: everything but one's own whole data is refused, with a message that says what to do.

use super::*;
use crate::store::{Fact, IdentityError};

/// A directory whose node wrote something and stopped cleanly.
fn stopped() -> Place {
    let place = Place::new();
    let store = place.init();
    bump(&store, "a");
    store.close().expect("the disk has space");
    place
}

fn open_as(place: &Place, expected: &Expected) -> OpenError {
    Store::open(place.path(), expected, Init::Existing, &small()).err().expect("the directory is refused")
}

fn says(error: &OpenError, place: &Place, words: &[&str]) {
    let text = error.to_string();
    assert!(text.contains(&place.path().display().to_string()), "{text:?} names the directory");
    words.iter().for_each(|word| assert!(text.contains(word), "{text:?} says {word:?}"));
}

fn still_opens(place: &Place) {
    assert_eq!(durable_count(&place.reopen().0, "a"), 1, "nothing was changed");
}

#[test]
fn an_empty_or_missing_directory_needs_init() {
    let place = Place::new();
    let refusal = place.refusal();
    assert!(matches!(refusal, OpenError::NoNode { .. }));
    says(&refusal, &place, &["--init", "must not return under its id"]);
    assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 0, "nothing was left behind");
    let missing = place.path().join("some/where");
    let open = |init| Store::open(&missing, &expected(), init, &small());
    assert!(matches!(open(Init::Existing), Err(OpenError::NoNode { .. })));
    assert!(!missing.exists());
    open(Init::Fresh).expect("it is made").0.close().expect("the disk has space");
    open(Init::Existing).expect("it is a node's now");
}

#[test]
fn init_refuses_a_directory_that_holds_a_node() {
    let place = stopped();
    let refusal = place.open(Init::Fresh).err().expect("it is refused");
    assert!(matches!(refusal, OpenError::AlreadyInitialised { node: NodeId(3), .. }));
    says(&refusal, &place, &["n3", "reef", "without --init"]);
    still_opens(&place);
}

#[test]
fn init_refuses_a_directory_that_holds_something_else_and_ignores_lost_and_found() {
    let place = Place::new();
    fs::create_dir(place.path().join("lost+found")).expect("writable");
    fs::write(place.path().join("thesis.tex"), "").expect("writable");
    for init in [Init::Fresh, Init::Existing] {
        let refusal = place.open(init).err().expect("it is refused");
        assert!(matches!(refusal, OpenError::Foreign { .. }));
        says(&refusal, &place, &["thesis.tex", "empty directory"]);
    }
    assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 2, "nothing was left behind");
    fs::remove_file(place.path().join("thesis.tex")).expect("writable");
    place.init();
}

#[test]
fn two_directories_have_different_nonces() {
    let nonce = || Place::new().open(Init::Fresh).expect("an empty directory becomes a node").1.nonce;
    assert_ne!(nonce(), nonce());
}

#[test]
fn another_cluster_node_or_fact_is_refused_and_named() {
    let place = stopped();
    let refusal = open_as(&place, &Expected { cluster: "lake".to_owned(), ..expected() });
    assert!(matches!(refusal, OpenError::OtherCluster { .. }));
    says(&refusal, &place, &["\"reef\"", "\"lake\""]);
    let refusal = open_as(&place, &Expected { node: NodeId(4), ..expected() });
    assert!(matches!(refusal, OpenError::OtherNode { here: NodeId(3), expected: NodeId(4), .. }));
    says(&refusal, &place, &["n3", "n4"]);
    let refusal = open_as(&place, &Expected { partitions: 32, ..expected() });
    assert!(matches!(refusal, OpenError::OtherFact { fact: Fact::Partitions, here: 16, expected: 32, .. }));
    says(&refusal, &place, &["number of partitions", "16", "32"]);
    let refusal = open_as(&place, &Expected { replicas: 5, ..expected() });
    assert!(matches!(refusal, OpenError::OtherFact { fact: Fact::Replicas, here: 3, expected: 5, .. }));
    says(&refusal, &place, &["default number of replicas", "3", "5"]);
    still_opens(&place);
}

#[test]
fn a_directory_in_use_is_refused_and_the_process_named() {
    let place = Place::new();
    let store = place.init();
    let refusal = place.refusal();
    assert!(matches!(refusal, OpenError::Locked { process: Some(_), .. }));
    says(&refusal, &place, &[&format!("process {}", std::process::id())]);
    drop(store);
    place.reopen();
}

#[test]
fn an_identity_without_its_database_is_refused() {
    let place = stopped();
    let (database, away) = (place.path().join("db"), place.path().join("away"));
    fs::rename(&database, &away).expect("writable");
    assert!(matches!(place.refusal(), OpenError::DatabaseMissing { .. }));
    assert!(matches!(place.open(Init::Fresh), Err(OpenError::AlreadyInitialised { .. })));
    fs::create_dir(&database).expect("writable");
    let refusal = place.refusal();
    assert!(matches!(refusal, OpenError::DatabaseDamaged { .. }), "an empty database is none: {refusal}");
    fs::remove_dir_all(&database).expect("writable");
    fs::rename(&away, &database).expect("writable");
    still_opens(&place);
}

#[test]
fn a_database_without_its_identity_is_refused_also_with_init() {
    let place = stopped();
    let (identity, away) = (place.path().join("identity"), place.path().join("away"));
    fs::rename(&identity, &away).expect("writable");
    for init in [Init::Fresh, Init::Existing] {
        assert!(matches!(place.open(init), Err(OpenError::IdentityMissing { .. })));
    }
    fs::rename(&away, &identity).expect("writable");
    still_opens(&place);
}

#[test]
fn a_damaged_or_later_identity_is_refused() {
    let place = stopped();
    let identity = place.path().join("identity");
    let whole = fs::read_to_string(&identity).expect("readable");
    fs::write(&identity, whole.replace("\"node\": 3", "\"node\": 4")).expect("writable");
    let bad = |source: &IdentityError| matches!(source, IdentityError::BadChecksum);
    assert!(matches!(place.refusal(), OpenError::IdentityDamaged { source, .. } if bad(&source)));
    fs::write(&identity, &whole[..whole.len() / 2]).expect("writable");
    let malformed = |source: &IdentityError| matches!(source, IdentityError::Malformed { .. });
    assert!(matches!(place.refusal(), OpenError::IdentityDamaged { source, .. } if malformed(&source)));
    fs::write(&identity, whole.replace("\"format\": 1", "\"format\": 2")).expect("writable");
    assert!(matches!(place.refusal(), OpenError::UnsupportedFormat { found: 2, .. }));
    fs::write(&identity, &whole).expect("writable");
    still_opens(&place);
}

#[test]
fn the_database_of_another_directory_is_refused() {
    let (place, other) = (stopped(), stopped());
    fs::remove_dir_all(place.path().join("db")).expect("writable");
    fs::rename(other.path().join("db"), place.path().join("db")).expect("writable");
    assert!(matches!(place.refusal(), OpenError::ForeignDatabase { .. }));
}

/// Whoever follows the advice for a damaged database gives up a node.
#[test]
fn what_the_system_refuses_is_not_called_damage() {
    let place = stopped();
    let (current, away) = (place.path().join("db/CURRENT"), place.path().join("away"));
    fs::rename(&current, &away).expect("writable");
    assert!(matches!(place.refusal(), OpenError::DatabaseDamaged { .. }), "a missing file is damage");
    fs::create_dir(&current).expect("writable");
    let refusal = place.refusal();
    assert!(matches!(refusal, OpenError::DatabaseUnusable { .. }), "{refusal:?}");
    says(&refusal, &place, &["permissions"]);
    fs::remove_dir(&current).expect("writable");
    fs::rename(&away, &current).expect("writable");
    still_opens(&place);
}

/// Every point at which `--init` can be interrupted, remade by hand from a finished one.
#[test]
fn an_interrupted_init_is_retried_or_finished() {
    let finished = Place::new();
    let store = stalled(&finished, &small());
    let (identity, database) = (Path::new("identity"), Path::new("db"));

    let empty = Place::new();
    fs::write(empty.path().join("lock"), "").expect("writable");
    assert!(matches!(empty.refusal(), OpenError::NoNode { .. }));
    empty.init();

    let database_only = Place::new();
    fs::create_dir(database_only.path().join("db.new")).expect("writable");
    copy_into(&finished.path().join(database), &database_only.path().join("db.new")).expect("readable");
    fs::write(database_only.path().join("identity.new"), "half").expect("writable");
    assert!(matches!(database_only.refusal(), OpenError::InitInterrupted { .. }));
    let (_, opened) = database_only.open(Init::Fresh).expect("it starts over");
    assert_eq!(opened.boot.0, 1, "nothing of the interrupted one is left");

    drop(store);
    for init in [Init::Fresh, Init::Existing] {
        let before_rename = Place::new();
        fs::copy(finished.path().join(identity), before_rename.path().join(identity)).expect("readable");
        fs::create_dir(before_rename.path().join("db.new")).expect("writable");
        copy_into(&finished.path().join(database), &before_rename.path().join("db.new")).expect("readable");
        let (store, _) = before_rename.open(init).expect("any start finishes it");
        bump(&store, "a");
        assert!(!before_rename.path().join("db.new").exists());
    }
}
