//! `wheelfarm explain`.

use wheelfarm_core::gate::rule::Rule;

use crate::args::{ExplainArgs, Format};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let rule = args.rule.as_deref().map(find_rule).transpose()?;
    match (args.format, rule) {
        (Format::Human, Some(rule)) => render::explain::human(rule),
        (Format::Human, None) => render::explain::list(Rule::ALL),
        (Format::Json, Some(rule)) => render::explain::json(&[rule]),
        (Format::Json, None) => render::explain::json(Rule::ALL),
    }?;
    Ok(ExitCode::Done)
}

/// The rule of that id, or the ids that come near it.
fn find_rule(id: &str) -> Result<Rule, Failure> {
    id.parse().map_err(|error| {
        let near: Vec<_> = near(id).iter().map(|rule| rule.id()).collect();
        let failure = Failure::bad_input(error);
        if near.is_empty() {
            failure.with_hint("`wheelfarm explain` lists the rules")
        } else {
            let near = near.join(", ");
            failure.with_hint(format!("near it: {near}; `wheelfarm explain` lists all"))
        }
    })
}

/// At most this many are named.
const NEAR_CAP: usize = 5;

/// The rules that `id` may mean: a slip or two away; else those that share a word with it.
fn near(id: &str) -> Vec<Rule> {
    let id = id.trim().to_lowercase();
    let slips = id.chars().count() / 4;
    let mut near: Vec<_> = Rule::ALL
        .iter()
        .map(|&rule| (distance(&id, rule.id()), rule))
        .filter(|&(distance, _)| distance <= slips)
        .collect();
    if near.is_empty() {
        let words: Vec<_> = words(&id).collect();
        near = Rule::ALL
            .iter()
            .map(|&rule| {
                let shared = self::words(rule.id()).filter(|word| words.contains(word));
                (shared.count(), rule)
            })
            .filter(|&(shared, _)| shared > 0)
            .map(|(shared, rule)| (usize::MAX - shared, rule))
            .collect();
    }
    near.sort();
    near.into_iter()
        .map(|(_, rule)| rule)
        .take(NEAR_CAP)
        .collect()
}

fn words(id: &str) -> impl Iterator<Item = &str> {
    let words = id.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty())
}

/// How many letters have to be put in, taken out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, &candidate) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != candidate);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("arch/jit-onyl", "arch/jit-only"), 2);
    }

    #[track_caller]
    fn check_near(id: &str, want: &[&str]) {
        let near: Vec<_> = near(id).iter().map(|rule| rule.id()).collect();
        assert_eq!(near, want);
    }

    #[test]
    fn a_slip_names_the_one_rule() {
        check_near(
            "arch/missing-sas",
            &["arch/missing-sass", "arch/missing-ptx"],
        );
        check_near("glibc/to-new", &["glibc/too-new"]);
        check_near("Requires/Torch-Bound", &["requires/torch-bound"]);
    }

    #[test]
    fn a_part_of_an_id_names_the_rules_that_have_it() {
        check_near("glibc", &["glibc/too-new"]);
        check_near(
            "missing",
            &["module/missing", "arch/missing-sass", "arch/missing-ptx"],
        );
        assert_eq!(near("arch").len(), NEAR_CAP);
    }

    #[test]
    fn nothing_is_near_to_nonsense() {
        check_near("", &[]);
        check_near("frobnicate", &[]);
        check_near("wheel/broken", &[]);
    }
}
