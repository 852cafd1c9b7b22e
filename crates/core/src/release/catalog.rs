//! The catalog: everything a release says of its wheels, in one file at its root.
//!
//! Every page, list and line of a release is made from its catalog alone, and so is every answer of
//! `wheelfarm resolve`. Whatever happens to a shelf after its first publication (a yank, a promotion,
//! a return to an earlier release) is another catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::ident::{JobId, PackageName};
use crate::manifest::{CheckState, Manifest, ModuleArchs};
use crate::receipt::RunState;
use crate::release::ReleaseError;
use crate::release::channel::Channel;
use crate::release::links::Links;
use crate::wheel::name::WheelName;
use crate::wheel::variant_name::VariantWheelName;

/// The schema that this program writes, and the only one that it reads. Readers accept keys that
/// they do not know.
pub const SCHEMA: u32 = 2;

/// The file's name at the root of a release.
pub const FILE_NAME: &str = "manifest.json";

/// All wheels of a shelf at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Catalog {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// How many releases there have been, this one included; 0 before the first.
    pub release: u64,
    /// When it was made: RFC 3339 in UTC.
    pub published_at: String,
    /// How the pages beside it were made; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Pages>,
    /// What the tree of wheel variants holds besides them; none where there is no such tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variants: Option<VariantTree>,
    /// Its wheels, by file name: a name never means two contents.
    #[serde(with = "entries")]
    #[cfg_attr(test, schemars(with = "Vec<CatalogWheel>"))]
    pub wheels: BTreeMap<WheelName, CatalogWheel>,
    /// Wheels that were cleared out: their names mean those bytes for good.
    #[serde(default)]
    pub retired: BTreeMap<WheelName, Sha256Digest>,
    /// Their variants, for which the same holds. A program from before this was kept drops them when it
    /// publishes, and then knows no more than it did.
    #[serde(default)]
    pub retired_variants: BTreeMap<VariantWheelName, Sha256Digest>,
}

/// What a maintainer decides of the tree of wheel variants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VariantTree {
    /// Channels whose wheels stand in it as the plain ones of their torch. Of a torch that has none
    /// here, the wheels of the newest CUDA do.
    #[serde(default)]
    pub plain: BTreeSet<Channel>,
}

/// How the pages of a release were made: a page is written again when this has changed, even if what
/// it is about has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pages {
    /// The number of the generator's format.
    pub format: u32,
    /// How they point at files.
    pub links: Links,
    /// Where the folder `whl/` is served as true HTML pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_url: Option<String>,
}

/// One wheel of a shelf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CatalogWheel {
    /// Its file name.
    pub file_name: WheelName,
    /// The digest of the file.
    pub sha256: Sha256Digest,
    /// Its length.
    pub size_bytes: u64,
    /// The digest of its METADATA, which stands beside it as `<file name>.metadata`.
    pub metadata_sha256: Sha256Digest,
    /// The digest of its manifest, which stands beside it: what is known of a wheel may change, and
    /// then that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<Sha256Digest>,
    /// Its `Requires-Python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// Its `Requires-Dist`, in order.
    pub requires_dist: Vec<String>,
    /// The channel it is listed in.
    pub channel: Channel,
    /// The other jobs that made the very same file, and what they are for: pure wheels come out of
    /// every environment alike. It is listed in their channels too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<JobId, Origin>,
    /// The tracks it is listed on; none is left when it was taken off all of them.
    pub tracks: BTreeSet<Track>,
    /// The job that made it.
    pub job: JobId,
    /// The package.
    pub package: PackageName,
    /// What it was built against.
    pub built_against: BuiltAgainst,
    /// The archs that were asked for; absent for a package that compiles on the user's GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archs: Option<String>,
    /// Whether it works with the torch minor version of its channel alone.
    pub uses_torch_cxx_abi: bool,
    /// The GPU code of each module, in containers.
    pub module_archs: BTreeMap<String, ModuleArchs>,
    /// What it does on every kind of GPU, by compute capability (`12.0`); empty where the gate has
    /// not looked.
    pub runs_on: BTreeMap<String, OnGpu>,
    /// Whether the gate looked at all of it.
    pub gate: CheckState,
    /// Whether it has run on a GPU.
    pub gpu_run: RunState,
    /// When it came into the shelf: RFC 3339 in UTC.
    pub published_at: String,
    /// The same wheel as a variant, which every word here is true of as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<CatalogVariant>,
    /// Why nobody should install it any more (PEP 592).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
    /// Why it must never be cleared out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The commit that links to the file are pinned to, on a shelf that has commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A wheel as a variant: the same code under a name that says which machines it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CatalogVariant {
    /// Its file name; the label in it says all its properties.
    pub file_name: VariantWheelName,
    /// The digest of the file.
    pub sha256: Sha256Digest,
    /// Its length.
    pub size_bytes: u64,
    /// The digest of its METADATA, which stands beside it as `<file name>.metadata`.
    pub metadata_sha256: Sha256Digest,
    /// The commit that links to the file are pinned to, on a shelf that has commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// What a wheel was built against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BuiltAgainst {
    /// CUDA's version: `13.0`.
    pub cuda: String,
    /// torch's version: `2.11.0`.
    pub torch: String,
    /// Python's version: `3.11`.
    pub python: String,
}

