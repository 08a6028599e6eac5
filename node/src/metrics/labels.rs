//! What samples of the node's metrics are told apart by, and how that is spelled.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use quorate_protocol::Level;
use quorate_protocol::outcome::Outcome;

/// Which operation a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Get,
    Put,
    Delete,
    List,
    Cas,
    Modify,
}

impl Op {
    /// The ways in which it can end.
    pub(super) fn endings(self) -> &'static [Ended] {
        match self {
            Self::Get | Self::List => &[Ended::Ok, Ended::NotApplied],
            Self::Put | Self::Delete | Self::Modify => &[Ended::Ok, Ended::NotApplied, Ended::Unknown],
            Self::Cas => &[Ended::Ok, Ended::Conflict, Ended::NotApplied, Ended::Unknown],
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    Ok,
    /// A compare-and-set whose expectation did not hold.
    Conflict,
    NotApplied,
    Unknown,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotApplied => Self::NotApplied,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LevelLabel(pub(super) Level);

impl EncodeLabelValue for LevelLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        use std::fmt::Write;
        write!(encoder, "{}", self.0)
    }
}

impl EncodeLabelValue for Op {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Cas => "cas",
            Self::Modify => "modify",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl EncodeLabelValue for Ended {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::NotApplied => "not_applied",
            Self::Unknown => "unknown",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

/// When a read brought a replica up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RepairKind {
    /// Before its answer.
    Blocking,
    /// Behind its answer.
    Background,
}

impl EncodeLabelValue for RepairKind {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Blocking => "blocking",
            Self::Background => "background",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

/// Why a hint is not kept, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// Its peer has as many as it may, or the store took none.
    Full,
    /// It grew too old.
    Expired,
    /// The peer will never take it.
    Refused,
}

impl EncodeLabelValue for Dropped {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Full => "full",
            Self::Expired => "expired",
            Self::Refused => "refused",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) op: Op,
    pub(super) level: LevelLabel,
    pub(super) outcome: Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LevelLabels {
    pub(super) level: LevelLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RepairLabels {
    pub(super) kind: RepairKind,
    pub(super) level: LevelLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DroppedLabels {
    pub(super) reason: Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerLabels {
    pub(super) peer: String,
}

/// What a message to another node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MessageKind {
    /// It asks for something; all requests that share a frame are one message.
    Request,
    /// It answers what another node asked for.
    Reply,
    /// It says that an answer is no longer waited for.
    Cancel,
    /// A heartbeat, or the answer to one.
    Heartbeat,
}

impl EncodeLabelValue for MessageKind {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Cancel => "cancel",
            Self::Heartbeat => "heartbeat",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MessageLabels {
    pub(super) kind: MessageKind,
}

/// A direction between this node and another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// From here to there.
    Out,
    /// From there to here.
    Back,
}

impl EncodeLabelValue for Way {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Out => "out",
            Self::Back => "back",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DelayLabels {
    pub(super) peer: String,
    pub(super) direction: Way,
}
