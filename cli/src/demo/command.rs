//! The commands of the demo's prompt, as text and as values.
//!
//! A line is words separated by blanks; quotes keep blanks together. Nothing is sent before the whole line is understood.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use quorate_client::{Context, ContextTextError, Expect, OpId, OpIdTextError};
use quorate_config::{BucketName, InvalidBucketName};
use quorate_lab::cluster::{InvalidFault, Pair};
use quorate_protocol::{InvalidLevel, Level};
use quorate_ring::{NodeId, NodeIdError};

use crate::kv::{ExpectText, ExpectTextError};
use crate::text::InvalidInput;

/// What `help` prints.
pub(super) const HELP: &str = "\
get K            put K V            del K            siblings K
cas K --expect absent|value:V|token:T --set V (or --delete)       incr K [NUMBER]
outcome OP-ID --key K [--settle]     what became of an operation; --settle: a linearizable one is not applied later
                 options: --level L  --bucket B  --explain  --via n2 (ask that node and no other);
                 of put and del also --context C, --concurrent
                 cas and incr are linearizable and take no level; they and put and del take --op-id OP-ID, to retry
                 levels: any (writes only), one, quorum, all, linearizable, rXwY such as r2w1
level L          the level of commands that name none; `level` alone shows it

kill n2          SIGKILL, as in a crash            restart n2       start it on its own data, wait until it is back
pause n2         SIGSTOP: it is there and silent   resume n2        let it go on
partition n1|n2,n3   lose messages between the sides; a node that is not named stays with everybody
partition n1>n2      lose messages from n1 to n2 only
slow n3 200ms    messages from n3 arrive later     latency n1-n2 80ms   a round trip between the two takes that long
skew n2 +3s      its wall clock is wrong           heal             mend all of these; kill and pause stay

ring [K]         where keys live, or where K does  status           how the nodes are
help             this                              quit             stop the cluster

In a script, a line that begins with ! must fail, and # begins a comment.";

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get(Target),
    Put { target: Target, value: Bytes, replaces: Replaces, op: Option<OpId> },
    Del { target: Target, replaces: Replaces, op: Option<OpId> },
    Siblings(Target),
    Cas { target: Target, expect: Expect, body: Option<Bytes>, op: Option<OpId> },
    Incr { target: Target, by: i64, op: Option<OpId> },
    Outcome { target: Target, op: OpId, settle: bool },
    Level(Option<Level>),
    Kill(NodeId),
    Pause(NodeId),
    Resume(NodeId),
    Restart(NodeId),
    Partition(Vec<BTreeSet<NodeId>>),
    OneWay { from: NodeId, to: NodeId },
    Slow { node: NodeId, delay: Duration },
    Latency { pair: Pair, round_trip: Duration },
    Skew { node: NodeId, skew_ms: i64 },
    Heal,
    Ring(Option<Bytes>),
    Status,
    Help,
    Quit,
}

/// A key, and how to work on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) key: Bytes,
    pub(super) bucket: Option<BucketName>,
    pub(super) level: Option<Level>,
    pub(super) explain: bool,
    /// The only node to ask; by default the client finds one that answers.
    pub(super) via: Option<NodeId>,
}

/// What a write replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    WhatTheCoordinatorHasSeen,
    WhatThisHasSeen(Context),
    Nothing,
}