/// What a job that made a wheel was for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Origin {
    /// The channel that the wheel is listed in for it.
    pub channel: Channel,
    /// Its Python: `3.11`.
    pub python: String,
}

/// What a wheel does on one kind of GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OnGpu {
    /// `native`, `jit`, `partly`, `fails`, `unknown` or `no-device-code`.
    pub verdict: String,
    /// The least driver, where it is known and something runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_driver: Option<String>,
}

/// How far a wheel has come: what a night brings stands apart until somebody promotes it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Track {
    /// For everybody.
    #[default]
    Stable,
    /// For those who ask for it.
    Nightly,
}

impl Track {
    /// Every track.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Nightly];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Nightly => "nightly",
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A catalog cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The text is not a catalog.
    #[error("failed to read the catalog")]
    Malformed(#[source] serde_json::Error),
    /// It was written by another version of this program.
    #[error("the catalog has schema {found}, and this program reads {SCHEMA}")]
    OtherSchema {
        /// What it says.
        found: u64,
    },
}

impl Catalog {
    /// The catalog of a shelf that nothing has been published to.
    pub fn empty() -> Self {
        Self {
            schema: SCHEMA,
            release: 0,
            published_at: String::new(),
            pages: None,
            variants: None,
            wheels: BTreeMap::new(),
            retired: BTreeMap::new(),
            retired_variants: BTreeMap::new(),
        }
    }

    /// Reads a catalog.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        #[derive(Deserialize)]
        struct Head {
            schema: Option<u64>,
        }
        let head: Head = serde_json::from_str(text).map_err(CatalogError::Malformed)?;
        if head.schema != Some(u64::from(SCHEMA)) {
            let found = head.schema.unwrap_or(0);
            return Err(CatalogError::OtherSchema { found });
        }
        serde_json::from_str(text).map_err(CatalogError::Malformed)
    }

    /// Writes a catalog: sorted keys, a line for each wheel, so that one more wheel is one more line.
    pub fn to_text(&self) -> String {
        self.to_text_with(self.pages.as_ref())
    }

    /// Writes it as the one that stands beside other pages.
    pub(crate) fn to_text_with(&self, pages: Option<&Pages>) -> String {
        // Through a Value, whose maps are sorted, so that the order of the fields above is free.
        let line = |wheel: &CatalogWheel| {
            serde_json::to_value(wheel)
                .expect("plain texts and numbers serialise")
                .to_string()
        };
        let pages = pages.map_or_else(String::new, |pages| {
            let pages = serde_json::to_value(pages).expect("plain texts and numbers serialise");
            format!("\"pages\": {pages},\n")
        });
        let wheels: Vec<String> = self.wheels.values().map(line).collect();
        let variants = self.variants.as_ref().map_or_else(String::new, |variants| {
            let variants = serde_json::to_value(variants).expect("plain texts serialise");
            format!("\"variants\": {variants},\n")
        });
        let retired = names_lines("retired", &self.retired);
        let retired_variants = names_lines("retired_variants", &self.retired_variants);
        format!(
            "{{\n{pages}\"published_at\": {},\n\"release\": {},\n{retired}{retired_variants}\"schema\": {},\n{variants}\"wheels\": [\n{}\n]\n}}\n",
            serde_json::Value::from(self.published_at.as_str()),
            self.release,
            self.schema,
            wheels.join(",\n")
        )
    }

