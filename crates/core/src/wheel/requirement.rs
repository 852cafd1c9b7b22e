//! Ties a wheel to the torch whose C++ ABI it was compiled against.
//!
//! torch promises no C++ ABI between minor releases: a wheel that uses it and says `torch>=2.0`
//! installs beside any torch and then fails to import, or worse. Such a wheel must say
//! `torch==X.Y.*` (a stricter bound of upstream's is kept). Never the full `torch==X.Y.Z+cu130`:
//! PyPI's torch has no local part, so nothing would satisfy it.

use std::str::FromStr;

use pep440_rs::{Operator, VersionSpecifier, VersionSpecifiers};

use crate::ident::PackageName;
use crate::wheel::version::TorchMinor;

/// Why the torch requirement could not be settled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequirementError {
    /// A requirement on torch cannot be read.
    #[error("requirement `{requirement}` has no version specifiers that can be read")]
    Unreadable {
        /// The `Requires-Dist` value.
        requirement: String,
    },
    /// Upstream rules out the torch that the wheel was compiled with.
    #[error(
        "requirement `{requirement}` rules out torch {torch}, which the wheel was compiled with"
    )]
    RulesOut {
        /// The `Requires-Dist` value.
        requirement: String,
        /// The torch of the job's environment.
        torch: TorchMinor,
    },
}

/// A change to the list of `Requires-Dist` values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// Give the value at this place another text.
    Replace {
        /// Its place in the list.
        index: usize,
        /// The new value.
        text: String,
    },
    /// Add a value at the end.
    Add {
        /// The new value.
        text: String,
    },
}

/// What has to change in `requirements` so that they admit no torch but `minor`.
pub(super) fn bind_torch<'a>(
    requirements: impl Iterator<Item = &'a str>,
    minor: TorchMinor,
) -> Result<Vec<Edit>, RequirementError> {
    let mut edits = Vec::new();
    let mut is_bound = false;
    for (index, text) in requirements.enumerate() {
        let Some(torch) = TorchRequirement::read(text)? else {
            continue;
        };
        let reach = torch.reach(minor);
        if reach == Reach::Outside {
            return Err(RequirementError::RulesOut {
                requirement: text.to_owned(),
                torch: minor,
            });
        }
        if reach == Reach::Wider {
            edits.push(Edit::Replace {
                index,
                text: torch.narrowed(minor),
            });
        }
        // Under a marker the bound may not hold, so one without a marker must stand as well.
        is_bound |= torch.marker.is_empty();
    }
    if !is_bound {
        let text = format!("torch=={minor}.*");
        edits.push(Edit::Add { text });
    }
    Ok(edits)
}

/// Which torch a wheel's requirements admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TorchBound {
    /// None is required, or only under a condition.
    None,
    /// More than one minor version.
    Wider,
    /// This minor version alone.
    One(TorchMinor),
}

/// Which torch `requirements`, the values of `Requires-Dist`, admit. What cannot be read binds
/// nothing.
pub fn torch_bound<'a>(requirements: impl Iterator<Item = &'a str>) -> TorchBound {
    let mut bound = TorchBound::None;
    for text in requirements {
        let Ok(Some(torch)) = TorchRequirement::read(text) else {
            continue;
        };
        if !torch.marker.is_empty() {
            continue;
        }
        let versions = torch.specifiers.iter();
        let minors = versions.filter_map(|specifier| {
            let release = specifier.version().release();
            let (major, minor) = (release.first()?, release.get(1)?);
            format!("{major}.{minor}").parse::<TorchMinor>().ok()
        });
        let one = minors
            .into_iter()
            .find(|&minor| torch.reach(minor) == Reach::Inside);
        match one {
            Some(minor) => return TorchBound::One(minor),
            None => bound = TorchBound::Wider,
        }
    }
    bound
}

/// More than anyone writes. Each specifier is held against each of the others.
const SPECIFIERS_CAP_BYTES: usize = 4096;

/// As much as is shown of a requirement that is too long.
const SHOWN_CHARS: usize = 100;

/// A requirement on torch that is not behind an extra and not a direct URL.
struct TorchRequirement<'a> {
    /// `[opt]` as written, or empty.
    extras: &'a str,
    specifiers: Vec<VersionSpecifier>,
    /// The marker as written, without the `;`, or empty.
    marker: &'a str,
}

/// Which part of all torch versions a requirement admits, seen from one minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nothing but versions of this minor.
    Inside,
    /// This minor and others.
    Wider,
    /// Nothing of this minor.
    Outside,
}

