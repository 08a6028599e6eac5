//! Lines that are read, and lines that are refused with their reason.

use std::fmt::Write as _;

use super::super::write;
use super::*;

const WRITTEN: &str = r#"{"header":{"seed":5,"levels":["quorum+session"],"faults":[],"cluster":"demo"}}
{"process":2,"op":"write","key":"bench:000007","value":"00000001.2.1","call":100,"return":200,"outcome":"ok","level":"quorum+session","op_id":"000000000000000000000000000000ab.1.4","node":"n1","asked":["n1","n2"],"stale":["n2"]}
{"process":2,"op":"write","key":"bench:000007","value":"00000001.2.2","call":300,"return":null,"outcome":"unknown","level":"quorum+session"}
{"process":2,"op":"read","key":"bench:000007","value":["00000001.2.1","00000001.2.2"],"call":500,"return":600,"outcome":"ok","level":"quorum+session"}
{"process":2,"op":"read","key":"bench:000007","value":"00000001.2.2","call":700,"return":800,"outcome":"ok","level":"quorum+session"}
{"process":2,"op":"read","key":"bench:000007","value":null,"call":900,"return":950,"outcome":"fail","level":"quorum+session"}
"#;

fn text_of(history: &History) -> String {
    let mut bytes = Vec::new();
    write(history, &mut bytes).expect("memory takes everything");
    String::from_utf8(bytes).expect("JSON is text")
}

fn refused(line: &str) -> String {
    read_slice(format!("\n{line}\n").as_bytes()).expect_err("malformed").to_string()
}

#[test]
fn what_the_bench_writes_is_read_and_written_alike() {
    let history = read(WRITTEN.as_bytes()).expect("well-formed");
    assert_eq!(history.header["seed"], 5);
    let [first, second, third, fourth, fifth] = &history.operations[..] else { panic!("five operations: {history:?}") };
    assert_eq!((first.process, first.call, first.end, first.outcome), (2, 100, Some(200), Outcome::Ok));
    assert_eq!((second.end, second.outcome), (None, Outcome::Unknown));
    let detail = first.detail.as_ref().expect("details");
    assert_eq!(history.names.word_text(detail.stale[0]), "n2");
    let Action::Write { value } = first.action else { panic!("a write: {first:?}") };
    assert_eq!(history.names.value_text(value), "00000001.2.1");
    assert!(matches!(&third.action, Action::Read { seen: Some(Seen::Many(values)) } if values.len() == 2));
    assert!(matches!(&fourth.action, Action::Read { seen: Some(Seen::One(_)) }));
    assert_eq!(fifth.action, Action::Read { seen: None });
    let (_, lines) = WRITTEN.split_once('\n').expect("several lines");
    let header = r#"{"header":{"cluster":"demo","faults":[],"levels":["quorum+session"],"seed":5}}"#;
    assert_eq!(text_of(&history), format!("{header}\n{lines}"));
}

#[test]
fn cas_delete_and_final_states_come_back() {
    let text = concat!(
        r#"{"process":3,"op":"cas","key":"k1","expect":"v17","value":"v20","call":1203400,"return":1209900,"outcome":"ok","observed":"v17","level":"linearizable","token":"9.2.1"}"#,
        "\n",
        r#"{"process":3,"op":"cas","key":"k1","expect":null,"value":"v21","call":1,"return":2,"outcome":"fail","observed":null}"#,
        "\n",
        r#"{"process":3,"op":"cas","key":"k1","expect":null,"value":"v21","call":1,"return":2,"outcome":"fail","refused":true}"#,
        "\n",
        r#"{"process":3,"op":"cas","key":"k1","expect":["v20","v21"],"value":"v22","call":1,"return":2,"outcome":"fail","observed":"v21"}"#,
        "\n",
        r#"{"process":3,"op":"delete","key":"k1","call":1,"return":2,"outcome":"ok","covers":["v20","v21"],"shown":["v21"],"dots":["7@n2","8@n1"],"attempts":1}"#,
        "\n",
        r#"{"process":3,"op":"read","key":"k1","value":null,"call":1,"return":2,"outcome":"ok"}"#,
        "\n",
        r#"{"process":3,"op":"read","key":"k1","value":"v0","due":900,"call":1000,"return":1200,"outcome":"ok"}"#,
        "\n",
        r#"{"replica":"n1","key":"k1","versions":[{"dot":"7@n2","value":"v20"},{"dot":"8@n2","value":null}],"digest":"abc"}"#,
        "\n",
    );
    let history = read_slice(text.as_bytes()).expect("well-formed");
    assert_eq!(text_of(&history), text);
    let Action::Cas { expect, observed, .. } = history.operations[1].action else { panic!("a cas") };
    assert_eq!((expect, observed), (None, Some(None)));
    let Action::CasSiblings(cas) = &history.operations[3].action else { panic!("a cas of siblings") };
    assert_eq!((cas.expect.values().len(), cas.observed.as_ref().map(|seen| seen.values().len())), (2, Some(1)));
    assert_eq!(history.operations[6].detail.as_ref().and_then(|detail| detail.due), Some(900));
    assert_eq!(history.finals[0].versions[1].value, None);
}

