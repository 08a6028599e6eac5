//! Messages to other nodes, counted where they leave this one.
//!
//! **Promise.** Every frame that this node sends to another one after their greeting counts once, whatever it is about: requests that
//! share a frame are one message. One that a fault loses counts too: it was sent. Costs one addition to an atomic number.
//!
//! [`Counted`] wraps the transport of every connection to or from a peer.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, Stream};
use prometheus_client::metrics::counter::Counter;
use quorate_rpc::peer::{PeerRequest, PeerResponse};
use quorate_rpc::tarpc::{ClientMessage, Response};

use crate::metrics::{MessageKind, Metrics};
use crate::service::Unsent;

/// A message that knows what it is.
pub(crate) trait Message {
    fn kind(&self) -> MessageKind;
}

impl Message for ClientMessage<PeerRequest> {
    fn kind(&self) -> MessageKind {
        match self {
            Self::Request(request) => match request.message {
                PeerRequest::Ping {} => MessageKind::Heartbeat,
                PeerRequest::Replica { .. } | PeerRequest::Forward { .. } | PeerRequest::Keys { .. } => MessageKind::Request,
            },
            // tarpc knows one other kind, and keeps the right to more.
            _ => MessageKind::Cancel,
        }
    }
}

impl Message for Response<Unsent<PeerResponse>> {
    fn kind(&self) -> MessageKind {
        match self.message.as_ref().map(Unsent::answer) {
            Ok(PeerResponse::Ping(_)) => MessageKind::Heartbeat,
            Ok(PeerResponse::Replica(_) | PeerResponse::Forward(_) | PeerResponse::Keys(_)) | Err(_) => MessageKind::Reply,
        }
    }
}

/// A transport whose outgoing messages are counted.
pub(crate) struct Counted<T> {
    inner: T,
    requests: Counter,
    replies: Counter,
    cancels: Counter,
    heartbeats: Counter,
}

impl<T> Counted<T> {
    /// Counts what leaves by `inner`.
    pub(crate) fn new(inner: T, metrics: &Metrics) -> Self {
        Self {
            inner,
            requests: metrics.peer_messages(MessageKind::Request),
            replies: metrics.peer_messages(MessageKind::Reply),
            cancels: metrics.peer_messages(MessageKind::Cancel),
            heartbeats: metrics.peer_messages(MessageKind::Heartbeat),
        }
    }

    fn count(&self, kind: MessageKind) {
        match kind {
            MessageKind::Request => self.requests.inc(),
            MessageKind::Reply => self.replies.inc(),
            MessageKind::Cancel => self.cancels.inc(),
            MessageKind::Heartbeat => self.heartbeats.inc(),
        };
    }
}

impl<T: Stream + Unpin> Stream for Counted<T> {
    type Item = T::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl<T: Sink<Out> + Unpin, Out: Message> Sink<Out> for Counted<T> {
    type Error = T::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Out) -> Result<(), Self::Error> {
        self.count(message.kind());
        Pin::new(&mut self.inner).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
