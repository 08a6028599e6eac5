//! Faults made on purpose, where messages leave the node.
//!
//! **Promise.** A cut link loses every message from this node to the other one, requests and answers alike, without an error:
//! as a network that drops packets does. A delay holds messages back in order. Setting faults is possible only on a node
//! started with `--enable-faults`; without it links are plain.
//!
//! [`Faulty`] wraps the transport of every connection to or from a peer.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{Sink, Stream};
use parking_lot::Mutex;
use quorate_ring::NodeId;
use quorate_rpc::admin::{Faults, LinkFault};
use tokio::time::{Instant, Sleep, sleep_until};

/// The fault of one link, shared by all connections over it.
pub(crate) type Link = Arc<ArcSwap<LinkFault>>;

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct FaultTable {
    links: Mutex<BTreeMap<NodeId, Link>>,
    faults: ArcSwap<Faults>,
}

impl FaultTable {
    /// A table with these faults in force.
    pub(crate) fn new(faults: Faults) -> Self {
        let table = Self::default();
        table.set(faults);
        table
    }

    /// The link to a node.
    pub(crate) fn link(&self, to: NodeId) -> Link {
        Arc::clone(self.links.lock().entry(to).or_default())
    }

    /// True when nothing reaches `to` from here.
    pub(crate) fn is_cut(&self, to: NodeId) -> bool {
        self.links.lock().get(&to).is_some_and(|link| link.load().cut)
    }

    /// Links that were asked for.
    #[cfg(test)]
    pub(crate) fn known_links(&self) -> usize {
        self.links.lock().len()
    }

    /// Replaces all faults.
    pub(crate) fn set(&self, faults: Faults) {
        for (node, link) in self.links.lock().iter() {
            link.store(Arc::new(faults.links.get(node).copied().unwrap_or_default()));
        }
        for (node, fault) in &faults.links {
            self.link(*node).store(Arc::new(*fault));
        }
        self.faults.store(Arc::new(faults));
    }

    /// The faults in force.
    pub(crate) fn current(&self) -> Faults {
        Faults::clone(&self.faults.load())
    }
}

/// A transport whose outgoing messages suffer the link's fault.
pub(crate) struct Faulty<T, Out> {
    inner: T,
    link: Link,
    held: VecDeque<(Instant, Out)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T, Out> Faulty<T, Out> {
    /// Wraps a connection over `link`.
    pub(crate) fn new(inner: T, link: Link) -> Self {
        Self { inner, link, held: VecDeque::new(), timer: None }
    }
}

impl<T: Stream + Unpin, Out: Unpin> Stream for Faulty<T, Out> {
    type Item = T::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl<T: Sink<Out> + Unpin, Out: Unpin> Faulty<T, Out> {
    /// Passes on what has been held for long enough, and arms the timer for the rest.
    fn release(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        while let Some((due, _)) = self.held.front() {
            if *due > Instant::now() {
                let due = *due;
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
                timer.as_mut().reset(due);
                if timer.as_mut().poll(cx).is_pending() {
                    break;
                }
                continue;
            }
            std::task::ready!(Pin::new(&mut self.inner).poll_ready(cx))?;
            if let Some((_, message)) = self.held.pop_front()
                && !self.link.load().cut
            {
                Pin::new(&mut self.inner).start_send(message)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Sink<Out> + Unpin, Out: Unpin> Sink<Out> for Faulty<T, Out> {
    type Error = T::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Out) -> Result<(), Self::Error> {
        let fault = **self.link.load();
        if fault.cut {
            return Ok(());
        }
        if fault.delay_micros == 0 && self.held.is_empty() {
            return Pin::new(&mut self.inner).start_send(message);
        }
        let due = Instant::now() + Duration::from_micros(fault.delay_micros);
        self.held.push_back((due, message));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if !self.held.is_empty() {
            std::task::ready!(self.release(cx))?;
        }
        // What is still held has its timer: the task is polled, and flushes, again when it goes off.
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};

    use super::*;

    fn pair() -> (Faulty<futures::channel::mpsc::UnboundedSender<u8>, u8>, futures::channel::mpsc::UnboundedReceiver<u8>, Link) {
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        let link = Link::default();
        (Faulty::new(sender, Arc::clone(&link)), receiver, link)
    }

    #[test]
    fn faults_are_in_force_before_a_link_is_asked_for() {
        let cut = LinkFault { cut: true, delay_micros: 0 };
        let faults = Faults { links: BTreeMap::from([(NodeId(2), cut)]), skew_ms: 0 };
        let table = FaultTable::new(faults.clone());
        assert!(table.is_cut(NodeId(2)) && table.link(NodeId(2)).load().cut && !table.link(NodeId(3)).load().cut);
        assert_eq!(table.current(), faults);
    }

    #[tokio::test]
    async fn a_cut_link_loses_messages_without_an_error() {
        let (mut sender, mut receiver, link) = pair();
        link.store(Arc::new(LinkFault { cut: true, delay_micros: 0 }));
        sender.send(1).await.expect("no error");
        link.store(Arc::default());
        sender.send(2).await.expect("no error");
        assert_eq!(receiver.next().await, Some(2));
    }

    #[tokio::test]
    async fn a_slow_link_delays_messages_and_keeps_their_order() {
        let (mut sender, mut receiver, link) = pair();
        link.store(Arc::new(LinkFault { cut: false, delay_micros: 20_000 }));
        sender.feed(1).await.expect("held");
        link.store(Arc::default());
        sender.feed(2).await.expect("held behind the first");
        let begun = Instant::now();
        let flushing = tokio::spawn(async move {
            while !sender.held.is_empty() {
                std::future::poll_fn(|cx| {
                    let flushed = Pin::new(&mut sender).poll_flush(cx);
                    if sender.held.is_empty() { flushed.map(|_| ()) } else { Poll::Pending }
                })
                .await;
            }
        });
        assert_eq!((receiver.next().await, receiver.next().await), (Some(1), Some(2)));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        flushing.await.expect("flushed");
    }
}
