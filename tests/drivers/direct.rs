//! Calls to one node that the client library must not make: sent once, or never read.

use std::time::{Duration, Instant};

use quorate_protocol::outcome::Failure;
use quorate_rpc::kv::{KeyValueClient, KeyValueRequest, KeyValueResponse, ReadRequest, WriteReply, WriteRequest};
use quorate_rpc::net::Stream;
use quorate_rpc::tarpc::client::Config;
use quorate_rpc::tarpc::context::{self, Context};
use quorate_rpc::tarpc::{ClientMessage, Request, Response};
use quorate_rpc::transport::{Transport, framed};

/// A connection whose answers are read when the test says so.
pub(crate) type Unread = Transport<Response<KeyValueResponse>, ClientMessage<KeyValueRequest>>;

/// A request to read as it travels.
pub(crate) fn asks(id: u64, request: ReadRequest) -> ClientMessage<KeyValueRequest> {
    let context = within(Duration::from_micros(request.micros_left));
    ClientMessage::Request(Request { context, id, message: KeyValueRequest::Read { request } })
}

/// Sends a write over a connection of its own, once.
pub(crate) async fn write(stream: Stream, request: WriteRequest) -> Result<WriteReply, Failure> {
    let calls = KeyValueClient::new(Config::default(), framed(stream)).spawn();
    let context = within(Duration::from_micros(request.micros_left));
    calls.write(context, request).await.expect("the node answers in time")
}

fn within(time: Duration) -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + time;
    context
}
