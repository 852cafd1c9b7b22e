//! Clearing out: which wheels leave the catalog for good, and which files go with them.
//!
//! What a rule does not keep goes, unless somebody holds it: the newest of the stable track, wheels
//! with a hold in the catalog, and what lock files point to stay whatever the rules are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;

use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::catalog::{Catalog, CatalogWheel, Track};
use crate::release::channel::Channel;
use crate::release::life::holds::{self, Holds};
use crate::release::life::moment::Moment;
use crate::release::life::steps::counted;
use crate::release::life::{Effect, LifeError, Revision};
use crate::release::listing::Age;
use crate::wheel::name::WheelName;
use crate::wheel::platform;

/// What is kept: all that any of these keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// So many of the newest of each package, channel, Python and track. Those that are yanked and
    /// pre-releases do not count where there is something else; they stay where newer ones do.
    pub last: Option<NonZeroU32>,
    /// What came into the shelf in the last so many days.
    pub days: Option<u32>,
    /// What any of so many releases listed, the present one included.
    pub releases: Option<NonZeroU32>,
}

/// Why a wheel stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// It is what stable users get.
    NewestOfStable,
    /// It has a hold, for this reason.
    Held(String),
    /// A lock file points to it.
    LockFile(String),
    /// It is among the last of a track.
    Last(Track),
    /// It came not long ago.
    Days,
    /// That release listed it.
    Release(u64),
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewestOfStable => f.write_str("the newest on stable"),
            Self::Held(reason) => write!(f, "held: {reason}"),
            Self::LockFile(file) => write!(f, "`{file}` points to it"),
            Self::Last(track) => write!(f, "among the last on {track}"),
            Self::Days => f.write_str("came not long ago"),
            Self::Release(number) => write!(f, "listed by release {number}"),
        }
    }
}

/// A file that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoingFile {
    /// Where it lies, seen from the root of the release.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
}

/// What clearing out comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The catalog without the wheels that go, whose names it remembers.
    pub revision: Revision,
    /// Every wheel that stays, with the first of the reasons.
    pub kept: BTreeMap<WheelName, Keep>,
    /// The files that go, by path: those of the wheels, and those under `files/` that belong to no wheel of
    /// the catalog, which a publication that was cut has left.
    pub files: Vec<GoingFile>,
}

