//! A run drawn over time, to scale.
//!
//! ```text
//!          ms 0         200       400       600       800
//! W via n1    [================ write 2: n1+n3 ==========]
//! A via n1            [==== read 2: n1+n2 ====]
//! B via n2                                      [] read 1: n2+n3 !
//! n1 holds    1.2..............................................
//! n1>n2 lost  ######
//! ```
//!
//! A lane for each client: from call to answer, what it did, and the replicas that had answered it. Open at the right: its client never
//! learnt how it ended. A line for each replica: what it holds, from the moment somebody saw it. A line for each fault. The read that the
//! checker objects to has a sign, and an arrow to the write that it should have shown.

use std::time::Duration;

use quorate_checker::measure::report::{ArrowKind, CounterExample, Kind, Role};
use quorate_lab::story::record::{Act, Ending, Fault, Operation, Run};
use quorate_protocol::outcome::ReplicaStatus;

use super::canvas::{Canvas, Ink};
use super::judgement::Judged;

/// Columns of a line, so that it fits any terminal that is not narrow.
pub(super) const WIDTH: usize = 100;
/// Between two numbers of the axis, at least.
const TICK_COLUMNS_MIN: usize = 9;

/// Moments as columns.
#[derive(Clone, Copy, Debug)]
struct Scale {
    left: usize,
    right: usize,
    begin: Duration,
    end: Duration,
}

