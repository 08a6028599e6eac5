//! `quorate status`: how the nodes are, each by its own word, and how they see each other.
//!
//! A node that does not answer is a line of the answer, not a failure of the command, unless it was asked for by name.
//!
//! How many records a node holds is the storage engine's estimate, and named so: it counts overwritten versions too until they are
//! compacted, so that replicas with the same records show different numbers.

use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use quorate_client::Error;
use quorate_protocol::Access;
use quorate_ring::NodeId;
use quorate_rpc::kv::{PeerStatus, Status, Topology};
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output, connect};
use crate::output::{self, Columns};

/// Shows how the nodes are.
///
/// A node that does not answer is a line of the table. The exit code is 0 if any node answered, 6 if none did, or not the one of
/// --node: whether all are up is to be read from the answer. The number of records is the storage engine's estimate: it counts
/// overwritten versions until they are compacted, so replicas that hold the same may show different numbers.
#[derive(Clone, Debug, Args)]
pub struct StatusCommand {
    /// Only this node.
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,

    /// Print the nodes' metrics instead, in Prometheus' text format.
    #[arg(long)]
    metrics: bool,
}

#[derive(Serialize)]
struct StatusFields {
    outcome: &'static str,
    cluster: String,
    epoch: u64,
    nodes: Vec<NodeAnswer<NodeFields>>,
}

#[derive(Serialize)]
struct MetricsFields {
    outcome: &'static str,
    nodes: Vec<NodeAnswer<MetricsText>>,
}

/// One node's answer, or why there is none.
#[derive(Serialize)]
struct NodeAnswer<T> {
    node: String,
    address: String,
    up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    answer: Option<T>,
}

#[derive(Serialize)]
struct MetricsText {
    text: String,
}

#[derive(Serialize)]
struct NodeFields {
    version: String,
    boot: u32,
    uptime_seconds: u64,
    writable: bool,
    faults_enabled: bool,
    partitions: u64,
    /// As the storage engine estimates.
    records_estimated: u64,
    disk_bytes: u64,
    requests_in_flight: u64,
    /// Why it serves nothing, if so.
    refusal: Option<String>,
    peers: Vec<PeerFields>,
    /// The rule that it breaks on purpose, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    bug: Option<String>,
}

#[derive(Serialize)]
struct PeerFields {
    node: String,
    address: String,
    up: bool,
    trouble: Option<String>,
    rtt_micros: Option<u64>,
    hints: u64,
    hint_bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 for a node that is no member, 6 if no node answers, or not the one asked for; [`CliError::Stdout`].
pub async fn run(command: &StatusCommand, globals: &Globals) -> Result<Exit, CliError> {
    let client = connect(globals, Access::Read).await?;
    let topology = client.topology();
    let asked: Vec<NodeId> = match command.node {
        Some(node) => vec![node],
        None => topology.addresses.iter().map(|(node, _)| *node).collect(),
    };
    let must_answer = command.node.is_some();
    if command.metrics {
        let answers = join_all(asked.iter().map(|node| client.metrics_of(*node))).await;
        let nodes = collect(&topology, &asked, answers, must_answer, |text| MetricsText { text })?;
        print_metrics(nodes, globals.output)?;
    } else {
        let answers = join_all(asked.iter().map(|node| client.status_of(*node))).await;
        let nodes = collect(&topology, &asked, answers, must_answer, NodeFields::from)?;
        print_status(&topology, nodes, globals.output)?;
    }
    Ok(Exit::Ok)
}

fn collect<A, T>(
    topology: &Topology,
    asked: &[NodeId],
    answers: Vec<Result<A, Error>>,
    must_answer: bool,
    fields: impl Fn(A) -> T,
) -> Result<Vec<NodeAnswer<T>>, CliError> {
    let address = |node| topology.addresses.iter().find(|(member, _)| *member == node).map(|(_, address)| address.clone());
    let answer = |(node, answer): (&NodeId, Result<A, Error>)| {
        let (node, address) = (node.to_string(), address(*node).unwrap_or_default());
        match answer {
            Ok(answer) => Ok(NodeAnswer { node, address, up: true, error: None, answer: Some(fields(answer)) }),
            Err(error) if must_answer => Err(CliError::from(error)),
            Err(error) => Ok(NodeAnswer { node, address, up: false, error: Some(error.to_string()), answer: None }),
        }
    };
    asked.iter().zip(answers).map(answer).collect()
}

impl From<Status> for NodeFields {
    fn from(status: Status) -> Self {
        Self {
            version: status.version,
            boot: status.boot,
            uptime_seconds: status.uptime_seconds,
            writable: status.writable,
            faults_enabled: status.faults_enabled,
            partitions: status.partitions,
            records_estimated: status.records,
            disk_bytes: status.disk_bytes,
            requests_in_flight: status.requests_in_flight,
            refusal: status.refusal.map(|refusal| refusal.to_string()),
            peers: status.peers.into_iter().map(PeerFields::from).collect(),
            bug: status.bug,
        }
    }
}

impl From<PeerStatus> for PeerFields {
    fn from(peer: PeerStatus) -> Self {
        Self {
            node: peer.node.to_string(),
            address: peer.address,
            up: peer.up,
            trouble: peer.trouble.map(|trouble| trouble.to_string()),
            rtt_micros: peer.rtt_micros,
            hints: peer.hints,
            hint_bytes: peer.hint_bytes,
        }
    }
}

fn print_metrics(nodes: Vec<NodeAnswer<MetricsText>>, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return output::print_json(&MetricsFields { outcome: "ok", nodes });
    }
    let several = nodes.len() > 1;
    for node in nodes {
        match (node.answer, node.error) {
            (Some(metrics), _) if several => output::print(format_args!("# node {}\n{}", node.node, metrics.text.trim_end()))?,
            (Some(metrics), _) => output::print(metrics.text.trim_end())?,
            (None, error) => output::note(error.unwrap_or_default()),
        }
    }
    Ok(())
}

