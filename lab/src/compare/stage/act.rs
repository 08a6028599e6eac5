//! One fault on its way through the schedule.
//!
//! ```text
//! due --> lasting --> returning --> over      only a process that was killed has to return
//!    \_______\__________________/
//! ```

use std::time::{Duration, Instant};

use quorate_ring::NodeId;

use super::evidence::{Evidence, told};
use super::stamp::Offset;
use super::view::View;
use super::{LOOK_EVERY, Made, Stage, StageError};
use crate::compare::schedule::{Planned, Target};
use crate::compare::sides::Sides;

/// How often a clock is asked before it is made wrong. Without an answer nothing can show afterwards.
const ASKED_MAX: usize = 3;
/// How long a process that was started again may take until it serves and another node sees it.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// One fault.
#[derive(Debug)]
pub(super) struct Act {
    target: Target,
    from: Instant,
    until: Instant,
    phase: Phase,
    evidence: Option<Evidence>,
    made: Made,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is to be made.
    Due,
    /// It was made, perhaps in part.
    Lasting,
    /// This process was started again at this moment.
    Returning(NodeId, Instant),
    /// Nothing is left to do.
    Over,
}

impl Act {
    /// A fault at its times after `begin`.
    pub(super) fn new(planned: &Planned, begin: Instant) -> Self {
        let (from, until) = (begin + planned.from, begin + planned.until);
        Self { target: planned.target.clone(), from, until, phase: Phase::Due, evidence: None, made: Made::default() }
    }

    /// When there is something to do next; never if it is over.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let shown = self.evidence.as_ref().is_none_or(|evidence| evidence.found().is_some());
        match self.phase {
            Phase::Due => Some(self.from),
            Phase::Lasting if shown => Some(self.until),
            Phase::Lasting => Some(self.until.min(now + LOOK_EVERY)),
            Phase::Returning(..) => Some(now + LOOK_EVERY),
            Phase::Over => None,
        }
    }

    /// Does what is due, knowing how the nodes see each other.
    pub(super) async fn step(&mut self, stage: &mut Stage<'_>, view: &View, sides: &Sides) {
        match self.phase {
            Phase::Due if view.at >= self.until => {
                self.fail(StageError::Late { target: self.target.clone() });
                self.phase = Phase::Over;
            }
            Phase::Due if view.at >= self.from => self.begin(stage, view, sides).await,
            Phase::Lasting => {
                self.search(stage, view).await;
                if view.at >= self.until {
                    self.end(stage, sides).await;
                }
            }
            Phase::Returning(node, since) => self.expect_back(node, since, view),
            Phase::Due | Phase::Over => {}
        }
    }

    /// What became of it.
    pub(super) fn made(self) -> Made {
        let mut made = self.made;
        made.took_effect = made.begin.is_some() && made.end.is_some() && made.effect.is_some() && made.trouble.is_none();
        made.effect = made.effect.filter(|_| made.took_effect);
        made
    }

    async fn begin(&mut self, stage: &mut Stage<'_>, view: &View, sides: &Sides) {
        let offset_before = match &self.target {
            Target::Skew { node, .. } => offset_at_last(stage, *node).await,
            Target::Kill(_) | Target::Pause(_) | Target::Partition(_) | Target::OneWay { .. } | Target::Slow { .. } => None,
        };
        if let Target::Partition(groups) = &self.target {
            sides.separate(groups);
        }
        match stage.make(&self.target).await {
            Ok(()) => {
                self.made.begin = Some(Instant::now());
                self.evidence = Some(Evidence::new(self.target.clone(), view.clone(), offset_before));
            }
            Err(error) => self.fail(error),
        }
        // What was made in part is to be mended, too.
        self.phase = Phase::Lasting;
    }

    async fn search(&mut self, stage: &Stage<'_>, view: &View) {
        let (Some(evidence), Some(begin)) = (&mut self.evidence, self.made.begin) else { return };
        if evidence.found().is_none() {
            evidence.look(view, view.at.saturating_duration_since(begin));
            if let Target::Skew { node, .. } = &self.target
                && let Some(offset) = stage.offset(*node).await
            {
                evidence.look_at_clock(offset);
            }
            self.made.effect = evidence.found().map(str::to_owned);
        }
    }

    async fn end(&mut self, stage: &mut Stage<'_>, sides: &Sides) {
        let undone = stage.undo(&self.target).await;
        if matches!(self.target, Target::Partition(_)) {
            sides.join();
        }
        self.phase = Phase::Over;
        match (undone, &self.target) {
            (Err(error), _) => self.fail(error),
            (Ok(()), Target::Kill(node)) => self.phase = Phase::Returning(*node, Instant::now()),
            (Ok(()), _) => self.made.end = Some(Instant::now()),
        }
    }

    /// Whether a process that was started again serves, in a new boot, and another node sees it.
    fn expect_back(&mut self, node: NodeId, since: Instant, view: &View) {
        let before = self.evidence.as_ref().and_then(|evidence| evidence.boot_before(node));
        let is_new = view.boot(node).is_some_and(|boot| before.is_none_or(|before| boot > before));
        let elapsed = view.at.saturating_duration_since(since);
        if is_new && view.observers(node).any(|observer| view.up(observer, node)) {
            self.made.end = Some(view.at);
            if let Some(effect) = &mut self.made.effect {
                effect.push_str(&format!("; it served again {} after it was started", told(elapsed)));
            }
            self.phase = Phase::Over;
        } else if elapsed >= BACK_WITHIN {
            self.fail(StageError::NotBack { node, within: BACK_WITHIN });
            self.phase = Phase::Over;
        }
    }

    /// Keeps the first trouble, which may be the reason of later ones.
    fn fail(&mut self, error: StageError) {
        tracing::warn!(kind = %self.target.kind(), target = %self.target, %error, "a fault failed");
        self.made.trouble.get_or_insert(error);
    }
}

/// How far off a node's clock is, asked until it says so, a few times at most.
async fn offset_at_last(stage: &Stage<'_>, node: NodeId) -> Option<Offset> {
    for _ in 1..ASKED_MAX {
        if let Some(offset) = stage.offset(node).await {
            return Some(offset);
        }
    }
    stage.offset(node).await
}
