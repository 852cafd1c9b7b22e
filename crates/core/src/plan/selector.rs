//! `--only` and `--skip`: globs over job ids.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::ident::JobId;

/// Which jobs of a plan a command is about.
#[derive(Debug, Clone)]
pub struct Selector {
    only: Option<GlobSet>,
    skip: GlobSet,
}

/// A glob cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{glob}` is not a glob over job ids: {why}")]
pub struct SelectorError {
    glob: String,
    why: String,
}

impl Selector {
    /// Picks what matches any of `only` (everything when empty) and none of `skip`.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self, SelectorError> {
        Ok(Self {
            only: if only.is_empty() {
                None
            } else {
                Some(glob_set(only)?)
            },
            skip: glob_set(skip)?,
        })
    }

    /// Whether `id` is picked.
    pub fn picks(&self, id: &JobId) -> bool {
        let wanted = self
            .only
            .as_ref()
            .is_none_or(|only| only.is_match(id.as_str()));
        wanted && !self.skip.is_match(id.as_str())
    }
}

fn glob_set(globs: &[String]) -> Result<GlobSet, SelectorError> {
    let refuse = |glob: &str, error: &globset::Error| SelectorError {
        glob: glob.to_owned(),
        why: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(Glob::new(glob).map_err(|error| refuse(glob, &error))?);
    }
    set.build()
        .map_err(|error| refuse(&globs.join(" "), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(only: &[&str], skip: &[&str], id: &str, picked: bool) {
        let owned = |globs: &[&str]| {
            globs
                .iter()
                .map(|&glob| glob.to_owned())
                .collect::<Vec<_>>()
        };
        let selector = Selector::new(&owned(only), &owned(skip)).unwrap();
        assert_eq!(selector.picks(&id.parse().unwrap()), picked);
    }

    #[test]
    fn only_and_skip_work_together() {
        let id = "xformers-0.0.35-cu130-torch2.11-cp311";
        check(&[], &[], id, true);
        check(&["xformers-*"], &[], id, true);
        check(&["*-cu128-*"], &[], id, false);
        check(&["*"], &["*-cp311"], id, false);
        check(&["*-{cu128,cu130}-*"], &[], id, true);
    }

    #[test]
    fn a_broken_glob_is_named() {
        let error = Selector::new(&["a[".to_owned()], &[]).unwrap_err();
        assert!(error.to_string().contains("`a[`"), "{error}");
    }
}