impl Sweep {
    /// How much goes.
    pub fn freed_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// Clears out `catalog`. `past` has the catalogs of earlier releases, as far as the rules ask for them;
/// `files` is all that the shelf has, by path, with lengths in bytes.
pub fn sweep(
    catalog: &Catalog,
    past: &[Catalog],
    rules: &KeepRules,
    holds: &Holds,
    files: &BTreeMap<String, u64>,
    now: &str,
) -> Result<Sweep, LifeError> {
    let kept = kept(catalog, past, rules, holds, now)?;
    let mut next = catalog.clone();
    let mut effects = Vec::new();
    next.wheels.retain(|name, wheel| {
        let stays = kept.contains_key(name);
        if !stays {
            effects.push((name.clone(), Effect::Cleared));
            next.retired.insert(name.clone(), wheel.sha256);
            if let Some(variant) = &wheel.variant {
                let name = variant.file_name.clone();
                next.retired_variants.insert(name, variant.sha256);
            }
        }
        stays
    });
    // Wheels of two channels may have one variant: its name is not retired while one of them stays.
    let variants = next.wheels.values();
    for variant in variants.filter_map(|wheel| wheel.variant.as_ref()) {
        next.retired_variants.remove(&variant.file_name);
    }
    let named = named(&next);
    let going = files.iter().filter(|(path, _)| {
        let folder = path
            .strip_prefix("files/")
            .and_then(|path| path.split('/').nth(1));
        folder.is_some_and(|folder| match folder.parse() {
            Ok(digest) => !named.contains(&digest),
            Err(_) => false,
        })
    });
    let going = going.map(|(path, &size_bytes)| GoingFile {
        path: path.clone(),
        size_bytes,
    });
    let files: Vec<_> = going.collect();
    let title = format!("clear out {}", counted(effects.len()));
    let mut revision = Revision::new(catalog, next, title, effects, now);
    if revision.is_nothing() && !files.is_empty() {
        // Whoever brings one of these files at this moment must see that the shelf has changed.
        revision.catalog = revision.catalog.next(now);
        "clear out what no wheel belongs to".clone_into(&mut revision.title);
    }
    Ok(Sweep {
        revision,
        kept,
        files,
    })
}

/// Every digest that stands anywhere in the catalog but among those of wheels that are gone: whatever it
/// comes to say of files beside its wheels, they stay.
fn named(catalog: &Catalog) -> BTreeSet<Sha256Digest> {
    let present = Catalog {
        retired: BTreeMap::new(),
        retired_variants: BTreeMap::new(),
        ..catalog.clone()
    };
    holds::digests(&present.to_text())
}

fn kept(
    catalog: &Catalog,
    past: &[Catalog],
    rules: &KeepRules,
    holds: &Holds,
    now: &str,
) -> Result<BTreeMap<WheelName, Keep>, LifeError> {
    let now: Moment = now.parse()?;
    let newest = last(catalog, Track::Stable, 1);
    let releases = listed_by(catalog, past, rules);
    let of_tracks = Track::ALL.map(|track| {
        let count = rules.last.map_or(0, NonZeroU32::get);
        (track, last(catalog, track, count))
    });
    let mut kept = BTreeMap::new();
    for (name, wheel) in &catalog.wheels {
        let on_track = of_tracks.iter().find(|(_, last)| last.contains(name));
        let keep = if newest.contains(name) {
            Keep::NewestOfStable
        } else if let Some(reason) = &wheel.hold {
            Keep::Held(reason.clone())
        } else if let Some(file) = holds.file_of(wheel) {
            Keep::LockFile(file.to_owned())
        } else if let Some((track, _)) = on_track {
            Keep::Last(*track)
        } else if is_young(wheel, rules.days, now)? {
            Keep::Days
        } else if let Some(number) = releases.get(name) {
            Keep::Release(*number)
        } else {
            continue;
        };
        kept.insert(name.clone(), keep);
    }
    Ok(kept)
}

fn is_young(wheel: &CatalogWheel, days: Option<u32>, now: Moment) -> Result<bool, LifeError> {
    let Some(days) = days else {
        return Ok(false);
    };
    let came: Moment = wheel.published_at.parse()?;
    Ok(now.seconds_since(came) <= u64::from(days) * 86_400)
}

/// The wheels that one of the last releases listed, with the newest such.
fn listed_by<'a>(
    catalog: &'a Catalog,
    past: &'a [Catalog],
    rules: &KeepRules,
) -> BTreeMap<&'a WheelName, u64> {
    let mut listed = BTreeMap::new();
    let Some(count) = rules.releases else {
        return listed;
    };
    let oldest = catalog.release.saturating_sub(u64::from(count.get()));
    let releases = past.iter().chain([catalog]);
    for release in releases.filter(|release| release.release > oldest) {
        let wheels = release.wheels.values();
        for wheel in wheels.filter(|wheel| !wheel.tracks.is_empty()) {
            let number = listed.entry(&wheel.file_name).or_insert(release.release);
            *number = release.release.max(*number);
        }
    }
    listed
}

/// What wheels have in common that one of them can take the place of another.
type Line<'a> = (
    &'a PackageName,
    &'a Channel,
    &'a [String],
    &'a [String],
    Option<&'a str>,
);

fn lines_of(wheel: &CatalogWheel) -> impl Iterator<Item = Line<'_>> {
    let name = &wheel.file_name;
    let mut tags = name.platform_tags().iter();
    let machine = tags.find_map(|tag| platform::machine_of(tag));
    let (python, abi) = (name.python_tags(), name.abi_tags());
    let channels = wheel.channels().into_iter();
    channels.map(move |channel| (name.project(), channel, python, abi, machine))
}

