//! Losses, resurrections and inventions planted into clean histories, and clean ones left alone.

use super::*;
use crate::testing::{Dice, Script};

fn kinds(script: &Script) -> Vec<&'static str> {
    check(&script.history, None, &Allowances::NONE).violations.iter().map(Evidence::kind).collect()
}

#[test]
fn maximal_elements_are_clean() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.put(2, "b", &[], 0, 1);
    script.read(3, &["a", "b"], 2, 3);
    script.put(3, "c", &["a", "b"], 4, 5);
    script.put(1, "d", &["a"], 4, 5);
    script.unknown_put(1, "e", &["d"], 6);
    script.holds("n1", &[("1", Some("c")), ("2", Some("d"))]);
    script.holds("n2", &[("1", Some("c")), ("3", Some("e"))]);
    assert_eq!(kinds(&script), [""; 0]);
}

#[test]
fn overwritten_without_being_seen_is_lost() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    let lost = script.put(2, "b", &[], 0, 1);
    script.put(3, "c", &["a"], 4, 5);
    script.holds("n1", &[("3", Some("c"))]);
    let judgement = check(&script.history, None, &Allowances::NONE);
    assert_eq!(judgement.violations.iter().map(Evidence::operations).collect::<Vec<_>>(), [[lost]]);
    let words = judgement.violations[0].in_words(&script.history).to_string();
    assert_eq!(words, "lost-write: key k: process 2 wrote b (#1, 0..1 ns); at the end, n1 does not hold it, nor anything that replaced it");
}

#[test]
fn one_replica_that_misses_it_is_enough() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.holds("n1", &[("1", Some("a"))]);
    script.holds("n2", &[]);
    assert_eq!(kinds(&script), ["lost-write"]);
}

#[test]
fn value_beside_the_write_that_covered_it_is_resurrected() {
    let mut script = Script::new();
    let old = script.put(1, "a", &[], 0, 1);
    script.put(1, "b", &["a"], 2, 3);
    let newest = script.put(1, "c", &["b"], 4, 5);
    script.holds("n1", &[("1", Some("a")), ("3", Some("c"))]);
    let judgement = check(&script.history, None, &Allowances::NONE);
    assert_eq!(judgement.violations.len(), 1);
    assert_eq!(judgement.violations[0].kind(), "resurrected");
    assert_eq!(judgement.violations[0].operations(), [old, newest - 1]);
    let repeated = Allowances { repeated: &|index| index == old, ..Allowances::NONE };
    assert!(check(&script.history, None, &repeated).is_clean(), "a second try may come back as a sibling");
}

#[test]
fn deleted_value_is_resurrected_only_if_the_delete_is_certain() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.unknown_delete(1, Some(&["a"]), 2);
    script.holds("n1", &[("1", Some("a"))]);
    assert_eq!(kinds(&script), [""; 0]);
    script.delete(1, Some(&["a"]), 4, 5);
    assert_eq!(kinds(&script), ["resurrected"]);
}

#[test]
fn unknown_write_counts_once_a_read_has_shown_it() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.unknown_put(1, "b", &["a"], 2);
    script.holds("n1", &[("1", Some("a"))]);
    assert_eq!(kinds(&script), [""; 0], "b may never have arrived");
    script.read(2, &["b"], 4, 5);
    assert_eq!(kinds(&script), ["resurrected"]);
}

#[test]
fn vanished_write_is_neither_missed_nor_relied_on() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    let gone = script.put(1, "b", &["a"], 2, 3);
    script.holds("n1", &[("1", Some("a"))]);
    assert_eq!(kinds(&script), ["resurrected", "lost-write"]);
    let allow = Allowances { vanished: &|index| index == gone, ..Allowances::NONE };
    assert!(check(&script.history, None, &allow).is_clean());
}

#[test]
fn values_out_of_nowhere_are_found_in_reads_and_final_states() {
    let mut script = Script::new();
    script.read(1, &["ghost"], 0, 1);
    script.read(1, &["ghost"], 2, 3);
    script.failed_write(1, "refused", 4, 5);
    script.holds("n1", &[("1", Some("refused"))]);
    assert_eq!(kinds(&script), ["invented", "failed-but-applied"]);
}

