//! The cluster that scripts are played on.

use std::collections::BTreeSet;

use quorate_protocol::Level;
use quorate_protocol::options::Options as CoreOptions;

use super::command::Cast;
use super::{CLIENTS, KEY};
use crate::options::{ClientOptions, KeyOptions, LevelMix, Limits, NetworkOptions, NodeOptions, Options, Traffic, Workload};

/// A quick, steady cluster with patient clients.
pub(super) fn options(cast: &Cast) -> Options {
    let levels = LevelMix { reads: vec![Level::One], writes: vec![Level::One] };
    let workload = if cast.bucket.is_some() { Workload::Mixed } else { Workload::Register };
    let key = KeyOptions { workload, levels, write_mode: cast.bucket.unwrap_or_default() };
    Options {
        seed: 0,
        limits: Limits { defect: cast.defect, ..Limits::default() },
        nodes: cast.nodes,
        replicas: cast.replicas,
        traffic: Traffic::Mixed,
        keys: vec![key; usize::from(KEY.0) + 1],
        clients: CLIENTS,
        operations: 0,
        chaos_micros: 0,
        faults: BTreeSet::new(),
        network: NetworkOptions {
            delay_micros_min: 1_000,
            delay_micros_max: 1_000,
            loss_permille: 0,
            duplicate_permille: 0,
            tail_permille: 0,
            tail_micros: 0,
        },
        node: NodeOptions {
            // The lowest draw is a tenth of it.
            sync_micros_max: 20_000,
            hedge_after_micros: 50_000,
            hint_after_micros: 1_000_000,
            hints_max: 100,
            hint_batch_max: 10,
            hint_age_ms_max: 3_600_000,
            siblings_max: 8,
            background_repair_permille: 0,
            // A fallback forgets a key as soon as it has handed it over.
            fallback_keys_max: 0,
            resend_micros: 400_000,
            late_micros: 60_000_000,
        },
        client: ClientOptions {
            deadline_micros: 2_000_000,
            silence_micros: 600_000,
            burst_permille: 0,
            stranger_permille: 0,
            session_permille: 0,
            wander_permille: 0,
            settle_permille: 0,
        },
        core: CoreOptions { defect: cast.defect, ..CoreOptions::default() },
        is_scripted: true,
    }
}
