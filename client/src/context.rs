//! Contexts: what an answer has seen of a key, given back with the write that replaces it.
//!
//! A context means nothing to its holder. It can be kept as text (`c1.` and base64url) and handed to another program; the nodes
//! refuse it for any other key, bucket or cluster, and when it is damaged.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use quorate_protocol::SealedContext;

/// Tells a context from any other text that the command line takes, and its versions from each other.
const PREFIX: &str = "c1.";

/// What an answer has seen of one key. Written as text that needs no quoting in a shell, a URL or a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Context(SealedContext);

/// The text is not a context. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextTextError {
    /// It does not begin as contexts do.
    #[error("this is no context; a context begins with {PREFIX:?} and comes from an answer about the same key")]
    NotAContext,
    /// It begins as a context and goes on otherwise.
    #[error("the context is damaged")]
    Damaged {
        /// Where and how.
        source: base64::DecodeError,
    },
    /// It ends after the beginning.
    #[error("the context is cut off")]
    Empty,
}

impl Context {
    /// The context as messages carry it.
    pub fn sealed(&self) -> &SealedContext {
        &self.0
    }
}

impl From<SealedContext> for Context {
    fn from(sealed: SealedContext) -> Self {
        Self(sealed)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", to_text(self.0.as_bytes()))
    }
}

impl FromStr for Context {
    type Err = ContextTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let payload = text.strip_prefix(PREFIX).ok_or(ContextTextError::NotAContext)?;
        let bytes = from_text(payload).map_err(|source| ContextTextError::Damaged { source })?;
        if bytes.is_empty() {
            return Err(ContextTextError::Empty);
        }
        Ok(Self(SealedContext::from_bytes(bytes)))
    }
}

/// Bytes as unpadded base64url.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What [`to_text`] wrote.
pub(crate) fn from_text(text: &str) -> Result<Bytes, base64::DecodeError> {
    URL_SAFE_NO_PAD.decode(text).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use quorate_protocol::BucketId;
    use quorate_protocol::sealed::ContextSeal;

    use super::*;

    fn context() -> Context {
        ContextSeal::new("shop", None).seal(BucketId(0), b"cart:7", &quorate_protocol::Context::empty()).into()
    }

    #[test]
    fn text_gives_the_same_context_back() {
        let text = context().to_string();
        assert!(text.starts_with("c1.") && text.is_ascii() && !text.contains(['=', '+', '/', ' ']), "{text}");
        assert_eq!(text.parse(), Ok(context()));
    }

    #[test]
    fn text_of_another_type_is_refused() {
        for text in ["", "c1", "7.12", "t1.AAAA", "quorate-session 1", "AQID"] {
            assert_eq!(text.parse::<Context>(), Err(ContextTextError::NotAContext), "{text:?}");
        }
    }

    #[test]
    fn damaged_text_is_refused() {
        assert_eq!("c1.".parse::<Context>(), Err(ContextTextError::Empty));
        for damaged in ["c1.AQ!D", "c1.AQID=", "c1.AQID\n", "c1.A", "c1. AQID"] {
            assert!(matches!(damaged.parse::<Context>(), Err(ContextTextError::Damaged { .. })), "{damaged:?}");
        }
    }
}
