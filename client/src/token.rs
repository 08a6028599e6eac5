//! Tokens: a key's version in the order of its linearizable operations.
//!
//! A token is what a compare-and-set may expect, and what an external resource may check. It is another type than a
//! [`Context`](crate::Context), which says what a reader has seen and orders nothing: neither is accepted for the other, nor is its text.

use std::fmt;
use std::str::FromStr;

use quorate_protocol::BootId;
use quorate_protocol::chain::{self, Ballot};
use quorate_ring::{NodeId, RingEpoch};

/// A key's version. It grows with every change of the key, also across delete and re-creation, so that it can serve as a *fencing
/// token*: a resource that remembers the highest token it has seen, and refuses lower ones, cannot be reached by a lock holder whose
/// lock has been given to somebody else meanwhile.
///
/// Tokens of one key compare; those of different keys say nothing of each other. Written as five numbers, the last of which counts the
/// changes since the key's history began: `1.7.2.3.12`. A key that was never written has the lowest of all, `0.0.0.0.0`.
///
/// ```
/// # use quorate_client::Token;
/// let (held, offered): (Token, Token) = ("1.7.2.3.12".parse()?, "1.7.2.3.9".parse()?);
/// assert!(offered < held, "the resource refuses the older one");
/// # Ok::<(), quorate_client::TokenTextError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(chain::Token);

/// The text is no token. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no token; a token is five numbers with dots between them, as in 1.7.2.3.12, and comes from a linearizable answer")]
pub struct TokenTextError {
    /// What was written.
    pub text: String,
}

impl From<chain::Token> for Token {
    fn from(token: chain::Token) -> Self {
        Self(token)
    }
}

impl From<Token> for chain::Token {
    fn from(Token(token): Token) -> Self {
        token
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Token {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).map(Self).ok_or_else(|| TokenTextError { text: text.to_owned() })
    }
}

fn read(text: &str) -> Option<chain::Token> {
    let parts: Vec<&str> = text.split('.').collect();
    let [epoch, counter, node, boot, seq] = parts[..] else { return None };
    let inc = Ballot {
        epoch: RingEpoch(number(epoch)?),
        counter: number(counter)?,
        node: NodeId(number(node)?),
        boot: BootId(u32::try_from(number(boot)?).ok()?),
    };
    Some(chain::Token { inc, seq: number(seq)? })
}

/// Decimal digits without a sign or a leading zero, so that a token has one spelling.
fn number(digits: &str) -> Option<u64> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if is_plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    #[test]
    fn text_gives_the_same_token_back() {
        for text in ["0.0.0.0.0", "1.7.2.3.12", "18446744073709551615.18446744073709551615.7.4294967295.18446744073709551615"] {
            assert_eq!(text.parse::<Token>().expect("a token").to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1", "1.2.3.4", "1.2.3.4.5.6", "1.2.3.4.+5", "01.2.3.4.5", "1.2.3.4294967296.5", "1.2.3.4.5 ", "1..3.4.5"] {
            assert!(text.parse::<Token>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_no_context_and_a_context_no_token() {
        assert!("c1.AQID".parse::<Token>().is_err() && "1.7.2.3.12".parse::<Context>().is_err());
    }

    #[test]
    fn tokens_grow_by_change_and_by_incarnation() {
        let tokens = ["0.0.0.0.0", "1.7.2.3.1", "1.7.2.3.12", "1.8.1.1.1", "2.1.1.1.1"].map(|text| text.parse::<Token>().expect("a token"));
        assert!(tokens.is_sorted());
    }
}
