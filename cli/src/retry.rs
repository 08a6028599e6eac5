//! The commands with which somebody goes on with a write whose outcome is unknown: the same again, under the same operation id, or the
//! question what became of it.
//!
//! Under its id a retried write finds what an earlier sending of it left, instead of leaving a second value beside that.

use std::ffi::OsString;

use quorate_client::{Level, OpId, Operation, Subject, Verb};

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

/// Whether an operation can be settled: every sending of it that may still be under way goes through the key's order, and is stopped there. An
/// eventual write does not.
#[must_use]
pub fn can_be_settled(operation: &Operation) -> bool {
    operation.level == Some(Level::Linearizable)
}

/// What to write to a shell to ask what became of an operation, and to settle it if that binds it, given what was written the first time;
/// nothing if the key cannot be written.
#[must_use]
pub fn asking(arguments: &[OsString], operation: &Operation, op: OpId) -> Option<String> {
    let Subject::Key(key) = &operation.subject else { return None };
    if operation.verb == Verb::Settle {
        return None; // it is what was written
    }
    let key = std::str::from_utf8(key).ok()?;
    let program = arguments.first().map_or_else(|| "quorate".to_owned(), |program| quoted(&program.to_string_lossy()));
    let bucket = operation.bucket.as_ref().map_or_else(String::new, |bucket| format!(" --bucket {bucket}"));
    let cluster = cluster(arguments).map_or_else(String::new, |cluster| format!(" --cluster {cluster}"));
    let settle = if can_be_settled(operation) { " --settle" } else { "" };
    Some(format!("{program} outcome {} --key={}{bucket}{cluster}{settle}", op, quoted(key)))
}

/// The cluster that the arguments name, if they do.
fn cluster(arguments: &[OsString]) -> Option<String> {
    let words = || arguments.iter().map(|argument| argument.to_string_lossy());
    let behind = words().skip_while(|word| word != "--cluster").nth(1).map(|word| quoted(&word));
    behind.or_else(|| words().find_map(|word| word.strip_prefix("--cluster=").map(quoted)))
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
    fn an_operation_is_asked_after_where_it_was_sent_and_settled_if_that_binds_it() {
        let asking = |words: &[&str], verb, bucket: Option<&str>, level| {
            let bucket = bucket.map(str::to_owned);
            let operation = Operation { verb, subject: Subject::Key("it's".into()), bucket, level: Some(level), op: Some(OP) };
            asking(&words.iter().map(OsString::from).collect::<Vec<_>>(), &operation, OP)
        };
        let plain = asking(&["quorate", "incr", "it's"], Verb::Increment, None, Level::Linearizable);
        assert_eq!(plain, Some(format!(r"quorate outcome {ID} --key='it'\''s' --settle")));
        let put = ["./quorate", "--cluster", "db1:7400", "put", "it's", "v"];
        let full = asking(&put, Verb::Put, Some("carts"), Level::Linearizable);
        assert_eq!(full, Some(format!(r"./quorate outcome {ID} --key='it'\''s' --bucket carts --cluster db1:7400 --settle")));
        let eventual = asking(&put, Verb::Put, Some("carts"), Level::Quorum);
        assert_eq!(eventual, Some(format!(r"./quorate outcome {ID} --key='it'\''s' --bucket carts --cluster db1:7400")));
        assert_eq!(asking(&["quorate", "outcome", ID], Verb::Settle, None, Level::Linearizable), None);
    }

    #[test]
    fn a_command_too_long_to_read_is_referred_to() {
        assert_eq!(again(&["quorate", "put", "k", &"x".repeat(2_000)]), format!("the same command with --op-id {ID}"));
    }
}
