//! A connected, greeted socket as a stream and sink of messages.

use std::io;
use std::time::Duration;

use quorate_protocol::limits::{FRAME_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use crate::codec::Postcard;
use crate::frame::Frames;
use crate::net::Stream;
use crate::shared_flush::SharedFlush;

/// Longest message of a client, in bytes: the largest value and key, and as much again for contexts, which are far smaller. A client
/// is a stranger; only nodes send each other several values at a time.
pub const CLIENT_FRAME_BYTES_MAX: usize = 4 << 20;

const _: () =
    assert!(CLIENT_FRAME_BYTES_MAX >= 2 * (VALUE_BYTES_MAX + KEY_BYTES_MAX), "every valid write fits, and some that are too large");

/// Messages over a stream of bytes: receives `In`, sends `Out`.
pub type Transport<In, Out, S = Stream> = SharedFlush<tokio_serde::Framed<Framed<S, Frames>, In, Out, Postcard<In, Out>>>;

/// How long a connection is idle before the system asks the far side whether it is still there. Whoever vanished without a word (a machine
/// that lost its power, a cut cable) would otherwise keep one of a node's connections for ever.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// How long the system waits for the answer before it asks again.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How often it asks before it breaks the connection: 30 s after the last sign of life. A process that is stopped answers, for its system
/// does. What was sent and never acknowledged has a limit of its own, the system's.
pub const KEEPALIVE_PROBES: u32 = 3;

/// Prepares a TCP socket for either side: small messages leave at once, and a far side that vanished is noticed.
///
/// # Errors
/// When the socket is already closed.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Turns a greeted socket into a transport. Frames above [`FRAME_BYTES_MAX`] end the connection.
pub fn framed<In, Out, S: AsyncRead + AsyncWrite>(stream: S) -> Transport<In, Out, S> {
    over(Framed::new(stream, Frames::new(FRAME_BYTES_MAX, FRAME_BYTES_MAX)))
}

/// A node's side of a client's connection: requests above [`CLIENT_FRAME_BYTES_MAX`] end it, answers may have [`FRAME_BYTES_MAX`].
pub fn framed_for_client<In, Out, S: AsyncRead + AsyncWrite>(stream: S) -> Transport<In, Out, S> {
    over(Framed::new(stream, Frames::new(CLIENT_FRAME_BYTES_MAX, FRAME_BYTES_MAX)))
}

fn over<In, Out, S: AsyncRead + AsyncWrite>(frames: Framed<S, Frames>) -> Transport<In, Out, S> {
    SharedFlush::new(tokio_serde::Framed::new(frames, Postcard::default()))
}