impl Scale {
    fn column(self, moment: Duration) -> usize {
        let since = moment.clamp(self.begin, self.end) - self.begin;
        let share = since.as_secs_f64() / (self.end - self.begin).as_secs_f64().max(f64::MIN_POSITIVE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some hundred columns")]
        let columns = (share * (self.right - self.left) as f64).round() as usize;
        self.left + columns
    }

    /// Milliseconds between the numbers of the axis: 1, 2 or 5 of a power of ten.
    fn step_ms(self) -> u64 {
        let ms = (self.end - self.begin).as_millis().max(1);
        let ticks = ((self.right - self.left) / TICK_COLUMNS_MIN).max(1) as u128;
        let mut power = 1;
        loop {
            for step in [power, 2 * power, 5 * power] {
                if u128::from(step) * ticks >= ms {
                    return step;
                }
            }
            power *= 10;
        }
    }
}

/// The drawing of a run.
pub(super) fn draw(judged: &Judged) -> Canvas {
    let run = &judged.run;
    let faults = faults(run);
    let lanes: Vec<usize> = (0..run.clients.len()).filter(|client| played(run).any(|(_, operation)| operation.client == *client)).collect();
    let names: Vec<String> = lanes.iter().map(|client| lane_name(run, *client)).collect();
    let left = names.iter().chain(faults.iter().map(|(name, _)| name)).map(|name| name.chars().count()).max().unwrap_or(0).max(8) + 2;
    let scale = Scale { left, right: WIDTH - 2, begin: run.begin, end: last_moment(run) };
    let mut drawing = Drawing { judged, scale, canvas: Canvas::default(), rows: vec![(0, 0); run.operations.len()] };
    drawing.axis();
    let arrow = missed(judged);
    for (client, name) in lanes.iter().zip(&names) {
        drawing.lane(*client, name, arrow);
    }
    if let Some((read, write)) = arrow {
        drawing.arrow(read, write);
    }
    drawing.copies();
    drawing.faults(&faults);
    drawing.canvas
}

/// The operations of the run itself, without its preparation.
fn played(run: &Run) -> impl Iterator<Item = (usize, &Operation)> {
    run.operations.iter().enumerate().filter(|(_, operation)| operation.end > run.begin)
}

fn lane_name(run: &Run, client: usize) -> String {
    let mut asked: Vec<_> = played(run).filter(|(_, operation)| operation.client == client).map(|(_, operation)| operation.via).collect();
    asked.dedup();
    let asked: Vec<String> = asked.into_iter().flatten().map(|node| node.to_string()).collect();
    if asked.is_empty() { run.clients[client].clone() } else { format!("{} via {}", run.clients[client], asked.join(", ")) }
}

fn last_moment(run: &Run) -> Duration {
    let ends = played(run).map(|(_, operation)| operation.end);
    let copies = run.copies.iter().filter_map(|copies| copies.seen.last().map(|(since, _)| *since));
    let faults = run.faults.iter().map(|fault| fault.begin.max(fault.end.unwrap_or(fault.begin)));
    let last = ends.chain(copies).chain(faults).max().unwrap_or(run.end);
    last + (last - run.begin.min(last)) / 20
}

/// The faults by name, those of one name together.
fn faults(run: &Run) -> Vec<(String, Vec<&Fault>)> {
    let mut named: Vec<(String, Vec<&Fault>)> = Vec::new();
    for fault in &run.faults {
        let name = match fault.kind {
            "one-way" => format!("{} lost", fault.target),
            "kill" => format!("{} dead", fault.target),
            "slow" => fault.target.replace(" +", " late "),
            _ => fault.target.clone(),
        };
        match named.iter_mut().find(|(other, _)| *other == name) {
            Some((_, faults)) => faults.push(fault),
            None => named.push((name, vec![fault])),
        }
    }
    named
}

/// The read that the checker objects to first, and the write that it should have shown; as positions in the record.
fn missed(judged: &Judged) -> Option<(usize, usize)> {
    let example = judged.measured.counter_examples.first()?;
    let position = |at: usize| {
        let mut recorded = judged.run.operations.iter().enumerate().filter(|(_, operation)| operation.act != Act::Ask);
        recorded.nth(at).map(|(position, _)| position)
    };
    let (read, write) = missed_by(example)?;
    Some((position(read)?, position(write)?))
}

/// The same by positions in the history. A read that went back misses what an earlier one saw, acknowledged or not.
fn missed_by(example: &CounterExample) -> Option<(usize, usize)> {
    if let Some(arrow) = example.arrows.iter().find(|arrow| arrow.kind == ArrowKind::Missed) {
        return Some((arrow.from, arrow.to));
    }
    let mut reads = example.operations.iter().filter(|operation| operation.kind == Kind::Read && operation.role == Role::Proof);
    let last = reads.by_ref().max_by_key(|read| read.begin_ns)?;
    let saw = |read: usize| example.arrows.iter().filter(move |arrow| arrow.kind == ArrowKind::Saw && arrow.from == read);
    let earlier = example.operations.iter().filter(|operation| operation.kind == Kind::Read && operation.at != last.at);
    let newest = earlier.flat_map(|read| saw(read.at)).map(|arrow| arrow.to).find(|write| saw(last.at).all(|arrow| arrow.to != *write))?;
    Some((last.at, newest))
}

/// What an operation did and was told, in a few words.
pub(super) fn label(run: &Run, operation: &Operation) -> String {
    let values = || if operation.values.is_empty() { "nothing".to_owned() } else { operation.values.join(" + ") };
    let did = match (&operation.act, operation.ending) {
        (Act::Read, Ending::Ok) => format!("read {}", values()),
        (Act::Read, _) => "read".to_owned(),
        (Act::Write { value, .. }, _) => format!("write {value}"),
        (Act::Cas { expect, value }, _) => format!("cas {} -> {value}", expect.as_deref().unwrap_or("absent")),
        (Act::Increment { by }, Ending::Ok) => format!("incr {by:+} = {}", values()),
        (Act::Increment { by }, _) => format!("incr {by:+}"),
        (Act::Ask, Ending::Ok) => format!("outcome? applied: {}", values()),
        (Act::Ask, _) => "outcome?".to_owned(),
    };
    let has_others = run.operations.iter().any(|other| other.key != operation.key);
    let key = if has_others { operation.key.rsplit(['/']).next().unwrap_or_default() } else { "" };
    let did = if has_others { format!("{}: {did}", key.split(':').next().unwrap_or_default()) } else { did };
    match operation.ending {
        Ending::Ok => {
            let answered = operation.receipt.iter().flat_map(|receipt| &receipt.replicas);
            let mut answered: Vec<_> =
                answered.filter(|report| report.status == ReplicaStatus::Answered).map(|report| report.node).collect();
            answered.sort_unstable();
            let answered: Vec<String> = answered.iter().map(ToString::to_string).collect();
            if answered.is_empty() { did } else { format!("{did}: {}", answered.join("+")) }
        }
        Ending::Conflict => format!("{did}: no, it is {}", values()),
        Ending::Refused => format!("{did}: refused"),
        Ending::Unknown => format!("{did}: outcome unknown"),
    }
}

fn ink(operation: &Operation) -> Ink {
    match (&operation.act, operation.ending) {
        (_, Ending::Refused | Ending::Conflict) => Ink::Fault,
        (_, Ending::Unknown) => Ink::Wrong,
        (Act::Read | Act::Ask, Ending::Ok) => Ink::Read,
        (Act::Write { .. } | Act::Cas { .. } | Act::Increment { .. }, Ending::Ok) => Ink::Write,
    }
}

struct Drawing<'a> {
    judged: &'a Judged,
    scale: Scale,
    canvas: Canvas,
    /// Row and first column of each operation that was drawn.
    rows: Vec<(usize, usize)>,
}

