//! What a run is made of: everything that its seed decides before the first event.
//!
//! **Promise.** [`Options::draw`] is a function of the seed and the [`Limits`] alone. Limits only ever take something away, and
//! what they leave is drawn as it would have been without them, so a failing run can be made smaller and still be named in one line.

mod keys;

use std::collections::BTreeSet;
use std::fmt;

use quorate_protocol::Defect;
use quorate_protocol::options::{Awkward, Options as CoreOptions};

pub(crate) use self::keys::MIXED_OPERATIONS;
pub use self::keys::{KeyOptions, LevelMix, Traffic, UnknownTraffic, Workload};
use crate::fault::FaultKind;
use crate::random::Random;

/// Longest sync of a slow disk, in microseconds.
const SLOW_SYNC_MICROS: u64 = 200_000;

/// Operations of a run unless limits say less.
pub const OPERATIONS: u32 = 300;

/// What a run may have at most. `None`, or an empty set, takes nothing away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Nodes; never fewer than a key has replicas.
    pub nodes: Option<u8>,
    /// Operations during the chaos.
    pub operations: Option<u32>,
    /// Keys.
    pub keys: Option<u8>,
    /// Clients.
    pub clients: Option<u8>,
    /// Kinds of fault to leave out.
    pub without: BTreeSet<FaultKind>,
    /// A planted defect.
    pub defect: Option<Defect>,
    /// The kinds of key, instead of what the seed draws.
    pub traffic: Option<Traffic>,
}

/// How the network treats messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Least time a message takes, in microseconds.
    pub delay_micros_min: u64,
    /// Most time a message usually takes, in microseconds.
    pub delay_micros_max: u64,
    /// Messages of 1000 that are lost.
    pub loss_permille: u32,
    /// Messages of 1000 that arrive twice.
    pub duplicate_permille: u32,
    /// Messages of 1000 that take up to `tail_micros`.
    pub tail_permille: u32,
    /// Longest time such a message takes, in microseconds.
    pub tail_micros: u64,
}

/// How nodes are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Longest time that a sync of the disk takes, in microseconds.
    pub sync_micros_max: u64,
    /// Wait before a read asks a further replica, in microseconds.
    pub hedge_after_micros: u64,
    /// Wait before a hint is kept for a silent replica, in microseconds.
    pub hint_after_micros: u64,
    /// Hints kept for one replica.
    pub hints_max: u64,
    /// Hints delivered at a time.
    pub hint_batch_max: usize,
    /// Age beyond which a hint is dropped, in milliseconds.
    pub hint_age_ms_max: u64,
    /// Live versions of a key.
    pub siblings_max: usize,
    /// Reads of 1000 at levels that are not strict that repair everybody behind the answer.
    pub background_repair_permille: u32,
    /// Keys that a fallback remembers its dots of.
    pub fallback_keys_max: usize,
    /// Wait before a proposer sends a message again, in microseconds.
    pub resend_micros: u64,
    /// How long after its deadline a message about a chain is still taken, in microseconds: how late a coordinator that stood still may
    /// come.
    pub late_micros: u64,
}

/// How clients behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Total deadline of an operation, in microseconds.
    pub deadline_micros: u64,
    /// Silence after which a further coordinator is asked, in microseconds.
    pub silence_micros: u64,
    /// Operations of 1000 that follow the one before at once.
    pub burst_permille: u32,
    /// Operations of 1000 that go to a node that is no home of the key first.
    pub stranger_permille: u32,
    /// Clients of 1000 that keep a session.
    pub session_permille: u32,
    /// Linearizable operations of 1000 that do not go to the first home replica first.
    pub wander_permille: u32,
    /// Linearizable changes of unknown outcome, of 1000, that are settled as never to be applied.
    pub settle_permille: u32,
}

/// Everything that a seed decides before the first event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// What was taken away.
    pub limits: Limits,
    /// Nodes.
    pub nodes: u8,
    /// Home replicas of each key.
    pub replicas: u8,
    /// Which kinds of key there are.
    pub traffic: Traffic,
    /// The keys.
    pub keys: Vec<KeyOptions>,
    /// Clients.
    pub clients: u8,
    /// Operations during the chaos.
    pub operations: u32,
    /// Length of the chaos, in microseconds.
    pub chaos_micros: u64,
    /// Kinds of fault.
    pub faults: BTreeSet<FaultKind>,
    /// The network.
    pub network: NetworkOptions,
    /// The nodes.
    pub node: NodeOptions,
    /// The clients.
    pub client: ClientOptions,
    /// What goes into every core.
    pub core: CoreOptions,
    /// Nothing is left to chance: every draw during the run takes the lowest number.
    pub is_scripted: bool,
}

