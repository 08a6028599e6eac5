//! Stories told step by step: a small cluster that does what a script says, and nothing else.
//!
//! **Promise.** Nothing is left to chance: a message takes a millisecond, a sync two, nobody draws anything. The same script gives the
//! same trace, and goes on doing so while options of random runs change.
//!
//! | command | what it does |
//! |---|---|
//! | `cluster nodes=3 replicas=3` | comes first; `session=c1` lets a client keep a session, `bug=NAME` plants a defect, `bucket=mixed` or `bucket=lin_only` takes linearizable operations |
//! | `put c1 k1 v1 level=quorum via=n1,n2` | lets a client write, at these coordinators first to last, and waits for its end |
//! | `delete c1 k1 ..`, `get c1 k1 ..` | the same for the other operations |
//! | `begin put ..`, `finish c1` | begins without waiting; waits for the end of what was begun |
//! | `run 500ms`, `settle` | lets time pass; lets everything end that is under way |
//! | `hold n1 -> n2`, `deliver n1 -> n2` | keeps what is sent from one to the other; sends it on |
//! | `cut n1 -> n2`, `partition n1 \| n2 n3`, `heal` | loses what is sent between them; ends all of that |
//! | `crash n1`, `crash n1 on-write`, `crash n1 on-proposal`, `stop n1`, `restart n1` | kills a process, now, right after its next write, or when it is about to send a state to be accepted; stops it; starts it |
//! | `pause n1`, `resume n1` | lets a process stand still, and go on |
//! | `fill n1`, `free n1`, `lose-disk n1` | its disk has no room; has room again, which a restart takes notice of; is replaced by an empty one |
//! | `fall-behind n1`, `catch-up n1` | it acts under the ring epoch before the current one; under the current one |
//! | `show k1` | what every home replica holds durably, and the hints kept |
//! | `judge`, `judge at-rest` | what the checkers say of the history so far; with `at-rest`, also of what replicas hold |
//! | `cas c1 k1 absent v1 via=n1`, `cas c1 k1 v1 v2 ..`, `cas c1 k1 version v2 ..` | compares with nothing, a value, or the version its client read or wrote last |
//! | `incr c1 k1 via=n1`, `fence c1 k1 via=n1` | increments; sees to it that the client's last change of unknown outcome is never applied |
//!
//! A write is blind unless `context` (what its client read or wrote last) or `concurrent` (nothing) follows the value. There is one key,
//! `k1`, and there are four clients. Every value is written once: that is how a checker knows whose it is.
//!
//! Each command answers with the trace lines that it caused, each with its milliseconds since the cluster was ready.

mod cluster;
mod command;
mod mistake;
mod show;
mod told;
mod transcript;

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_protocol::chain::Change;
use quorate_protocol::chain::state::{Expect, Function};
use quorate_protocol::replica::Seen;
use quorate_protocol::{Body, Level, Tick};
use quorate_ring::NodeId;

use self::cluster::options;
use self::command::{Cast, Command, Deed, Expected, Sight, What};
pub use self::mistake::Mistake;
use self::show::{contents, remark, standing, versions};
pub use self::told::{TOLD, Told};
pub use self::transcript::{INDENT, MistakeAt, Transcript};
use crate::client::{Doing, Intent};
use crate::fault::{Episode, Fault};
use crate::judge::{Violation, judge};
use crate::message::{Address, Key};
use crate::trace::Line;
use crate::world::World;

/// The key that every script is about.
const KEY: Key = Key(1);

/// Clients of every script.
const CLIENTS: u8 = 4;

/// Time for nodes to find each other after their start, in microseconds.
const READY_MICROS: u64 = 2_000_000;

/// Virtual time that passes between two looks whether something has ended, in microseconds.
const LOOK_MICROS: u64 = 1_000;

/// Longest virtual time to wait for something to end, in microseconds.
const WAIT_MICROS_MAX: u64 = 20_000_000;