/// The line asks for nothing that there is. Nothing was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("there is no command {word:?}; `help` lists all")]
    Unknown { word: String },
    #[error("{usage} is how it is written")]
    Usage { usage: &'static str },
    #[error("{command} takes no {option}; `help` shows what it takes")]
    Option { command: String, option: String },
    #[error("--context and --concurrent exclude each other")]
    Replaces,
    #[error("{option} needs a value")]
    NoValue { option: &'static str },
    #[error(transparent)]
    Level(#[from] InvalidLevel),
    #[error(transparent)]
    Expect(#[from] ExpectTextError),
    #[error(transparent)]
    OpId(#[from] OpIdTextError),
    #[error("{text:?} is no whole number")]
    Number { text: String },
    #[error(transparent)]
    Input(#[from] InvalidInput),
    #[error(transparent)]
    Bucket(#[from] InvalidBucketName),
    #[error("that is no context; `siblings K` shows the one of a key")]
    Context(#[from] ContextTextError),
    #[error("{text:?} is no node: {source}")]
    Node { text: String, source: NodeIdError },
    #[error("{text:?} is no time; write 200ms or 3s")]
    Time { text: String },
    #[error(transparent)]
    Fault(#[from] InvalidFault),
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let words = words(line)?;
        let Some((name, rest)) = words.split_first() else { return Err(CommandError::Unknown { word: String::new() }) };
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        match name.as_str() {
            "get" | "put" | "del" | "siblings" => about_a_key(name, &rest),
            "cas" => cas(&rest),
            "incr" => incr(&rest),
            "outcome" => outcome(&rest),
            "level" => level(&rest),
            "kill" | "pause" | "resume" | "restart" => about_a_node(name, &rest),
            "partition" => partition(&rest),
            "slow" => slow(&rest),
            "latency" => latency(&rest),
            "skew" => skew(&rest),
            "ring" => ring(&rest),
            "heal" => alone(Self::Heal, &rest, "heal"),
            "status" => alone(Self::Status, &rest, "status"),
            "help" | "?" => alone(Self::Help, &rest, "help"),
            "quit" | "exit" => alone(Self::Quit, &rest, "quit"),
            _ => Err(CommandError::Unknown { word: name.clone() }),
        }
    }
}

/// Splits a line at blanks that are not within quotes of either kind. A `#` that begins a word begins a comment.
fn words(line: &str) -> Result<Vec<String>, CommandError> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == '#' && word.is_none() => return Ok(words),
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(CommandError::OpenQuote);
    }
    words.extend(word);
    Ok(words)
}

/// What follows the name of a command about a key.
#[derive(Default)]
struct Arguments {
    plain: Vec<String>,
    level: Option<Level>,
    bucket: Option<BucketName>,
    explain: bool,
    via: Option<NodeId>,
    context: Option<Context>,
    concurrent: bool,
    expect: Option<ExpectText>,
    set: Option<String>,
    delete: bool,
    op: Option<OpId>,
    key: Option<String>,
    settle: bool,
}

/// Which options a command takes beside those that all commands about a key take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// `put`, `del`.
    Writes,
    /// `cas`.
    Compares,
    /// `incr`.
    Changes,
    /// `outcome`.
    Asks,
}

impl Arguments {
    fn read(command: &str, words: &[&str], takes: Takes) -> Result<Self, CommandError> {
        let mut read = Self::default();
        let mut words = words.iter();
        let mut options = true;
        while let Some(word) = words.next() {
            let mut value = |option| words.next().copied().ok_or(CommandError::NoValue { option });
            match *word {
                "--" if options => options = false,
                "--level" if options && matches!(takes, Takes::Nothing | Takes::Writes) => read.level = Some(value("--level")?.parse()?),
                "--bucket" if options => read.bucket = Some(value("--bucket")?.parse()?),
                "--explain" if options && takes != Takes::Asks => read.explain = true,
                "--via" if options => read.via = Some(node(value("--via")?)?),
                "--context" if options && takes == Takes::Writes => read.context = Some(value("--context")?.parse()?),
                "--concurrent" if options && takes == Takes::Writes => read.concurrent = true,
                "--op-id" if options && !matches!(takes, Takes::Nothing | Takes::Asks) => {
                    read.op = Some(value("--op-id")?.parse::<OpId>()?);
                }
                "--expect" if options && takes == Takes::Compares => read.expect = Some(value("--expect")?.parse()?),
                "--set" if options && takes == Takes::Compares => read.set = Some(value("--set")?.to_owned()),
                "--delete" if options && takes == Takes::Compares => read.delete = true,
                "--key" if options && takes == Takes::Asks => read.key = Some(value("--key")?.to_owned()),
                "--settle" if options && takes == Takes::Asks => read.settle = true,
                option if options && option.starts_with("--") => {
                    return Err(CommandError::Option { command: command.to_owned(), option: option.to_owned() });
                }
                plain => read.plain.push(plain.to_owned()),
            }
        }
        Ok(read)
    }

    fn replaces(&mut self) -> Result<Replaces, CommandError> {
        match (self.context.take(), self.concurrent) {
            (Some(_), true) => Err(CommandError::Replaces),
            (Some(context), false) => Ok(Replaces::WhatThisHasSeen(context)),
            (None, true) => Ok(Replaces::Nothing),
            (None, false) => Ok(Replaces::WhatTheCoordinatorHasSeen),
        }
    }

    fn target(self, key: String) -> Target {
        Target { key: key.into(), bucket: self.bucket, level: self.level, explain: self.explain, via: self.via }
    }
}

fn about_a_key(name: &str, words: &[&str]) -> Result<Command, CommandError> {
    let takes = if matches!(name, "put" | "del") { Takes::Writes } else { Takes::Nothing };
    let mut arguments = Arguments::read(name, words, takes)?;
    let (replaces, op) = (arguments.replaces()?, arguments.op);
    let plain = std::mem::take(&mut arguments.plain);
    match (name, <[String; 1]>::try_from(plain)) {
        ("get", Ok([key])) => Ok(Command::Get(arguments.target(key))),
        ("siblings", Ok([key])) => Ok(Command::Siblings(arguments.target(key))),
        ("del", Ok([key])) => Ok(Command::Del { target: arguments.target(key), replaces, op }),
        ("put", Err(plain)) => match <[String; 2]>::try_from(plain) {
            Ok([key, value]) => Ok(Command::Put { target: arguments.target(key), value: value.into(), replaces, op }),
            Err(_) => Err(CommandError::Usage { usage: "put KEY VALUE" }),
        },
        ("put", Ok(_)) => Err(CommandError::Usage { usage: "put KEY VALUE" }),
        ("get", _) => Err(CommandError::Usage { usage: "get KEY" }),
        ("del", _) => Err(CommandError::Usage { usage: "del KEY" }),
        _ => Err(CommandError::Usage { usage: "siblings KEY" }),
    }
}

fn cas(words: &[&str]) -> Result<Command, CommandError> {
    const USAGE: CommandError = CommandError::Usage { usage: "cas KEY --expect absent|value:V|token:T --set V, or --delete," };
    let mut arguments = Arguments::read("cas", words, Takes::Compares)?;
    let (expect, set, delete, op) = (arguments.expect.take(), arguments.set.take(), arguments.delete, arguments.op);
    let [key] = <[String; 1]>::try_from(std::mem::take(&mut arguments.plain)).map_err(|_other_number| USAGE)?;
    match (expect, set, delete) {
        (Some(expect), Some(set), false) => {
            Ok(Command::Cas { target: arguments.target(key), expect: expect.expect(false)?, body: Some(set.into()), op })
        }
        (Some(expect), None, true) => Ok(Command::Cas { target: arguments.target(key), expect: expect.expect(false)?, body: None, op }),
        _ => Err(USAGE),
    }
}

fn incr(words: &[&str]) -> Result<Command, CommandError> {
    let mut arguments = Arguments::read("incr", words, Takes::Changes)?;
    let (op, plain) = (arguments.op, std::mem::take(&mut arguments.plain));
    let (key, by) = match plain.as_slice() {
        [key] => (key.clone(), 1),
        [key, by] => (key.clone(), by.parse().map_err(|_no_number| CommandError::Number { text: by.clone() })?),
        _ => return Err(CommandError::Usage { usage: "incr KEY [NUMBER]" }),
    };
    Ok(Command::Incr { target: arguments.target(key), by, op })
}

fn outcome(words: &[&str]) -> Result<Command, CommandError> {
    let mut arguments = Arguments::read("outcome", words, Takes::Asks)?;
    let (key, settle, plain) = (arguments.key.take(), arguments.settle, std::mem::take(&mut arguments.plain));
    match (plain.as_slice(), key) {
        ([op], Some(key)) => Ok(Command::Outcome { op: op.parse::<OpId>()?, target: arguments.target(key), settle }),
        _ => Err(CommandError::Usage { usage: "outcome OP-ID --key KEY [--settle]" }),
    }
}

fn level(words: &[&str]) -> Result<Command, CommandError> {
    match words {
        [] => Ok(Command::Level(None)),
        [level] => Ok(Command::Level(Some(level.parse()?))),
        _ => Err(CommandError::Usage { usage: "level LEVEL" }),
    }
}

fn about_a_node(name: &str, words: &[&str]) -> Result<Command, CommandError> {
    let usage = match name {
        "kill" => "kill n2",
        "pause" => "pause n2",
        "resume" => "resume n2",
        _ => "restart n2",
    };
    let [text] = words else { return Err(CommandError::Usage { usage }) };
    let node = node(text)?;
    Ok(match name {
        "kill" => Command::Kill(node),
        "pause" => Command::Pause(node),
        "resume" => Command::Resume(node),
        _ => Command::Restart(node),
    })
}

fn partition(words: &[&str]) -> Result<Command, CommandError> {
    let text = words.concat(); // blanks around the signs do no harm
    if let Some((from, to)) = text.split_once('>') {
        return Ok(Command::OneWay { from: node(from)?, to: node(to)? });
    }
    if !text.contains('|') {
        return Err(CommandError::Usage { usage: "partition n1|n2,n3, or partition n1>n2 for one direction," });
    }
    let groups = text.split('|').map(|group| group.split(',').map(node).collect());
    Ok(Command::Partition(groups.collect::<Result<_, _>>()?))
}

fn slow(words: &[&str]) -> Result<Command, CommandError> {
    let [name, delay] = words else { return Err(CommandError::Usage { usage: "slow n3 200ms" }) };
    Ok(Command::Slow { node: node(name)?, delay: time(delay)? })
}

fn latency(words: &[&str]) -> Result<Command, CommandError> {
    let [nodes, round_trip] = words else { return Err(CommandError::Usage { usage: "latency n1-n2 80ms" }) };
    Ok(Command::Latency { pair: pair(nodes)?, round_trip: time(round_trip)? })
}

fn skew(words: &[&str]) -> Result<Command, CommandError> {
    let [name, skew] = words else { return Err(CommandError::Usage { usage: "skew n2 +3s" }) };
    let (sign, size) = match (skew.strip_prefix('-'), skew.strip_prefix('+')) {
        (Some(size), _) => (-1, size),
        (None, Some(size)) => (1, size),
        (None, None) => (1, *skew),
    };
    let size = i64::try_from(time(size)?.as_millis()).map_err(|_too_large| CommandError::Time { text: (*skew).to_owned() })?;
    Ok(Command::Skew { node: node(name)?, skew_ms: sign * size })
}

fn ring(words: &[&str]) -> Result<Command, CommandError> {
    match words {
        [] => Ok(Command::Ring(None)),
        [key] => Ok(Command::Ring(Some(Bytes::copy_from_slice(key.as_bytes())))),
        _ => Err(CommandError::Usage { usage: "ring [KEY]" }),
    }
}

fn alone(command: Command, words: &[&str], usage: &'static str) -> Result<Command, CommandError> {
    if words.is_empty() { Ok(command) } else { Err(CommandError::Usage { usage }) }
}

fn node(text: &str) -> Result<NodeId, CommandError> {
    text.parse().map_err(|source| CommandError::Node { text: text.to_owned(), source })
}

fn pair(text: &str) -> Result<Pair, CommandError> {
    let (a, b) = text.split_once('-').ok_or(CommandError::Usage { usage: "latency n1-n2 80ms" })?;
    Ok(Pair::new(node(a)?, node(b)?)?)
}

/// A time with its unit; nothing needs no unit.
fn time(text: &str) -> Result<Duration, CommandError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_other_text| CommandError::Time { text: text.to_owned() })
}

/// `--latency n1-n2=80ms`: two nodes and the round trip between them.
pub(super) fn pair_and_round_trip(text: &str) -> Result<(Pair, Duration), CommandError> {
    let (nodes, round_trip) = text.split_once('=').ok_or(CommandError::Usage { usage: "--latency n1-n2=80ms" })?;
    Ok((pair(nodes)?, time(round_trip)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Command {
        line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn refused(line: &str) -> String {
        match line.parse::<Command>() {
            Ok(command) => panic!("{line}: {command:?}"),
            Err(error) => error.to_string(),
        }
    }

    fn target(key: &'static str) -> Target {
        Target { key: key.into(), bucket: None, level: None, explain: false, via: None }
    }

    #[test]
    fn words_are_kept_together_by_quotes() {
        let value = |text: &'static str| Command::Put {
            target: target("k"),
            value: text.into(),
            replaces: Replaces::WhatTheCoordinatorHasSeen,
            op: None,
        };
        assert_eq!(read("  put k 'two words' "), value("two words"));
        assert_eq!(read("put k \"it's\""), value("it's"));
        assert_eq!(read("put k \"\""), value(""));
        assert_eq!(read("put k a'b c'd"), value("ab cd"));
        assert_eq!(read("get \"\""), Command::Get(target("")), "the store refuses it, and says why");
        assert_eq!(refused("put k 'x"), "a quote is not closed");
    }

    #[test]
    fn options_may_stand_anywhere_behind_the_command() {
        let full = Target { level: Some(Level::All), explain: true, bucket: Some("carts".parse().expect("a name")), ..target("a") };
        assert_eq!(read("get --level all a --explain --bucket carts"), Command::Get(full));
        let side = || Target { via: Some(NodeId(1)), ..target("a") };
        assert_eq!(read("get a --via n1"), Command::Get(side()));
        assert_eq!(read("siblings --via n1 a"), Command::Siblings(side()));
        assert_eq!(read("del a --via n1"), Command::Del { target: side(), replaces: Replaces::WhatTheCoordinatorHasSeen, op: None });
        let put = Command::Put { target: target("-k"), value: "--x".into(), replaces: Replaces::Nothing, op: None };
        assert_eq!(read("put --concurrent -k -- --x"), put);
        let context: Context = "c1.eA".parse().expect("a context");
        assert_eq!(
            read("del a --context c1.eA"),
            Command::Del { target: target("a"), replaces: Replaces::WhatThisHasSeen(context), op: None }
        );
    }

    #[test]
    fn changes_say_what_they_expect_and_what_they_do() {
        let cas = |expect, body: Option<&'static str>| Command::Cas { target: target("k"), expect, body: body.map(Bytes::from), op: None };
        assert_eq!(read("cas k --expect absent --set v"), cas(Expect::Absent, Some("v")));
        assert_eq!(read("cas k --expect 'value:a b' --delete"), cas(Expect::value("a b"), None));
        assert_eq!(
            read("cas --set v k --expect token:1.7.2.3.12"),
            cas("1.7.2.3.12".parse().map(Expect::Token).expect("a token"), Some("v"))
        );
        assert_eq!(read("incr k"), Command::Incr { target: target("k"), by: 1, op: None });
        let op: OpId = "0000000000000000000000000000feed.3.9.1700000000000".parse().expect("an operation id");
        assert_eq!(read(&format!("incr k -5 --op-id {}", op)), Command::Incr { target: target("k"), by: -5, op: Some(op) });
        assert_eq!(read(&format!("outcome {} --key k --settle", op)), Command::Outcome { target: target("k"), op, settle: true });
        for line in
            ["cas k", "cas k --expect absent", "cas k --set v", "cas k --expect absent --set v --delete", "cas --expect absent --set v"]
        {
            assert!(refused(line).starts_with("cas KEY --expect"), "{line}");
        }
        assert_eq!(refused("cas k --expect absent --set v --level one"), "cas takes no --level; `help` shows what it takes");
        assert_eq!(refused("incr k x"), "\"x\" is no whole number");
        assert!(
            refused("cas k --expect nothing --set v").contains("is no expectation")
                && refused("outcome 1.2 --key k").contains("is no operation id")
        );
    }

    #[test]
    fn wrong_lines_are_refused_with_what_to_write_instead() {
        assert_eq!(refused("gett a"), "there is no command \"gett\"; `help` lists all");
        assert_eq!(refused("put a"), "put KEY VALUE is how it is written");
        assert_eq!(refused("put a b c"), "put KEY VALUE is how it is written");
        assert_eq!(refused("get"), "get KEY is how it is written");
        assert_eq!(refused("get a b"), "get KEY is how it is written");
        assert_eq!(refused("get a --concurrent"), "get takes no --concurrent; `help` shows what it takes");
        assert_eq!(refused("get a --level"), "--level needs a value");
        assert_eq!(refused("get a --via 1"), "\"1\" is no node: a node id begins with `n`, as in `n1`");
        assert_eq!(refused("put a b --context c1.eA --concurrent"), "--context and --concurrent exclude each other");
        assert_eq!(refused("get a --level two"), "\"two\" is not a level; write any, one, quorum, all, linearizable or rXwY such as r2w1");
        assert_eq!(refused("kill 2"), "\"2\" is no node: a node id begins with `n`, as in `n1`");
        assert_eq!(refused("slow n3 200"), "\"200\" is no time; write 200ms or 3s");
        assert_eq!(refused("status now"), "status is how it is written");
    }

    #[test]
    fn faults_are_written_as_they_are_spoken() {
        let group = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        assert_eq!(read("partition n1|n2,n3"), Command::Partition(vec![group(&[1]), group(&[2, 3])]));
        assert_eq!(read("partition n1 | n2, n3 | n4"), Command::Partition(vec![group(&[1]), group(&[2, 3]), group(&[4])]));
        assert_eq!(read("partition n1 > n2"), Command::OneWay { from: NodeId(1), to: NodeId(2) });
        assert!(refused("partition n1,n2").contains("partition n1|n2,n3"));
        assert_eq!(read("slow n3 200ms"), Command::Slow { node: NodeId(3), delay: Duration::from_millis(200) });
        assert_eq!(read("slow n3 0"), Command::Slow { node: NodeId(3), delay: Duration::ZERO });
        let pair = Pair::new(NodeId(1), NodeId(2)).expect("two nodes");
        assert_eq!(read("latency n2-n1 80ms"), Command::Latency { pair, round_trip: Duration::from_millis(80) });
        assert!(refused("latency n1-n1 80ms").contains("no link to itself"));
        assert_eq!(read("skew n2 +3s"), Command::Skew { node: NodeId(2), skew_ms: 3_000 });
        assert_eq!(read("skew n2 -1500ms"), Command::Skew { node: NodeId(2), skew_ms: -1_500 });
        assert_eq!(read("skew n2 2s"), Command::Skew { node: NodeId(2), skew_ms: 2_000 });
        let started = pair_and_round_trip("n1-n2=80ms").expect("a pair and a time");
        assert_eq!(started, (pair, Duration::from_millis(80)));
        assert!(pair_and_round_trip("n1-n2").is_err() && pair_and_round_trip("n1=80ms").is_err());
    }

    #[test]
    fn every_command_that_help_shows_exists() {
        for line in [
            "get K",
            "put K V",
            "del K",
            "siblings K",
            "incr K",
            "cas K --expect absent --set V",
            "level one",
            "level",
            "kill n2",
            "restart n2",
            "pause n2",
            "resume n2",
        ] {
            read(line);
        }
        for line in ["heal", "ring", "ring K", "status", "help", "quit"] {
            let name = line.split(' ').next().expect("a word");
            assert!(HELP.contains(name));
            read(line);
        }
    }
}