    /// The release after this one, with `wheels` on `track` as well, made at `now` (RFC 3339).
    ///
    /// A wheel that is there with the same bytes keeps its commit, the day that it came, its yank and
    /// its hold; what is known of it is as the new record has it. One that is there with other bytes,
    /// or was, is refused. A variant that is out stays as it is. When several jobs made the same file, what is told of it is by the first of
    /// them in the order of their names, and the others are told in [`CatalogWheel::also`]: in whatever
    /// order they come.
    pub fn with(
        &self,
        wheels: impl IntoIterator<Item = CatalogWheel>,
        track: Track,
        now: &str,
    ) -> Result<Self, ReleaseError> {
        let mut next = self.next(now);
        for mut wheel in wheels {
            wheel.tracks.insert(track);
            if !wheel.channel.admits(wheel.file_name.local_version()) {
                return Err(ReleaseError::WrongChannel {
                    name: wheel.file_name.to_string(),
                    channel: wheel.channel,
                });
            }
            let old = next.wheels.get(&wheel.file_name);
            let known = old.map(|old| old.sha256);
            let known = known.or_else(|| next.retired.remove(&wheel.file_name));
            if let Some(first) = known.filter(|first| *first != wheel.sha256) {
                return Err(ReleaseError::OtherBytes {
                    name: wheel.file_name.to_string(),
                    first,
                    second: wheel.sha256,
                });
            }
            if let Some(old) = old {
                wheel.tracks.extend(&old.tracks);
                wheel.commit = wheel.commit.or_else(|| old.commit.clone());
                wheel.variant = old.variant.clone().or(wheel.variant);
                wheel.yanked.clone_from(&old.yanked);
                wheel.hold.clone_from(&old.hold);
                wheel.published_at.clone_from(&old.published_at);
                wheel = wheel.beside(old);
            }
            // Two channels may make the same promise: the one that came first keeps the name, even when
            // its wheel was cleared out.
            let is_taken = |variant: &CatalogVariant| {
                let mut others = next
                    .wheels
                    .values()
                    .filter_map(|other| other.variant.as_ref());
                let is_another = |sha256: &Sha256Digest| *sha256 != variant.sha256;
                let retired = next.retired_variants.get(&variant.file_name);
                retired.is_some_and(is_another)
                    || others.any(|it| it.file_name == variant.file_name && is_another(&it.sha256))
            };
            if wheel.variant.as_ref().is_some_and(is_taken) {
                wheel.variant = None;
            }
            if let Some(variant) = &wheel.variant {
                next.retired_variants.remove(&variant.file_name);
            }
            next.wheels.insert(wheel.file_name.clone(), wheel);
        }
        Ok(next)
    }

    /// The release after this one, with the same wheels, made at `now` (RFC 3339).
    #[must_use]
    pub fn next(&self, now: &str) -> Self {
        Self {
            release: self.release + 1,
            published_at: now.to_owned(),
            ..self.clone()
        }
    }

    /// The wheels that are listed on a track.
    pub fn on(&self, track: Track) -> impl Iterator<Item = &CatalogWheel> {
        self.wheels
            .values()
            .filter(move |wheel| wheel.tracks.contains(&track))
    }
}

