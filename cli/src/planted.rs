//! `--bug`: a real node that breaks a rule on purpose, so that whoever judges its answers can show that they would notice.
//!
//! **Promise.** Only a binary built with the feature `planted-bugs` has the option; any other refuses it as it refuses what it does not
//! know. A node that was started with it says so in its log and its status.
//!
//! - *Upon a bug of a core that nodes drive*: the node has it, in all that it coordinates and stores.
//! - *Upon any other bug of the catalogue*: refused by name. Those are acted on by clients, or by the simulator's node, disk and clock.

use clap::Args;
use quorate_protocol::Defect;

/// Which rule to break.
#[derive(Clone, Debug, Default, Args)]
pub struct Planted {
    /// Break this rule on purpose; `docs/bug-catalogue.md` lists them.
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "NAME", value_parser = of_node)]
    bug: Option<Defect>,
}

impl Planted {
    /// The rule to break, if any. Never one in a binary without the feature.
    #[must_use]
    pub fn bug(&self) -> Option<Defect> {
        #[cfg(feature = "planted-bugs")]
        return self.bug;
        #[cfg(not(feature = "planted-bugs"))]
        return None;
    }
}

#[cfg(feature = "planted-bugs")]
fn of_node(name: &str) -> Result<Defect, quorate_protocol::defect::NotOfNodes> {
    Defect::of_nodes(name)
}
