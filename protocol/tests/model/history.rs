//! What the clients saw, and whether one register could have shown it to them.
//!
//! **The register** holds a set of live values. A put replaces them all, a compare-and-set does if its expectation holds, an eventual put
//! replaces those that its coordinator had seen and joins the others.
//!
//! **Order.** An operation that was answered comes before all that were begun after its answer. Two eventual puts are exempt: concurrent
//! dots are not ordered by time. What was not answered, or as unknown, comes any time after its beginning, or never; what was answered as
//! not applied, never. Further, an eventual put comes after what it replaced, and the changes of one client in the order in which it
//! sent them.
//!
//! The search tries every order: histories here have a handful of operations.

/// What a client does to the key. Values are numbers below 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Do {
    /// A linearizable read.
    Get,
    /// A linearizable put.
    Put(u8),
    /// A linearizable delete.
    Delete,
    /// A compare-and-set that expects no value.
    CasAbsent(u8),
    /// A compare-and-set that expects exactly this value.
    Cas(u8, u8),
    /// A compare-and-set that expects the version of a key that was never changed.
    CasUnchanged(u8),
    /// Adds one to the value; none counts as 0.
    Increment,
    /// An eventual put at `quorum`, in place of what its coordinator has seen.
    EventualPut(u8),
    /// An eventual read at `quorum`. Not a part of the register's history.
    EventualGet,
}

impl Do {
    /// True for what goes through a round by itself, under the client's operation id.
    pub(crate) fn is_change(self) -> bool {
        !matches!(self, Self::Get | Self::EventualPut(_) | Self::EventualGet)
    }
}

/// A set of values.
pub(crate) type Values = u64;

/// What a client was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// Nothing so far, or that nothing is known: it may have an effect at any time.
    None,
    /// It has no effect and never will.
    Never,
    /// It changed the key; an increment tells the number it made.
    Applied(Option<u8>),
    /// Its expectation did not hold; the values there, unless this was recorded by an earlier sending.
    Failed(Option<Values>),
    /// The values read.
    Read(Values),
}

/// One operation that a client began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    pub(crate) what: Do,
    pub(crate) client: u8,
    /// Operations that were answered before it began, by their index.
    pub(crate) after: u16,
    /// To an eventual put: the values that its coordinator had seen.
    pub(crate) replaced: Values,
    pub(crate) answer: Answer,
}

impl Event {
    /// True when its client can rest on what it was answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer != Answer::None
    }

    fn is_eventual(&self) -> bool {
        matches!(self.what, Do::EventualPut(_))
    }

    fn has_effect_surely(&self) -> bool {
        matches!(self.answer, Answer::Applied(_) | Answer::Failed(_) | Answer::Read(_))
    }
}

/// Whether some order of the operations explains all answers. `None` stands for an operation that has not begun.
pub(crate) fn is_linearizable(events: &[Option<Event>]) -> bool {
    let events: Vec<Option<Event>> =
        events.iter().map(|event| event.filter(|event| event.answer != Answer::Never && event.what != Do::EventualGet)).collect();
    search(&events, Register { done: 0, live: 0, changed: false })
}

#[derive(Clone, Copy)]
struct Register {
    /// Operations that have taken effect.
    done: u16,
    live: Values,
    changed: bool,
}

fn search(events: &[Option<Event>], register: Register) -> bool {
    let begun = || events.iter().enumerate().filter_map(|(at, event)| event.as_ref().map(|event| (at, event)));
    let is_over = begun().all(|(at, event)| !event.has_effect_surely() || register.done >> at & 1 == 1);
    is_over
        || begun()
            .filter(|(at, event)| register.done >> at & 1 == 0 && may_come_next(events, register, *at, event))
            .any(|(at, event)| apply(event, register).is_some_and(|next| search(events, Register { done: next.done | 1 << at, ..next })))
}