/// What was retired under `key`, a line for each name; nothing where that is none.
fn names_lines<N: fmt::Display>(key: &str, names: &BTreeMap<N, Sha256Digest>) -> String {
    if names.is_empty() {
        return String::new();
    }
    let lines = names.iter();
    let lines: Vec<String> = lines
        .map(|(name, sha256)| format!("\"{name}\": \"{sha256}\""))
        .collect();
    format!("\"{key}\": {{\n{}\n}},\n", lines.join(",\n"))
}

impl CatalogWheel {
    /// What `manifest` knows of the wheel `file_name`, as it goes out at `now` (RFC 3339).
    pub fn new(file_name: WheelName, manifest: &Manifest, now: &str) -> Self {
        let wheel = &manifest.wheel;
        let environment = &manifest.environment;
        let on_gpu = |gpu: &crate::manifest::RunsOn| {
            let answer = OnGpu {
                verdict: gpu.verdict.clone(),
                least_driver: gpu.least_driver.clone(),
            };
            (gpu.capability.clone(), answer)
        };
        Self {
            file_name,
            sha256: wheel.sha256,
            size_bytes: wheel.size_bytes,
            metadata_sha256: wheel.metadata_sha256,
            manifest_sha256: None,
            requires_python: wheel.requires_python.clone(),
            requires_dist: wheel.requires_dist.clone(),
            channel: environment.channel.clone(),
            also: BTreeMap::new(),
            tracks: BTreeSet::new(),
            job: manifest.job.clone(),
            package: manifest.package.clone(),
            built_against: BuiltAgainst {
                cuda: environment.cuda.clone(),
                torch: environment.torch.clone(),
                python: environment.python.clone(),
            },
            archs: manifest.archs.clone(),
            uses_torch_cxx_abi: wheel.uses_torch_cxx_abi,
            module_archs: wheel.module_archs.clone(),
            runs_on: manifest.runs_on.iter().map(on_gpu).collect(),
            gate: manifest.gate,
            gpu_run: manifest
                .gpu_run
                .as_ref()
                .map_or(RunState::NotRun, |run| run.state),
            published_at: now.to_owned(),
            variant: None,
            yanked: None,
            hold: None,
            commit: None,
        }
    }

    /// Itself, told by the first of the jobs that made it or `old`, which is the same file.
    fn beside(mut self, old: &Self) -> Self {
        let mut told = if old.job < self.job {
            let mut told = old.clone();
            told.tracks = std::mem::take(&mut self.tracks);
            told.commit = self.commit.take();
            told.variant = self.variant.take();
            told
        } else {
            self.clone()
        };
        for wheel in [old, &self] {
            let own = (wheel.job.clone(), wheel.origin());
            told.also.extend(wheel.also.clone());
            told.also.extend([own]);
        }
        told.also.remove(&told.job);
        told
    }

    fn origin(&self) -> Origin {
        Origin {
            channel: self.channel.clone(),
            python: self.built_against.python.clone(),
        }
    }

    /// Every job that made it, with the channel that it is listed in for the job and the job's Python.
    pub fn jobs(&self) -> impl Iterator<Item = (&JobId, &Channel, &str)> {
        let own = (&self.job, &self.channel, self.built_against.python.as_str());
        let also = self.also.iter();
        let also = also.map(|(job, origin)| (job, &origin.channel, origin.python.as_str()));
        std::iter::once(own).chain(also)
    }

    /// The channels that it is listed in.
    pub fn channels(&self) -> BTreeSet<&Channel> {
        self.jobs().map(|(_, channel, _)| channel).collect()
    }

    /// Where the file lies, seen from the root of the release:
    /// `files/0f/0f81…/torch_spline_conv-….whl`. By content, so that no other file can ever lie there.
    pub fn path(&self) -> String {
        file_path(&self.file_name, self.sha256)
    }
}

impl CatalogVariant {
    /// Where the file lies, seen from the root of the release, by content as all wheels.
    pub fn path(&self) -> String {
        file_path(&self.file_name, self.sha256)
    }
}

/// Where the wheel of that name and content lies, seen from the root of a release.
pub fn file_path(name: &impl fmt::Display, sha256: Sha256Digest) -> String {
    let digest = sha256.to_string();
    format!("files/{}/{digest}/{name}", &digest[..2])
}

