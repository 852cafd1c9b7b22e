//! How fresh a shelf is: how old the newest wheel of each line is, and which jobs of a plan have no wheel
//! there, so that a nightly that stands still is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ident::{JobId, PackageName};
use crate::plan::Job;
use crate::release::catalog::{Catalog, CatalogWheel, Track};
use crate::release::channel::Channel;
use crate::release::life::LifeError;
use crate::release::life::moment::Moment;
use crate::release::listing::Age;
use crate::wheel::build_number::BuildNumber;
use crate::wheel::name::WheelName;

/// What is declared: a job of a plan, as far as a catalog can know it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredJob {
    /// Its id.
    pub id: JobId,
    /// Its package.
    pub package: PackageName,
    /// Its channel.
    pub channel: Channel,
    /// Its Python: `3.11`.
    pub python: String,
    /// The build number that its wheel has.
    pub build_number: Option<BuildNumber>,
}

impl DeclaredJob {
    /// What `job` declares.
    pub fn of(job: &Job) -> Self {
        Self {
            id: job.id().clone(),
            package: job.package().clone(),
            channel: job.channel(),
            python: job.environment().python.to_string(),
            build_number: job.release().build_number,
        }
    }
}

/// How fresh a shelf is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The release that was looked at.
    pub release: u64,
    /// How long ago it was made, in seconds; none before the first.
    pub age_s: Option<u64>,
    /// Each line, by channel and track.
    pub lines: Vec<Line>,
}

/// The wheels of one channel on one track; the nightlies of one torch together, since each of their
/// channels has one day only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The channel: `cu130/torch2.11`, `cu130/torch2.16.dev*`.
    pub channel: String,
    /// The track.
    pub track: Track,
    /// How many wheels it lists, those that are yanked left out.
    pub wheels: usize,
    /// How many it lists that are yanked.
    pub yanked: usize,
    /// The wheel that came last, if there is one that is not yanked.
    pub newest: Option<Newest>,
    /// The jobs that are to fill it, by id, where a plan was given.
    pub declared: Option<Vec<(JobId, Published)>>,
}

/// The wheel that came last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its name.
    pub name: WheelName,
    /// How long ago it came, in seconds.
    pub age_s: u64,
}

/// What there is of a declared job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// This wheel.
    Yes(WheelName),
    /// Only this one of the same package and Python: another version, an earlier build, another night.
    Stale(WheelName),
    /// Its wheel is yanked.
    Yanked(WheelName),
    /// Nothing.
    Missing,
}

impl Published {
    /// Its stable name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Yes(_) => "published",
            Self::Stale(_) => "stale",
            Self::Yanked(_) => "yanked",
            Self::Missing => "missing",
        }
    }

    /// The wheel that there is.
    pub fn wheel(&self) -> Option<&WheelName> {
        match self {
            Self::Yes(name) | Self::Stale(name) | Self::Yanked(name) => Some(name),
            Self::Missing => None,
        }
    }
}

impl Line {
    /// Whether its newest wheel is older than `limit`, or there is none.
    pub fn is_older_than(&self, limit: Duration) -> bool {
        let newest = self.newest.as_ref();
        newest.is_none_or(|newest| newest.age_s > limit.as_secs())
    }

    /// Whether it is still to be filled: without a plan, every line is.
    pub fn is_declared(&self) -> bool {
        self.declared.as_ref().is_none_or(|jobs| !jobs.is_empty())
    }
}

impl Freshness {
    /// The lines of `track` that a limit on age is for: those that are still to be filled.
    pub fn judged(&self, track: Track) -> impl Iterator<Item = &Line> {
        let lines = self.lines.iter();
        lines.filter(move |line| line.track == track && line.is_declared())
    }
}

/// Looks at `catalog` at `now` (RFC 3339), and at what `jobs` declare, if a plan is given.
///
/// A job that is published is known again by its id alone: which inputs its wheel was built from does
/// not stand in a catalog.
pub fn freshness(
    catalog: &Catalog,
    jobs: Option<&[DeclaredJob]>,
    now: &str,
) -> Result<Freshness, LifeError> {
    let now: Moment = now.parse()?;
    let mut listed: BTreeMap<(String, Track), Vec<&CatalogWheel>> = BTreeMap::new();
    for track in Track::ALL {
        for wheel in catalog.on(track) {
            let families: BTreeSet<_> = wheel.channels().into_iter().map(family).collect();
            for channel in families {
                listed.entry((channel, track)).or_default().push(wheel);
            }
        }
    }
    for job in jobs.unwrap_or_default() {
        let channel = family(&job.channel);
        let has_line = |track| listed.contains_key(&(channel.clone(), track));
        if !Track::ALL.into_iter().any(has_line) {
            let track = match job.channel.torch().nightly() {
                Some(_) => Track::Nightly,
                None => Track::Stable,
            };
            listed.insert((channel, track), Vec::new());
        }
    }
    let lines = listed.into_iter();
    let lines = lines.map(|((channel, track), wheels)| line(channel, track, &wheels, jobs, now));
    let age_s = match catalog.release {
        0 => None,
        _ => Some(now.seconds_since(catalog.published_at.parse()?)),
    };
    Ok(Freshness {
        release: catalog.release,
        age_s,
        lines: lines.collect::<Result<_, _>>()?,
    })
}

