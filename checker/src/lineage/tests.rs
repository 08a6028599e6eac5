//! What may have replaced what, against closures computed the slow way.

use super::*;
use crate::by_key::ByKey;
use crate::history::History;
use crate::testing::Script;

fn lineage_of(history: &History) -> Lineage {
    let mut found = None;
    ByKey::new(history).for_each(|key| found = Some(Lineage::new(key)));
    found.expect("the script has a key")
}

#[test]
fn model_follows_from_what_the_history_says() {
    let mut plain = Script::new();
    plain.write(1, "a", 0, 1);
    assert_eq!(lineage_of(&plain.history).model, Model::Register);
    plain.read(1, &["a", "b"], 2, 3);
    assert_eq!(lineage_of(&plain.history).model, Model::Open);
    let mut listed = Script::new();
    listed.put(1, "a", &[], 0, 1);
    assert_eq!(lineage_of(&listed.history).model, Model::Listed);
    listed.write(1, "b", 2, 3);
    assert_eq!(lineage_of(&listed.history).model, Model::Open);
}

#[test]
fn unknown_write_that_never_shows_takes_no_part() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.unknown_write(2, "b", 0);
    assert_eq!(lineage_of(&script.history).writes.len(), 1);
    assert_eq!(lineage_of(&script.history).model, Model::Listed);
    script.read(3, &["b"], 2, 3);
    assert_eq!(lineage_of(&script.history).writes.len(), 2);
}

#[test]
fn value_covered_through_another_is_excused_and_a_sibling_is_not() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.put(1, "b", &["a"], 2, 3);
    script.put(2, "x", &[], 2, 3);
    script.put(1, "c", &["b"], 4, 5);
    script.read(3, &["c"], 6, 7);
    let lineage = lineage_of(&script.history);
    let mut walker = Walker::new(&lineage);
    let excused: Vec<bool> = lineage.nodes().map(|node| lineage.excused(&mut walker, &lineage.reads[0], node)).collect();
    assert_eq!(excused, [true, true, false, true], "a, b and c, but not x");
}

#[test]
fn delete_in_flight_excuses_what_it_covers() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.put(1, "b", &[], 0, 1);
    script.read(3, &[], 6, 7);
    script.unknown_delete(2, Some(&["a"]), 7);
    let lineage = lineage_of(&script.history);
    let mut walker = Walker::new(&lineage);
    assert!(lineage.excused(&mut walker, &lineage.reads[0], 0));
    assert!(!lineage.excused(&mut walker, &lineage.reads[0], 1));
}

#[test]
fn cycle_of_covers_ends_the_walk() {
    let mut script = Script::new();
    script.put(1, "a", &["b"], 0, 9);
    script.put(2, "b", &["a"], 0, 9);
    script.put(3, "c", &[], 0, 1);
    script.read(4, &["a"], 10, 11);
    let lineage = lineage_of(&script.history);
    assert!(!lineage.excused(&mut Walker::new(&lineage), &lineage.reads[0], 2));
}
