//! A connected, greeted socket as a stream and sink of messages.

use std::io;

use quorate_protocol::limits::FRAME_BYTES_MAX;
use tarpc::serde_transport;
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::codec::Postcard;

/// Messages over TCP: receives `In`, sends `Out`.
pub type Transport<In, Out> = serde_transport::Transport<TcpStream, In, Out, Postcard<In, Out>>;

/// Prepares a socket for either side: small messages leave at once.
///
/// # Errors
/// When the socket is already closed.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

/// Turns a greeted socket into a transport. Frames above [`FRAME_BYTES_MAX`] end the connection.
pub fn framed<In, Out>(stream: TcpStream) -> Transport<In, Out>
where
    In: serde::de::DeserializeOwned,
    Out: serde::Serialize,
{
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    serde_transport::new(Framed::new(stream, codec), Postcard::default())
}