fn line(
    channel: String,
    track: Track,
    wheels: &[&CatalogWheel],
    jobs: Option<&[DeclaredJob]>,
    now: Moment,
) -> Result<Line, LifeError> {
    let (good, yanked): (Vec<&CatalogWheel>, Vec<&CatalogWheel>) =
        wheels.iter().partition(|wheel| wheel.yanked.is_none());
    let mut newest: Option<(Moment, &CatalogWheel)> = None;
    for wheel in &good {
        let came = wheel.published_at.parse()?;
        if newest.is_none_or(|(latest, _)| came > latest) {
            newest = Some((came, wheel));
        }
    }
    let declared = jobs.map(|jobs| {
        let jobs = jobs.iter().filter(|job| family(&job.channel) == channel);
        let jobs = jobs.map(|job| (job.id.clone(), published(job, &good, &yanked)));
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort_by(|left, right| left.0.cmp(&right.0));
        jobs
    });
    Ok(Line {
        channel,
        track,
        wheels: good.len(),
        yanked: yanked.len(),
        newest: newest.map(|(came, wheel)| Newest {
            name: wheel.file_name.clone(),
            age_s: now.seconds_since(came),
        }),
        declared,
    })
}

fn published(job: &DeclaredJob, good: &[&CatalogWheel], yanked: &[&CatalogWheel]) -> Published {
    let number = job.build_number.map(|number| number.to_string());
    let is_it = |wheel: &&&CatalogWheel| {
        let is_its = wheel.jobs().any(|(id, _, _)| *id == job.id);
        is_its && (number.is_none() || wheel.file_name.build() == number.as_deref())
    };
    let is_like_it = |wheel: &&&CatalogWheel| {
        let has_its_python = wheel.jobs().any(|(_, _, python)| python == job.python);
        wheel.package == job.package && has_its_python
    };
    let latest = |wheels: &mut dyn Iterator<Item = &&CatalogWheel>| {
        let wheel = wheels.max_by_key(|wheel| Age::of(&wheel.file_name));
        wheel.map(|wheel| wheel.file_name.clone())
    };
    if let Some(name) = latest(&mut good.iter().filter(is_it)) {
        return Published::Yes(name);
    }
    if let Some(name) = latest(&mut yanked.iter().filter(is_it)) {
        return Published::Yanked(name);
    }
    latest(&mut good.iter().filter(is_like_it)).map_or(Published::Missing, Published::Stale)
}

