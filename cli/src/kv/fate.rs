//! `outcome`: what became of an operation whose outcome was unknown.

use bytes::Bytes;
use clap::Args;
use quorate_client::{Fate, NotAppliedWhy, OpId};
use quorate_config::BucketName;
use quorate_protocol::Access;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output, connect};
use crate::json::FateFields;
use crate::output;
use crate::text::{Shown, checked_key, from_base64};

/// Says what became of an operation whose outcome was unknown.
///
/// Ends with 0 if it was applied, 4 if it was a cas that found something else, 6 if it was not applied and never will be, and 7 if nobody
/// can say. An eventual write is known by its value, as long as nothing has replaced it.
#[derive(Clone, Debug, Args)]
pub struct OutcomeCommand {
    /// The operation, as an error or --output json named it.
    #[arg(value_name = "OP-ID")]
    op: OpId,

    /// The key that the operation was about.
    #[arg(long)]
    key: String,

    /// The key is given as base64.
    #[arg(long)]
    key_base64: bool,

    /// The bucket the key is in.
    #[arg(long, value_name = "BUCKET", default_value_t = BucketName::default_bucket())]
    bucket: BucketName,

    /// If it was not applied so far, make sure that it never is, even if a sending of it is still under way.
    ///
    /// That binds linearizable operations only: cas, incr, and put and del at linearizable. An eventual write that is under way, or kept
    /// as a hint, arrives all the same.
    #[arg(long)]
    settle: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] for a wrong key, for too few replicas, and for a closed stdout.
pub async fn outcome(command: &OutcomeCommand, globals: &Globals) -> Result<Exit, CliError> {
    let key = if command.key_base64 { from_base64("key", &command.key) } else { Ok(Bytes::from(command.key.clone())) };
    let key = key.and_then(checked_key).map_err(CliError::usage)?;
    let client = connect(globals, Access::Read).await?;
    let ask = client.bucket(command.bucket.as_str()).outcome(&key, command.op);
    let fate = if command.settle { ask.settle().await? } else { ask.await? };
    match globals.output {
        Output::Json => output::print_json(&FateFields::new(command.bucket.as_str(), &key, command.op, &fate))?,
        Output::Table | Output::Raw => output::print(Told(&fate))?,
    }
    Ok(exit(&fate))
}

/// How `outcome` ends.
fn exit(fate: &Fate) -> Exit {
    match fate {
        Fate::Applied { .. } => Exit::Ok,
        Fate::NotApplied(NotAppliedWhy::Conflict) => Exit::CasConflict,
        Fate::NotApplied(NotAppliedWhy::Settled | NotAppliedWhy::Inapplicable(_)) => Exit::Unavailable,
        Fate::Unknown(_) => Exit::Unknown,
    }
}

/// What became of an operation, in words.
pub struct Told<'a>(pub &'a Fate);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Fate::Applied { token, result } => {
                f.write_str("applied")?;
                result.iter().try_for_each(|result| write!(f, ", with the result {}", Shown(result)))?;
                token.iter().try_for_each(|token| write!(f, ", token {token}"))
            }
            Fate::NotApplied(why) => write!(f, "not applied, and never will be: {why}"),
            Fate::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_client::UnknownWhy;

    use super::*;

    #[test]
    fn words_and_exit_codes_say_the_same() {
        let applied = Fate::Applied { token: "1.7.2.3.12".parse().ok(), result: Some("5".into()) };
        let told = [
            (applied, "applied, with the result 5, token 1.7.2.3.12", Exit::Ok),
            (Fate::Applied { token: None, result: None }, "applied", Exit::Ok),
            (Fate::NotApplied(NotAppliedWhy::Conflict), "not applied, and never will be: its expectation did not hold", Exit::CasConflict),
            (
                Fate::NotApplied(NotAppliedWhy::Settled),
                "not applied, and never will be: it was settled as never to be applied",
                Exit::Unavailable,
            ),
            (Fate::Unknown(UnknownWhy::Forgotten), "unknown: it is older than what the key remembers of its clients", Exit::Unknown),
        ];
        for (fate, words, code) in told {
            assert_eq!((Told(&fate).to_string().as_str(), exit(&fate)), (words, code));
        }
    }
}