fn may_come_next(events: &[Option<Event>], register: Register, at: usize, event: &Event) -> bool {
    events.iter().enumerate().all(|(other_at, other)| {
        let Some(other) = other else { return true };
        let done = register.done >> other_at & 1 == 1;
        let in_time = event.after >> other_at & 1 == 1 && !(event.is_eventual() && other.is_eventual());
        let replaced = event.is_eventual() && value_of(other.what).is_some_and(|value| event.replaced >> value & 1 == 1);
        let lane = other.client == event.client && other.what.is_change() && event.what.is_change();
        (done || !(in_time || replaced)) && !(done && lane && other_at > at)
    })
}

fn value_of(what: Do) -> Option<u8> {
    match what {
        Do::Put(value) | Do::CasAbsent(value) | Do::Cas(_, value) | Do::CasUnchanged(value) | Do::EventualPut(value) => Some(value),
        Do::Get | Do::Delete | Do::Increment | Do::EventualGet => None,
    }
}

/// The register after the operation; `None` if it would have been answered otherwise.
fn apply(event: &Event, register: Register) -> Option<Register> {
    let put = |value: u8| Register { live: 1 << value, changed: true, ..register };
    let applied = |next: Register| matches!(event.answer, Answer::Applied(_) | Answer::None).then_some(next);
    let cas = |holds: bool, value: u8| match event.answer {
        Answer::Failed(seen) => (!holds && seen.is_none_or(|seen| seen == register.live)).then_some(register),
        Answer::None if !holds => None,
        _ if holds => applied(put(value)),
        _ => None,
    };
    match event.what {
        Do::Get => (event.answer == Answer::Read(register.live)).then_some(register),
        Do::Put(value) => applied(put(value)),
        Do::Delete => applied(Register { live: 0, changed: true, ..register }),
        Do::CasAbsent(value) => cas(register.live == 0, value),
        Do::Cas(expected, value) => cas(register.live == 1 << expected, value),
        Do::CasUnchanged(value) => cas(!register.changed, value),
        Do::Increment => {
            let number = if register.live == 0 { 1 } else { u8::try_from(register.live.trailing_zeros()).ok()? + 1 };
            let answered = matches!(event.answer, Answer::None) || event.answer == Answer::Applied(Some(number));
            answered.then(|| put(number))
        }
        Do::EventualPut(value) => applied(Register { live: register.live & !event.replaced | 1 << value, changed: true, ..register }),
        Do::EventualGet => None,
    }
}

#[cfg(test)]
mod tests {
    use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

    use super::*;

    fn event(client: u8, what: Do, after: u16, answer: Answer) -> Option<Event> {
        Some(Event { what, client, after, replaced: 0, answer })
    }

    const DONE: Answer = Answer::Applied(None);

    #[test]
    fn reads_do_not_go_back_and_a_lost_answer_may_mean_anything() {
        let put = event(0, Do::Put(1), 0, Answer::None);
        let new = event(1, Do::Get, 0, Answer::Read(1 << 1));
        assert!(is_linearizable(&[put, new, event(2, Do::Get, 0b10, Answer::Read(1 << 1))]));
        assert!(!is_linearizable(&[put, new, event(2, Do::Get, 0b10, Answer::Read(0))]));
        assert!(is_linearizable(&[put, new, event(2, Do::Get, 0, Answer::Read(0))]), "they overlap");
        assert!(!is_linearizable(&[event(0, Do::Put(1), 0, Answer::Never), new]));
    }

    #[test]
    fn a_failed_compare_and_set_saw_what_was_there() {
        let put = event(0, Do::Put(1), 0, DONE);
        assert!(is_linearizable(&[put, event(1, Do::CasAbsent(2), 1, Answer::Failed(Some(1 << 1)))]));
        assert!(!is_linearizable(&[put, event(1, Do::CasAbsent(2), 1, Answer::Failed(Some(0)))]));
        assert!(!is_linearizable(&[put, event(1, Do::CasAbsent(2), 1, DONE)]));
        assert!(!is_linearizable(&[put, event(1, Do::CasUnchanged(2), 1, DONE)]));
    }

