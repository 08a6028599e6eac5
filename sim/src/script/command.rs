//! The commands of a script, read from their lines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::str::FromStr;

use quorate_protocol::record::WriteMode;
use quorate_protocol::{Defect, Level};
use quorate_ring::NodeId;

use super::Mistake;
use crate::fault::Fault;
use crate::message::Address;

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Cluster(Cast),
    Do {
        deed: Deed,
        /// Go on until it has ended.
        waits: bool,
    },
    /// Go on until this client's operation has ended.
    Finish(u8),
    Run {
        micros: u64,
    },
    Settle,
    Hold(Address, Address),
    Deliver(Address, Address),
    Inflict(Fault),
    Show,
    Judge {
        at_rest: bool,
    },
}

/// Who plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cast {
    pub(super) nodes: u8,
    pub(super) replicas: u8,
    /// The client that keeps a session.
    pub(super) session: Option<u8>,
    /// The rule that every node breaks.
    pub(super) defect: Option<Defect>,
    /// Which writes the key's bucket takes, if linearizable operations are part of the story.
    pub(super) bucket: Option<WriteMode>,
}

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) client: u8,
    pub(super) level: Level,
    /// The coordinators it tries, first to last.
    pub(super) via: Vec<NodeId>,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Get,
    Put(String, Sight),
    Delete(Sight),
    Cas(Expected, String),
    Increment,
    /// See to it that the client's last change of unknown outcome is never applied.
    Fence,
}

/// What a compare-and-set expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Absent,
    /// The version that its client read or wrote last.
    Version,
    Value(String),
}

/// What a write replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// What its coordinator has seen.
    Blind,
    /// Nothing.
    Concurrent,
    /// What its client read or wrote last.
    Context,
}

impl FromStr for Command {
    type Err = Mistake;

    fn from_str(line: &str) -> Result<Self, Mistake> {
        let mut words = Words::of(line);
        let name = words.next("command")?;
        let command = match name {
            "cluster" => Self::Cluster(words.cast()?),
            "begin" => {
                let verb = words.next("operation")?;
                Self::Do { deed: words.deed(verb)?, waits: false }
            }
            "put" | "get" | "delete" | "cas" | "incr" | "fence" => Self::Do { deed: words.deed(name)?, waits: true },
            "finish" => Self::Finish(words.client()?),
            "run" => Self::Run { micros: words.span()? },
            "settle" => Self::Settle,
            "hold" => words.link().map(|(from, to)| Self::Hold(from, to))?,
            "deliver" => words.link().map(|(from, to)| Self::Deliver(from, to))?,
            "show" => {
                words.key()?;
                Self::Show
            }
            "judge" => Self::Judge { at_rest: words.flag("at-rest") },
            _ => Self::Inflict(words.fault(name)?),
        };
        words.end()?;
        Ok(command)
    }
}

