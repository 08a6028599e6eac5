//! The real drivers of node and client, with tarpc, codec, time-outs and reconnects, in a simulated network under virtual time.
//!
//! **Promise.** Whole nodes and clients, as they ship, keep their word where only their driver can break it: when callers go away,
//! connections break or stall, readers are slow, and answers do not come. Each test runs with a few seeds, which it prints.
//!
//! ```text
//!   host n1, n2, n3: quorate_node::serve_in      host test: quorate_client::Client, and raw calls
//!          │  MemoryDisk, committed in place           │
//!          └────────────── turmoil: links with latency, cuts, holds, loss; crashes ──────┘
//! ```
//!
//! | what happens | module |
//! |---|---|
//! | a node is cut off, and comes back | `partition` |
//! | a caller drops its call | `cancellation` |
//! | a client never reads | `slow_reader` |
//! | answers do not come | `deadline` |
//! | connections break in the middle of a request, processes end | `broken` |
//! | all of it at random, judged by `quorate_checker` | `workload` |
//!
//! **What it rests on.** One thread runs a simulation. Nodes and clients take time from the runtime, whose clock is the simulation's,
//! reach each other through `quorate_rpc::net::Network`, and commit in place. What threads of the system do, for a status or metrics,
//! takes no virtual time.
//!
//! **What it cannot see.**
//! - Disks: a disk in memory loses nothing. The store's own tests and the tests with real processes see what a crash does to one.
//! - TCP: a lost segment is never sent again, so its connection stalls for good, where a real one recovers or breaks; a lost attempt
//!   to connect is refused at once. Worse than the world, but for connections that are slow to recover.
//! - The wall clock, which is the machine's and hardly moves during a run; deadlines as tarpc carries them, which are measured by it
//!   until they arrive. The nodes' and clients' own deadlines decide before.
//! - Races between threads.
//!
//! **Repeating a run.** The seed fixes latencies, losses and the load, as long as the same messages are sent. The order in which
//! `select!` looks at its branches, the jitter of reconnects and the ids of clients do not come from the seed, so runs with the same
//! seed may differ: a failure that a seed does not repeat at once may come back after some tries. `quorate sim` repeats exactly.

mod broken;
mod cancellation;
mod cluster;
mod deadline;
mod direct;
mod network;
mod partition;
mod slow_reader;
mod workload;
