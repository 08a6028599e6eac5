//! Fault injection.

use std::sync::Arc;

use quorate_rpc::admin::{Admin, Faults};
use quorate_rpc::tarpc::context::Context;

use crate::node::Node;

/// A connection that may set faults.
#[derive(Clone)]
pub(crate) struct AdminService(pub(crate) Arc<Node>);

impl Admin for AdminService {
    async fn set_faults(self, _: Context, faults: Faults) {
        if faults == Faults::default() {
            tracing::info!("faults cleared");
        } else {
            tracing::warn!(links = faults.links.len(), skew_ms = faults.skew_ms, "faults set");
        }
        self.0.clock.set_skew(faults.skew_ms);
        self.0.faults.set(faults);
    }

    async fn faults(self, _: Context) -> Faults {
        self.0.faults.current()
    }
}