/// Where a script is played.
#[derive(Debug, Default)]
pub struct Stage {
    play: Option<Play>,
}

impl Stage {
    /// Does what one line of a script says, and returns what came of it, line by line.
    ///
    /// # Errors
    /// [`Mistake`], if the line says nothing that can be done now.
    pub fn perform(&mut self, line: &str) -> Result<Vec<String>, Mistake> {
        match (line.parse()?, &mut self.play) {
            (Command::Cluster(cast), play) => {
                let (open, said) = Play::open(&cast)?;
                *play = Some(open);
                Ok(said)
            }
            (command, Some(play)) => play.perform(command),
            (_, None) => Err(Mistake::NoCluster),
        }
    }

    /// What the last `judge` found.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.play.as_ref().map_or(&[], |play| play.violations.as_slice())
    }
}

/// A script under way.
#[derive(Debug)]
struct Play {
    world: World,
    begin: Tick,
    written: BTreeSet<String>,
    violations: Vec<Violation>,
}

impl Play {
    fn open(cast: &Cast) -> Result<(Self, Vec<String>), Mistake> {
        let mut world = World::new(options(cast), true);
        if let Some(client) = cast.session {
            let keeper = world.clients.get_mut(&client).ok_or_else(|| nobody(Address::Client(client)))?;
            keeper.keep_session();
        }
        world.run_until(Tick(READY_MICROS));
        world.trace.take();
        world.recorder.origin = world.now;
        let play = Self { begin: world.now, world, written: BTreeSet::new(), violations: Vec::new() };
        let homes: Vec<String> = play.homes().iter().map(NodeId::to_string).collect();
        let said = vec![format!("{KEY} lives on {}", homes.join(" "))];
        Ok((play, said))
    }

    fn perform(&mut self, command: Command) -> Result<Vec<String>, Mistake> {
        match command {
            Command::Cluster(_) => unreachable!("the stage opens a new play"),
            Command::Do { deed, waits } => {
                let client = deed.client;
                self.begin(deed)?;
                if waits {
                    self.finish(client)?;
                }
            }
            Command::Finish(client) => {
                self.must_play(Address::Client(client))?;
                self.finish(client)?;
            }
            Command::Run { micros } => self.world.run_until(self.world.now.after(micros)),
            Command::Settle => self.wait_for(World::is_quiet)?,
            Command::Hold(from, to) => {
                self.must_play(from)?;
                self.must_play(to)?;
                self.world.hold_back(from, to);
            }
            Command::Deliver(from, to) => {
                if !self.world.deliver(from, to) {
                    return Err(Mistake::NotHeld { from: from.to_string(), to: to.to_string() });
                }
                self.look();
            }
            Command::Inflict(fault) => self.inflict(fault)?,
            Command::Show => return Ok(self.show()),
            Command::Judge { at_rest } => return Ok(self.judge(at_rest)),
        }
        Ok(self.world.trace.take().iter().map(|line| self.told(line)).collect())
    }

    fn told(&self, line: &Line) -> String {
        format!("{:>5}ms  {}", line.at.since(self.begin) / 1_000, line.what)
    }

    fn must_play(&self, who: Address) -> Result<(), Mistake> {
        let plays = match who {
            Address::Node(node) => self.world.nodes.contains_key(&node),
            Address::Client(client) => self.world.clients.contains_key(&client),
        };
        if plays { Ok(()) } else { Err(nobody(who)) }
    }

    fn homes(&self) -> Vec<NodeId> {
        self.world.homes[usize::from(KEY.0)].iter().collect()
    }

    fn look(&mut self) {
        self.world.run_until(self.world.now.after(LOOK_MICROS));
    }

    /// Goes on until a client's operation has ended, and until nobody can take what follows for concurrent with it.
    fn finish(&mut self, client: u8) -> Result<(), Mistake> {
        self.wait_for(|world| world.clients[&client].is_idle())?;
        self.look();
        Ok(())
    }