impl Options {
    /// Draws a run.
    #[must_use]
    pub fn draw(seed: u64, limits: Limits) -> Self {
        let mut random = Random::of(seed, "cluster");
        let replicas = if random.chance(200) { 5 } else { 3 };
        let nodes = u8::try_from(random.between(u64::from(replicas), 7)).expect("at most 7");
        let nodes = nodes.min(limits.nodes.unwrap_or(7)).max(replicas);
        let clients = u8::try_from(random.between(3, 6)).expect("at most 6");
        let awkward = awkward(&mut random);
        let traffic = limits.traffic.unwrap_or_else(|| Traffic::draw(seed));
        let keys = keys::draw(seed, traffic, replicas);
        let keys_max = usize::from(limits.keys.unwrap_or(u8::MAX)).max(1);
        let faults = faults(seed, replicas, &limits.without);
        let node = node(seed);
        Self {
            seed,
            nodes,
            replicas,
            traffic,
            operations: traffic.operations(keys.len()).min(limits.operations.unwrap_or(u32::MAX)),
            keys: keys.into_iter().take(keys_max).collect(),
            clients: clients.min(limits.clients.unwrap_or(u8::MAX)).max(1),
            chaos_micros: traffic.chaos_micros(),
            network: network(seed, &faults),
            node,
            client: client(seed, traffic, &node),
            core: CoreOptions { defect: limits.defect, awkward },
            is_scripted: false,
            faults,
            limits,
        }
    }

    /// The randomness of one of several that share a purpose.
    pub(crate) fn random_of(&self, purpose: &str, number: u64) -> Random {
        if self.is_scripted { Random::lowest() } else { Random::numbered(self.seed, purpose, number) }
    }

    /// True when the run has this planted defect.
    #[must_use]
    pub fn has(&self, defect: Defect) -> bool {
        self.core.has(defect)
    }
}

fn awkward(random: &mut Random) -> Awkward {
    let [spread_minimal, ask_all_at_once, repair_all_first] = [random.chance(150), random.chance(300), random.chance(150)];
    Awkward { spread_minimal, ask_all_at_once, repair_all_first }
}

fn faults(seed: u64, replicas: u8, without: &BTreeSet<FaultKind>) -> BTreeSet<FaultKind> {
    let mut random = Random::of(seed, "fault kinds");
    // One run in sixteen goes without any: what holds only under faults does not hold.
    let share = if random.below(16) == 0 { 0 } else { random.pick(&[150, 300, 500]) };
    let mut kinds: BTreeSet<FaultKind> = FaultKind::ALL.iter().copied().filter(|_| random.chance(share)).collect();
    // A majority of three homes survives one lost disk, not two.
    if replicas < 5 && kinds.contains(&FaultKind::FlippedBits) {
        kinds.remove(&FaultKind::DiskLoss);
    }
    kinds.retain(|kind| !without.contains(kind));
    kinds
}

fn network(seed: u64, faults: &BTreeSet<FaultKind>) -> NetworkOptions {
    let mut random = Random::of(seed, "network options");
    let delay_micros_min = random.between(50, 1_000);
    let spread = random.pick(&[500, 3_000, 30_000]);
    let (loss, duplicate, tail) = (random.between(5, 120), random.between(5, 150), random.between(5, 100));
    let tail_micros = random.pick(&[100_000, 1_000_000, 5_000_000]);
    let permille = |kind, drawn: u64| if faults.contains(&kind) { u32::try_from(drawn).expect("below 1000") } else { 0 };
    NetworkOptions {
        delay_micros_min,
        delay_micros_max: delay_micros_min + spread,
        loss_permille: permille(FaultKind::Loss, loss),
        duplicate_permille: permille(FaultKind::Duplicate, duplicate),
        tail_permille: permille(FaultKind::Delay, tail),
        tail_micros,
    }
}

