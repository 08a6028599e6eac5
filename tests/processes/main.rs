//! Real clusters: processes of the binary just built, on real disks and sockets, with real signals.
//!
//! **Promise.** What the other tests assume of the kernel, the disk, the network and of processes that die is tried here, from
//! outside: by the client library, by the command line, and by bytes on a socket. Nothing here can see into a node.
//!
//! | suite | what it holds the store to |
//! |---|---|
//! | `durability.rs` | no acknowledged write is lost by kills and restarts; hints bring a node up to date |
//! | `linearizable.rs` | one order that keeps to real time, every operation once, whoever dies |
//! | `siblings.rs` | concurrent writes are all kept, and replaced only by who has seen them |
//! | `availability.rs` | what each level does during partitions, pauses, deaths and slowness |
//! | `zombie.rs` | what a node does that was stopped with requests in its sockets |
//! | `overload.rs` | too much is refused at once, and later no more |
//! | `bad_input.rs` | every row of the table of bad input |
//! | `faults.rs` | faults of a comparison: made at their times, shown, mended |
//! | `cli.rs`, `demo.rs`, `bench.rs` | the command line as scripts use it |
//! | `cli_more.rs` | the command line when things go wrong |
//! | `client.rs` | deadlines and retries of the client library |
//! | `compare.rs` | a comparison reports what its histories show |
//! | `story.rs` | the stories end as they are told |
//! | `sim_check.rs` | the simulator and the checker: verdicts, evidence, repeatability |
//!
//! One test binary, so that it is linked once and its suites share a bound on the nodes that are alive at a time
//! (`support/cluster.rs`). A suite runs alone as `cargo test --release --test processes durability`.

mod support {
    pub(crate) mod cli;
    pub(crate) mod cluster;
    pub(crate) mod direct;
    pub(crate) mod metrics;
    pub(crate) mod server;
    pub(crate) mod wait;
}

mod availability;
mod bad_input {
    mod configuration;
    mod contexts;
    mod data_directory;
    mod full_disk;
    mod identity;
    mod levels;
    mod sizes;
    mod wire;
}
mod bench;
mod cli;
mod cli_more;
mod client;
mod compare;
mod demo;
mod durability;
mod faults;
mod linearizable;
mod overload;
mod siblings;
mod sim_check;
mod story;
mod zombie;
