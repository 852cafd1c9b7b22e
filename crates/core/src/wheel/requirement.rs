//! Ties a wheel to the torch whose C++ ABI it was compiled against.
//!
//! torch promises no C++ ABI between minor releases: a wheel that uses it and says `torch>=2.0`
//! installs beside any torch and then fails to import, or worse. Such a wheel must say
//! `torch==X.Y.*` (a stricter bound of upstream's is kept). Never the full `torch==X.Y.Z+cu130`:
//! PyPI's torch has no local part, so nothing would satisfy it. A wheel that was compiled against a
//! nightly must name that one: `torch==2.16.0.dev20261120`.

use std::str::FromStr;

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

use crate::ident::PackageName;
use crate::version::{Day, TorchVersion};
use crate::wheel::version::{TorchAbi, TorchMinor};

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
        torch: TorchAbi,
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

/// What has to change in `requirements` so that they admit no torch but those of `abi`.
pub(super) fn bind_torch<'a>(
    requirements: impl Iterator<Item = &'a str>,
    abi: TorchAbi,
) -> Result<Vec<Edit>, RequirementError> {
    let mut edits = Vec::new();
    let mut is_bound = false;
    for (index, text) in requirements.enumerate() {
        let Some(torch) = TorchRequirement::read(text)? else {
            continue;
        };
        let reach = torch.reach(abi);
        if reach == Reach::Outside && torch.is_pin() {
            // Upstream names the torch that it built with, and this is another build: what it was
            // compiled with is the truth. Whether the package works there is for its `needs`.
            edits.push(Edit::Replace {
                index,
                text: torch.with_specifiers(&abi.specifier()),
            });
            is_bound |= torch.marker.is_empty();
            continue;
        }
        if reach == Reach::Outside {
            return Err(RequirementError::RulesOut {
                requirement: text.to_owned(),
                torch: abi,
            });
        }
        if reach == Reach::Wider {
            edits.push(Edit::Replace {
                index,
                text: torch.narrowed(abi),
            });
        }
        // Under a marker the bound may not hold, so one without a marker must stand as well.
        is_bound |= torch.marker.is_empty();
    }
    if !is_bound {
        let text = format!("torch{}", abi.specifier());
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
    /// One minor version alone, or one nightly.
    One(TorchAbi),
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
        let named = torch.specifiers.iter().filter_map(named_abi);
        let one = named
            .into_iter()
            .find(|&abi| torch.reach(abi) == Reach::Inside);
        match one {
            Some(abi) => return TorchBound::One(abi),
            None => bound = TorchBound::Wider,
        }
    }
    bound
}

/// Whether requirements admit a torch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TorchAdmission<'a> {
    /// They do.
    Yes,
    /// This one does not.
    No(&'a str),
    /// This one may not: it holds under a condition, or cannot be read.
    Perhaps(&'a str),
}

/// Whether `requirements`, the values of `Requires-Dist`, admit `exact`, or without one some torch of
/// `minor`.
pub fn torch_admission<'a>(
    requirements: impl Iterator<Item = &'a str>,
    minor: TorchMinor,
    exact: Option<TorchVersion>,
) -> TorchAdmission<'a> {
    let exact = exact.map(|torch| {
        let version: Version = torch.to_string().parse().expect("a torch version is one");
        version
    });
    admission(requirements, |torch| match &exact {
        Some(version) => torch.specifiers.iter().all(|one| one.contains(version)),
        None => torch.reach_of_minor(minor) != Reach::Outside,
    })
}

/// Whether `requirements`, the values of `Requires-Dist`, admit that very torch; none where one that does
/// not holds under a condition, or cannot be read.
pub fn admits_torch<'a>(
    requirements: impl Iterator<Item = &'a str>,
    torch: &Version,
) -> Option<bool> {
    let admits = |one: &TorchRequirement<'_>| {
        let mut specifiers = one.specifiers.iter();
        specifiers.all(|specifier| specifier.contains(torch))
    };
    match admission(requirements, admits) {
        TorchAdmission::Yes => Some(true),
        TorchAdmission::No(_) => Some(false),
        TorchAdmission::Perhaps(_) => None,
    }
}

