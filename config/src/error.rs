//! What is wrong with a configuration, where, and what to write instead.
//!
//! Promise: every error names a place ([`Origin`]) and a remedy ([`ConfigError::help`]), and all errors that can be found
//! are reported at once. An error keeps its parts as values; a command line renders them, with [`ConfigError::span`] and
//! [`ConfigErrors::file`] to underline the culprit.
//!
//! After an error nothing was changed and nothing was started: reading a configuration has no effects.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use quorate_protocol::{BucketId, InvalidLevel, Level};
use quorate_ring::{NODES_MAX, NodeId, REPLICAS_MAX};

use crate::address::Address;
use crate::bucket::BucketName;
use crate::layer::{ENVIRONMENT_PREFIX, Item, Shape};
use crate::origin::{Origin, SourceFile};

/// The configuration file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the configuration file {}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// Everything that is wrong with a configuration, at least one error, down the file and then the overrides.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    file: Option<SourceFile>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {problem}", OriginOfError(origin))]
pub struct ConfigError {
    /// Where it was written, or where it is missing.
    pub origin: Origin,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The file is not TOML.
    #[error("not valid TOML: {}", error.message())]
    Syntax {
        /// What the parser said.
        error: toml::de::Error,
    },
    /// A `--set` argument or variable name from which no key can be read.
    #[error("names no key and value")]
    MalformedOverride,
    /// A key that does not exist.
    #[error("unknown key {key}")]
    UnknownKey {
        /// The key with its sections.
        key: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
        /// The table, as a file spells its header; empty for the top of the file.
        table: String,
        /// All keys of that table.
        valid: Vec<&'static str>,
    },
    /// A key without a default was not written.
    #[error("required key {key} is missing")]
    Missing {
        /// The key with its sections.
        key: String,
        /// A value it could have.
        expected: &'static str,
    },
    /// A value of another type or form.
    #[error("{key} cannot be {found}")]
    BadValue {
        /// The key with its sections.
        key: String,
        /// What was written.
        found: Found,
        /// What is wanted, with an example.
        expected: &'static str,
    },
    /// A value of the right form outside its range.
    #[error("{key} cannot be {value}")]
    OutOfRange {
        /// The key with its sections.
        key: String,
        /// What was written.
        value: String,
        /// The smallest value allowed.
        least: String,
        /// The largest value allowed.
        most: String,
    },
    /// The number of partitions is no power of two.
    #[error("cluster.partitions cannot be {partitions}: not a power of two")]
    NotPowerOfTwo {
        /// What was written.
        partitions: u16,
    },
    /// Two values whose order is wrong.
    #[error("{lesser} ({lesser_value}) must be {} {greater} ({greater_value})", if *strict { "less than" } else { "at most" })]
    Disordered {
        /// The key whose value should be the lesser one.
        lesser: String,
        /// Its value.
        lesser_value: String,
        /// The key whose value should be the greater one.
        greater: String,
        /// Its value.
        greater_value: String,
        /// Whether equal values are wrong too.
        strict: bool,
    },
    /// The cluster has no nodes.
    #[error("the cluster has no nodes")]
    NoNodes,
    /// Two nodes of the same name.
    #[error("{id} is declared twice, first at {first}")]
    DuplicateNode {
        /// The name.
        id: NodeId,
        /// Where it was first.
        first: Origin,
    },
    /// Two nodes at the same address.
    #[error("address {address} already belongs to {owner}")]
    DuplicateAddress {
        /// The address.
        address: Address,
        /// The node that has it.
        owner: NodeId,
    },
    /// More replicas than nodes to hold them.
    #[error("{key} is {replicas}{}, but the cluster has {}", if *by_default { " by default" } else { "" }, Nodes(*nodes))]
    TooManyReplicas {
        /// The key with its sections.
        key: String,
        /// Replicas wanted.
        replicas: u8,
        /// Nodes declared.
        nodes: usize,
        /// Whether nobody wrote the number of replicas.
        by_default: bool,
    },
    /// More nodes than a ring can hold.
    #[error("the cluster has {nodes} nodes")]
    TooManyNodes {
        /// Nodes declared.
        nodes: usize,
    },
    /// This node is not declared in the cluster.
    #[error("node.id is {id}, but no [[cluster.node]] has that id")]
    NotAMember {
        /// The name of this node.
        id: NodeId,
        /// The names declared.
        members: Vec<NodeId>,
    },
    /// Two services of one node at the same address.
    #[error("node.metrics_address is {address}, where the node itself listens")]
    AddressTaken {
        /// The address.
        address: Address,
    },
    /// Port 0 where others must find the node.
    #[error("{key} has port 0, which nobody can connect to")]
    NoPort {
        /// The key with its sections.
        key: String,
    },
    /// Two buckets of the same name.
    #[error("bucket {name} is declared twice, first at {first}")]
    DuplicateBucket {
        /// The name.
        name: BucketName,
        /// Where it was first.
        first: Origin,
    },
    /// Two bucket names with the same number.
    #[error("buckets {name} and {other} have the same number {id}")]
    BucketCollision {
        /// The later name.
        name: BucketName,
        /// The earlier name.
        other: BucketName,
        /// The number both names hash to.
        id: BucketId,
    },
    /// A default level that requests could not use.
    #[error("bucket {bucket}: {error}")]
    ImpossibleLevel {
        /// The bucket.
        bucket: BucketName,
        /// Why not.
        error: InvalidLevel,
    },
    /// A default level at which writes are refused.
    #[error("bucket {bucket}: writes at its level {level} would be refused, because write_mode is \"lin_only\"")]
    EventualLevelInLinOnly {
        /// The bucket.
        bucket: BucketName,
        /// The level.
        level: Level,
    },
}