impl<'a> TorchRequirement<'a> {
    fn read(text: &'a str) -> Result<Option<Self>, RequirementError> {
        let (requirement, marker) = match text.split_once(';') {
            Some((requirement, marker)) => (requirement.trim(), marker.trim()),
            None => (text.trim(), ""),
        };
        let name_end = requirement
            .find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
            .unwrap_or(requirement.len());
        let (name, tail) = requirement.split_at(name_end);
        let is_torch = PackageName::normalise(name).is_ok_and(|name| name.as_str() == "torch");
        if !is_torch || marker.contains("extra") || tail.contains('@') {
            return Ok(None);
        }
        let tail = tail.trim();
        let (extras, specifiers) = match tail.find(']') {
            Some(end) if tail.starts_with('[') => tail.split_at(end + 1),
            Some(_) | None => ("", tail),
        };
        let specifiers = specifiers.trim();
        if specifiers.len() > SPECIFIERS_CAP_BYTES {
            return Err(RequirementError::Unreadable {
                requirement: text.chars().take(SHOWN_CHARS).collect(),
            });
        }
        let bare = specifiers
            .strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'))
            .unwrap_or(specifiers);
        let specifiers =
            VersionSpecifiers::from_str(bare).map_err(|_| RequirementError::Unreadable {
                requirement: text.to_owned(),
            })?;
        Ok(Some(Self {
            extras,
            specifiers: specifiers.iter().cloned().collect(),
            marker,
        }))
    }

    fn reach(&self, minor: TorchMinor) -> Reach {
        let sides: Vec<Side> = self
            .specifiers
            .iter()
            .map(|specifier| side(specifier, minor))
            .collect();
        let has = |wanted: Side| sides.contains(&wanted);
        if has(Side::Misses) {
            Reach::Outside
        } else if has(Side::Within) || (has(Side::FromHere) && has(Side::UpToHere)) {
            Reach::Inside
        } else {
            Reach::Wider
        }
    }

    /// The same requirement, also bound to `minor`; what the bound implies is left out.
    fn narrowed(&self, minor: TorchMinor) -> String {
        let bound = format!("=={minor}.*");
        let mut specifiers: Vec<String> = self
            .specifiers
            .iter()
            .filter(|specifier| restricts(specifier, minor))
            .map(ToString::to_string)
            .collect();
        specifiers.push(bound);
        let specifiers = specifiers.join(",");
        let marker = match self.marker {
            "" => String::new(),
            marker => format!("; {marker}"),
        };
        format!("torch{}{specifiers}{marker}", self.extras)
    }
}

/// Where one specifier lies, seen from one minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// It admits no version of the minor.
    Misses,
    /// It admits versions of the minor only.
    Within,
    /// It admits versions from somewhere in the minor upwards.
    FromHere,
    /// It admits versions up to the end of the minor at most.
    UpToHere,
    /// It admits versions on both sides, or bounds far away.
    Around,
}

/// The minor that a release lies in, and whether it is the first of it: `2.11` or `2.11.0`.
fn minor_of(release: &[u64]) -> ((u64, u64), bool) {
    let number = |index| release.get(index).copied().unwrap_or(0);
    let is_round = release.iter().skip(2).all(|&number| number == 0);
    ((number(0), number(1)), is_round)
}

fn side(specifier: &VersionSpecifier, minor: TorchMinor) -> Side {
    let release = specifier.version().release();
    let (place, is_round) = minor_of(release);
    let here = minor.parts();
    let next = (here.0, here.1.saturating_add(1));
    let at_or_around = |at: Side| if place == here { at } else { Side::Around };
    let misses_unless = |admits: bool, otherwise: Side| {
        if admits { otherwise } else { Side::Misses }
    };
    match specifier.operator() {
        Operator::EqualStar if release.len() == 1 => misses_unless(place.0 == here.0, Side::Around),
        Operator::Equal | Operator::ExactEqual | Operator::EqualStar => {
            misses_unless(place == here, Side::Within)
        }
        Operator::NotEqualStar if release.len() == 1 => {
            misses_unless(place.0 != here.0, Side::Around)
        }
        Operator::NotEqualStar if release.len() == 2 => misses_unless(place != here, Side::Around),
        Operator::NotEqual | Operator::NotEqualStar => Side::Around,
        // `~=2.8` is `>=2.8,==2.*`; `~=2.8.1` is `>=2.8.1,==2.8.*`.
        Operator::TildeEqual if release.len() > 2 => misses_unless(place == here, Side::Within),
        Operator::TildeEqual => misses_unless(
            place.0 == here.0 && place <= here,
            at_or_around(Side::FromHere),
        ),
        Operator::GreaterThan | Operator::GreaterThanEqual => {
            misses_unless(place <= here, at_or_around(Side::FromHere))
        }
        Operator::LessThanEqual => misses_unless(place >= here, at_or_around(Side::UpToHere)),
        Operator::LessThan if place == here => misses_unless(!is_round, Side::UpToHere),
        Operator::LessThan if place == next && is_round => Side::UpToHere,
        Operator::LessThan => misses_unless(place > here, Side::Around),
    }
}