fn admission<'a>(
    requirements: impl Iterator<Item = &'a str>,
    admits: impl Fn(&TorchRequirement<'a>) -> bool,
) -> TorchAdmission<'a> {
    let mut admission = TorchAdmission::Yes;
    for text in requirements {
        let (is_admitted, is_sure) = match TorchRequirement::read(text) {
            Ok(None) => continue,
            Err(_) => (false, false),
            Ok(Some(torch)) => (admits(&torch), torch.marker.is_empty()),
        };
        match (is_admitted, is_sure) {
            (true, _) => {}
            (false, true) => return TorchAdmission::No(text),
            (false, false) => admission = TorchAdmission::Perhaps(text),
        }
    }
    admission
}

/// The torch that a specifier names: a nightly where it names the version of one, else a minor.
fn named_abi(specifier: &VersionSpecifier) -> Option<TorchAbi> {
    let version = specifier.version();
    let release = version.release();
    let minor = TorchMinor::new(*release.first()?, *release.get(1)?);
    let is_one = matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual);
    let nightly = version.dev().filter(|_| is_one).and_then(Day::from_number);
    Some(TorchAbi::new(minor, nightly))
}

/// The version of a nightly: `2.16.0.dev20261120`.
fn nightly_version(minor: TorchMinor, day: Day) -> Version {
    let text = format!("{minor}.0.dev{day}");
    text.parse().expect("two numbers and a day are a version")
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

/// Which part of all torch versions a requirement admits, seen from one torch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nothing but versions of this minor, or nothing but this nightly.
    Inside,
    /// This torch and others.
    Wider,
    /// Nothing of this torch.
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

    fn reach(&self, abi: TorchAbi) -> Reach {
        match abi.nightly() {
            None => self.reach_of_minor(abi.minor()),
            Some(day) => self.reach_of_nightly(&nightly_version(abi.minor(), day)),
        }
    }

    /// By PEP 440 alone: a nightly comes before its release, so `>=2.16` does not admit it.
    fn reach_of_nightly(&self, nightly: &Version) -> Reach {
        let names_it = |specifier: &VersionSpecifier| {
            let is_one = matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual);
            is_one && specifier.version() == nightly
        };
        if !self.specifiers.iter().all(|one| one.contains(nightly)) {
            Reach::Outside
        } else if self.specifiers.iter().any(names_it) {
            Reach::Inside
        } else {
            Reach::Wider
        }
    }

    fn reach_of_minor(&self, minor: TorchMinor) -> Reach {
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

    /// The same requirement, also bound to `abi`; what the bound implies is left out.
    fn narrowed(&self, abi: TorchAbi) -> String {
        let bound = abi.specifier();
        let mut specifiers: Vec<String> = self
            .specifiers
            .iter()
            .filter(|specifier| abi.nightly().is_none() && restricts(specifier, abi.minor()))
            .map(ToString::to_string)
            .collect();
        specifiers.push(bound);
        self.with_specifiers(&specifiers.join(","))
    }

    /// The same requirement with other versions.
    fn with_specifiers(&self, specifiers: &str) -> String {
        let marker = match self.marker {
            "" => String::new(),
            marker => format!("; {marker}"),
        };
        format!("torch{}{specifiers}{marker}", self.extras)
    }

    /// Whether it names one version, or the patches of one minor: `==2.10.0`, `==2.10.*`.
    fn is_pin(&self) -> bool {
        let is_pin = |specifier: &VersionSpecifier| match specifier.operator() {
            Operator::Equal | Operator::ExactEqual => true,
            Operator::EqualStar => specifier.version().release().len() >= 2,
            Operator::NotEqual
            | Operator::NotEqualStar
            | Operator::TildeEqual
            | Operator::LessThan
            | Operator::LessThanEqual
            | Operator::GreaterThan
            | Operator::GreaterThanEqual => false,
        };
        !self.specifiers.is_empty() && self.specifiers.iter().all(is_pin)
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
        // A nightly is not of the minor version that it comes before.
        Operator::Equal | Operator::ExactEqual if specifier.version().is_dev() => Side::Misses,
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
        check_for("2.11", before, want);
    }

    #[track_caller]
    fn check_for(torch: &str, before: &[&str], want: &[&str]) {
        let minor: TorchAbi = torch.parse().unwrap();
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
        let bound = torch_bound(after.iter().map(String::as_str));
        assert_eq!(bound, TorchBound::One(minor));
    }

    #[test]
    fn requirements_admit_a_torch_or_name_what_does_not() {
        use TorchAdmission::{No, Perhaps, Yes};
        let check = |requires: &[&'static str], minor: &str, exact: &str, want| {
            let minor = minor.parse().unwrap();
            let requires = || requires.iter().copied();
            assert_eq!(torch_admission(requires(), minor, exact.parse().ok()), want);
            let want_of_minor = if want == No("torch==2.11.1") {
                Yes
            } else {
                want
            };
            let found = torch_admission(requires(), minor, None);
            assert_eq!(found, want_of_minor, "{exact}");
        };
        check(&["numpy", "torch==2.11.*"], "2.11", "2.11.1", Yes);
        check(&["torch==2.11.*"], "2.10", "2.10.0", No("torch==2.11.*"));
        check(&["torch==2.11.1"], "2.11", "2.11.0", No("torch==2.11.1"));
        check(&["torch>=2.10", "torch<2.12"], "2.11", "2.11.0", Yes);
        check(
            &["torch>=2.10", "torch<2.12"],
            "2.12",
            "2.12.0",
            No("torch<2.12"),
        );
        check(&[], "2.9", "2.9.1", Yes);
        let marked = "torch<2.5; python_version < \"3.9\"";
        check(&[marked], "2.9", "2.9.1", Perhaps(marked));
        check(&["torch; extra == \"test\""], "2.9", "2.9.1", Yes);
        check(&["torch ~ 2"], "2.9", "2.9.1", Perhaps("torch ~ 2"));
        let nightly = "2.16.0.dev20261120".parse().ok();
        let minor = "2.16".parse().unwrap();
        for (requires, want) in [("torch>=2.10", Yes), ("torch>=2.16", No("torch>=2.16"))] {
            assert_eq!(
                torch_admission([requires].into_iter(), minor, nightly),
                want
            );
        }
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

    #[test]
    fn what_is_built_against_a_nightly_requires_that_very_one() {
        let nightly = "2.16.dev20261120";
        let bound = "torch==2.16.0.dev20261120";
        for text in [
            "torch",
            "torch>=2.4",
            "torch==2.*",
            "torch==2.16.*",
            "torch~=2.4",
            bound,
        ] {
            check_for(nightly, &["numpy", text], &["numpy", bound]);
        }
        check_for(nightly, &[], &[bound]);
        let short = "torch==2.16.dev20261120";
        check_for(nightly, &[short], &[short]);
        for pin in [
            "torch==2.16.0",
            "torch==2.15.*",
            "torch==2.16.0.dev20261121",
        ] {
            check_for(nightly, &[pin], &[bound]);
        }
        for text in ["torch>=2.16", "torch<2.16", "torch!=2.16.0.dev20261120"] {
            check_refused_for(nightly, text);
        }
    }

    #[test]
    fn a_release_does_not_fit_a_nightly() {
        check(&["torch==2.11.0.dev20261120"], &["torch==2.11.*"]);
        let bound = |text| torch_bound([text].into_iter());
        let nightly = TorchBound::One("2.16.dev20261120".parse().unwrap());
        assert_eq!(bound("torch==2.16.0.dev20261120"), nightly);
        assert_eq!(bound("torch>=2.16.0.dev20261120"), TorchBound::Wider);
        // No day: whatever it is, it is no torch of this farm's.
        assert_eq!(bound("torch==2.16.0.dev7"), TorchBound::Wider);
    }

    #[track_caller]
    fn check_refused(requirement: &str) {
        check_refused_for("2.11", requirement);
    }

    #[track_caller]
    fn check_refused_for(torch: &str, requirement: &str) {
        let torch: TorchAbi = torch.parse().unwrap();
        let res = bind_torch([requirement].into_iter(), torch);
        let requirement = requirement.to_owned();
        assert_eq!(res, Err(RequirementError::RulesOut { requirement, torch }));
    }

    #[test]
    fn a_bound_that_rules_the_build_out_is_refused() {
        for text in [
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
    fn a_pin_on_another_torch_is_replaced_by_the_one_that_was_built_with() {
        check(&["torch==2.8.0"], &["torch==2.11.*"]);
        check(&["torch==2.8.*"], &["torch==2.11.*"]);
        check(&["torch[opt]===2.8.0"], &["torch[opt]==2.11.*"]);
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