/// A value of the wrong kind, as an error quotes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The kind: `text`, `integer`, `table` ..
    pub kind: &'static str,
    /// The value as typed; `None` for lists, tables and secrets.
    pub value: Option<String>,
}

struct Nodes(usize);

struct OriginOfError<'a>(&'a Origin);

impl Found {
    /// Quotes `item`, without its value if that must not be `shown`.
    pub(crate) fn of(item: &Item, shown: bool) -> Self {
        let kind = match item.shape {
            Shape::Text(_) => "text",
            Shape::Integer(_) => "integer",
            Shape::Float(_) => "number",
            Shape::Boolean(_) => "boolean",
            Shape::Date => "date",
            Shape::List(_) => return Self { kind: "list", value: None },
            Shape::Table(_) => {
                return Self { kind: "table", value: None };
            }
        };
        let value = match &item.shape {
            Shape::Text(text) => format!("{text:?}"),
            _ => item.written.clone(),
        };
        Self { kind, value: shown.then_some(value) }
    }
}

impl ConfigError {
    /// The bytes of the file's text to underline, if the error is in the file.
    pub fn span(&self) -> Option<Range<usize>> {
        self.origin.place().map(|place| place.span.clone())
    }

    /// What to write instead, one sentence.
    pub fn help(&self) -> String {
        self.problem.help()
    }
}

