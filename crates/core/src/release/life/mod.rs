//! What becomes of a release after it went out: yanks, promotions, returns, holds, clearing out, and
//! how fresh it is.
//!
//! Each is a pure step from one catalog to the next. A wheel's bytes are never changed by any of them,
//! and its name never means other bytes afterwards, not even when it was cleared out.

pub mod freshness;
pub mod holds;
pub mod moment;
pub mod pick;
pub mod steps;
pub mod sweep;

use std::fmt;

use crate::release::catalog::{Catalog, Track};
use crate::wheel::name::WheelName;

/// The catalog that follows another one, and what it does to which wheels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The next catalog; the same as before when nothing changes.
    pub catalog: Catalog,
    /// What it is about, in a line.
    pub title: String,
    /// What happens to each wheel, by name.
    pub effects: Vec<(WheelName, Effect)>,
}

impl Revision {
    /// The catalog after `catalog`, made at `now` (RFC 3339), with what `effects` tell of.
    fn new(
        catalog: &Catalog,
        mut next: Catalog,
        title: String,
        mut effects: Vec<(WheelName, Effect)>,
        now: &str,
    ) -> Self {
        effects.sort();
        if !effects.is_empty() {
            next = next.next(now);
        }
        debug_assert_eq!(next.release > catalog.release, !effects.is_empty());
        Self {
            catalog: next,
            title,
            effects,
        }
    }

    /// Whether everything is as it is wanted already.
    pub fn is_nothing(&self) -> bool {
        self.effects.is_empty()
    }
}

/// What happens to a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It is marked: nobody should install it any more.
    Yanked,
    /// The mark is taken away.
    Unyanked,
    /// It is listed on a track that it was not on.
    Listed(Track),
    /// It is no longer listed on a track; its bytes stay.
    Unlisted(Track),
    /// It is listed for other jobs than before: in other channels, or for other Pythons.
    OtherJobs,
    /// It is never to be cleared out.
    Held,
    /// It may be cleared out again.
    Released,
    /// It leaves the catalog, and its files go.
    Cleared,
}

impl Effect {
    /// Its stable name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yanked => "yanked",
            Self::Unyanked => "unyanked",
            Self::Listed(Track::Stable) => "listed-on-stable",
            Self::Listed(Track::Nightly) => "listed-on-nightly",
            Self::Unlisted(Track::Stable) => "unlisted-from-stable",
            Self::Unlisted(Track::Nightly) => "unlisted-from-nightly",
            Self::OtherJobs => "listed-for-other-jobs",
            Self::Held => "held",
            Self::Released => "released",
            Self::Cleared => "cleared",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(track) => write!(f, "listed on {track}"),
            Self::Unlisted(track) => write!(f, "unlisted from {track}"),
            Self::OtherJobs => f.write_str("listed for other jobs"),
            Self::Yanked | Self::Unyanked | Self::Held | Self::Released | Self::Cleared => {
                f.write_str(self.as_str())
            }
        }
    }
}

/// A step cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifeError {
    /// A glob picks nothing.
    #[error("`{glob}` matches no wheel {among}")]
    NothingPicked {
        /// The glob.
        glob: String,
        /// Of which wheels.
        among: &'static str,
        /// The name of one that could have been meant.
        example: Option<String>,
    },
    /// A wheel that is marked is to be promoted.
    #[error("`{first}` is yanked ({reason}), so it is not promoted{}", others(*.more))]
    YankedIsNotPromoted {
        /// The first such wheel.
        first: String,
        /// Why it is yanked.
        reason: String,
        /// How many more there are.
        more: usize,
    },
    /// Wheels of an earlier release are not there any more.
    #[error("`{first}` of release {release} was cleared out since{}", others(*.more))]
    ClearedOut {
        /// The earlier release.
        release: u64,
        /// The first such wheel.
        first: String,
        /// How many more there are.
        more: usize,
    },
    /// A point of time in the catalog cannot be read.
    #[error("`{0}` is not a time: RFC 3339 in UTC is wanted, such as `2026-11-21T03:00:00Z`")]
    Time(String),
}