impl Drawing<'_> {
    fn axis(&mut self) {
        let row = self.canvas.line();
        self.canvas.put(row, self.scale.left - "ms ".len(), "ms", Ink::Faint);
        let step = Duration::from_millis(self.scale.step_ms());
        let mut moment = Duration::ZERO;
        while self.scale.begin + moment <= self.scale.end {
            let text = moment.as_millis().to_string();
            let column = self.scale.column(self.scale.begin + moment);
            if column + text.len() <= WIDTH {
                self.canvas.put(row, column, &text, Ink::Faint);
            }
            moment += step;
        }
    }

    /// A client's operations, on as many lines as their words need; above them a free line if an arrow ends here.
    fn lane(&mut self, client: usize, name: &str, arrow: Option<(usize, usize)>) {
        let run = &self.judged.run;
        if arrow.is_some_and(|(read, _)| run.operations[read].client == client) {
            self.canvas.line();
        }
        let first = self.canvas.line();
        self.canvas.put(first, 0, name, Ink::Plain);
        let mut operations: Vec<(usize, &Operation)> = played(run).filter(|(_, operation)| operation.client == client).collect();
        operations.sort_by_key(|(_, operation)| operation.call);
        for (at, operation) in operations {
            let is_wrong = arrow.is_some_and(|(read, _)| read == at);
            let row = (first..self.canvas.height()).find(|row| self.fits(*row, operation, is_wrong));
            let row = row.unwrap_or_else(|| self.canvas.line());
            self.operation(row, at, operation, is_wrong);
        }
        for pause in run.pauses.iter().filter(|pause| pause.client == client) {
            let (from, to) = (self.scale.column(pause.begin) + 1, self.scale.column(pause.end));
            let text = format!("{:~^width$}", format!(" {} ", pause.why), width = to.saturating_sub(from));
            let columns = from..from + text.chars().count();
            let row = (first..self.canvas.height()).find(|row| self.canvas.is_free(*row, columns.clone()));
            let row = row.unwrap_or_else(|| self.canvas.line());
            self.canvas.put(row, from, &text, Ink::Fault);
        }
    }

    /// First and last column of an operation's bar, and its words with their column.
    fn place(&self, operation: &Operation, is_wrong: bool) -> (usize, usize, String, usize) {
        let (from, to) = (self.scale.column(operation.call), self.scale.column(operation.end));
        let to = if operation.ending == Ending::Unknown { self.scale.right } else { to.max(from + 1) };
        let words = format!("{}{}", label(&self.judged.run, operation), if is_wrong { " !" } else { "" });
        let length = words.chars().count();
        let column = if to - from >= length + 5 {
            from + (to - from + 1 - length) / 2
        } else if to + 2 + length <= WIDTH {
            to + 2
        } else {
            from.saturating_sub(length + 1).max(self.scale.left)
        };
        (from, to, words, column)
    }

    fn fits(&self, row: usize, operation: &Operation, is_wrong: bool) -> bool {
        let (from, to, words, column) = self.place(operation, is_wrong);
        let end = column + words.chars().count();
        self.canvas.is_free(row, from..to + 1) && self.canvas.is_free(row, column.saturating_sub(1)..end + 1)
    }

    fn operation(&mut self, row: usize, at: usize, operation: &Operation, is_wrong: bool) {
        let (from, to, words, column) = self.place(operation, is_wrong);
        let ink = if is_wrong { Ink::Wrong } else { ink(operation) };
        let (inner, close) = match operation.ending {
            Ending::Ok => ("=", "]"),
            Ending::Conflict | Ending::Refused => ("-", "]"),
            Ending::Unknown => (".", ">"),
        };
        let bar = format!("[{}{close}", inner.repeat(to - from - 1));
        self.canvas.put(row, from, &bar, ink);
        let is_inside = column > from && column < to;
        self.canvas.put(row, column, &if is_inside { format!(" {words} ") } else { words }, ink);
        self.rows[at] = (row, from);
    }

    /// From the read up to the write.
    fn arrow(&mut self, read: usize, write: usize) {
        let ((bottom, from), (top, _)) = (self.rows[read], self.rows[write]);
        if top >= bottom || bottom == 0 || from == 0 || top == 0 {
            return;
        }
        let written = &self.judged.run.operations[write];
        let (begin, end) = (self.scale.column(written.call), self.scale.column(written.end));
        let turn = bottom - 1;
        // The nearest column of the write from which nothing stands in the way.
        let is_open = |column: &usize| (top + 1..turn).all(|row| self.canvas.is_free(row, column - 1..column + 2));
        let Some(column) = (begin..=end.max(begin + 1)).filter(is_open).min_by_key(|column| column.abs_diff(from)) else { return };
        let (low, high) = (column.min(from), column.max(from));
        self.canvas.put(turn, low, &"-".repeat(high - low + 1), Ink::Wrong);
        for row in top + 1..turn {
            self.canvas.put(row, column, "|", Ink::Wrong);
        }
        self.canvas.put(turn, column, "+", Ink::Wrong);
        self.canvas.put(turn, from, "+", Ink::Wrong);
        self.canvas.put(top + 1, column, "^", Ink::Wrong);
        let words = "should have shown this";
        if high + 2 + words.len() <= WIDTH {
            self.canvas.put(turn, high + 2, words, Ink::Wrong);
        }
    }

    fn copies(&mut self) {
        for copies in &self.judged.run.copies {
            let row = self.canvas.line();
            self.canvas.put(row, 0, &format!("{} holds", copies.node), Ink::Faint);
            self.canvas.put(row, self.scale.left, &".".repeat(self.scale.right - self.scale.left), Ink::Faint);
            for (since, values) in &copies.seen {
                let text = if values.is_empty() { "nothing".to_owned() } else { values.join("+") };
                let column = self.scale.column(*since);
                if column < self.scale.right {
                    self.canvas.put(row, column, &".".repeat(self.scale.right - column), Ink::Faint);
                    self.canvas.put(row, column, &text, Ink::Plain);
                }
            }
            // Nobody can look at the copy of a dead node.
            for fault in self.judged.run.faults.iter().filter(|fault| fault.kind == "kill" && fault.target == copies.node.to_string()) {
                let (from, to) = (self.scale.column(fault.begin), fault.end.map_or(self.scale.right, |end| self.scale.column(end)));
                self.canvas.put(row, from, &" ".repeat(to - from), Ink::Plain);
            }
        }
    }

    fn faults(&mut self, faults: &[(String, Vec<&Fault>)]) {
        for (name, faults) in faults {
            let row = self.canvas.line();
            self.canvas.put(row, 0, name, Ink::Fault);
            for fault in faults {
                let (from, to) = (self.scale.column(fault.begin), fault.end.map_or(self.scale.right, |end| self.scale.column(end)));
                self.canvas.put(row, from, &"#".repeat((to - from).max(1)), Ink::Fault);
            }
        }
    }
}

#[cfg(test)]
mod tests;
