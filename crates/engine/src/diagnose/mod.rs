//! Logs of failures: read from where they lie, explained by core's rules, written up for someone who has
//! to find out, and handed to an assistant of the user's when asked for.

mod assistant;
mod log;

pub use assistant::{Assistant, AssistantError, Found, LIMIT, ask, find};
pub use log::{Log, LogError, explain_failed, machine, secret_values};
