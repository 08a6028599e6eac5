//! What `report.json` holds, type by type.
//!
//! `docs/report-format.md` says what each member means, in which unit, and when it is null; the names are the same. Nothing is left out
//! when it is written, so a reader may rely on every member being there.
//!
//! Times are [`Nanos`]: a name that ends in `begin_ns`, `end_ns` or `at_ns` is a moment on the clock of its level's history, any
//! other a duration.

use serde::{Deserialize, Serialize};

use crate::history::Nanos;

/// The format that is written.
pub const FORMAT: u32 = 1;

macro_rules! data {
    ($(#[$doc:meta])* struct $name:ident { $($(#[$of:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name { $($(#[$of])* pub $field: $type,)* }
    };
    ($(#[$doc:meta])* enum $name:ident { $($(#[$of:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$of])* $variant,)* }
    };
}

data! {
    /// The whole report.
    struct Report {
        /// [`FORMAT`].
        format: u32,
        /// The program's version.
        version: String,
        /// What was done.
        run: Run,
        /// The worst of the levels' verdicts.
        verdict: Verdict,
        /// [`Verdict::exit`].
        exit: u8,
        /// In the order in which they ran.
        levels: Vec<Level>,
        /// Every pair, the later against the earlier.
        ratios: Vec<Ratio>,
    }
}

data! {
    /// What was done, the same for every level.
    struct Run {
        /// In decimal: it may be above 2^53.
        seed: String,
        /// Planned length of the measured window.
        seconds: f64,
        /// Nodes of the cluster.
        nodes: u32,
        /// Home replicas per key.
        replicas: u8,
        /// Clients.
        clients: u32,
        /// Keys.
        keys: u64,
        /// Operations a second that were due; `None` is a closed loop.
        rate: Option<f64>,
        /// Such as `50r40w10c`.
        mix: String,
        /// The running cluster that was used; `None` is one of its own.
        cluster: Option<String>,
        /// RFC 3339.
        started: Option<String>,
        /// Names of levels.
        levels: Vec<String>,
        /// The schedule.
        faults: Vec<PlannedFault>,
    }
}

data! {
    /// A fault of the schedule. Seconds count from the begin of the window.
    struct PlannedFault {
        /// `kill`, `pause`, `partition`, `one-way`, `slow`, `skew`.
        kind: String,
        /// For people.
        target: String,
        /// From then on.
        from_s: f64,
        /// Until then.
        until_s: f64,
    }
}

data! {
    /// A level, or the whole report, in a word.
    enum Verdict {
        /// Its own promise was kept, in a run that was what it was to be.
        Kept,
        /// Nobody knows.
        Undecided,
        /// The run did not do what it was to.
        Invalid,
        /// Its own promise was broken.
        Violation,
    }
}

impl Verdict {
    /// The exit code of a run: 0, 8, 1, 9.
    #[must_use]
    pub fn exit(self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Undecided => 8,
            Self::Invalid => 1,
            Self::Violation => 9,
        }
    }

    /// The worse of two.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let badness = |verdict| match verdict {
            Self::Kept => 0,
            Self::Undecided => 1,
            Self::Invalid => 2,
            Self::Violation => 3,
        };
        if badness(other) > badness(self) { other } else { self }
    }
}

data! {
    /// All that is measured of one level.
    struct Level {
        /// As asked for.
        name: String,
        /// The name as part of a file name.
        slug: String,
        /// The level of reads, without `+session`.
        read: String,
        /// The level of writes, without `+session`.
        write: String,
        /// Whether each client had a session.
        session: bool,
        /// Name of the history's file.
        history: String,
        /// The verdict on its own promise.
        verdict: Verdict,
        /// Why the run was not what it was to be, in sentences.
        invalid: Vec<String>,
        /// What was measured.
        window: Window,
        /// What became of the schedule.
        faults: Vec<Fault>,
        /// Its own promise.
        promise: Promise,
        /// Held to linearizability.
        linearizability: Linearizability,
        /// How far behind reads were.
        staleness: Staleness,
        /// How far from linearizable.
        gamma: Gamma,
        /// P(fresh | t).
        freshness: Freshness,
        /// Session guarantees.
        sessions: Sessions,
        /// Read-modify-writes that replaced what their read had not seen.
        lost_updates: Rate,
        /// Writes that were gone at the end.
        lost_writes: Rate,
        /// Siblings.
        siblings: Siblings,
        /// Compare-and-sets that found something else.
        conflicts: Rate,
        /// Outcomes.
        operations: Operations,
        /// Outcomes over time.
        availability: Availability,
        /// How long operations took.
        latency: Latency,
        /// What an operation cost the cluster.
        cost: Cost,
        /// The most telling first.
        counter_examples: Vec<CounterExample>,
    }
}