/// The newest wheels of each line of a track: `count` that an installer would take, and what is newer
/// than these.
fn last(catalog: &Catalog, track: Track, count: u32) -> BTreeSet<&WheelName> {
    let mut lines: BTreeMap<Line<'_>, Vec<(Age<'_>, &CatalogWheel)>> = BTreeMap::new();
    for wheel in catalog.on(track) {
        for line in lines_of(wheel) {
            let wheels = lines.entry(line).or_default();
            wheels.push((Age::of(&wheel.file_name), wheel));
        }
    }
    let mut last = BTreeSet::new();
    for wheels in lines.values_mut() {
        wheels.sort_by(|(one, _), (other, _)| other.cmp(one));
        // Installers leave out what is yanked, and what is no final release, as long as there is
        // something else.
        let offered = || wheels.iter().filter(|(_, wheel)| wheel.yanked.is_none());
        let all_are_yanked = offered().next().is_none();
        let none_is_final = !offered().any(|(age, _)| age.is_final());
        let mut left = count;
        for (age, wheel) in &*wheels {
            if left == 0 {
                break;
            }
            last.insert(&wheel.file_name);
            let counts = wheel.yanked.is_none() && (none_is_final || age.is_final());
            left -= u32::from(counts || all_are_yanked);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::catalog::{CatalogVariant, Origin};
    use crate::release::life::tests::{catalog, told, wheel};

    const NOW: &str = "2026-11-21T03:00:00Z";
    const STABLE: &[Track] = &[Track::Stable];
    const NIGHTLY: &[Track] = &[Track::Nightly];
    const BOTH: &[Track] = &[Track::Stable, Track::Nightly];

    /// A wheel of CUDA 13.0 and torch 2.11: `1.0-cp311`, with the day in November that it came.
    fn of(version: &str, python: &str, day: u32, tracks: &[Track]) -> CatalogWheel {
        let (version, build) = version.split_once('#').unwrap_or((version, ""));
        let build = if build.is_empty() {
            String::new()
        } else {
            format!("-{build}")
        };
        let name = format!("{version}+cu130torch2.11{build}-{python}-{python}");
        wheel(&name, "cu130/torch2.11", day, tracks)
    }

    fn last_of(count: u32) -> KeepRules {
        KeepRules {
            last: NonZeroU32::new(count),
            ..KeepRules::default()
        }
    }

    fn swept(catalog: &Catalog, rules: &KeepRules) -> Sweep {
        sweep(
            catalog,
            &[],
            rules,
            &Holds::default(),
            &BTreeMap::new(),
            NOW,
        )
        .unwrap()
    }

    /// What goes: `1.0-cp311`.
    #[track_caller]
    fn check(catalog: &Catalog, rules: &KeepRules, want: &[&str]) {
        let told = told(&swept(catalog, rules).revision);
        let short = |line: &String| {
            let name = line
                .strip_prefix("cleared ")
                .unwrap()
                .replace("+cu130torch2.11", "");
            name.rsplit_once('-').unwrap().0.to_owned()
        };
        let told: Vec<_> = told.iter().map(short).collect();
        assert_eq!(told, want);
    }

    #[test]
    fn so_many_of_the_newest_stay_of_each_package_channel_python_and_track() {
        let wheels = [
            of("1.0", "cp311", 1, STABLE),
            of("1.9", "cp311", 1, STABLE),
            of("1.10", "cp311", 1, STABLE),
            of("1.10#2", "cp311", 1, STABLE),
            of("1.10#10", "cp311", 1, STABLE),
            of("1.0", "cp312", 1, STABLE),
            of("1.11", "cp311", 1, NIGHTLY),
            of("1.12", "cp311", 1, NIGHTLY),
        ];
        let catalog = catalog(wheels);
        check(
            &catalog,
            &last_of(1),
            &[
                "1.0-cp311",
                "1.10-cp311",
                "1.10-2-cp311",
                "1.11-cp311",
                "1.9-cp311",
            ],
        );
        check(&catalog, &last_of(3), &["1.0-cp311", "1.9-cp311"]);
        check(&catalog, &last_of(99), &[]);
    }

    #[test]
    fn the_newest_of_stable_stays_without_any_rule() {
        let mut yanked = of("1.2", "cp311", 3, STABLE);
        yanked.yanked = Some("wrong results".to_owned());
        let wheels = [
            of("1.0", "cp311", 1, STABLE),
            of("1.1", "cp311", 2, STABLE),
            yanked.clone(),
            of("1.3", "cp311", 4, NIGHTLY),
        ];
        let catalog_of = catalog(wheels);
        let none = KeepRules::default();
        check(&catalog_of, &none, &["1.0-cp311", "1.3-cp311"]);
        let kept = swept(&catalog_of, &none).kept;
        let kept: Vec<_> = kept.values().map(ToString::to_string).collect();
        assert_eq!(kept, ["the newest on stable", "the newest on stable"]);
        let mut older = of("1.1", "cp311", 2, STABLE);
        older.yanked.clone_from(&yanked.yanked);
        check(&catalog([older, yanked]), &none, &["1.1-cp311"]);
    }

    #[test]
    fn pre_releases_do_not_push_out_what_installers_take() {
        let wheels = [
            of("1.0", "cp311", 1, STABLE),
            of("1.1", "cp311", 2, STABLE),
            of("1.2rc1", "cp311", 3, STABLE),
            of("1.2rc2", "cp311", 4, STABLE),
        ];
        check(&catalog(wheels.clone()), &last_of(1), &["1.0-cp311"]);
        let early = catalog(wheels[2..].iter().cloned());
        check(&early, &last_of(1), &["1.2rc1-cp311"]);
    }

    #[test]
    fn a_wheel_of_several_channels_stays_as_long_as_one_of_them_needs_it() {
        let pure = |version: &str, day| {
            let mut wheel = of("1.0", "cp311", day, STABLE);
            let name = format!("demo-{version}-py3-none-manylinux_2_28_x86_64.whl");
            wheel.file_name = name.parse().unwrap();
            wheel.sha256 = Sha256Digest::of(version.as_bytes());
            wheel
        };
        let mut old = pure("1.0", 1);
        let origin = Origin {
            channel: "cu128/torch2.8".parse().unwrap(),
            python: "3.11".to_owned(),
        };
        let job = "demo-1.0-cu128-torch2.8-cp311".parse().unwrap();
        check(
            &catalog([old.clone(), pure("1.1", 2)]),
            &last_of(1),
            &["1.0-py3"],
        );
        old.also.insert(job, origin);
        check(&catalog([old, pure("1.1", 2)]), &last_of(1), &[]);
    }

    #[test]
    fn what_is_young_stays() {
        let wheels = [
            of("1.0", "cp311", 10, NIGHTLY),
            of("1.1", "cp311", 14, NIGHTLY),
            of("1.2", "cp311", 20, NIGHTLY),
        ];
        let days = |days| KeepRules {
            days: Some(days),
            ..KeepRules::default()
        };
        check(&catalog(wheels.clone()), &days(7), &["1.0-cp311"]);
        check(
            &catalog(wheels.clone()),
            &days(6),
            &["1.0-cp311", "1.1-cp311"],
        );
        let mut broken = wheels[0].clone();
        broken.published_at = "yesterday".to_owned();
        let holds = Holds::default();
        let res = sweep(
            &catalog([broken]),
            &[],
            &days(7),
            &holds,
            &BTreeMap::new(),
            NOW,
        );
        assert_eq!(res.unwrap_err(), LifeError::Time("yesterday".to_owned()));
    }

    #[test]
    fn what_the_last_releases_listed_stays() {
        let unlisted = || of("1.1", "cp311", 1, &[]);
        let now = catalog([
            of("1.0", "cp311", 1, &[]),
            unlisted(),
            of("1.2", "cp311", 1, NIGHTLY),
        ]);
        let past = |release, wheel| Catalog {
            release,
            ..catalog([wheel])
        };
        let past = [
            past(3, of("1.1", "cp311", 1, NIGHTLY)),
            past(2, of("1.0", "cp311", 1, NIGHTLY)),
        ];
        let holds = Holds::default();
        let cleared = |releases: u32| {
            let rules = KeepRules {
                releases: NonZeroU32::new(releases),
                ..KeepRules::default()
            };
            let res = sweep(&now, &past, &rules, &holds, &BTreeMap::new(), NOW).unwrap();
            res.revision.effects.len()
        };
        assert_eq!([1, 2, 3].map(cleared), [2, 1, 0]);
    }

    #[test]
    fn what_is_held_stays() {
        let mut held = of("1.0", "cp311", 1, BOTH);
        held.hold = Some("paper 12".to_owned());
        let locked = of("1.1", "cp311", 1, BOTH);
        let loose = of("1.2", "cp311", 1, BOTH);
        let newest = of("1.3", "cp311", 1, BOTH);
        let mut holds = Holds::default();
        holds.add("uv.lock", &format!("hash = \"sha256:{}\"", locked.sha256));
        let catalog = catalog([held, locked, loose.clone(), newest]);
        let files = BTreeMap::new();
        let swept = sweep(&catalog, &[], &KeepRules::default(), &holds, &files, NOW).unwrap();
        assert_eq!(swept.revision.effects, [(loose.file_name, Effect::Cleared)]);
        let kept: Vec<_> = swept.kept.values().map(ToString::to_string).collect();
        assert_eq!(
            kept,
            [
                "held: paper 12",
                "`uv.lock` points to it",
                "the newest on stable"
            ]
        );
    }

    #[test]
    fn files_go_with_their_wheel_and_its_name_is_remembered() {
        let (old, new) = (of("1.0", "cp311", 1, STABLE), of("1.1", "cp311", 2, STABLE));
        let catalog = catalog([old.clone(), new.clone()]);
        let orphan = format!("files/00/{}/x.whl", "0".repeat(64));
        let files: BTreeMap<String, u64> = [
            (old.path(), 10),
            (old.path() + ".metadata", 2),
            (new.path(), 100),
            (orphan.clone(), 1),
            ("manifest.json".to_owned(), 7),
            ("files/README".to_owned(), 7),
            ("whl/index.html".to_owned(), 7),
        ]
        .into();
        let holds = Holds::default();
        let rules = KeepRules::default();
        let first = sweep(&catalog, &[], &rules, &holds, &files, NOW).unwrap();
        let paths: BTreeSet<_> = first.files.iter().map(|file| file.path.clone()).collect();
        let want = [old.path(), old.path() + ".metadata", orphan];
        assert_eq!(paths, want.clone().into());
        assert_eq!(first.freed_bytes(), 13);
        assert_eq!(first.revision.title, "clear out 1 wheel");
        let next = first.revision.catalog;
        assert_eq!(next.retired, [(old.file_name, old.sha256)].into());
        assert_eq!(next.release, 5);

        // The wheel's files are still there, as after a cut: the next run finds them.
        let again = sweep(&next, &[], &rules, &holds, &files, NOW).unwrap();
        assert_eq!(again.files.len(), 3);
        assert!(again.revision.is_nothing());
        assert_eq!(again.revision.catalog.release, 6);
        let none = sweep(&next, &[], &rules, &holds, &BTreeMap::new(), NOW).unwrap();
        assert_eq!(none.revision.catalog, next);
    }

    #[test]
    fn the_name_of_a_variant_is_retired_with_the_last_wheel_that_has_it() {
        let mut old = of("1.0", "cp311", 1, STABLE);
        let name = old.file_name.to_string().replace(".whl", "-cu130_sm90.whl");
        let variant = CatalogVariant {
            file_name: name.parse().unwrap(),
            sha256: Sha256Digest::of(b"variant"),
            size_bytes: 7,
            metadata_sha256: Sha256Digest::of(b"metadata"),
            commit: None,
        };
        old.variant = Some(variant.clone());
        let mut new = of("2.0", "cp311", 2, STABLE);
        let rules = KeepRules::default();
        let next = swept(&catalog([old.clone(), new.clone()]), &rules);
        let want = [(variant.file_name.clone(), variant.sha256)].into();
        assert_eq!(next.revision.catalog.retired_variants, want);
        // Its files go: that its name is remembered does not keep them.
        let files = BTreeMap::from([(variant.path(), 7)]);
        let holds = Holds::default();
        let before = catalog([old.clone(), new.clone()]);
        let again = sweep(&before, &[], &rules, &holds, &files, NOW).unwrap();
        assert_eq!(again.files.len(), 1);

        new.variant = Some(variant);
        let next = swept(&catalog([old, new]), &rules).revision.catalog;
        assert_eq!(next.retired.len(), 1);
        assert!(next.retired_variants.is_empty());
    }

    proptest! {
        /// Whatever the rules are, stable users keep what they would get, and nothing that is held goes.
        #[test]
        fn what_users_get_never_goes(
            made in proptest::collection::vec((0_u32..12, 0_usize..3, 1_u32..20, 0_usize..4, any::<bool>(), any::<bool>()), 0..20),
            last_count in 0_u32..4,
            days in proptest::option::of(0_u32..20),
        ) {
            let wheels = made.iter().map(|&(version, python, day, tracks, is_yanked, is_held)| {
                let python = ["cp310", "cp311", "cp312"][python];
                let tracks: &[Track] = [&[], STABLE, NIGHTLY, BOTH][tracks];
                let mut wheel = of(&format!("1.{version}"), python, day, tracks);
                wheel.yanked = is_yanked.then(|| "broken".to_owned());
                wheel.hold = is_held.then(|| "wanted".to_owned());
                wheel
            });
            let before = catalog(wheels);
            let rules = KeepRules { last: NonZeroU32::new(last_count), days, releases: None };
            let after = swept(&before, &rules).revision.catalog;
            prop_assert_eq!(last(&before, Track::Stable, 1), last(&after, Track::Stable, 1));
            for (name, wheel) in &before.wheels {
                let stays = after.wheels.get(name);
                prop_assert!(stays.is_none_or(|stays| stays == wheel));
                prop_assert!(stays.is_some() || wheel.hold.is_none());
                prop_assert!(stays.is_some() || after.retired.get(name) == Some(&wheel.sha256));
            }
            let more = KeepRules { last: NonZeroU32::new(last_count + 1), ..rules };
            let kept = swept(&before, &more).kept;
            prop_assert!(after.wheels.keys().all(|name| kept.contains_key(name)));
        }
    }
}
