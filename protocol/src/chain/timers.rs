//! The timers of one proposer: one of each kind under way, however many operations and rounds come and go before it fires.
//!
//! A timer cannot be taken back; one that was set for a round fires in a later one. So what fires is compared with what is due, and is set
//! again if it came early.

use crate::ids::Tick;
use crate::machine::{Effect, Outbox, Timer};

/// When what is due, and which timers are under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timers {
    /// When the present round is to be sent again.
    resend_due: Tick,
    resend_armed: bool,
    /// The earliest deadline timer under way.
    deadline_armed: Option<Tick>,
}

impl Timers {
    /// The present round is to be sent again at `at`, unless it is over by then.
    pub(super) fn resend_at<A>(&mut self, at: Tick, out: &mut Outbox<A>) {
        self.resend_due = at;
        if !self.resend_armed {
            self.resend_armed = true;
            out.push(Effect::SetTimer { timer: Timer::Resend, at });
        }
    }

    /// Upon the resend timer: whether what it was set for is due. If not, it is set again.
    pub(super) fn resend_fired<A>(&mut self, now: Tick, out: &mut Outbox<A>) -> bool {
        self.resend_armed = false;
        if now < self.resend_due {
            self.resend_at(self.resend_due, out);
            return false;
        }
        true
    }

    /// Some operation must be answered by `at`.
    pub(super) fn deadline_at<A>(&mut self, at: Tick, out: &mut Outbox<A>) {
        if self.deadline_armed.is_none_or(|armed| at < armed) {
            self.deadline_armed = Some(at);
            out.push(Effect::SetTimer { timer: Timer::Deadline, at });
        }
    }

    /// Upon the deadline timer.
    pub(super) fn deadline_fired(&mut self, now: Tick) {
        self.deadline_armed = self.deadline_armed.filter(|armed| now < *armed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(out: &mut Outbox<()>) -> Vec<Tick> {
        out.drain().into_iter().filter_map(|effect| if let Effect::SetTimer { at, .. } = effect { Some(at) } else { None }).collect()
    }

    #[test]
    fn rounds_that_follow_each_other_share_one_resend_timer() {
        let (mut timers, mut out) = (Timers::default(), Outbox::default());
        (10..20).for_each(|at| timers.resend_at(Tick(at), &mut out));
        assert_eq!(set(&mut out), [Tick(10)]);
        assert!(!timers.resend_fired(Tick(10), &mut out), "it was set for a round that is over");
        assert_eq!(set(&mut out), [Tick(19)]);
        assert!(timers.resend_fired(Tick(19), &mut out));
    }

    #[test]
    fn only_an_earlier_deadline_needs_a_timer_of_its_own() {
        let (mut timers, mut out) = (Timers::default(), Outbox::default());
        [30, 40, 20].into_iter().for_each(|at| timers.deadline_at(Tick(at), &mut out));
        assert_eq!(set(&mut out), [Tick(30), Tick(20)]);
        timers.deadline_fired(Tick(20));
        timers.deadline_at(Tick(40), &mut out);
        assert_eq!(set(&mut out), [Tick(40)]);
    }
}