data! {
    /// An interval of a history's clock. What is due at its end is outside.
    #[derive(Copy, Eq)]
    struct Window {
        /// The begin.
        begin_ns: Nanos,
        /// The end.
        end_ns: Nanos,
    }
}

data! {
    /// A fault as it was made.
    struct Fault {
        /// As planned.
        kind: String,
        /// As planned.
        target: String,
        /// When it was made.
        begin_ns: Option<Nanos>,
        /// When it was mended.
        end_ns: Option<Nanos>,
        /// Whether it was seen to take effect.
        took_effect: bool,
        /// What showed that.
        effect: Option<String>,
    }
}

data! {
    /// A level's own promise in a word.
    enum PromiseVerdict {
        /// Kept.
        Kept,
        /// Broken.
        Violation,
        /// The search reached its limit, or the recorder found something broken that no history shows.
        Undecided,
        /// There was nothing to judge.
        Empty,
    }
}

data! {
    /// What became of a level's own promise.
    struct Promise {
        /// In a word.
        verdict: PromiseVerdict,
        /// What it promises, each in a word.
        promised: Vec<String>,
        /// What was checked.
        checks: Vec<Check>,
        /// The first violations, in sentences.
        words: Vec<String>,
    }
}

data! {
    /// One check of a promise.
    struct Check {
        /// Its name.
        check: String,
        /// Cases judged.
        judged: u64,
        /// Those that broke it.
        violations: u64,
    }
}

data! {
    /// What became of linearizability.
    struct Linearizability {
        /// In a word.
        verdict: LinearizabilityVerdict,
        /// Operations judged.
        operations: u64,
        /// Keys by what is known of them.
        keys: Keys,
        /// Why not.
        words: Option<String>,
    }
}

data! {
    /// Linearizable or not.
    enum LinearizabilityVerdict {
        /// Every key is.
        Linearizable,
        /// At least one is not.
        Violation,
        /// None is known not to be, but of one nobody knows.
        Undecided,
    }
}

data! {
    /// Keys by what is known of them.
    struct Keys {
        /// All with operations.
        total: u64,
        /// Linearizable.
        linearizable: u64,
        /// Not linearizable.
        violated: u64,
        /// Nobody knows.
        undecided: u64,
    }
}

data! {
    /// So often in so many cases.
    #[derive(Copy)]
    struct Rate {
        /// Cases.
        judged: u64,
        /// So often.
        count: u64,
        /// The share; `None` without cases.
        percent: Option<f64>,
    }
}

data! {
    /// Values that occurred, or none.
    #[derive(Copy, Eq)]
    struct Quantiles {
        /// Half of the cases did not exceed it.
        p50: Option<u64>,
        /// 99 of 100 cases did not exceed it.
        p99: Option<u64>,
        /// The greatest.
        max: Option<u64>,
    }
}

data! {
    /// How far behind reads were.
    struct Staleness {
        /// Reads judged, and stale ones.
        reads: Rate,
        /// Reads of values that nobody or several wrote.
        unjudged: u64,
        /// Of stale reads.
        age_ns: Quantiles,
        /// Of stale reads.
        versions: Quantiles,
    }
}

data! {
    /// How far from linearizable keys were.
    struct Gamma {
        /// Keys with operations.
        keys: u64,
        /// Those with a number.
        measured: u64,
        /// Those that no widening makes linearizable.
        never: u64,
        /// Those that cannot be measured.
        unmeasured: u64,
        /// Measured keys above 0.
        above_zero: u64,
        /// Over the measured keys.
        ns: Quantiles,
    }
}

data! {
    /// P(fresh | t after the last acknowledgement).
    struct Freshness {
        /// As it was.
        measured: Vec<Step>,
        /// As it was to be expected.
        predicted: Option<Predicted>,
    }
}