impl Problem {
    fn help(&self) -> String {
        match self {
            Self::Syntax { .. } => {
                "correct this line: each key once, text in quotes, tables as [name] or [[name]], comments behind #".to_owned()
            }
            Self::MalformedOverride => {
                format!("write --set section.key=value, or {ENVIRONMENT_PREFIX}SECTION__KEY=value in the environment")
            }
            Self::UnknownKey { suggestion, table, valid, .. } => unknown_key_help(suggestion.as_deref(), table, valid),
            Self::Missing { expected, .. } | Self::BadValue { expected, .. } => format!("write {expected}"),
            Self::OutOfRange { least, most, .. } if least == most => format!("write {least}"),
            Self::OutOfRange { least, most, .. } => format!("write a value from {least} to {most}"),
            Self::NotPowerOfTwo { partitions } => {
                let below = 1_u16 << partitions.ilog2();
                format!("write {below} or {}", below * 2)
            }
            Self::Disordered { lesser, greater, .. } => format!("lower {lesser} or raise {greater}"),
            Self::NoNodes => {
                "declare every node of the cluster: [[cluster.node]] with id = \"n1\", address = \"127.0.0.1:7400\"".to_owned()
            }
            Self::TooManyNodes { .. } => format!("declare at most {NODES_MAX}"),
            Self::DuplicateNode { .. } => "give every node an id of its own, such as \"n4\"".to_owned(),
            Self::DuplicateAddress { .. } => "give every node an address of its own".to_owned(),
            Self::TooManyReplicas { nodes, .. } => {
                let wanted = match nodes.min(&usize::from(REPLICAS_MAX)) {
                    1 => "1".to_owned(),
                    most => format!("a number from 1 to {most}"),
                };
                format!("write {wanted}, or declare more nodes: replicas of a key live on different nodes")
            }
            Self::NotAMember { members, .. } => format!("write {}, or declare this node", one_of(members)),
            Self::AddressTaken { .. } => "write another port".to_owned(),
            Self::NoPort { .. } => "write the port that peers and clients connect to".to_owned(),
            Self::DuplicateBucket { .. } => "declare each bucket once".to_owned(),
            Self::BucketCollision { .. } => "rename one of them before it holds data".to_owned(),
            Self::ImpossibleLevel { error, .. } => level_help(error),
            Self::EventualLevelInLinOnly { .. } => {
                "leave level out or write linearizable; single reads may still name another level. Or write write_mode = \"mixed\""
                    .to_owned()
            }
        }
    }
}

fn unknown_key_help(suggestion: Option<&str>, table: &str, valid: &[&str]) -> String {
    let meant = suggestion.map_or_else(String::new, |key| format!("did you mean {key}? "));
    let place = if table.is_empty() { "the top level" } else { table };
    format!("{meant}{place} has {}", valid.join(", "))
}

fn level_help(error: &InvalidLevel) -> String {
    match error {
        InvalidLevel::Impossible { replicas: 1, .. } => "write one, quorum, all or linearizable, or declare more nodes".to_owned(),
        InvalidLevel::Impossible { replicas, .. } => {
            format!("write one, quorum, all or linearizable, or counts from 1 to {replicas} such as \"r1w{replicas}\"")
        }
        InvalidLevel::WriteOnly => "write one: a bucket's level serves its reads and its writes".to_owned(),
        InvalidLevel::Unknown { .. } => "write one, quorum, all, linearizable or rXwY such as \"r2w1\"".to_owned(),
    }
}

fn one_of(members: &[NodeId]) -> String {
    let different: BTreeSet<&NodeId> = members.iter().collect();
    different.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

impl ConfigErrors {
    /// Sorts `errors`, which are at least one, by place.
    pub(crate) fn new(mut errors: Vec<ConfigError>, file: Option<SourceFile>) -> Self {
        errors.sort_by_key(|error| error.origin.rank());
        let file = file.map(|file| SourceFile { text: file.masked(), ..file });
        Self { errors, file }
    }

    /// The errors, at least one: down the file, then the environment, then the command line.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// The file, with secrets masked, to whose text the spans of the errors refer; `None` if no file was given.
    pub fn file(&self) -> Option<&SourceFile> {
        self.file.as_ref()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}\n  {}", error.help())?;
        }
        Ok(())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "the {} {value}", self.kind),
            None => write!(f, "a {}", self.kind),
        }
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} node{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

impl fmt::Display for OriginOfError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Origin::Default => f.write_str("configuration"),
            origin => origin.fmt(f),
        }
    }
}