fn node(seed: u64) -> NodeOptions {
    let mut random = Random::of(seed, "node options");
    let sync_micros_max = random.pick(&[500, 5_000, 50_000, SLOW_SYNC_MICROS]);
    NodeOptions {
        sync_micros_max,
        hedge_after_micros: random.pick(&[500, 2_000, 20_000, 200_000]),
        hint_after_micros: random.pick(&[50_000, 300_000, 1_000_000]),
        hints_max: random.pick(&[4, 10_000, 10_000]),
        hint_batch_max: random.pick(&[1, 4, 64]),
        hint_age_ms_max: random.pick(&[1_000, 3_600_000, 3_600_000]),
        siblings_max: random.pick(&[3, 8, 16]),
        background_repair_permille: random.pick(&[0, 100, 1_000]),
        fallback_keys_max: random.pick(&[0, 1, 100]),
        // Far sooner than a disk can answer, a run is about nothing else.
        resend_micros: random.pick(&[5_000, 50_000, 300_000]).max(sync_micros_max / 4),
        late_micros: random.pick(&[0, 20_000_000]),
    }
}

fn client(seed: u64, traffic: Traffic, node: &NodeOptions) -> ClientOptions {
    let mut random = Random::of(seed, "client options");
    let deadline_micros = random.pick(&[300_000, 2_000_000, 2_000_000]);
    // A write takes up to two syncs, a strict read may repair before; a round of consensus takes two, and may follow upon another.
    let syncs = if traffic == Traffic::Eventual { 5 } else { 8 };
    let silence_micros = random.pick(&[60_000, 700_000]);
    // Whoever asks further coordinators before a round can be over lets them compete with each other.
    let is_patient = traffic != Traffic::Eventual && !Random::of(seed, "impatience").chance(150);
    ClientOptions {
        deadline_micros: deadline_micros.max(node.sync_micros_max * syncs),
        silence_micros: if is_patient { silence_micros.max(node.sync_micros_max * 3) } else { silence_micros },
        burst_permille: random.pick(&[300, 600, 900]),
        session_permille: random.pick(&[0, 500, 1_000]),
        stranger_permille: random.pick(&[50, 150, 500]),
        wander_permille: random.pick(&[50, 300, 1_000]),
        settle_permille: random.pick(&[0, 300]),
    }
}

impl fmt::Display for Limits {
    /// As arguments of the command that repeats a run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(defect) = self.defect {
            write!(f, " --bug {defect}")?;
        }
        if let Some(traffic) = self.traffic {
            write!(f, " --workload {traffic}")?;
        }
        for (name, limit) in [("nodes", self.nodes), ("keys", self.keys), ("clients", self.clients)] {
            if let Some(limit) = limit {
                write!(f, " --{name} {limit}")?;
            }
        }
        if let Some(operations) = self.operations {
            write!(f, " --operations {operations}")?;
        }
        if !self.without.is_empty() {
            write!(f, " --without {}", join(self.without.iter()))?;
        }
        Ok(())
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, replicas, clients, operations, network, node, client, .. } = self;
        writeln!(
            f,
            "seed {seed}: {nodes} nodes, {replicas} replicas, {clients} clients, {operations} operations, {} traffic",
            self.traffic
        )?;
        for (number, key) in self.keys.iter().enumerate() {
            let LevelMix { reads, writes } = &key.levels;
            let (workload, mode) = (key.workload, key.write_mode);
            let levels = format!("read at {}, written at {}", join(reads.iter()), join(writes.iter()));
            writeln!(f, "  key k{number}: {workload:?} in a bucket {mode:?}, {levels}")?;
        }
        let faults = if self.faults.is_empty() { "none".to_owned() } else { join(self.faults.iter()) };
        writeln!(f, "  faults: {faults}")?;
        writeln!(f, "  {network:?}")?;
        writeln!(f, "  {node:?}")?;
        writeln!(f, "  {client:?}")?;
        let defect = self.core.defect.map_or_else(|| "none".to_owned(), |defect| defect.to_string());
        writeln!(f, "  {:?}, defect: {defect}", self.core.awkward)
    }
}

fn join<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_run() {
        assert_eq!(Options::draw(42, Limits::default()), Options::draw(42, Limits::default()));
        assert_ne!(Options::draw(42, Limits::default()).to_string(), Options::draw(43, Limits::default()).to_string());
    }

    #[test]
    fn limits_take_away_and_change_nothing_else() {
        let whole = Options::draw(7, Limits::default());
        let limits = Limits { operations: Some(10), without: whole.faults.iter().copied().take(1).collect(), ..Limits::default() };
        let less = Options::draw(7, limits.clone());
        assert_eq!(less.operations, 10);
        assert_eq!(less.faults, whole.faults.iter().copied().skip(1).collect());
        assert_eq!((&less.keys, less.nodes, less.node), (&whole.keys, whole.nodes, whole.node));
    }
}
