//! What replicas hold, in words.

use quorate_protocol::Siblings;
use quorate_protocol::chain::ChainRecord;

use crate::node::{Node, State};

pub(super) fn contents(siblings: Option<&Siblings>) -> String {
    match siblings {
        Some(siblings) if !siblings.is_empty() => format!("holds {}, has seen {}", versions(siblings), siblings.context()),
        Some(_) | None => "holds nothing".to_owned(),
    }
}

/// What a replica has promised, accepted and learned.
pub(super) fn standing(chain: &ChainRecord) -> String {
    if chain.promised.is_zero() {
        return String::new();
    }
    let accepted = chain.accepted.as_ref().map_or_else(
        || "accepted nothing".to_owned(),
        |accepted| format!("accepted {} at {} ({})", accepted.state.token(), accepted.ballot, versions(&accepted.state.siblings)),
    );
    let decided = if chain.decided == chain.accepted_at() { "decided".to_owned() } else { format!("decided {}", chain.decided) };
    format!("; promised {}, {accepted}, {decided}", chain.promised)
}

pub(super) fn versions(siblings: &Siblings) -> String {
    let one = |(dot, version): (_, &quorate_protocol::Version)| match version.value() {
        Some(value) => format!("{} ({dot})", value.escape_ascii()),
        None => format!("a tombstone ({dot})"),
    };
    siblings.live().map(one).collect::<Vec<_>>().join(" and ")
}

pub(super) fn remark(node: &Node) -> &'static str {
    match node.state {
        State::Running if node.is_quarantined() => " (quarantined)",
        State::Running => "",
        State::Paused => " (paused)",
        State::Dead => " (dead)",
        State::Damaged => " (damaged)",
    }
}