#[test]
fn value_read_before_it_was_written_is_invented() {
    let mut script = Script::new();
    let read = script.read(1, &["a"], 0, 1);
    let write = script.write(2, "a", 5, 6);
    let judgement = check(&script.history, None, &Allowances::NONE);
    assert_eq!(judgement.violations[0].operations(), [write, read]);
}

#[test]
fn failed_write_tried_again_under_the_same_value_is_fine() {
    let mut script = Script::new();
    script.failed_write(1, "a", 0, 1);
    script.write(1, "a", 2, 3);
    script.read(1, &["a"], 4, 5);
    assert_eq!(kinds(&script), [""; 0]);
}

#[test]
fn last_read_is_a_view() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    script.read(2, &[], 100, 101);
    assert_eq!(kinds(&script), [""; 0]);
    let judgement = check(&script.history, Some(100), &Allowances::NONE);
    assert_eq!(judgement.violations.iter().map(Evidence::kind).collect::<Vec<_>>(), ["lost-write"]);
}

#[test]
fn read_beside_a_write_is_no_view() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 200);
    script.read(2, &[], 100, 101);
    assert!(check(&script.history, Some(100), &Allowances::NONE).is_clean());
}

#[test]
fn cas_replaces_what_it_expects_without_saying_so() {
    let mut script = Script::new();
    script.write(1, "a", 0, 1);
    script.cas(1, Some("a"), "b", 2, 3);
    script.holds("n1", &[("1", Some("a"))]);
    assert_eq!(kinds(&script), ["resurrected", "lost-write"]);
}

/// A dumb store of one replica, with exact contexts.
#[derive(Default)]
struct Store {
    /// Live values, and whether their writes were acknowledged.
    live: Vec<(String, bool)>,
    replaced: Vec<String>,
}

impl Store {
    fn random(dice: &mut Dice, script: &mut Script) -> Self {
        let mut store = Store::default();
        for step in 0..1 + dice.roll(12) {
            let (covered, kept): (Vec<_>, Vec<_>) = store.live.iter().cloned().partition(|_| dice.roll(2) == 0);
            let covers: Vec<&str> = covered.iter().map(|(value, _)| value.as_str()).collect();
            let (value, time, kind) = (format!("v{step}"), step * 10, dice.roll(6));
            match kind {
                0 => _ = script.delete(step, Some(&covers), time, time + 15),
                1 => {
                    script.unknown_put(step, &value, &covers, time);
                    script.read(99, &[&value], time + 5, time + 6);
                }
                2 => {
                    script.unknown_put(step, &value, &covers, time);
                    continue; // it never arrived
                }
                _ => _ = script.put(step, &value, &covers, time, time + 15),
            }
            store.live = kept;
            store.replaced.extend(covered.into_iter().map(|(value, _)| value));
            if kind != 0 {
                store.live.push((value, kind != 1));
            }
        }
        store
    }
}

fn ends_with(script: &Script, live: &[(String, bool)]) -> Script {
    let mut script = script.clone();
    let versions: Vec<(&str, Option<&str>)> = live.iter().map(|(value, _)| (value.as_str(), Some(value.as_str()))).collect();
    script.holds("n1", &versions);
    script
}

/// The end of a correct store is clean; dropping an acknowledged live value from it is a loss, and putting a replaced one back is a
/// resurrection, whatever happened before.
#[test]
fn random_merges_are_clean_and_every_tampering_is_found() {
    let (mut losses, mut resurrections) = (0, 0);
    for seed in 0..3_000 {
        let (mut dice, mut script) = (Dice(seed), Script::new());
        let store = Store::random(&mut dice, &mut script);
        assert_eq!(kinds(&ends_with(&script, &store.live)), [""; 0], "seed {seed}");
        for victim in &store.replaced {
            let mut tampered = store.live.clone();
            tampered.push((victim.clone(), true));
            resurrections += 1;
            assert!(kinds(&ends_with(&script, &tampered)).contains(&"resurrected"), "seed {seed}: {victim}");
        }
        for victim in (0..store.live.len()).filter(|victim| store.live[*victim].1) {
            let mut tampered = store.live.clone();
            tampered.remove(victim);
            losses += 1;
            assert!(kinds(&ends_with(&script, &tampered)).contains(&"lost-write"), "seed {seed}: {victim}");
        }
    }
    assert!(losses > 1_000 && resurrections > 1_000, "{losses} losses, {resurrections} resurrections");
}
