//! One anomaly planted in each of these histories, among innocent operations: it is found, by the right rule, with just the operations
//! that prove it, and said in words.

use quorate_checker::verdict::{Limits, Overall, Report, Scope, Undecided, Verdict, check, check_promises, check_with};

use crate::script::Script;

/// Plants a history in a longer, innocent one on the same key and on another.
fn judge(script: &mut Script) -> Report {
    let first = script.history.operations.iter().map(|operation| operation.call).min().unwrap_or(0);
    assert!(first >= 100, "room for what comes before");
    script.write(90, "early", 0, 10).read(91, "early", 5, 15).cas(90, "early", "earlier", 20, 30).read(91, "earlier", 25, 50);
    let report = check(&script.history, &Limits::default());
    assert_eq!(report.operations(), script.history.operations.len());
    report
}

/// The rule, the evidence (positions; those above the script's own are the innocent ones'), and the words.
#[track_caller]
fn found(script: &mut Script) -> (&'static str, Vec<usize>, String) {
    let report = judge(script);
    assert_eq!(report.overall(), Overall::Violation);
    let violation = report.violations().next().expect("a violation");
    let words = report.explain(&script.history).to_string();
    let line = words.lines().find(|line| line.starts_with("key ")).expect("one line for the key").to_owned();
    (violation.rule.name(), violation.operations(), line)
}

#[track_caller]
fn finds(script: &mut Script, rule: &str, evidence: &[usize], words: &str) {
    let (broken, operations, line) = found(script);
    assert_eq!((broken, operations.as_slice(), line), (rule, evidence, format!("key k: {words} ({rule})")));
}

#[test]
fn the_innocent_part_is_linearizable() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).read(2, "v1", 120, 130);
    assert_eq!(judge(&mut script).overall(), Overall::Linearizable);
}

#[test]
fn a_stale_read() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).read(4, "v1", 112, 114).write(1, "v2", 120, 130).read(2, "v1", 140, 150);
    finds(
        &mut script,
        "two-orders",
        &[0, 2, 3],
        "process 2 read v1 after process 1 had already written v2, although process 1 wrote v1 before that",
    );
}

#[test]
fn new_then_old() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).write(2, "v2", 120, 200).read(3, "v2", 130, 140).read(4, "v1", 150, 160);
    finds(&mut script, "two-orders", &[0, 1, 2, 3], "process 4 read v1 after process 3 had already read v2, which was written later");
}

#[test]
fn two_readers_who_disagree() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 200).write(2, "v2", 100, 200);
    script.read(3, "v1", 110, 120).read(4, "v2", 130, 140).read(3, "v1", 150, 160);
    finds(
        &mut script,
        "two-orders",
        &[0, 1, 2, 3, 4],
        "process 3 read v1 after process 4 had already read v2, although process 3 read v1 before that",
    );
}

#[test]
fn a_lost_update() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 140).cas(3, "v1", "v3", 120, 140).read(4, "v3", 150, 160);
    finds(
        &mut script,
        "cas-twice",
        &[0, 1, 2],
        "process 2 replaced v1 by v2 and process 3 replaced v1 by v3, but v1 was there only once: one of the two updates is lost",
    );
}

#[test]
fn a_lost_update_of_which_one_outcome_is_unknown_needs_a_witness() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 140).unknown().cas(3, "v1", "v3", 120, 140);
    assert_eq!(judge(&mut script).overall(), Overall::Linearizable);
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 140).unknown().cas(3, "v1", "v3", 120, 140).read(4, "v2", 150, 160);
    assert_eq!(found(&mut script).0, "cas-twice");
}

#[test]
fn an_update_undone() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 130).cas(2, "v2", "v3", 140, 150).read(3, "v1", 160, 170);
    finds(&mut script, "backwards", &[1, 3], "process 3 read v1 after process 2 had already replaced v1 by v2; v2 came from v1 by cas");
}

#[test]
fn a_write_between_two_links_of_a_chain() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).write(2, "v2", 120, 130).cas(3, "v1", "v3", 140, 150);
    finds(
        &mut script,
        "two-orders",
        &[0, 1, 2],
        "process 3 replaced v1 by v3 after process 2 had already written v2, although process 1 wrote v1 before that; v3 came from v1 by cas",
    );
}

#[test]
fn a_value_from_nowhere() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).read(2, "v9", 120, 130);
    finds(&mut script, "never-written", &[1], "process 2 read v9, but nobody wrote that");
}