fn print_status(topology: &Topology, nodes: Vec<NodeAnswer<NodeFields>>, output: Output) -> Result<(), CliError> {
    let (cluster, epoch) = (topology.cluster.clone(), topology.ring.epoch.0);
    match output {
        Output::Json => output::print_json(&StatusFields { outcome: "ok", cluster, epoch, nodes }),
        Output::Table | Output::Raw => {
            output::print(format_args!("cluster {cluster}, epoch e{epoch}\n\n{}", status_table(&nodes)))?;
            for NodeAnswer { node, error, answer, .. } in nodes {
                if let Some(error) = error {
                    output::note(error);
                }
                let Some(NodeFields { refusal, bug, .. }) = answer else { continue };
                if let Some(refusal) = refusal {
                    output::note(format_args!("{node} {refusal}"));
                }
                if let Some(bug) = bug {
                    output::note(format_args!("{node} has the planted bug {bug}: it breaks its promises on purpose"));
                }
            }
            Ok(())
        }
    }
}

fn status_table(nodes: &[NodeAnswer<NodeFields>]) -> Columns {
    const HEADINGS: [&str; 11] = [
        "node",
        "address",
        "state",
        "#boot",
        "up for",
        "#partitions",
        "#records (estimate)",
        "#disk",
        "#in flight",
        "#hints",
        "peers down",
    ];
    let mut columns = Columns::new(&HEADINGS);
    for NodeAnswer { node, address, answer, .. } in nodes {
        let Some(fields) = answer else {
            let unknown = HEADINGS.iter().skip(3).map(|_| String::new());
            columns.row([node.clone(), address.clone(), "no answer".to_owned()].into_iter().chain(unknown));
            continue;
        };
        let down: Vec<String> = fields.peers.iter().filter(|peer| !peer.up).map(PeerFields::describe).collect();
        columns.row([
            node.clone(),
            address.clone(),
            fields.state().to_owned(),
            fields.boot.to_string(),
            humantime::format_duration(Duration::from_secs(fields.uptime_seconds)).to_string(),
            fields.partitions.to_string(),
            fields.records_estimated.to_string(),
            quorate_config::ByteSize(fields.disk_bytes).to_string(),
            fields.requests_in_flight.to_string(),
            fields.peers.iter().map(|peer| peer.hints).sum::<u64>().to_string(),
            down.join(", "),
        ]);
    }
    columns
}

impl NodeFields {
    fn state(&self) -> &'static str {
        match (&self.refusal, self.writable) {
            (Some(_), _) => "serves nothing",
            (None, true) => "up",
            (None, false) => "read-only, disk full",
        }
    }
}

impl PeerFields {
    fn describe(&self) -> String {
        match &self.trouble {
            Some(trouble) => format!("{} ({trouble})", self.node),
            None => self.node.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> NodeFields {
        let down = PeerFields {
            node: "n3".to_owned(),
            address: "127.0.0.1:7402".to_owned(),
            up: false,
            trouble: Some("unreachable".to_owned()),
            rtt_micros: None,
            hints: 12,
            hint_bytes: 1_800,
        };
        NodeFields {
            version: "0.1.0".to_owned(),
            boot: 2,
            uptime_seconds: 3_700,
            writable: true,
            faults_enabled: false,
            partitions: 256,
            records_estimated: 34_924,
            disk_bytes: 5_242_880,
            requests_in_flight: 1,
            refusal: None,
            peers: vec![down],
            bug: None,
        }
    }

    fn nodes() -> Vec<NodeAnswer<NodeFields>> {
        let answer = |node: &str, answer: Option<NodeFields>, error: Option<&str>| NodeAnswer {
            node: node.to_owned(),
            address: "127.0.0.1:7400".to_owned(),
            up: answer.is_some(),
            error: error.map(str::to_owned),
            answer,
        };
        vec![answer("n1", Some(fields()), None), answer("n3", None, Some("status n3: no answer within 2s"))]
    }

    #[test]
    fn a_node_that_does_not_answer_is_a_line_of_the_table() {
        insta::assert_snapshot!(status_table(&nodes()), @r#"
        node  address         state      boot  up for     partitions  records (estimate)     disk  in flight  hints  peers down
        n1    127.0.0.1:7400  up            2  1h 1m 40s         256               34924  5.0 MiB          1     12  n3 (unreachable)
        n3    127.0.0.1:7400  no answer
        "#);
    }

    #[test]
    fn a_node_that_answers_and_serves_nothing_is_not_up() {
        let refusal = Some("is new and not yet vouched for by its peers".to_owned());
        assert_eq!(NodeFields { refusal, ..fields() }.state(), "serves nothing");
        assert_eq!((fields().state(), NodeFields { writable: false, ..fields() }.state()), ("up", "read-only, disk full"));
    }

    #[test]
    fn a_node_that_does_not_answer_has_an_error_and_nothing_behind_it() {
        let json = serde_json::to_value(nodes()).expect("serialises");
        let silent = serde_json::json!({
            "node": "n3", "address": "127.0.0.1:7400", "up": false, "error": "status n3: no answer within 2s"
        });
        assert_eq!(json[1], silent);
        assert_eq!((&json[0]["records_estimated"], &json[0]["peers"][0]["hints"]), (&34_924.into(), &12.into()));
    }
}
