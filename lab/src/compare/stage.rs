//! Making faults while a workload runs, and proving that they took effect.
//!
//! **Promise.** What a schedule says is done at its times, as far as it can be, and [`Made`] says of each fault when it was really made
//! and mended, and by what it showed. A fault that could not be made or mended, or that nobody noticed, is never claimed to have taken
//! effect; the others are made nevertheless.
//!
//! **Who takes part.** Either a [`Cluster`] of our own processes, to which everything can be done, or a [`Running`] one, whose links
//! and clocks can be broken if its nodes take faults. Clients follow a partition by their [`Sides`].
//!
//! **Rules**
//! - *Upon the time of a fault*: see how things are, then make it. If another one took so long that its time is over, leave it out.
//! - *While it lasts, until it has shown*: ask all nodes how they see each other, ten times a second.
//! - *Upon its end*: look once more, then mend it. A process that was killed is started again, and its fault ends when it serves and
//!   another node sees it.
//! - *Upon a node that ends by itself*: go on; [`Stage::mend`] says so.
//! - *Upon mending*: resume, heal, start again whatever is dead, wait until all see each other.
//!
//! **Invariants.** The sides of the clients are parted no later than those of the nodes, and joined no sooner: a client never sees more
//! than the node it lives beside. No partition outlives [`Stage::play`] for clients.
//!
//! **Deliberately missing.** Undoing what was made when [`Stage::play`] is dropped half-way: mend, and join the sides.

mod act;
mod error;
mod evidence;
mod running;
mod stamp;
mod view;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate_ring::NodeId;
use tokio::time::sleep_until;

pub use error::StageError;
pub use running::Running;

use super::schedule::{FaultKind, Planned, Target};
use super::sides::Sides;
use crate::cluster::{Cluster, Life, Node};
use act::Act;
use view::View;

/// Pause between two looks at the cluster, while one looks for signs of a fault.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a running cluster may take until all nodes see each other again.
const MENDED_WITHIN: Duration = Duration::from_secs(30);

/// What became of one planned fault.
#[derive(Debug, Default)]
pub struct Made {
    /// When it was really made.
    pub begin: Option<Instant>,
    /// When it was really mended.
    pub end: Option<Instant>,
    /// Whether it was made, showed, and was mended.
    pub took_effect: bool,
    /// By what it showed, in a sentence with the figure; absent unless it took effect.
    pub effect: Option<String>,
    /// Why it was not made or not mended, if so.
    pub trouble: Option<StageError>,
}

/// A cluster to which faults are done.
#[derive(Debug)]
pub struct Stage<'a> {
    ground: Ground<'a>,
    /// The first node that ended by itself.
    loss: Option<StageError>,
}

#[derive(Debug)]
enum Ground<'a> {
    Own(&'a mut Cluster),
    Running(Running),
}

impl<'a> Stage<'a> {
    /// A cluster of our own processes.
    pub fn own(cluster: &'a mut Cluster) -> Self {
        Self { ground: Ground::Own(cluster), loss: None }
    }

    /// A running cluster.
    #[must_use]
    pub fn running(running: Running) -> Self {
        Self { ground: Ground::Running(running), loss: None }
    }

    /// Whether faults of these kinds can be made here, to be asked before anything begins.
    ///
    /// # Errors
    /// [`StageError::NotOurProcess`], [`StageError::FaultsDisabled`].
    pub fn permits(&self, kinds: impl IntoIterator<Item = FaultKind>) -> Result<(), StageError> {
        kinds.into_iter().try_for_each(|kind| match &self.ground {
            Ground::Running(_) if kind.needs_process() => Err(StageError::NotOurProcess { kind }),
            Ground::Running(running) => running.without_faults().map_or(Ok(()), |node| Err(StageError::FaultsDisabled { node })),
            Ground::Own(cluster) if kind.needs_process() || cluster.spec().enable_faults => Ok(()),
            Ground::Own(_) => Err(crate::cluster::ClusterError::FaultsDisabled.into()),
        })
    }

    /// Makes and mends the faults at their times after `begin`. Returns what became of each, in the order of the schedule, when the last
    /// one is mended.
    pub async fn play(&mut self, schedule: &[Planned], begin: Instant, sides: &Sides) -> Vec<Made> {
        let mut acts: Vec<Act> = schedule.iter().map(|planned| Act::new(planned, begin)).collect();
        while let Some(next) = acts.iter().filter_map(|act| act.next(Instant::now())).min() {
            sleep_until(next.into()).await;
            let view = self.look().await;
            for act in &mut acts {
                act.step(self, &view, sides).await;
            }
        }
        acts.into_iter().map(Act::made).collect()
    }

    /// Mends everything that was made here, and waits until all nodes see each other.
    ///
    /// # Errors
    /// [`StageError`] if something cannot be mended; or if a node has ended by itself since the last mending, though everything is mended
    /// then.
    pub async fn mend(&mut self) -> Result<(), StageError> {
        self.notice_losses();
        match &mut self.ground {
            Ground::Own(cluster) => mend_own(cluster).await?,
            Ground::Running(running) => mend_running(running).await?,
        }
        self.loss.take().map_or(Ok(()), Err)
    }

