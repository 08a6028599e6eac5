//! Where a message begins and ends: its length, then its bytes.
//!
//! ```text
//! | length u32, big-endian | message |
//! ```
//!
//! **Promise.** A length is a claim: memory is taken as bytes arrive, never because somebody announced them. A frame above the limit
//! ends the connection before any of it is kept.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::codec::CodecError;

const LENGTH_BYTES: usize = 4;

/// Cuts a connection into frames.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    received_max: usize,
    sent_max: usize,
}

impl Frames {
    /// Frames of at most so many bytes, in the one and in the other direction.
    ///
    /// # Panics
    /// If frames to send may be too long for their length field.
    #[must_use]
    pub fn new(received_max: usize, sent_max: usize) -> Self {
        assert!(u32::try_from(sent_max).is_ok(), "the length field has 32 bits");
        Self { received_max, sent_max }
    }
}

impl Decoder for Frames {
    type Item = BytesMut;
    type Error = std::io::Error;

    fn decode(&mut self, received: &mut BytesMut) -> Result<Option<BytesMut>, Self::Error> {
        let Some(length) = received.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*length) as usize;
        if bytes > self.received_max {
            return Err(CodecError::TooLong { bytes, bytes_max: self.received_max }.into());
        }
        if received.len() < LENGTH_BYTES + bytes {
            return Ok(None);
        }
        received.advance(LENGTH_BYTES);
        Ok(Some(received.split_to(bytes)))
    }
}

impl Encoder<Bytes> for Frames {
    type Error = std::io::Error;

    fn encode(&mut self, message: Bytes, sent: &mut BytesMut) -> Result<(), Self::Error> {
        let bytes = message.len();
        let length = u32::try_from(bytes).ok().filter(|_| bytes <= self.sent_max);
        let length = length.ok_or(CodecError::TooLong { bytes, bytes_max: self.sent_max })?;
        sent.reserve(LENGTH_BYTES + bytes);
        sent.put_u32(length);
        sent.extend_from_slice(&message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        Frames::new(100, 200)
    }

    #[test]
    fn frames_that_arrive_in_pieces_come_out_whole_and_in_order() {
        let mut bytes = BytesMut::new();
        for message in [&b"one"[..], b"", b"three"] {
            frames().encode(Bytes::from_static(message), &mut bytes).expect("short");
        }
        let (mut received, mut messages) = (BytesMut::new(), Vec::new());
        for byte in bytes {
            received.put_u8(byte);
            messages.extend(frames().decode(&mut received).expect("short"));
        }
        assert_eq!(messages, [&b"one"[..], b"", b"three"]);
        assert!(received.is_empty());
    }

    #[test]
    fn each_direction_has_its_own_limit() {
        let mut bytes = BytesMut::new();
        assert!(frames().encode(Bytes::from(vec![0; 201]), &mut bytes).is_err());
        assert!(bytes.is_empty(), "nothing of it is sent");
        frames().encode(Bytes::from(vec![0; 101]), &mut bytes).expect("short enough to send");
        assert!(frames().decode(&mut bytes).is_err(), "too long to receive");
    }

    #[test]
    fn a_length_that_is_only_announced_takes_no_memory() {
        let mut codec = Frames::new(1 << 30, 0);
        let mut received = BytesMut::from(&(1u32 << 30).to_be_bytes()[..]);
        let before = received.capacity();
        assert!(codec.decode(&mut received).expect("within the limit").is_none());
        assert_eq!(received.capacity(), before);
    }
}