/// The channel, with `*` for the day of a nightly.
fn family(channel: &Channel) -> String {
    let text = channel.to_string();
    match channel.torch().nightly() {
        Some(day) => text.replace(&format!(".dev{day}"), ".dev*"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::life::tests::{catalog, wheel};

    const NOW: &str = "2026-11-21T05:00:00Z";
    const STABLE: &[Track] = &[Track::Stable];
    const NIGHTLY: &[Track] = &[Track::Nightly];

    fn job(name: &str, channel: &str, build: u32) -> DeclaredJob {
        let wheel = wheel(name, channel, 1, STABLE);
        DeclaredJob {
            id: wheel.job,
            package: wheel.package,
            channel: wheel.channel,
            python: wheel.built_against.python,
            build_number: BuildNumber::new(build),
        }
    }

    fn night(day: u32) -> (String, String) {
        let channel = format!("cu130/torch2.16.dev202611{day:02}");
        (
            format!("1.1+{}-cp311-cp311", channel.replace('/', "")),
            channel,
        )
    }

    fn shelf() -> Catalog {
        let (first, second) = (night(17), night(18));
        let mut yanked = wheel(
            "1.0+cu130torch2.11-cp313-cp313",
            "cu130/torch2.11",
            2,
            STABLE,
        );
        yanked.yanked = Some("broken".to_owned());
        catalog([
            wheel(
                "1.0+cu130torch2.11-cp311-cp311",
                "cu130/torch2.11",
                1,
                STABLE,
            ),
            wheel(
                "1.1+cu130torch2.11-cp311-cp311",
                "cu130/torch2.11",
                3,
                STABLE,
            ),
            wheel(
                "1.0+cu130torch2.11-cp312-cp312",
                "cu130/torch2.11",
                2,
                STABLE,
            ),
            yanked,
            wheel(&first.0, &first.1, 17, NIGHTLY),
            wheel(&second.0, &second.1, 18, NIGHTLY),
            wheel("0.9+cu128torch2.8-cp311-cp311", "cu128/torch2.8", 1, &[]),
        ])
    }

    fn lines(freshness: &Freshness) -> Vec<String> {
        let line = |line: &Line| {
            let hours = line.newest.as_ref().map(|newest| newest.age_s / 3600);
            let jobs = line.declared.iter().flatten();
            let jobs = jobs.map(|(id, published)| {
                let id = id.as_str().strip_prefix("demo-").unwrap();
                format!("; {id}: {}", published.as_str())
            });
            let jobs: String = jobs.collect();
            format!(
                "{} {}: {} wheels, {} yanked, newest {hours:?} h{jobs}",
                line.channel, line.track, line.wheels, line.yanked
            )
        };
        freshness.lines.iter().map(line).collect()
    }

    #[test]
    fn each_channel_and_track_has_an_age() {
        let found = freshness(&shelf(), None, NOW).unwrap();
        assert_eq!((found.release, found.age_s), (4, Some(26 * 3600)));
        insta::assert_snapshot!(lines(&found).join("\n"), @r"
        cu130/torch2.11 stable: 3 wheels, 1 yanked, newest Some(434) h
        cu130/torch2.16.dev* nightly: 2 wheels, 0 yanked, newest Some(74) h
        ");
        let late = |hours: u64, track| {
            let limit = Duration::from_secs(hours * 3600);
            let mut judged = found.judged(track);
            judged.any(|line| line.is_older_than(limit))
        };
        assert!(late(73, Track::Nightly) && !late(74, Track::Nightly));
        assert!(late(74, Track::Stable) && !late(434, Track::Stable));
        let empty = freshness(&Catalog::empty(), None, NOW).unwrap();
        assert_eq!((empty.age_s, empty.lines.len()), (None, 0));
    }

    #[test]
    fn what_is_declared_is_published_stale_yanked_or_missing() {
        let tonight = night(21);
        let jobs = [
            job("1.1+cu130torch2.11-cp311-cp311", "cu130/torch2.11", 0),
            job("1.1+cu130torch2.11-cp312-cp312", "cu130/torch2.11", 0),
            job("1.0+cu130torch2.11-cp312-cp312", "cu130/torch2.11", 2),
            job("1.0+cu130torch2.11-cp313-cp313", "cu130/torch2.11", 0),
            job("1.0+cu130torch2.11-cp314-cp314", "cu130/torch2.11", 0),
            job("1.0+cu132torch2.13-cp311-cp311", "cu132/torch2.13", 0),
            job(&tonight.0, &tonight.1, 0),
        ];
        let found = freshness(&shelf(), Some(&jobs), NOW).unwrap();
        insta::assert_snapshot!(lines(&found).join("\n"), @r"
        cu130/torch2.11 stable: 3 wheels, 1 yanked, newest Some(434) h; 1.0-cu130-torch2.11-cp312: stale; 1.0-cu130-torch2.11-cp313: yanked; 1.0-cu130-torch2.11-cp314: missing; 1.1-cu130-torch2.11-cp311: published; 1.1-cu130-torch2.11-cp312: stale
        cu130/torch2.16.dev* nightly: 2 wheels, 0 yanked, newest Some(74) h; 1.1-cu130-torch2.16.dev20261121-cp311: stale
        cu132/torch2.13 stable: 0 wheels, 0 yanked, newest None h; 1.0-cu132-torch2.13-cp311: missing
        ");
        let stale = &found.lines[1].declared.as_ref().unwrap()[0].1;
        let name = stale.wheel().unwrap().to_string();
        assert!(name.contains("dev20261118"), "{name}");
        let never = found.judged(Track::Stable).last().unwrap();
        assert!(never.is_older_than(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn a_line_that_is_declared_no_more_is_not_judged() {
        let jobs = [job("1.1+cu130torch2.11-cp311-cp311", "cu130/torch2.11", 0)];
        let found = freshness(&shelf(), Some(&jobs), NOW).unwrap();
        assert_eq!(found.judged(Track::Nightly).count(), 0);
        assert_eq!(found.judged(Track::Stable).count(), 1);
    }

    #[test]
    fn the_wheel_of_a_build_number_is_the_one_with_that_number() {
        let numbered = wheel(
            "1.0+cu130torch2.11-2-cp311-cp311",
            "cu130/torch2.11",
            2,
            STABLE,
        );
        let plain = wheel(
            "1.0+cu130torch2.11-cp311-cp311",
            "cu130/torch2.11",
            1,
            STABLE,
        );
        let shelf = catalog([plain, numbered]);
        let state = |build| {
            let jobs = [job(
                "1.0+cu130torch2.11-cp311-cp311",
                "cu130/torch2.11",
                build,
            )];
            let found = freshness(&shelf, Some(&jobs), NOW).unwrap();
            found.lines[0].declared.as_ref().unwrap()[0].1.as_str()
        };
        assert_eq!([0, 2, 3].map(state), ["published", "published", "stale"]);
    }
}
