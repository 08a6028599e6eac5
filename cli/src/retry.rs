//! The command with which somebody goes on with a write whose outcome is unknown: the same again, under the same operation id.
//!
//! Under its id a retried write finds what an earlier sending of it left, instead of leaving a second value beside that.

use std::ffi::OsString;

use quorate_client::OpId;

const OPTION: &str = "--op-id";

/// Longest command that is printed; a longer one is referred to.
const CHARS_MAX: usize = 1_000;

/// What to write to a shell, given what was written the first time.
#[must_use]
pub fn command(arguments: &[OsString], op: OpId) -> String {
    let words: Vec<String> = arguments.iter().map(|argument| quoted(&argument.to_string_lossy())).collect();
    let option = format!("{OPTION} {op}");
    if words.iter().any(|word| word == OPTION || word.starts_with("--op-id=")) {
        return words.join(" "); // it was a retry itself
    }
    let end_of_options = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (before, behind) = words.split_at(end_of_options);
    let command = [before, std::slice::from_ref(&option), behind].concat().join(" ");
    if command.chars().count() <= CHARS_MAX { command } else { format!("the same command with {option}") }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use quorate_client::ClientId;

    use super::*;

    const OP: OpId = OpId { client: ClientId(0xfeed), lane: 0, seq: 1, issued_ms: 1_700_000_000_000 };
    const ID: &str = "0000000000000000000000000000feed.0.1.1700000000000";

    fn again(words: &[&str]) -> String {
        command(&words.iter().map(OsString::from).collect::<Vec<_>>(), OP)
    }

    #[test]
    fn the_same_is_written_again_with_the_id() {
        assert_eq!(again(&["quorate", "put", "cart:7", "it's", ""]), format!(r"quorate put cart:7 'it'\''s' '' --op-id {ID}"));
        assert_eq!(again(&["quorate", "put", "-", "--", "-k", "v"]), format!("quorate put - --op-id {ID} -- -k v"));
        let retry = ["quorate", "del", "k", "--op-id", ID];
        assert_eq!(again(&retry), retry.join(" "), "a retry that fails is retried as it is");
    }

    #[test]
    fn a_command_too_long_to_read_is_referred_to() {
        assert_eq!(again(&["quorate", "put", "k", &"x".repeat(2_000)]), format!("the same command with --op-id {ID}"));
    }
}
