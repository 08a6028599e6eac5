//! The client against fake nodes: what it sends, to whom, how often, and what it makes of the answers. And what its readers are shown.

mod fake;
mod linearizable;
mod readme;
mod retries;
mod routing;
mod sessions;
mod values;