#[test]
fn a_write_that_failed_and_is_there() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).failed().read(2, "v1", 120, 130);
    finds(&mut script, "write-failed", &[0, 1], "process 2 read v1, but process 1 was told that this was not written");
}

#[test]
fn a_read_before_its_write() {
    let mut script = Script::default();
    script.read(2, "v1", 100, 110).write(1, "v1", 120, 130);
    finds(&mut script, "seen-before-written", &[0, 1], "process 2 read v1, and was done before process 1 began to write that");
}

#[test]
fn nothing_although_something_was_written() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).delete(2, 115, 117).write(1, "v2", 120, 130).read(2, "", 140, 150);
    finds(
        &mut script,
        "nothing-there",
        &[2, 3],
        "process 2 read absent after process 1 had already written v2, and no delete can have come between",
    );
    // Without any delete, the absence is the beginning's.
    let mut script = Script::default();
    script.read(2, "", 140, 150);
    let (rule, evidence, words) = found(&mut script);
    assert_eq!((rule, evidence.len()), ("two-orders", 2), "{words}");
    assert!(words.contains("process 2 read absent after process 90 had already"), "{words}");
}

#[test]
fn a_deleted_value_is_back() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).delete(2, 120, 130).read(3, "", 140, 150).read(3, "v1", 160, 170);
    finds(
        &mut script,
        "two-orders",
        &[0, 1, 3],
        "process 3 read v1 after process 2 had already deleted the key, although process 1 wrote v1 before that",
    );
}

#[test]
fn a_deleted_value_is_back_although_the_delete_is_one_of_many() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).delete(2, 120, 135).delete(3, 121, 134).delete(4, 122, 133);
    script.read(5, "", 124, 140).read(6, "v1", 150, 160);
    assert_eq!(found(&mut script).0, "two-orders");
}

#[test]
fn cas_of_unknown_outcome_in_a_ring() {
    let mut script = Script::default();
    script.cas(1, "b", "a", 100, 110).unknown().cas(2, "a", "b", 100, 110).unknown().read(3, "a", 120, 130);
    finds(
        &mut script,
        "cas-ring",
        &[0, 1, 2],
        "process 1 replaced b by a (outcome unknown), process 2 replaced a by b (outcome unknown): each needs what another put, so none was the first",
    );
    let mut script = Script::default();
    script.cas(1, "b", "a", 100, 110).unknown().cas(2, "a", "b", 100, 110).unknown();
    assert_eq!(judge(&mut script).overall(), Overall::Linearizable, "nobody saw either");
}

#[test]
fn a_cas_that_contradicts_itself() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 130).found("v0");
    finds(&mut script, "cas-against-observation", &[1], "process 2 replaced v1 by v2, although it found v0");
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 130).failed().found("v1");
    finds(&mut script, "cas-failed-in-vain", &[1], "a cas of process 2 failed although it found v1, which is what it expected");
}

#[test]
fn a_failed_cas_is_a_read() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).write(1, "v2", 120, 130).cas(2, "v0", "v3", 140, 150).failed().found("v1");
    assert_eq!(found(&mut script).1, [0, 1, 2]);
}

/// It found something else than it expected, whatever that was; unless it was refused.
#[test]
fn a_failed_cas_that_does_not_say_what_it_found() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 130).failed();
    let (rule, evidence, words) = found(&mut script);
    assert_eq!((rule, evidence), ("no-order", vec![0, 1, 2, 4]), "{words}");
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 130).refused();
    assert_eq!(judge(&mut script).overall(), Overall::Linearizable);
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).cas(2, "v1", "v2", 120, 150).failed().write(3, "v3", 130, 140);
    assert_eq!(judge(&mut script).overall(), Overall::Linearizable);
}

/// Values that are not unique need the search, and it proves as little as it can, too.
#[test]
fn a_stale_read_among_equal_values() {
    let mut script = Script::default();
    script.write(1, "on", 100, 110).write(1, "off", 120, 130).write(1, "on", 140, 150).read(2, "on", 155, 160);
    script.read(2, "off", 170, 180);
    finds(&mut script, "no-order", &[1, 2, 4], "no order of these 3 operations explains what they found");
}

#[test]
fn an_ended_budget_is_not_a_pass() {
    let mut script = Script::default();
    script.write(1, "on", 100, 110).write(1, "off", 120, 130).write(1, "on", 140, 150).read(2, "off", 170, 180);
    let mut asked = 0;
    let report = check_with(&script.history, &Limits::default(), Scope::Everything, &mut || {
        asked += 1;
        false
    });
    assert_eq!((report.overall(), asked), (Overall::Undecided, 1));
    assert_eq!(report.keys[0].verdict, Verdict::Undecided(Undecided::Stopped));
    assert!(report.explain(&script.history).to_string().starts_with("undecided: "));
}

