//! Drawings of small runs, without their colours.

use quorate_client::NodeId;
use quorate_lab::story::record::{Copies, Pause};
use quorate_protocol::Level;

use super::*;

fn ms(moment: u64) -> Duration {
    Duration::from_millis(moment)
}

/// An operation of a client, from and until so many milliseconds.
fn operation(client: usize, act: Act, span: (u64, u64), ending: Ending, values: &[&str]) -> Operation {
    Operation {
        client,
        key: "x".to_owned(),
        level: Level::One,
        via: Some(NodeId(client as u64 + 1)),
        act,
        call: ms(span.0),
        end: ms(span.1),
        ending,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        token: None,
        op: None,
        receipt: None,
        error: None,
    }
}

fn write(client: usize, value: &str, span: (u64, u64), ending: Ending) -> Operation {
    operation(client, Act::Write { value: value.to_owned(), shown: None }, span, ending, &[])
}

fn read(client: usize, value: &str, span: (u64, u64)) -> Operation {
    operation(client, Act::Read, span, Ending::Ok, &[value])
}

fn run(operations: Vec<Operation>) -> Run {
    Run {
        level: Level::One,
        clients: vec!["W".to_owned(), "R".to_owned()],
        operations,
        pauses: Vec::new(),
        faults: Vec::new(),
        copies: Vec::new(),
        begin: ms(10),
        end: ms(110),
        claims: Vec::new(),
    }
}

fn drawn(run: Run) -> String {
    anstream::adapter::strip_str(&draw(&Judged::of(run)).to_string()).to_string()
}

#[test]
fn a_stale_read_points_at_the_write_that_it_missed() {
    let operations = vec![write(0, "1", (1, 5), Ending::Ok), write(0, "2", (20, 30), Ending::Ok), read(1, "1", (60, 62))];
    let seen = vec![(ms(2), vec!["1".to_owned()]), (ms(90), vec!["2".to_owned()])];
    let fault = |kind, target: &str| Fault { kind, target: target.to_owned(), begin: ms(15), end: Some(ms(80)) };
    let run = Run {
        copies: vec![Copies { node: NodeId(2), seen }],
        faults: vec![fault("one-way", "n1>n2"), fault("slow", "n3 +80ms")],
        ..run(operations)
    };
    insta::assert_snapshot!(drawn(run), @r"
               ms 0         10        20        30        40        50        60        70        80
    W via n1                [=========] write 2
                                      ^-----------------------------+ should have shown this
    R via n2                                                        [=] read 1 !
    n2 holds      1...............................................................................2...
    n1>n2 lost         #################################################################
    n3 late 80ms       #################################################################
    ");
}

#[test]
fn what_nobody_learnt_stays_open_and_what_was_refused_says_so() {
    let operations = vec![
        write(0, "1", (1, 5), Ending::Ok),
        write(0, "2", (20, 50), Ending::Unknown),
        write(1, "3", (20, 22), Ending::Refused),
        read(1, "1", (70, 110)),
    ];
    let pauses = vec![Pause { client: 1, begin: ms(25), end: ms(65), why: "paused".to_owned() }];
    insta::assert_snapshot!(drawn(Run { pauses, ..run(operations) }), @r"
           ms 0                20               40              60               80               100
    W via n1          [........................... write 2: outcome unknown ..........................>
    R via n2          [-] write 3: refused                      [============= read 1 ============]
                            ~~~~~~~~~~~~ paused ~~~~~~~~~~~~
    ");
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    let long = "a value that is rather long for a drawing, as values of stories should not be";
    for call in [20, 60, 100] {
        let drawn = drawn(run(vec![write(0, long, (call, call + 5), Ending::Ok), read(1, long, (call + 6, call + 8))]));
        assert!(drawn.lines().all(|line| line.chars().count() <= WIDTH), "{drawn}");
    }
}