/// Whether the specifier excludes some version of the minor, so that `==X.Y.*` does not imply it.
fn restricts(specifier: &VersionSpecifier, minor: TorchMinor) -> bool {
    let (place, is_round) = minor_of(specifier.version().release());
    let is_whole = is_round && *specifier.operator() == Operator::GreaterThanEqual;
    place == minor.parts() && !is_whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &[&str], want: &[&str]) {
        let minor = "2.11".parse().unwrap();
        let mut after: Vec<String> = before.iter().map(|&text| text.to_owned()).collect();
        for edit in bind_torch(before.iter().copied(), minor).unwrap() {
            match edit {
                Edit::Replace { index, text } => after[index] = text,
                Edit::Add { text } => after.push(text),
            }
        }
        assert_eq!(after, want);
        // A second pass has nothing left to do.
        let again = bind_torch(after.iter().map(String::as_str), minor).unwrap();
        assert_eq!(again, []);
    }

    #[test]
    fn endless_specifiers_are_not_read() {
        let long = format!("torch{}", ">=2.0,".repeat(1000) + ">=2.0");
        let res = bind_torch([&*long].into_iter(), "2.11".parse().unwrap());
        assert!(
            matches!(&res, Err(RequirementError::Unreadable { requirement }) if requirement.len() == 100),
            "{res:?}"
        );
        assert_eq!(torch_bound([&*long].into_iter()), TorchBound::None);
    }

    #[test]
    fn a_loose_torch_is_bound_to_its_minor() {
        check(&["numpy", "torch"], &["numpy", "torch==2.11.*"]);
        check(&["torch>=2.0"], &["torch==2.11.*"]);
        check(&["torch (>=1.13,<3)"], &["torch==2.11.*"]);
        check(&["Torch [opt] >= 2.11.0"], &["torch[opt]==2.11.*"]);
        check(&["torch~=2.4"], &["torch==2.11.*"]);
        check(&["torch==2.*"], &["torch==2.11.*"]);
        check(&["numpy"], &["numpy", "torch==2.11.*"]);
        check(&[], &["torch==2.11.*"]);
    }

    #[test]
    fn what_restricts_within_the_minor_is_kept() {
        check(&["torch>=2.11.1"], &["torch>=2.11.1,==2.11.*"]);
        check(&["torch>=2.4,!=2.11.0"], &["torch!=2.11.0,==2.11.*"]);
    }

    #[test]
    fn a_stricter_bound_is_kept() {
        for text in [
            "torch==2.11.0",
            "torch == 2.11.*",
            "torch~=2.11.1",
            "torch>=2.11,<2.12",
            "torch===2.11.0",
        ] {
            check(&[text], &[text]);
        }
    }

    #[test]
    fn markers_and_extras_are_kept_and_do_not_count_as_the_bound() {
        check(
            &["torch>=2; platform_system == \"Linux\""],
            &[
                "torch==2.11.*; platform_system == \"Linux\"",
                "torch==2.11.*",
            ],
        );
        check(
            &["torch>=3; extra == \"new\"", "torchvision>=0.2"],
            &[
                "torch>=3; extra == \"new\"",
                "torchvision>=0.2",
                "torch==2.11.*",
            ],
        );
        check(
            &["torch @ https://example.org/torch.whl"],
            &["torch @ https://example.org/torch.whl", "torch==2.11.*"],
        );
    }

    #[track_caller]
    fn check_refused(requirement: &str) {
        let res = bind_torch([requirement].into_iter(), "2.11".parse().unwrap());
        let requirement = requirement.to_owned();
        let torch = "2.11".parse().unwrap();
        assert_eq!(res, Err(RequirementError::RulesOut { requirement, torch }));
    }

    #[test]
    fn a_bound_that_rules_the_build_out_is_refused() {
        for text in [
            "torch==2.8.0",
            "torch<2.9",
            "torch<2.11",
            "torch<=2.10.9",
            "torch>=2.12",
            "torch!=2.11.*",
            "torch~=2.12",
            "torch~=2.10.1",
            "torch==1.*",
        ] {
            check_refused(text);
        }
    }

    #[test]
    fn unreadable_specifiers_are_refused() {
        let res = bind_torch(["torch>>2"].into_iter(), "2.11".parse().unwrap());
        assert!(
            matches!(res, Err(RequirementError::Unreadable { .. })),
            "{res:?}"
        );
    }
}
