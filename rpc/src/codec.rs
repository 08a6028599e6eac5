//! Messages as postcard, one per frame.
//!
//! **Promise.** A frame that does not decode ends its connection with an error and does nothing else. That includes a frame
//! whose decoding panics: tarpc's `Context` adds a duration from the wire to the current instant, and a hostile duration
//! overflows.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The codec of one connection that receives `In` and sends `Out`.
pub struct Postcard<In, Out> {
    marker: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Default for Postcard<In, Out> {
    fn default() -> Self {
        Self { marker: PhantomData }
    }
}

impl<In, Out> std::fmt::Debug for Postcard<In, Out> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postcard")
    }
}

/// A frame could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value cannot be represented.
    #[error("message does not encode")]
    Encode(#[source] postcard::Error),
    /// The bytes are no such message.
    #[error("frame of {bytes} bytes does not decode")]
    Decode {
        /// Length of the frame.
        bytes: usize,
        /// What the decoder met.
        source: postcard::Error,
    },
    /// The message decodes but leaves bytes over.
    #[error("frame of {bytes} bytes has {extra} bytes too many")]
    Trailing {
        /// Length of the frame.
        bytes: usize,
        /// Bytes left over.
        extra: usize,
    },
    /// The frame is longer than allowed; nothing of it was kept or sent.
    #[error("frame of {bytes} bytes, more than {bytes_max}")]
    TooLong {
        /// Length of the frame.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// The bytes make the decoder panic.
    #[error("frame of {bytes} bytes holds an impossible value")]
    Impossible {
        /// Length of the frame.
        bytes: usize,
    },
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Decodes one whole frame.
///
/// # Errors
/// [`CodecError`] when the bytes are not exactly one message, a panicking decoder included.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, CodecError> {
    let bytes = frame.len();
    let decoded = catch_unwind(AssertUnwindSafe(|| postcard::take_from_bytes::<T>(frame)));
    match decoded {
        Ok(Ok((message, []))) => Ok(message),
        Ok(Ok((_, rest))) => Err(CodecError::Trailing { bytes, extra: rest.len() }),
        Ok(Err(source)) => Err(CodecError::Decode { bytes, source }),
        Err(_panic) => Err(CodecError::Impossible { bytes }),
    }
}

impl<In, Out: Serialize> tokio_serde::Serializer<Out> for Postcard<In, Out> {
    type Error = std::io::Error;

    fn serialize(self: Pin<&mut Self>, item: &Out) -> Result<Bytes, Self::Error> {
        let bytes = postcard::to_stdvec(item).map_err(CodecError::Encode)?;
        Ok(bytes.into())
    }
}

impl<In: DeserializeOwned, Out> tokio_serde::Deserializer<In> for Postcard<In, Out> {
    type Error = std::io::Error;

    fn deserialize(self: Pin<&mut Self>, frame: &BytesMut) -> Result<In, Self::Error> {
        Ok(decode(frame)?)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Message {
        key: Bytes,
        count: u64,
    }

    #[test]
    fn a_message_survives_the_wire() {
        let message = Message { key: Bytes::from_static(b"k"), count: 300 };
        let frame = postcard::to_stdvec(&message).expect("encodes");
        assert_eq!(decode::<Message>(&frame).expect("decodes"), message);
    }

    #[test]
    fn cut_extended_and_random_frames_are_errors() {
        let frame = postcard::to_stdvec(&Message { key: Bytes::from_static(b"key"), count: 300 }).expect("encodes");
        for length in 0..frame.len() {
            assert!(decode::<Message>(&frame[..length]).is_err(), "cut to {length}");
        }
        let mut longer = frame;
        longer.push(0);
        assert!(matches!(decode::<Message>(&longer), Err(CodecError::Trailing { extra: 1, .. })));
    }

    /// The deadline on tarpc's wire is a duration that the receiver adds to its clock.
    #[test]
    fn a_deadline_that_overflows_the_clock_is_an_error_and_no_panic() {
        type Request = tarpc::ClientMessage<u8>;
        let request = |deadline: std::time::Duration| {
            let mut context = tarpc::context::current();
            context.deadline = std::time::Instant::now() + deadline;
            Request::Request(tarpc::Request { context, id: 1, message: 7 })
        };
        let near = postcard::to_stdvec(&request(std::time::Duration::ZERO)).expect("encodes");
        decode::<Request>(&near).expect("an ordinary deadline decodes");
        // Variant 0, then the duration: seconds as a varint, then nanoseconds.
        let seconds_zero = near.iter().skip(1).position(|byte| *byte == 0).expect("zero seconds") + 1;
        let mut hostile = near[..seconds_zero].to_vec();
        hostile.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        hostile.extend(&near[seconds_zero + 1..]);
        assert!(matches!(decode::<Request>(&hostile), Err(CodecError::Impossible { .. })));
    }
}