    fn wait_for(&mut self, ended: impl Fn(&World) -> bool) -> Result<(), Mistake> {
        let end = self.world.now.after(WAIT_MICROS_MAX);
        while !ended(&self.world) {
            if self.world.now >= end {
                return Err(Mistake::Endless);
            }
            self.look();
        }
        Ok(())
    }

    fn begin(&mut self, deed: Deed) -> Result<(), Mistake> {
        let Deed { client, level, via, what } = deed;
        self.must_play(Address::Client(client))?;
        for node in &via {
            self.must_play(Address::Node(*node))?;
        }
        if !self.world.clients[&client].is_idle() {
            return Err(Mistake::Busy { client });
        }
        let what = match what {
            What::Get => Doing::Read,
            What::Put(value, Sight::Blind) if level == Level::Linearizable => change(Change::Put(self.fresh(value)?), Vec::new()),
            What::Delete(Sight::Blind) if level == Level::Linearizable => change(Change::Delete, Vec::new()),
            What::Cas(expected, value) => self.cas(client, expected, value)?,
            What::Increment => change(Change::Modify(Function::Increment(1)), Vec::new()),
            What::Fence => Doing::Settle(self.world.clients[&client].last_unknown().ok_or(Mistake::NothingUnknown { client })?),
            What::Delete(sight) => Doing::Write { body: Body::Tombstone, seen: self.seen(client, sight)? },
            What::Put(value, sight) => {
                let seen = self.seen(client, sight)?;
                Doing::Write { body: Body::Value(self.fresh(value)?), seen }
            }
        };
        self.world.begin(client, via, Intent { key: KEY, level, what });
        Ok(())
    }

    fn cas(&mut self, client: u8, expected: Expected, value: String) -> Result<Doing, Mistake> {
        let (expect, expected) = match expected {
            Expected::Absent => (Expect::Absent, Vec::new()),
            Expected::Value(value) => (Expect::Value(Bytes::from(value)), Vec::new()),
            Expected::Version => {
                let (token, values) = self.world.clients[&client].last_version(KEY).ok_or(Mistake::NothingSeen { client })?;
                (Expect::Token(token), values)
            }
        };
        let body = Body::Value(self.fresh(value)?);
        Ok(change(Change::Cas { expect, body }, expected))
    }

    /// A value that was not written before.
    fn fresh(&mut self, value: String) -> Result<Bytes, Mistake> {
        if self.written.insert(value.clone()) { Ok(Bytes::from(value)) } else { Err(Mistake::WrittenTwice { value }) }
    }

    fn seen(&self, client: u8, sight: Sight) -> Result<Seen, Mistake> {
        match sight {
            Sight::Blind => Ok(Seen::Blind),
            Sight::Concurrent => Ok(Seen::Nothing),
            Sight::Context => match self.world.clients[&client].last_seen(KEY) {
                Seen::Nothing => Err(Mistake::NothingSeen { client }),
                seen => Ok(seen),
            },
        }
    }

    fn inflict(&mut self, fault: Fault) -> Result<(), Mistake> {
        for node in fault.nodes() {
            self.must_play(Address::Node(node))?;
        }
        if self.world.inflict(Episode::default(), &fault) { Ok(()) } else { Err(Mistake::NotNow { fault }) }
    }

    /// What home replicas hold durably, then the hints kept.
    fn show(&self) -> Vec<String> {
        let nodes = &self.world.nodes;
        let held = |home: &NodeId| {
            let record = Some(nodes[home].disk.view(KEY)).filter(|record| *record != quorate_protocol::KeyRecord::default());
            let chain = record.as_ref().map(|record| standing(&record.chain)).unwrap_or_default();
            format!("{home} {}{chain}{}", contents(record.as_ref().map(|record| &record.eventual)), remark(&nodes[home]))
        };
        let hints = nodes.values().flat_map(|keeper| {
            let kept = keeper.disk.durable().hints.iter();
            kept.map(|((target, _), hint)| format!("{} keeps for {target}: {}", keeper.id, versions(&hint.delta)))
        });
        self.homes().iter().map(held).chain(hints).collect()
    }

