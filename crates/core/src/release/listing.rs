//! Which wheels a page lists, and in which order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use pep440_rs::Version;

use crate::ident::PackageName;
use crate::release::catalog::{Catalog, CatalogWheel, Track};
use crate::release::channel::Channel;
use crate::version::{PythonVersion, VersionRange};
use crate::wheel::name::WheelName;

/// A channel on one track: what one index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<'a> {
    /// The track.
    pub track: Track,
    /// The channel.
    pub channel: &'a Channel,
    /// Its CUDA as people write it, `13.0`: the tag of the channel does not say where the point goes.
    pub cuda: &'a str,
    /// Its wheels by project; those of one project from the oldest to the newest, yanked ones too.
    pub projects: BTreeMap<&'a PackageName, Vec<&'a CatalogWheel>>,
    /// The Pythons that it has wheels for.
    pub pythons: BTreeSet<PythonVersion>,
}

/// Every channel on every track that has wheels, in order.
pub fn listings(catalog: &Catalog) -> Vec<Listing<'_>> {
    let mut listings = Vec::new();
    for track in Track::ALL {
        let mut channels: BTreeMap<&Channel, Listing<'_>> = BTreeMap::new();
        for wheel in catalog.on(track) {
            for (_, channel, python) in wheel.jobs() {
                let listing = channels.entry(channel).or_insert_with(|| Listing {
                    track,
                    channel,
                    cuda: channel.cuda(),
                    projects: BTreeMap::new(),
                    pythons: BTreeSet::new(),
                });
                if *channel == wheel.channel {
                    listing.cuda = &wheel.built_against.cuda;
                }
                listing.pythons.extend(python.parse::<PythonVersion>());
                let wheels = listing.projects.entry(wheel.file_name.project());
                let wheels = wheels.or_default();
                // The jobs of one wheel come in a row.
                if wheels
                    .last()
                    .is_none_or(|last| last.file_name != wheel.file_name)
                {
                    wheels.push(wheel);
                }
            }
        }
        listings.extend(channels.into_values().map(Listing::sorted));
    }
    listings
}

impl<'a> Listing<'a> {
    fn sorted(mut self) -> Self {
        for wheels in self.projects.values_mut() {
            wheels.sort_by_cached_key(|wheel| Age::of(&wheel.file_name));
        }
        self
    }

    /// The folder of its pages, seen from the root of the release: `whl/cu130/torch2.11`,
    /// `whl/nightly/cu130/torch2.11`.
    pub fn pages(&self) -> String {
        format!("whl/{}", channel_path(self.channel, self.track))
    }

    /// The folder of its files of requirements for a Python: `req/cu130/torch2.11/cp311`.
    pub fn requirements(&self, python: PythonVersion) -> String {
        let channel = channel_path(self.channel, self.track);
        format!("req/{channel}/{}", python.tag())
    }

    /// The wheels of a project that nobody took back, from the oldest to the newest.
    pub fn offered(
        &self,
        project: &PackageName,
    ) -> impl DoubleEndedIterator<Item = &'a CatalogWheel> {
        let wheels = self.projects.get(project).map(Vec::as_slice);
        let wheels = wheels.unwrap_or_default().iter().copied();
        wheels.filter(|wheel| wheel.yanked.is_none())
    }

    /// Those of them that `python` takes.
    pub fn offered_to(
        &self,
        project: &PackageName,
        python: PythonVersion,
    ) -> impl DoubleEndedIterator<Item = &'a CatalogWheel> {
        self.offered(project)
            .filter(move |wheel| serves(wheel, python))
    }
}

/// The channel's place among the pages of a track: `nightly/cu130/torch2.11`.
pub fn channel_path(channel: &Channel, track: Track) -> String {
    match track {
        Track::Stable => channel.to_string(),
        Track::Nightly => format!("{track}/{channel}"),
    }
}

/// Whether `python` takes the wheel: by its tags and its `Requires-Python`.
pub fn serves(wheel: &CatalogWheel, python: PythonVersion) -> bool {
    let range = wheel.requires_python.as_deref();
    let range = range.and_then(|text| text.parse::<VersionRange>().ok());
    wheel.file_name.fits(python) && range.is_none_or(|range| range.contains_some_python(python))
}

/// The newest of wheels that come from the oldest to the newest, as an installer sees it: a final
/// release, unless there is none (PEP 440, "Handling of pre-releases").
pub fn newest<'a>(
    wheels: impl DoubleEndedIterator<Item = &'a CatalogWheel>,
) -> Option<&'a CatalogWheel> {
    let mut last = None;
    for wheel in wheels.rev() {
        if Age::of(&wheel.file_name).is_final() {
            return Some(wheel);
        }
        last = last.or(Some(wheel));
    }
    last
}

/// What installers order the wheels of a project by: version, then build number; the name decides
/// between what they take for equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Age<'a> {
    version: Option<Version>,
    name: &'a WheelName,
}

impl<'a> Age<'a> {
    /// That of a wheel.
    pub fn of(name: &'a WheelName) -> Self {
        let version = Version::from_str(&name.full_version()).ok();
        Self { version, name }
    }

    /// Whether it is no alpha, beta, release candidate or development version.
    pub fn is_final(&self) -> bool {
        let version = self.version.as_ref();
        version.is_some_and(|version| !version.any_prerelease())
    }

    /// How its version and build number stand to those of `other`.
    pub fn cmp_version(&self, other: &Self) -> Ordering {
        let version = self.version.cmp(&other.version);
        version.then_with(|| self.name.build_order().cmp(&other.name.build_order()))
    }
}

impl Ord for Age<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_version(other)
            .then_with(|| self.name.cmp(other.name))
    }
}

impl PartialOrd for Age<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::layout::tests::{catalog, wheel};

    #[test]
    fn wheels_are_listed_from_old_to_new_in_every_channel_of_theirs() {
        let catalog = catalog();
        let all = listings(&catalog);
        let text: Vec<String> = all
            .iter()
            .flat_map(|listing| {
                let pythons: Vec<_> = listing.pythons.iter().map(ToString::to_string).collect();
                let head = format!("{} for {}", listing.pages(), pythons.join(", "));
                let wheels = listing.projects.values().flatten();
                std::iter::once(head).chain(wheels.map(|wheel| format!("  {}", wheel.file_name)))
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[track_caller]
    fn check_newest(names: &[&str], want: &str) {
        let mut wheels: Vec<_> = names
            .iter()
            .map(|version| {
                wheel(
                    &format!("demo-{version}-py3-none-any.whl"),
                    "cu130/torch2.11",
                )
            })
            .collect();
        wheels.sort_by(|one, other| Age::of(&one.file_name).cmp(&Age::of(&other.file_name)));
        let newest = newest(wheels.iter()).unwrap();
        assert_eq!(
            newest.file_name.to_string(),
            format!("demo-{want}-py3-none-any.whl")
        );
    }

    #[test]
    fn the_newest_is_the_one_that_an_installer_takes() {
        check_newest(&["2.10.0", "2.9.1"], "2.10.0");
        check_newest(&["2.10.0", "3.0rc1"], "2.10.0");
        check_newest(&["3.0rc1", "3.0.dev1"], "3.0rc1");
        check_newest(&["1.0", "1.0-1", "1.0-10", "1.0-2"], "1.0-10");
        check_newest(
            &["1.0", "1.0+cu130", "1.0+cu130torch2.11"],
            "1.0+cu130torch2.11",
        );
    }
}