data! {
    /// Reads by the time since the last acknowledgement.
    struct Step {
        /// Later than this.
        from_ns: Nanos,
        /// At most this; `None` is any time.
        within_ns: Option<Nanos>,
        /// Reads.
        reads: u64,
        /// Those that were fresh.
        fresh: u64,
        /// Their share.
        percent: f64,
        /// Not less than this, with 95 % confidence.
        low_percent: f64,
        /// Not more than this, with 95 % confidence.
        high_percent: f64,
        /// The mean prediction for these reads.
        predicted_percent: Option<f64>,
    }
}

data! {
    /// A predicted curve and what it was made from.
    struct Predicted {
        /// Home replicas.
        n: u8,
        /// Replies a read waits for.
        r: u8,
        /// Acknowledgements a write waits for.
        w: u8,
        /// Trials.
        trials: u64,
        /// The delays measured.
        delays: Delays,
        /// To be joined by straight lines.
        points: Vec<Point>,
    }
}

data! {
    /// One-way delays.
    struct Delays {
        /// Of writes to replicas.
        write: Delay,
        /// Of their acknowledgements.
        ack: Delay,
        /// Of reads to replicas.
        read: Delay,
        /// Of their replies.
        reply: Delay,
    }
}

data! {
    /// One kind of delay.
    struct Delay {
        /// How many were measured.
        samples: u64,
        /// Half of them did not exceed it.
        p50_ns: Option<Nanos>,
        /// 99 of 100 did not exceed it.
        p99_ns: Option<Nanos>,
        /// The greatest.
        max_ns: Option<Nanos>,
    }
}

data! {
    /// A point of a curve.
    struct Point {
        /// Time since the acknowledgement.
        t_ns: Nanos,
        /// P(fresh).
        percent: f64,
    }
}

data! {
    /// Session guarantees, whether promised or not.
    struct Sessions {
        /// Reads after an own write.
        read_your_writes: Rate,
        /// Reads after an own read.
        monotonic_reads: Rate,
    }
}

data! {
    /// Siblings.
    struct Siblings {
        /// Values that somebody saw beside one that was called earlier.
        made: u64,
        /// Reads, and those that returned siblings.
        reads: Rate,
        /// Most values in one result.
        most: u64,
    }
}

data! {
    /// Outcomes by what was done.
    struct Operations {
        /// All.
        all: Outcomes,
        /// Reads.
        read: Outcomes,
        /// Writes and deletes.
        write: Outcomes,
        /// Compare-and-sets.
        cas: Outcomes,
    }
}

data! {
    /// How operations ended.
    struct Outcomes {
        /// All.
        total: u64,
        /// Answered.
        ok: u64,
        /// Certainly not applied, and nobody looked.
        refused: u64,
        /// May have been applied, or may be yet.
        unknown: u64,
        /// Of the total.
        ok_percent: Option<f64>,
        /// Of the total.
        refused_percent: Option<f64>,
        /// Of the total.
        unknown_percent: Option<f64>,
        /// Answered operations a second.
        ok_per_second: f64,
    }
}

data! {
    /// Outcomes over time.
    struct Availability {
        /// Length of a bucket.
        bucket_ns: Nanos,
        /// Without gaps over the window.
        buckets: Vec<Bucket>,
        /// Of all clients together.
        longest_gap: Gap,
        /// Over the clients: each one's longest time without an answer.
        longest_wait_ns: Quantiles,
    }
}

data! {
    /// The operations that were due in an interval.
    struct Bucket {
        /// Its begin.
        begin_ns: Nanos,
        /// Its end.
        end_ns: Nanos,
        /// Answered.
        ok: u64,
        /// Certainly not applied.
        refused: u64,
        /// Unknown.
        unknown: u64,
    }
}

data! {
    /// A time without an answer.
    #[derive(Copy, Eq)]
    struct Gap {
        /// Its begin.
        begin_ns: Nanos,
        /// Its end.
        end_ns: Nanos,
        /// Its length.
        ns: Nanos,
    }
}

data! {
    /// How long operations took, by what was done.
    struct Latency {
        /// All.
        all: Series,
        /// Reads.
        read: Series,
        /// Writes and deletes.
        write: Series,
        /// Compare-and-sets.
        cas: Series,
    }
}

