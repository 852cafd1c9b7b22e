//! What facts come to: pure, a function for each topic.

mod engine;
mod farm;
mod gpu;
mod network;
mod publishing;
mod room;
#[cfg(test)]
mod tests;

use super::Check;
use super::facts::Facts;

/// Every check, in the order of [`Topic::ALL`](super::Topic::ALL).
pub fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks = farm::checks(facts);
    checks.extend(engine::checks(facts));
    checks.extend(gpu::checks(facts));
    checks.extend(room::checks(facts));
    checks.extend(network::checks(facts));
    checks.extend(publishing::checks(facts));
    checks.sort_by_key(|check| check.topic);
    checks
}

/// `1 job`, `2 jobs`.
fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