/// The wheels as a list: each says its name itself.
mod entries {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::CatalogWheel;
    use crate::wheel::name::WheelName;

    pub(super) fn serialize<S: Serializer>(
        wheels: &BTreeMap<WheelName, CatalogWheel>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(wheels.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<WheelName, CatalogWheel>, D::Error> {
        let list = Vec::<CatalogWheel>::deserialize(deserializer)?;
        let mut wheels = BTreeMap::new();
        for wheel in list {
            let name = wheel.file_name.clone();
            if wheels.insert(name.clone(), wheel).is_some() {
                return Err(de::Error::custom(format!("`{name}` is there twice")));
            }
        }
        Ok(wheels)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::manifest::tests::SAMPLE;

    const NOW: &str = "2026-11-21T03:00:00Z";

    /// The wheel of the sample manifest.
    pub(crate) fn sample() -> CatalogWheel {
        let manifest = Manifest::parse(SAMPLE).unwrap();
        let name = manifest.wheel.file_name.parse().unwrap();
        CatalogWheel::new(name, &manifest, NOW)
    }

    #[test]
    fn a_catalog_comes_back_as_it_was_written() {
        let catalog = Catalog::empty()
            .with([sample()], Track::Nightly, NOW)
            .unwrap();
        let text = catalog.to_text();
        assert_eq!(Catalog::parse(&text).unwrap(), catalog);
        assert_eq!(text.lines().count(), 8, "{text}");
        assert_eq!(catalog.on(Track::Nightly).count(), 1);
        assert_eq!(catalog.on(Track::Stable).count(), 0);
        assert_eq!(
            Catalog::parse(&Catalog::empty().to_text()).unwrap(),
            Catalog::empty()
        );
    }

    #[test]
    fn another_schema_and_a_name_that_is_there_twice_are_refused() {
        let text = Catalog::empty().to_text();
        let error = Catalog::parse(&text.replace("\"schema\": 2", "\"schema\": 1")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the catalog has schema 1, and this program reads 2"
        );
        let catalog = Catalog::empty()
            .with([sample()], Track::Stable, NOW)
            .unwrap();
        let text = catalog.to_text();
        let line = text.lines().nth(5).unwrap();
        let twice = text.replace(line, &format!("{line},\n{line}"));
        let error = Catalog::parse(&twice).unwrap_err();
        assert!(matches!(error, CatalogError::Malformed(_)), "{error:?}");
    }

    #[test]
    fn what_is_out_keeps_its_bytes_its_day_and_its_commit() {
        let mut first = sample();
        first.commit = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
        first.yanked = Some("wrong results".to_owned());
        first.hold = Some("in the lock file of nightly tests".to_owned());
        let catalog = Catalog::empty()
            .with([first.clone()], Track::Nightly, NOW)
            .unwrap();
        let again = catalog
            .with([sample()], Track::Stable, "2026-11-22T03:00:00Z")
            .unwrap();
        let wheel = &again.wheels[&first.file_name];
        assert_eq!(again.release, 2);
        assert_eq!(wheel.tracks, BTreeSet::from(Track::ALL));
        assert_eq!(
            (
                &wheel.commit,
                &wheel.published_at,
                &wheel.yanked,
                &wheel.hold
            ),
            (
                &first.commit,
                &first.published_at,
                &first.yanked,
                &first.hold
            )
        );
        let mut other = sample();
        other.sha256 = Sha256Digest::of(b"other");
        let error = again.with([other], Track::Stable, NOW).unwrap_err();
        assert!(
            matches!(error, ReleaseError::OtherBytes { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn a_pure_wheel_of_several_jobs_is_one_file_in_their_channels() {
        let pure = |job: &str, channel: &str, python: &str| {
            let mut wheel = sample();
            wheel.file_name = "tools-0.1-py3-none-any.whl".parse().unwrap();
            wheel.job = job.parse().unwrap();
            wheel.channel = channel.parse().unwrap();
            wheel.built_against.python = python.to_owned();
            wheel
        };
        let jobs = [
            pure("tools-0.1-cu128-torch2.8-cp312", "cu128/torch2.8", "3.12"),
            pure("tools-0.1-cu130-torch2.11-cp311", "cu130/torch2.11", "3.11"),
            pure("tools-0.1-cu130-torch2.11-cp312", "cu130/torch2.11", "3.12"),
        ];
        let at_once = Catalog::empty()
            .with(jobs.clone(), Track::Stable, NOW)
            .unwrap();
        let mut one_by_one = Catalog::empty();
        for wheel in jobs.into_iter().rev() {
            one_by_one = one_by_one.with([wheel], Track::Stable, NOW).unwrap();
        }
        assert_eq!(one_by_one.wheels, at_once.wheels);
        let wheel = at_once.wheels.values().next().unwrap();
        assert_eq!(wheel.job.as_str(), "tools-0.1-cu128-torch2.8-cp312");
        assert_eq!(wheel.channels().len(), 2);
        assert_eq!(wheel.jobs().count(), 3);
        assert_eq!(Catalog::parse(&at_once.to_text()).unwrap(), at_once);
    }

    #[test]
    fn a_name_keeps_its_bytes_when_its_wheel_was_cleared_out() {
        let wheel = sample();
        let mut catalog = Catalog::empty();
        let name = wheel.file_name.clone();
        catalog.retired.insert(name.clone(), wheel.sha256);
        let text = catalog.to_text();
        assert_eq!(Catalog::parse(&text).unwrap(), catalog);
        assert_eq!(
            text.lines().nth(4).unwrap().split('"').nth(1),
            Some(&*name.to_string())
        );
        let mut other = wheel.clone();
        other.sha256 = Sha256Digest::of(b"other");
        let error = catalog.with([other], Track::Stable, NOW).unwrap_err();
        assert!(
            matches!(error, ReleaseError::OtherBytes { .. }),
            "{error:?}"
        );
        let back = catalog.with([wheel], Track::Stable, NOW).unwrap();
        assert!(back.retired.is_empty());
        assert!(back.wheels.contains_key(&name));
    }

    #[test]
    fn the_name_of_a_variant_keeps_its_bytes_when_its_wheel_was_cleared_out() {
        let mut wheel = sample();
        let name = format!(
            "{}-cu130_sm90.whl",
            wheel.file_name.to_string().trim_end_matches(".whl")
        );
        let file_name: VariantWheelName = name.parse().unwrap();
        let variant = CatalogVariant {
            file_name: file_name.clone(),
            sha256: Sha256Digest::of(b"variant"),
            size_bytes: 7,
            metadata_sha256: Sha256Digest::of(b"metadata"),
            commit: None,
        };
        wheel.variant = Some(variant);
        let mut catalog = Catalog::empty();
        let known = Sha256Digest::of(b"variant");
        catalog.retired_variants.insert(file_name.clone(), known);
        assert_eq!(Catalog::parse(&catalog.to_text()).unwrap(), catalog);

        let back = catalog.with([wheel.clone()], Track::Stable, NOW).unwrap();
        assert!(back.retired_variants.is_empty());
        assert!(back.wheels[&wheel.file_name].variant.is_some());

        let other = Sha256Digest::of(b"other");
        catalog.retired_variants.insert(file_name, other);
        let without = catalog.with([wheel.clone()], Track::Stable, NOW).unwrap();
        assert_eq!(without.wheels[&wheel.file_name].variant, None);
        assert_eq!(without.retired_variants, catalog.retired_variants);
    }

    #[test]
    fn a_wheel_of_another_channel_is_refused() {
        let mut wheel = sample();
        wheel.channel = "cu128/torch2.8".parse().unwrap();
        let error = Catalog::empty()
            .with([wheel], Track::Stable, NOW)
            .unwrap_err();
        assert!(
            matches!(error, ReleaseError::WrongChannel { .. }),
            "{error:?}"
        );
    }
}