    #[test]
    fn an_increment_counts_once() {
        let once = event(0, Do::Increment, 0, Answer::Applied(Some(1)));
        assert!(is_linearizable(&[once, event(1, Do::Get, 1, Answer::Read(1 << 1))]));
        assert!(!is_linearizable(&[once, event(1, Do::Get, 1, Answer::Read(1 << 2))]));
    }

    /// T15: the second of two eventual puts may be seen before the first, by one who overlaps with neither's order.
    #[test]
    fn eventual_puts_are_not_ordered_by_time_among_themselves() {
        let first = event(0, Do::EventualPut(1), 0, DONE);
        let second = event(0, Do::EventualPut(2), 0b1, DONE);
        let early = event(1, Do::Get, 0, Answer::Read(1 << 2));
        assert!(is_linearizable(&[first, second, early, event(1, Do::Get, 0b111, Answer::Read(1 << 1 | 1 << 2))]));
        assert!(!is_linearizable(&[first, second, early, event(1, Do::Get, 0b111, Answer::Read(1 << 2))]), "it replaced nothing");
        assert!(!is_linearizable(&[first, event(0, Do::Delete, 0b1, DONE), event(1, Do::Get, 0b11, Answer::Read(1 << 1))]));
    }

    #[test]
    fn a_client_that_went_on_has_given_up_what_came_before() {
        let events = [
            event(0, Do::Put(1), 0, Answer::None),
            event(0, Do::Put(2), 0, DONE),
            event(1, Do::Get, 0b10, Answer::Read(1 << 2)),
            event(1, Do::Get, 0b110, Answer::Read(1 << 1)),
        ];
        assert!(!is_linearizable(&events));
    }

    /// Somebody else's tester, over every history of three clients that each put or read once: it knows no lost answers and no siblings.
    #[test]
    fn stateright_judges_alike() {
        let kinds = [
            (Do::Put(1), DONE),
            (Do::Put(2), DONE),
            (Do::Get, Answer::Read(0)),
            (Do::Get, Answer::Read(1 << 1)),
            (Do::Get, Answer::Read(1 << 2)),
        ];
        let mut verdicts = [0, 0];
        for order in orders(&mut Vec::new()) {
            for choice in 0..kinds.len().pow(3) {
                let chosen = |client: usize| kinds[choice / kinds.len().pow(u32::try_from(client).expect("small")) % kinds.len()];
                let (mut events, mut tester, mut answered) = (vec![None; 3], LinearizabilityTester::new(Theirs(0)), 0);
                for &client in &order {
                    let (what, answer) = chosen(client);
                    if events[client].is_none() {
                        events[client] = event(u8::try_from(client).expect("small"), what, answered, answer);
                        tester.on_invoke(client, what).expect("one at a time");
                    } else {
                        answered |= 1 << client;
                        tester.on_return(client, answer).expect("after its call");
                    }
                }
                assert_eq!(is_linearizable(&events), tester.is_consistent(), "{events:?}");
                verdicts[usize::from(tester.is_consistent())] += 1;
            }
        }
        assert!(verdicts.iter().all(|count| *count > 1_000), "both are common: {verdicts:?}");
    }

    /// Every order of three calls and their returns; a client's first mention is its call.
    fn orders(begun: &mut Vec<usize>) -> Vec<Vec<usize>> {
        if begun.len() == 6 {
            return vec![begun.clone()];
        }
        let mut all = Vec::new();
        for client in 0..3 {
            if begun.iter().filter(|other| **other == client).count() < 2 {
                begun.push(client);
                all.extend(orders(begun));
                begun.pop();
            }
        }
        all
    }

    #[derive(Clone, Debug)]
    struct Theirs(Values);

    impl SequentialSpec for Theirs {
        type Op = Do;
        type Ret = Answer;

        fn invoke(&mut self, what: &Do) -> Answer {
            match value_of(*what) {
                Some(value) => {
                    self.0 = 1 << value;
                    DONE
                }
                None => Answer::Read(self.0),
            }
        }
    }
}