/// The words of a line that are not used up.
struct Words<'a> {
    plain: VecDeque<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let (named, plain): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|word| word.contains('='));
        Self { plain: plain.into(), named: named.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn next(&mut self, what: &'static str) -> Result<&'a str, Mistake> {
        self.plain.pop_front().ok_or(Mistake::Missing { what })
    }

    fn end(self) -> Result<(), Mistake> {
        match self.plain.front().or(self.named.keys().next()) {
            Some(word) => Err(Mistake::Surplus { word: (*word).to_owned() }),
            None => Ok(()),
        }
    }

    /// Uses up a word if it comes next.
    fn flag(&mut self, flag: &str) -> bool {
        let comes = self.plain.front() == Some(&flag);
        if comes {
            self.plain.pop_front();
        }
        comes
    }

    fn named<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, Mistake> {
        self.named.remove(name).map(|word| read(name, word)).transpose()
    }

    fn node(&mut self) -> Result<NodeId, Mistake> {
        read("node", self.next("node")?)
    }

    fn client(&mut self) -> Result<u8, Mistake> {
        client(self.next("client")?)
    }

    /// There is one key: all that is told here happens to one key at a time.
    fn key(&mut self) -> Result<(), Mistake> {
        match self.next("key")? {
            "k1" => Ok(()),
            word => Err(malformed("key", word)),
        }
    }

    fn cast(&mut self) -> Result<Cast, Mistake> {
        let nodes = self.named("nodes")?.ok_or(Mistake::Missing { what: "nodes" })?;
        let replicas = self.named("replicas")?.ok_or(Mistake::Missing { what: "replicas" })?;
        if replicas == 0 || nodes < replicas {
            return Err(Mistake::TooSmall { nodes, replicas });
        }
        let session = self.named.remove("session").map(client).transpose()?;
        let bucket = match self.named.remove("bucket") {
            None => None,
            Some("mixed") => Some(WriteMode::Mixed),
            Some("lin_only") => Some(WriteMode::LinOnly),
            Some(word) => return Err(malformed("kind of bucket", word)),
        };
        Ok(Cast { nodes, replicas, session, defect: self.named("bug")?, bucket })
    }

    fn deed(&mut self, verb: &str) -> Result<Deed, Mistake> {
        let client = self.client()?;
        self.key()?;
        let what = match verb {
            "get" => What::Get,
            "put" => What::Put(self.next("value")?.to_owned(), self.sight()),
            "delete" => What::Delete(self.sight()),
            "cas" => What::Cas(self.expected()?, self.next("value")?.to_owned()),
            "incr" => What::Increment,
            "fence" => What::Fence,
            word => return Err(malformed("operation", word)),
        };
        let level = match what {
            What::Get | What::Put(..) | What::Delete(_) => self.named("level")?.ok_or(Mistake::Missing { what: "level" })?,
            What::Cas(..) | What::Increment | What::Fence => Level::Linearizable,
        };
        let via = self.named.remove("via").ok_or(Mistake::Missing { what: "via" })?;
        let via = via.split(',').map(|node| read("node", node)).collect::<Result<_, _>>()?;
        Ok(Deed { client, level, via, what })
    }

    fn expected(&mut self) -> Result<Expected, Mistake> {
        Ok(match self.next("expectation")? {
            "absent" => Expected::Absent,
            "version" => Expected::Version,
            value => Expected::Value(value.to_owned()),
        })
    }

    fn sight(&mut self) -> Sight {
        if self.flag("concurrent") {
            Sight::Concurrent
        } else if self.flag("context") {
            Sight::Context
        } else {
            Sight::Blind
        }
    }

    /// `500ms` or `2s`.
    fn span(&mut self) -> Result<u64, Mistake> {
        let word = self.next("time")?;
        let (digits, unit) = match (word.strip_suffix("ms"), word.strip_suffix('s')) {
            (Some(digits), _) => (digits, 1_000),
            (None, Some(digits)) => (digits, 1_000_000),
            (None, None) => return Err(malformed("time", word)),
        };
        Ok(u64::from(read::<u32>("time", digits)?) * unit)
    }

    /// `n1 -> n2`.
    fn link(&mut self) -> Result<(Address, Address), Mistake> {
        let from = address(self.next("sender")?)?;
        match self.next("arrow")? {
            "->" => Ok((from, address(self.next("receiver")?)?)),
            word => Err(malformed("arrow", word)),
        }
    }

    fn fault(&mut self, name: &str) -> Result<Fault, Mistake> {
        Ok(match name {
            "cut" => match self.link()? {
                (Address::Node(from), Address::Node(to)) => Fault::Cut { from, to },
                (Address::Client(_), _) | (_, Address::Client(_)) => return Err(Mistake::OnlyNodes),
            },
            "partition" => Fault::Partition(self.groups()?),
            "heal" => Fault::Mend,
            "crash" => {
                let node = self.node()?;
                match () {
                    () if self.flag("on-write") => Fault::CrashOnWrite(node),
                    () if self.flag("on-proposal") => Fault::CrashOnProposal(node),
                    () => Fault::Crash(node),
                }
            }
            "stop" => Fault::Stop(self.node()?),
            "restart" => Fault::Start(self.node()?),
            "pause" => Fault::Pause(self.node()?),
            "resume" => Fault::Resume(self.node()?),
            "fill" => Fault::DiskFull(self.node()?, true),
            "free" => Fault::DiskFull(self.node()?, false),
            "lose-disk" => Fault::LoseDisk(self.node()?),
            "fall-behind" => Fault::EpochLag(self.node()?, true),
            "catch-up" => Fault::EpochLag(self.node()?, false),
            word => return Err(malformed("command", word)),
        })
    }

    /// `n1 | n2 n3`.
    fn groups(&mut self) -> Result<Vec<BTreeSet<NodeId>>, Mistake> {
        let words: Vec<&str> = self.plain.drain(..).collect();
        words.split(|word| *word == "|").map(|group| group.iter().map(|node| read("node", node)).collect()).collect()
    }
}

fn malformed(what: &'static str, word: &str) -> Mistake {
    Mistake::Malformed { what, word: word.to_owned() }
}

fn read<T: FromStr>(what: &'static str, word: &str) -> Result<T, Mistake> {
    word.parse().ok().ok_or_else(|| malformed(what, word))
}

fn client(word: &str) -> Result<u8, Mistake> {
    read("client", word.strip_prefix('c').ok_or_else(|| malformed("client", word))?)
}

fn address(word: &str) -> Result<Address, Mistake> {
    if word.starts_with('c') { client(word).map(Address::Client) } else { read("node", word).map(Address::Node) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_word_by_word() {
        let put = "begin put c1 k1 v1 context level=r2w1 via=n1,n2".parse();
        let what = What::Put("v1".to_owned(), Sight::Context);
        let deed = Deed { client: 1, level: Level::Counts { r: 2, w: 1 }, via: vec![NodeId(1), NodeId(2)], what };
        assert_eq!(put, Ok(Command::Do { deed, waits: false }));
        assert_eq!("run 20ms".parse(), Ok(Command::Run { micros: 20_000 }));
        assert_eq!("hold c1 -> n2".parse(), Ok(Command::Hold(Address::Client(1), Address::Node(NodeId(2)))));
        let groups = vec![BTreeSet::from([NodeId(1)]), BTreeSet::from([NodeId(2), NodeId(3)])];
        assert_eq!("partition n1 | n2 n3".parse(), Ok(Command::Inflict(Fault::Partition(groups))));
    }

    #[test]
    fn a_line_that_says_something_else_is_a_mistake() {
        let mistakes = [
            "dance",
            "put c1 k1 v1 via=n1",
            "put c1 k1 v1 level=quorum",
            "put c1 k2 v1 level=quorum via=n1",
            "get c1 k1 blind level=one via=n1",
            "get k1 level=one via=n1",
            "get c1 k1 level=two via=n1",
            "begin settle",
            "settle 10ms",
            "run 10",
            "cut c1 -> n1",
            "cut n1 n2",
            "crash n01",
            "cluster nodes=2 replicas=3",
            "cluster nodes=3 replicas=3 bug=unheard-of",
        ];
        for line in mistakes {
            assert!(line.parse::<Command>().is_err(), "{line:?} must be refused");
        }
    }
}
