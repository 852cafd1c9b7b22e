//! Which wheels of a catalog a step is about: globs that a person types, and the reason that they give.

use std::fmt;

use globset::{Glob, GlobMatcher};

use crate::release::catalog::{Catalog, CatalogWheel};
use crate::release::life::LifeError;

/// Globs over wheels: over file names (`flash_attn-2.8.3*`), or over channels and file names
/// (`cu130/torch2.11/*`).
#[derive(Debug, Clone)]
pub struct WheelGlobs(Vec<GlobMatcher>);

/// A glob cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{glob}` is not a glob over wheels: {why}")]
pub struct WheelGlobError {
    glob: String,
    why: String,
}

impl WheelGlobs {
    /// Reads the globs.
    pub fn new(globs: &[String]) -> Result<Self, WheelGlobError> {
        let read = |glob: &String| match Glob::new(glob) {
            Ok(read) => Ok(read.compile_matcher()),
            Err(error) => Err(WheelGlobError {
                glob: glob.clone(),
                why: error.kind().to_string(),
            }),
        };
        globs.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The wheels of `catalog` that `is_one` admits and any of the globs matches; `among` says which
    /// these are (`on track nightly`). A glob that matches none of them is an error: it is a slip of the
    /// pen more often than not.
    pub(super) fn pick<'a>(
        &self,
        catalog: &'a Catalog,
        among: &'static str,
        is_one: impl Fn(&CatalogWheel) -> bool,
    ) -> Result<Vec<&'a CatalogWheel>, LifeError> {
        let wheels: Vec<_> = catalog.wheels.values().filter(|w| is_one(w)).collect();
        let texts: Vec<_> = wheels
            .iter()
            .map(|wheel| {
                let name = wheel.file_name.to_string();
                (format!("{}/{name}", wheel.channel), name)
            })
            .collect();
        let mut is_picked = vec![false; wheels.len()];
        for glob in &self.0 {
            let mut matches = false;
            for (picked, (place, name)) in is_picked.iter_mut().zip(&texts) {
                if glob.is_match(name) || glob.is_match(place) {
                    (*picked, matches) = (true, true);
                }
            }
            if !matches {
                return Err(LifeError::NothingPicked {
                    glob: glob.glob().to_string(),
                    among,
                    example: texts.first().map(|(place, _)| place.clone()),
                });
            }
        }
        let picked = wheels.into_iter().zip(is_picked);
        Ok(picked.filter_map(|(w, is)| is.then_some(w)).collect())
    }
}

/// Why somebody did something, in a line that users will read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

/// The text is no reason.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is not a reason: one line of 1 to {LONGEST} characters is wanted", .0.escape_debug())]
pub struct ReasonError(String);

/// pip and uv print it in the middle of their own lines.
const LONGEST: usize = 300;

impl std::str::FromStr for Reason {
    type Err = ReasonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 || length > LONGEST || text.contains(char::is_control) {
            return Err(ReasonError(text.chars().take(40).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::catalog::Track;
    use crate::release::life::tests::{catalog, wheel};

    fn globs(globs: &[&str]) -> WheelGlobs {
        let globs: Vec<String> = globs.iter().map(|&glob| glob.to_owned()).collect();
        WheelGlobs::new(&globs).unwrap()
    }

    #[track_caller]
    fn check(patterns: &[&str], want: Result<usize, &str>) {
        let stable = [Track::Stable];
        let catalog = catalog([
            wheel(
                "1.0+cu130torch2.11-cp311-cp311",
                "cu130/torch2.11",
                1,
                &stable,
            ),
            wheel(
                "1.0+cu130torch2.11-cp312-cp312",
                "cu130/torch2.11",
                1,
                &stable,
            ),
            wheel(
                "1.0+cu128torch2.8-cp312-cp312",
                "cu128/torch2.8",
                1,
                &stable,
            ),
            wheel("0.9+cu128torch2.8-cp312-cp312", "cu128/torch2.8", 1, &[]),
        ]);
        let listed = |wheel: &CatalogWheel| !wheel.tracks.is_empty();
        let found = globs(patterns).pick(&catalog, "that is listed", listed);
        let found = found.map(|found| found.len()).map_err(|e| e.to_string());
        assert_eq!(found, want.map_err(str::to_owned), "{patterns:?}");
    }

    #[test]
    fn globs_are_over_file_names_and_channels() {
        check(&["demo-1.0+cu130torch2.11-cp311-*"], Ok(1));
        check(&["demo-*"], Ok(3));
        check(&["*-cp312-*"], Ok(2));
        check(&["cu130/*"], Ok(2));
        check(&["cu130/torch2.11/demo-*cp311*", "demo-1.0+cu128*"], Ok(2));
        check(&["demo-1.0+cu130*", "*-cp311-*"], Ok(2));
        check(&["demo"], Err("`demo` matches no wheel that is listed"));
        check(
            &["demo-1.0*", "demo-0.9*"],
            Err("`demo-0.9*` matches no wheel that is listed"),
        );
        let error = WheelGlobs::new(&["a[".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("`a[`"), "{error}");
    }

    #[test]
    fn a_reason_is_one_line() {
        let reason: Reason = " wrong results on sm_120 ".parse().unwrap();
        assert_eq!(reason.to_string(), "wrong results on sm_120");
        for bad in ["", "  ", "a\nb", &"x".repeat(301)] {
            assert!(bad.parse::<Reason>().is_err(), "{bad}");
        }
    }
}