data! {
    /// How long operations took.
    struct Series {
        /// Operations that were answered.
        count: u64,
        /// Half did not exceed it.
        p50_ns: Option<Nanos>,
        /// 99 of 100 did not exceed it.
        p99_ns: Option<Nanos>,
        /// 999 of 1000 did not exceed it.
        p999_ns: Option<Nanos>,
        /// The greatest.
        max_ns: Option<Nanos>,
        /// Without gaps from the first that is not empty to the last.
        histogram: Vec<Bar>,
    }
}

data! {
    /// One bar of a histogram.
    struct Bar {
        /// Longer than this.
        from_ns: Nanos,
        /// At most this.
        within_ns: Nanos,
        /// So many.
        count: u64,
    }
}

data! {
    /// What operations cost the cluster.
    struct Cost {
        /// Between nodes; `None` if nobody counted.
        messages: Option<u64>,
        /// Of all nodes.
        fsyncs: Option<u64>,
        /// Per operation that was answered.
        messages_per_operation: Option<f64>,
        /// Per operation that was answered.
        fsyncs_per_operation: Option<f64>,
    }
}

data! {
    /// What a counter-example breaks.
    enum Breaks {
        /// The level's own promise.
        Promise,
        /// What the level does not promise.
        Linearizability,
    }
}

data! {
    /// A few operations that prove something, and what happened around them.
    struct CounterExample {
        /// Unique in the report.
        id: String,
        /// What it breaks.
        breaks: Breaks,
        /// How, in words joined by hyphens.
        rule: String,
        /// The key.
        key: String,
        /// The reason, in a sentence.
        words: String,
        /// The least moment.
        begin_ns: Nanos,
        /// The greatest moment.
        end_ns: Nanos,
        /// The moment to jump to.
        first_at_ns: Nanos,
        /// The clients that take part.
        lanes: Vec<Lane>,
        /// By begin.
        operations: Vec<Operation>,
        /// How they hang together.
        arrows: Vec<Arrow>,
        /// Operations on the key in that time that are not listed.
        left_out: u64,
    }
}

data! {
    /// One client.
    struct Lane {
        /// Its number.
        process: u64,
        /// Its name.
        label: String,
    }
}

data! {
    /// What an operation did.
    enum Kind {
        /// Read.
        Read,
        /// Write.
        Write,
        /// Delete.
        Delete,
        /// Compare-and-set.
        Cas,
    }
}

data! {
    /// How an operation ended.
    enum Ending {
        /// It took effect.
        Ok,
        /// It certainly did not.
        Fail,
        /// Nobody knows.
        Unknown,
    }
}

data! {
    /// Why an operation is listed.
    enum Role {
        /// It is one of those that prove the violation.
        Proof,
        /// It happened at the same time.
        Context,
    }
}

data! {
    /// An operation of a counter-example.
    struct Operation {
        /// Its position in the history.
        at: usize,
        /// The client.
        process: u64,
        /// What it did.
        kind: Kind,
        /// On which key.
        key: String,
        /// At which level.
        level: Option<String>,
        /// The coordinator.
        node: Option<String>,
        /// Written or returned.
        value: Option<Vec<String>>,
        /// Required.
        expect: Option<Vec<String>>,
        /// Found.
        observed: Option<Vec<String>>,
        /// When it was called.
        begin_ns: Nanos,
        /// When it returned.
        end_ns: Option<Nanos>,
        /// How it ended.
        outcome: Ending,
        /// Why it is listed.
        role: Role,
    }
}

data! {
    /// How two operations hang together.
    enum ArrowKind {
        /// A read should have shown a write, or what replaced it.
        Missed,
        /// An operation met the value of a write.
        Saw,
        /// A write covered another.
        Replaced,
    }
}

data! {
    /// From one listed operation to another.
    #[derive(Copy, Eq)]
    struct Arrow {
        /// Position of the one.
        from: usize,
        /// Position of the other.
        to: usize,
        /// How.
        kind: ArrowKind,
    }
}

data! {
    /// One level's numbers divided by another's.
    struct Ratio {
        /// The one.
        level: String,
        /// The other.
        against: String,
        /// Latency.
        p50: Option<f64>,
        /// Latency.
        p99: Option<f64>,
        /// Latency.
        p999: Option<f64>,
        /// Throughput.
        ok_per_second: Option<f64>,
        /// Messages per operation.
        messages: Option<f64>,
        /// Fsyncs per operation.
        fsyncs: Option<f64>,
    }
}