    /// Makes a fault. It may be made in part if that fails.
    async fn make(&mut self, target: &Target) -> Result<(), StageError> {
        match &mut self.ground {
            Ground::Own(cluster) => match target {
                Target::Kill(node) => cluster.kill(*node).map(drop)?,
                Target::Pause(node) => cluster.pause(*node).await?,
                Target::Partition(sides) => cluster.partition(sides).await?,
                Target::OneWay { from, to } => cluster.one_way(*from, *to).await?,
                Target::Slow { node, delay } => cluster.slow(*node, *delay).await?,
                Target::Skew { node, skew_ms } => cluster.skew(*node, *skew_ms).await?,
            },
            Ground::Running(running) => match target {
                Target::Kill(_) | Target::Pause(_) => return Err(StageError::NotOurProcess { kind: target.kind() }),
                Target::Partition(sides) => running.change(|faults| faults.partition(sides)).await?,
                Target::OneWay { from, to } => running.change(|faults| faults.one_way(*from, *to)).await?,
                Target::Slow { node, delay } => running.change(|faults| faults.slow(*node, *delay)).await?,
                Target::Skew { node, skew_ms } => running.change(|faults| faults.skew(*node, *skew_ms)).await?,
            },
        }
        Ok(())
    }

    /// Mends one fault. A process that was killed may not serve for a while.
    async fn undo(&mut self, target: &Target) -> Result<(), StageError> {
        match &mut self.ground {
            Ground::Own(cluster) => match target {
                Target::Kill(node) => cluster.start_again(*node)?,
                Target::Pause(node) => cluster.resume(*node).await?,
                Target::Partition(_) | Target::OneWay { .. } => cluster.mend_cuts().await?,
                Target::Slow { node, .. } => cluster.slow(*node, Duration::ZERO).await?,
                Target::Skew { node, .. } => cluster.skew(*node, 0).await?,
            },
            Ground::Running(running) => match target {
                Target::Kill(_) | Target::Pause(_) => return Err(StageError::NotOurProcess { kind: target.kind() }),
                Target::Partition(_) | Target::OneWay { .. } => {
                    let mend = running.change(|faults| {
                        faults.mend_cuts();
                        Ok(())
                    });
                    mend.await?;
                }
                Target::Slow { node, .. } => running.change(|faults| faults.slow(*node, Duration::ZERO)).await?,
                Target::Skew { node, .. } => running.change(|faults| faults.skew(*node, 0)).await?,
            },
        }
        Ok(())
    }

    /// How all running nodes see each other.
    async fn look(&mut self) -> View {
        self.notice_losses();
        View::of(self.cluster(), &self.addresses()).await
    }

    /// Keeps in mind that a process has ended by itself, and counts all such nodes as dead.
    fn notice_losses(&mut self) {
        let Ground::Own(cluster) = &mut self.ground else { return };
        let nodes = cluster.nodes().len();
        for _ in 0..nodes {
            let Err(lost) = cluster.check() else { return };
            tracing::warn!(error = %lost, "a node ended by itself");
            self.loss.get_or_insert(lost.into());
        }
    }

    /// How far off a node's clock is.
    async fn offset(&self, node: NodeId) -> Option<stamp::Offset> {
        stamp::offset(self.cluster(), self.addresses().get(&node)?, node).await
    }

    fn cluster(&self) -> &str {
        match &self.ground {
            Ground::Own(cluster) => cluster.id(),
            Ground::Running(running) => running.cluster(),
        }
    }

    /// The nodes that run, and where they listen.
    fn addresses(&self) -> BTreeMap<NodeId, String> {
        match &self.ground {
            Ground::Own(cluster) => {
                let running = cluster.nodes().filter(|node| node.life() == Life::Running);
                running.map(|node| (node.id(), node.address().to_owned())).collect()
            }
            Ground::Running(running) => running.addresses().clone(),
        }
    }
}

async fn mend_own(cluster: &mut Cluster) -> Result<(), StageError> {
    let living = |cluster: &Cluster, life| cluster.nodes().filter(|node| node.life() == life).map(Node::id).collect::<Vec<_>>();
    for node in living(cluster, Life::Paused) {
        cluster.resume(node).await?;
    }
    if !cluster.faults().is_healed() {
        cluster.heal().await?;
    }
    for node in living(cluster, Life::Dead) {
        cluster.restart(node).await?;
    }
    Ok(cluster.wait_until_connected().await?)
}

async fn mend_running(running: &mut Running) -> Result<(), StageError> {
    if running.is_healed() {
        return Ok(()); // whoever does not see whom was so before
    }
    let mend = running.change(|faults| {
        faults.heal();
        Ok(())
    });
    mend.await?;
    let until = Instant::now() + MENDED_WITHIN;
    loop {
        let view = View::of(running.cluster(), running.addresses()).await;
        match view.first_apart(running.addresses().keys().copied()) {
            None => return Ok(()),
            Some((observer, peer)) if Instant::now() >= until => {
                return Err(StageError::StillApart { observer, peer, within: MENDED_WITHIN });
            }
            Some(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
