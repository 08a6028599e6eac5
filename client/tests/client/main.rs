//! The client against fake nodes: what it sends, to whom, how often, and what it makes of the answers.

mod fake;
mod retries;
mod routing;
mod sessions;
mod values;