    fn judge(&mut self, at_rest: bool) -> Vec<String> {
        if at_rest {
            let away = self.world.away();
            for home in self.homes().into_iter().filter(|home| !away.contains(home)) {
                let record = self.world.nodes[&home].disk.view(KEY);
                self.world.recorder.hold(&home.to_string(), KEY, &record.eventual);
            }
        }
        // What replicas hold is judged from their final states alone: no read counts as one that must see all.
        self.world.recorder.resolve_increments(&self.world.census);
        let mut violations = judge(&self.world.options, &mut self.world.recorder, u64::MAX).violations;
        violations.extend(self.world.census.violations.iter().cloned());
        self.world.recorder.history.finals.clear();
        self.violations = violations;
        if self.violations.is_empty() {
            return vec!["no promise broken".to_owned()];
        }
        self.violations.iter().map(ToString::to_string).collect()
    }
}

fn change(change: Change, expected: Vec<Bytes>) -> Doing {
    Doing::Change { change, expected }
}

fn nobody(who: Address) -> Mistake {
    Mistake::Nobody { name: who.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Result<Vec<String>, Mistake> {
        let mut stage = Stage::default();
        let mut last = stage.perform("cluster nodes=3 replicas=3")?;
        for line in lines {
            last = stage.perform(line)?;
        }
        Ok(last)
    }

    #[test]
    fn what_cannot_be_done_is_a_mistake() {
        let begin = "begin put c1 k1 v1 level=one via=n1";
        assert_eq!(Stage::default().perform("settle"), Err(Mistake::NoCluster));
        assert_eq!(told(&[begin, "get c1 k1 level=one via=n1"]), Err(Mistake::Busy { client: 1 }));
        assert_eq!(told(&["put c1 k1 v1 context level=one via=n1"]), Err(Mistake::NothingSeen { client: 1 }));
        let twice = [begin, "put c2 k1 v1 level=one via=n1"];
        assert_eq!(told(&twice), Err(Mistake::WrittenTwice { value: "v1".to_owned() }));
        assert_eq!(told(&["pause n4"]), Err(Mistake::Nobody { name: "n4".to_owned() }));
        assert_eq!(told(&["get c9 k1 level=one via=n1"]), Err(Mistake::Nobody { name: "c9".to_owned() }));
        assert_eq!(told(&["deliver n1 -> n2"]), Err(Mistake::NotHeld { from: "n1".to_owned(), to: "n2".to_owned() }));
        assert_eq!(told(&["resume n1"]), Err(Mistake::NotNow { fault: Fault::Resume(NodeId(1)) }));
    }

    /// The nodes look after each other by beats; a link that held these would be a link that is cut.
    #[test]
    fn a_held_link_keeps_what_is_sent_and_delivers_it_once() {
        let held = ["hold n1 -> n2", "hold n1 -> n3", "begin put c1 k1 v1 level=quorum via=n1", "run 1900ms"];
        let kept = told(&held).expect("it can be done");
        assert!(kept.iter().any(|line| line.contains("held: n1 -> n2 k1 Replicate")), "{kept:?}");
        assert!(!kept.iter().any(|line| line.contains("  n1 -> n2")), "{kept:?}");
        let delivered = told(&[&held[..], &["deliver n1 -> n2"]].concat()).expect("it can be done");
        assert!(delivered.iter().any(|line| line.contains("  n1 -> n2 k1 Replicate")), "{delivered:?}");
        let again = told(&[&held[..], &["deliver n1 -> n2", "deliver n1 -> n2"]].concat());
        assert_eq!(again, Err(Mistake::NotHeld { from: "n1".to_owned(), to: "n2".to_owned() }));
    }
}