#[test]
fn foreign_members_blank_lines_and_escapes_are_no_trouble() {
    let text = "\n  {\"time\":{\"a\":[1]},\"process\":0,\"op\":\"read\",\"key\":\"a\\nb\",\"value\":[\"x\\u0041\"],\"call\":0,\"return\":0,\"outcome\":\"ok\"}\r\n\n";
    let history = read(text.as_bytes()).expect("well-formed");
    let operation = &history.operations[0];
    assert_eq!(history.names.key_text(operation.key), "a\nb");
    let Action::Read { seen: Some(Seen::One(value)) } = operation.action else { panic!("one value: {operation:?}") };
    assert_eq!(history.names.value_text(value), "xA");
    assert_eq!(operation.detail, None);
}

#[test]
fn a_malformed_line_says_what_is_wrong() {
    let fine = r#"{"process":0,"op":"write","key":"k","value":"v","call":5,"return":7,"outcome":"ok"}"#;
    read_slice(fine.as_bytes()).expect("well-formed");
    let mut says = String::new();
    for (from, to) in [
        (r#""process":0,"#, ""),
        (r#""process":0"#, r#""process":-1"#),
        (r#""process":0"#, r#""process":"p1""#),
        (r#""write""#, r#""append""#),
        (r#""key":"k""#, r#""key":7"#),
        (r#","value":"v""#, ""),
        (r#""v""#, "null"),
        (r#""v""#, r#"["v","w"]"#),
        (r#""v""#, "17"),
        (r#""write""#, r#""cas""#),
        (r#""return":7"#, r#""return":4"#),
        (r#""return":7"#, r#""return":null"#),
        (r#""ok""#, r#""unknown""#),
        (r#""ok""#, r#""maybe""#),
        (r#","outcome":"ok""#, ""),
        (r#""v""#, r#""v","asked":["n1",2]"#),
        (r#"{"process""#, r#"{"replica":"n1","process""#),
        (r#"{"process""#, r#"{"replica":"n1","versions":[{"dot":"1@n1"}],"process""#),
        (r#"{"process""#, r#"{"header":[],"process""#),
        (r#"7,"#, "7"),
        ("{", "["),
        (fine, "17"),
    ] {
        let line = fine.replacen(from, to, 1);
        writeln!(says, "{}", refused(&line)).expect("memory takes everything");
    }
    insta::assert_snapshot!(says, @r#"
    line 2: `process` is missing: a whole number, who did it
    line 2: `process` must be a whole number from 0 to 2^64 - 1, not such a number
    line 2: `process` must be a whole number from 0 to 2^64 - 1, not such a text
    line 2: `op` must be "read", "write", "delete" or "cas", not such a text
    line 2: `key` must be a text, not a whole number
    line 2: `value` is missing: a text, what was written
    line 2: `value` must be a text, what was written, not null
    line 2: `value` must be a text, what was written, not a list
    line 2: `value` must be a text, null or a list of texts, not a whole number
    line 2: `expect` is missing: a text, null or a list of texts, what the cas compared with
    line 2: `return` is 4, before `call`, which is 5
    line 2: `return` is missing: nanoseconds; only an unknown outcome has none
    line 2: `return` must be null for an unknown outcome, not 7
    line 2: `outcome` must be "ok", "fail" or "unknown", not such a text
    line 2: `outcome` is missing: "ok", "fail" or "unknown"
    line 2: `asked` must be a list of texts, not such a list
    line 2: `versions` is missing: a list of objects with `dot` and `value`
    line 2: `versions` must be a list of objects with a text `dot` and a `value` (a text, or null for a tombstone), not such a list
    line 2: `header` must be an object, not such a list
    line 2: column 68: not a JSON object
    line 2: column 10: not a JSON object
    line 2: column 2: not a JSON object
    "#);
}

#[test]
fn a_read_without_its_value_is_refused_only_if_it_was_answered() {
    let line = |outcome: &str| format!(r#"{{"process":0,"op":"read","key":"k","call":5,"return":7,"outcome":"{outcome}"}}"#);
    assert!(refused(&line("ok")).starts_with("line 2: `value` is missing"));
    read_slice(line("fail").as_bytes()).expect("well-formed");
}

#[test]
fn two_headers_are_two_histories() {
    let error = read_slice(b"{\"header\":{}}\n{\"header\":{}}\n").expect_err("two");
    assert!(matches!(error, ReadError::Line { line: 2, problem: Problem::SecondHeader }));
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let error = read_slice(b"{\"key\":\"\xff\"}").expect_err("not text");
    assert!(matches!(error, ReadError::Line { line: 1, problem: Problem::NotText { valid_bytes: 8 } }));
}