/// The second put did not cover the first, so both must be there.
#[test]
fn a_lost_sibling() {
    let puts = |script: &mut Script| {
        script.write(1, "v1", 100, 110).at("quorum").covers("");
        script.write(2, "v2", 120, 130).at("quorum+session").covers("");
    };
    let mut script = Script::default();
    puts(&mut script);
    script.read(3, "v1 v2", 140, 150).read(3, "v2", 160, 170);
    let report = check(&script.history, &Limits::default());
    let violation = report.violations().next().expect("a sibling is lost");
    assert_eq!((violation.rule.name(), violation.operations()), ("no-order", vec![0, 1, 3]));
    let mut script = Script::default();
    puts(&mut script);
    script.write(4, "v3", 155, 158).at("quorum").covers("v1").read(3, "v1 v2", 140, 150).read(3, "v2 v3", 160, 170);
    assert_eq!(check(&script.history, &Limits::default()).overall(), Overall::Linearizable);
}

#[test]
fn siblings_of_puts_that_do_not_say_what_they_covered_are_undecided() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).at("quorum").write(2, "v2", 120, 130).at("quorum").read(3, "v1 v2", 140, 150).at("quorum");
    let report = check(&script.history, &Limits::default());
    assert_eq!(report.keys[0].verdict, Verdict::Undecided(Undecided::CoversUnknown { write: 0 }));
}

/// A weak read may be stale: it broke no promise, but the level is not linearizable.
#[test]
fn promises_are_judged_apart_from_everything() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).at("linearizable").write(1, "v2", 120, 130).at("linearizable").read(2, "v1", 140, 150).at("one");
    assert_eq!(check(&script.history, &Limits::default()).overall(), Overall::Violation);
    let promises = check_promises(&script.history, &Limits::default());
    assert_eq!((promises.overall(), promises.operations()), (Overall::Linearizable, 2));
    script.read(3, "v1", 160, 170).at("linearizable");
    assert_eq!(check_promises(&script.history, &Limits::default()).overall(), Overall::Violation);
}

/// A strict put that was acknowledged before a linearizable read is in it; a weak one need not be.
#[test]
fn a_mixed_key_keeps_the_promise_of_each_level() {
    let history = |level: &str| {
        let mut script = Script::default();
        script.write(1, "v1", 100, 110).at("linearizable");
        script.write(2, "v2", 120, 130).at(level).covers("v1").read(3, "v1", 140, 150).at("linearizable");
        check_promises(&script.history, &Limits::default()).overall()
    };
    assert_eq!(history("quorum"), Overall::Violation);
    assert_eq!(history("one"), Overall::Linearizable);
}

#[test]
fn a_report_reads_well() {
    let mut script = Script::default();
    script.write(1, "v1", 100, 110).write(2, "v2", 120, 200).read(3, "v2", 130, 140).read(4, "v1", 150, 160);
    let report = judge(&mut script);
    insta::assert_snapshot!(report.explain(&script.history), @"
    not linearizable: 8 operations on 1 key

    key k: process 4 read v1 after process 3 had already read v2, which was written later (two-orders)
      process 1  |-write v1-|
      process 2               |-write v2----------------|
      process 3                 |-read v2-|
      process 4                             |-read v1-|
    ");
    let json = serde_json::to_string(&report.explain(&script.history)).expect("plain data");
    insta::assert_snapshot!(json.replace("{\"at\"", "\n{\"at\""), @r#"
    {"verdict":"violation","operations":8,"keys":{"total":1,"linearizable":0,"violated":1,"undecided":0,"searched":0},"violations":[{"key":"k","rule":"two-orders","method":"exact","words":"process 4 read v1 after process 3 had already read v2, which was written later","evidence":[
    {"at":0,"operation":{"process":1,"op":"write","key":"k","value":"v1","call":100,"return":110,"outcome":"ok"}},
    {"at":1,"operation":{"process":2,"op":"write","key":"k","value":"v2","call":120,"return":200,"outcome":"ok"}},
    {"at":2,"operation":{"process":3,"op":"read","key":"k","value":"v2","call":130,"return":140,"outcome":"ok"}},
    {"at":3,"operation":{"process":4,"op":"read","key":"k","value":"v1","call":150,"return":160,"outcome":"ok"}}]}],"undecided":[]}
    "#);
}