fn others(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(", and so for {more} more"),
    }
}

impl LifeError {
    /// What to type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NothingPicked { example, among, .. } => Some(match example {
                Some(example) => format!(
                    "globs match whole file names, or a channel and a file name; here is `{example}`"
                ),
                None => format!("there is no wheel {among}: `wheelfarm status` says what there is"),
            }),
            Self::YankedIsNotPromoted { first, .. } => Some(format!(
                "take the mark away first with `wheelfarm yank '{first}' --undo`, or leave it out"
            )),
            Self::ClearedOut { .. } => {
                Some("publish it again, or go without with `--without-cleared`".to_owned())
            }
            Self::Time(_) => None,
        }
    }

    /// Whether the shelf says no, and not the reader of the command line.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::YankedIsNotPromoted { .. } | Self::ClearedOut { .. } => true,
            Self::NothingPicked { .. } | Self::Time(_) => false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::digest::Sha256Digest;
    use crate::release::catalog::CatalogWheel;
    use crate::release::catalog::tests::sample;

    /// What all wheels here have in common: read once, for there are many.
    static SAMPLE: LazyLock<CatalogWheel> = LazyLock::new(sample);

    /// A wheel of `demo`: its name without project and `.whl`, its channel, its day in November 2026
    /// and its tracks.
    pub(in crate::release) fn wheel(
        name: &str,
        channel: &str,
        day: u32,
        tracks: &[Track],
    ) -> CatalogWheel {
        let name = format!("demo-{name}-manylinux_2_28_x86_64.whl");
        let name: WheelName = name.parse().unwrap();
        let python = name.python_tags()[0].replace("cp3", "3.");
        let mut wheel = CatalogWheel {
            sha256: Sha256Digest::of(name.to_string().as_bytes()),
            size_bytes: 1_000_000,
            channel: channel.parse().unwrap(),
            tracks: tracks.iter().copied().collect(),
            job: format!(
                "demo-{}-{}-{}",
                name.public_version(),
                channel.replace('/', "-"),
                name.python_tags()[0]
            )
            .parse()
            .unwrap(),
            package: "demo".parse().unwrap(),
            published_at: format!("2026-11-{day:02}T03:00:00Z"),
            file_name: name,
            ..SAMPLE.clone()
        };
        wheel.built_against.python = python;
        wheel
    }

    #[test]
    fn every_effect_stands_in_the_schema_of_what_programs_read() {
        let schema = include_str!("../../../../../schemas/change.schema.json");
        let of_tracks = Track::ALL
            .into_iter()
            .flat_map(|track| [Effect::Listed(track), Effect::Unlisted(track)]);
        let others = [
            Effect::Yanked,
            Effect::Unyanked,
            Effect::OtherJobs,
            Effect::Held,
            Effect::Released,
            Effect::Cleared,
        ];
        for effect in of_tracks.chain(others) {
            let name = format!("\"const\": \"{}\"", effect.as_str());
            assert!(schema.contains(&name), "{name}");
        }
    }

    /// A catalog of these wheels: release 4.
    pub(in crate::release) fn catalog(wheels: impl IntoIterator<Item = CatalogWheel>) -> Catalog {
        let wheels = wheels.into_iter();
        Catalog {
            release: 4,
            published_at: "2026-11-20T03:00:00Z".to_owned(),
            wheels: wheels
                .map(|wheel| (wheel.file_name.clone(), wheel))
                .collect(),
            ..Catalog::empty()
        }
    }

    /// A line for each effect: `yanked 1.0+…`, without what all names of `demo` have.
    pub(in crate::release) fn told(revision: &Revision) -> Vec<String> {
        let line = |(name, effect): &(WheelName, Effect)| {
            let name = name.to_string();
            let short = name.strip_prefix("demo-").unwrap();
            let short = short.strip_suffix("-manylinux_2_28_x86_64.whl").unwrap();
            format!("{effect} {short}")
        };
        revision.effects.iter().map(line).collect()
    }
}
