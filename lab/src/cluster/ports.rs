//! Loopback ports for the nodes of one cluster.
//!
//! Free ports are taken from *below* the range from which the kernel serves outgoing connections: a node's port must stay free
//! while the node is down, and a reconnecting peer that is given that very port as its own would connect to itself.
//!
//! Each port is held by a listener until just before the nodes are started. From then on nothing holds the port of a node that
//! is down, except against other clusters of this process.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Which ports the nodes of a cluster listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// This one and those after it if all of them are free, otherwise any free ones.
    PreferredBase(u16),
    /// Any free ones.
    Free,
}

/// Lowest port that is ever taken unasked; below live too many well-known services.
const FREE_FIRST: u16 = 15_000;
/// Where Linux begins to number outgoing connections, unless it is told otherwise.
const OUTGOING_FIRST: u16 = 32_768;
/// Where Linux says so.
const OUTGOING_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Ports that clusters of this process have, whether or not a node listens there at the moment.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Ports that belong to one cluster until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    ports: Vec<u16>,
    listeners: Vec<TcpListener>,
}

impl Reservation {
    /// Takes `count` ports and listens on them, so that nobody else gets them.
    pub(crate) fn take(wish: Ports, count: u16) -> io::Result<Self> {
        if let Ports::PreferredBase(base) = wish
            && let Some(end) = base.checked_add(count)
            && let Some(reservation) = Self::among(base..end, usize::from(count))
        {
            return Ok(reservation);
        }
        let end = outgoing_first();
        let free = end.saturating_sub(FREE_FIRST).max(1);
        let start = FREE_FIRST + rand::random_range(0..free);
        Self::among((start..end).chain(FREE_FIRST..start), usize::from(count))
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "too few free loopback ports"))
    }

    /// The first `count` of the candidates that are free; none if there are fewer.
    fn among(candidates: impl Iterator<Item = u16>, count: usize) -> Option<Self> {
        let mut reservation = Self { ports: Vec::with_capacity(count), listeners: Vec::with_capacity(count) };
        for port in candidates {
            if reservation.ports.len() == count {
                break;
            }
            if !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
                continue;
            }
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(listener) => {
                    reservation.ports.push(port);
                    reservation.listeners.push(listener);
                }
                Err(_taken_by_another_process) => forget(&[port]),
            }
        }
        (reservation.ports.len() == count).then_some(reservation)
    }

    /// The ports, in the order of the nodes.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Stops listening: the nodes are about to.
    pub(crate) fn hand_over(&mut self) {
        self.listeners.clear();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        forget(&self.ports);
    }
}

fn forget(ports: &[u16]) {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for port in ports {
        taken.remove(port);
    }
}

fn outgoing_first() -> u16 {
    let range = std::fs::read_to_string(OUTGOING_RANGE).ok();
    let first = range.and_then(|range| range.split_whitespace().next()?.parse().ok());
    first.filter(|first| *first > FREE_FIRST + 1000).unwrap_or(OUTGOING_FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_never_share_a_port_even_when_nobody_listens() {
        let mut first = Reservation::take(Ports::Free, 5).expect("free ports");
        first.hand_over();
        let base = first.ports()[0];
        let second = Reservation::take(Ports::PreferredBase(base), 5).expect("free ports");
        assert!(first.ports().iter().all(|port| !second.ports().contains(port)));
    }

    #[test]
    fn preferred_ports_are_taken_in_a_row_or_not_at_all() {
        let free = Reservation::take(Ports::Free, 1).expect("a free port");
        let base = free.ports()[0];
        // Nobody guarantees that the two ports above are free, but when they are, all three must be used.
        let with_busy_base = Reservation::take(Ports::PreferredBase(base), 3).expect("free ports");
        assert!(!with_busy_base.ports().contains(&base));
        drop((free, with_busy_base));
        let reservation = Reservation::take(Ports::PreferredBase(base), 1).expect("free ports");
        assert_eq!(reservation.ports(), [base]);
    }

    #[test]
    fn ports_stay_below_those_of_outgoing_connections() {
        let reservation = Reservation::take(Ports::Free, 3).expect("free ports");
        assert!(reservation.ports().iter().all(|port| *port >= FREE_FIRST && *port < outgoing_first()));
    }
}
