//! The linearizability check against things that know better: brute force, other people's testers, and planted anomalies.

mod anomalies;
mod brute;
mod differential;
mod mixed;
mod oracles;
mod random;
mod script;
