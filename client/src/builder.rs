//! Making a client: where to begin, and its settings.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use quorate_protocol::Level;
use quorate_protocol::session::attempts::AttemptOptions;
use quorate_ring::NodeId;
use quorate_rpc::kv::Topology;
use quorate_rpc::net::{Network, Tcp};
use tarpc::client::RpcError;
use tokio::time::timeout;

use crate::client::Client;
use crate::clock::Clock;
use crate::error::{ConnectError, FailedSeed, SeedError};
use crate::link::{Channel, call_context};
use crate::topology::{InvalidTopology, LinkSettings, Snapshot};

/// Settings of a client to be.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use quorate_client::{Client, Level};
///
/// let kv = Client::builder()
///     .seeds("10.0.0.1:7400,10.0.0.2:7400")
///     .cluster("shop")
///     .level(Level::One)
///     .deadline(Duration::from_millis(300))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    seeds: Vec<String>,
    cluster: Option<String>,
    level: Option<Level>,
    deadline: Duration,
    connect_timeout: Duration,
    attempts: AttemptOptions,
    network: Arc<dyn Network>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            seeds: Vec::new(),
            cluster: None,
            level: None,
            deadline: Duration::from_secs(2),
            connect_timeout: Duration::from_millis(500),
            attempts: AttemptOptions::default(),
            network: Arc::new(Tcp),
        }
    }
}

impl ClientBuilder {
    /// Adds addresses to begin with, `host:port`, separated by commas.
    #[must_use]
    pub fn seeds(mut self, seeds: &str) -> Self {
        self.seeds.extend(seeds.split(',').map(str::trim).filter(|seed| !seed.is_empty()).map(str::to_owned));
        self
    }

    /// The name the cluster must have. By default the first node that answers decides, and all others must agree.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// The level of operations that name none. By default each bucket's own.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// The total deadline of operations that name none, 2 s by default. At most [`crate::DEADLINE_MAX`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a node may take to accept a connection and introduce itself, 500 ms by default. Choose it above the slowest
    /// round trip times three, and below the silence after which a further coordinator is asked.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How operations are retried.
    #[must_use]
    pub fn attempts(mut self, attempts: AttemptOptions) -> Self {
        self.attempts = attempts;
        self
    }

    /// Where nodes are reached, by default over this machine's TCP. For simulations.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Asks all seeds at once and takes the first that tells where things are.
    ///
    /// # Errors
    /// [`ConnectError`] when there is no seed, one is no address, or none of them is of use; it names each with the reason.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        if self.seeds.is_empty() {
            return Err(ConnectError::NoSeeds);
        }
        if let Some(text) = self.seeds.iter().find(|seed| !is_address(seed)) {
            return Err(ConnectError::InvalidSeed { text: text.clone() });
        }
        let link_settings =
            LinkSettings { network: Arc::clone(&self.network), connect_timeout: self.connect_timeout, clock: Clock::start() };
        let mut asked: FuturesUnordered<_> = self.seeds.iter().map(|seed| self.ask(seed, &link_settings)).collect();
        let mut failed = Vec::new();
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(snapshot) => return Ok(Client::new(snapshot, self.attempts, link_settings.clone(), self.level, self.deadline)),
                Err(seed) => failed.push(seed),
            }
        }
        failed.sort_by_key(|seed| self.seeds.iter().position(|address| *address == seed.address));
        Err(ConnectError::NoSeedAnswered { seeds: failed })
    }

    async fn ask(&self, address: &str, settings: &LinkSettings) -> Result<Snapshot, FailedSeed> {
        let failed = |error| FailedSeed { address: address.to_owned(), error };
        let (channel, node, topology) = self.learn(address, settings).await.map_err(failed)?;
        let snapshot = Snapshot::new(topology, settings, None).map_err(|error| failed(error.into()))?;
        if let Some(link) = snapshot.links.get(&node) {
            link.adopt(channel);
        }
        Ok(snapshot)
    }

    async fn learn(&self, address: &str, settings: &LinkSettings) -> Result<(Channel, NodeId, Topology), SeedError> {
        let (channel, cluster, node) = Channel::open(address, self.cluster.as_deref(), settings).await?;
        match timeout(self.connect_timeout, channel.calls.topology(call_context(self.connect_timeout))).await {
            Ok(Ok(topology)) if topology.cluster != cluster => {
                Err(InvalidTopology::OtherCluster { expected: cluster, found: topology.cluster }.into())
            }
            Ok(Ok(topology)) => Ok((channel, node, topology)),
            Err(_) | Ok(Err(RpcError::DeadlineExceeded)) => Err(SeedError::Silent { after: self.connect_timeout }),
            Ok(Err(RpcError::Shutdown | RpcError::Send(_) | RpcError::Channel(_) | RpcError::Server(_))) => Err(SeedError::Broken),
        }
    }
}

/// Whether the text is a host and a port; the host may be a name or an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn seeds_that_are_no_addresses_are_refused_before_anything_is_sent() {
        assert!(matches!(Client::connect(" , ").await, Err(ConnectError::NoSeeds)));
        for text in ["localhost", "localhost:", ":7400", "localhost:70000", "localhost:x"] {
            let refused = Client::connect(text).await.expect_err("refused");
            assert!(matches!(&refused, ConnectError::InvalidSeed { text: found } if found == text), "{refused}");
        }
        assert!(is_address("[::1]:7400") && is_address("node-1.example:7400"));
    }
}
