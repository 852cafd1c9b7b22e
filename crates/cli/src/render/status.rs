//! What is published, and how fresh it is.

use serde_json::{Value, json};
use wheelfarm_core::quantity::TimeLimit;
use wheelfarm_core::release::catalog::{Catalog, Track};
use wheelfarm_core::release::life::freshness::{self, Line, Published};
use wheelfarm_engine::shelf::PastRelease;

use super::{OutputError, data};

/// What is published.
pub(crate) struct Status<'a> {
    /// The shelf.
    pub(crate) place: &'a str,
    /// What it lists.
    pub(crate) catalog: &'a Catalog,
    /// The releases that it had, the newest first, the present one perhaps among them.
    pub(crate) past: &'a [PastRelease],
}

impl Status<'_> {
    fn earlier(&self) -> impl Iterator<Item = &PastRelease> {
        let past = self.past.iter();
        past.filter(|past| past.release < self.catalog.release)
    }

    fn unlisted(&self) -> usize {
        let wheels = self.catalog.wheels.values();
        wheels.filter(|wheel| wheel.tracks.is_empty()).count()
    }
}

/// Its wheels by track, those with a mark, and the earlier releases.
pub(crate) fn human(status: &Status<'_>) -> Result<(), OutputError> {
    data(&human_text(status))
}

fn human_text(status: &Status<'_>) -> String {
    let catalog = status.catalog;
    let mut lines = vec![format!(
        "release {} of {}, {}: {} wheels on stable, {} on nightly, {} unlisted, {} cleared out",
        catalog.release,
        status.place,
        catalog.published_at,
        catalog.on(Track::Stable).count(),
        catalog.on(Track::Nightly).count(),
        status.unlisted(),
        catalog.retired.len(),
    )];
    for wheel in catalog.wheels.values() {
        let marks = [("yanked", &wheel.yanked), ("held", &wheel.hold)];
        for (mark, reason) in marks {
            if let Some(reason) = reason {
                lines.push(format!("{mark}  {}: {reason}", wheel.file_name));
            }
        }
    }
    for past in status.earlier() {
        lines.push(format!(
            "earlier  release {}, {}: {}",
            past.release, past.published_at, past.title
        ));
    }
    lines.join("\n")
}

/// Schema 1.
pub(crate) fn json(status: &Status<'_>) -> Result<(), OutputError> {
    let catalog = status.catalog;
    let marked = |mark: fn(&wheelfarm_core::release::catalog::CatalogWheel) -> Option<&String>| {
        let wheels = catalog.wheels.values();
        let marked = wheels.filter_map(|wheel| Some((wheel.file_name.to_string(), mark(wheel)?)));
        json!(marked.collect::<std::collections::BTreeMap<_, _>>())
    };
    let earlier: Vec<_> = status
        .earlier()
        .map(|past| {
            json!({
                "release": past.release,
                "published_at": past.published_at,
                "title": past.title,
            })
        })
        .collect();
    let text = json!({
        "schema": 1,
        "shelf": status.place,
        "release": catalog.release,
        "published_at": catalog.published_at,
        "stable": catalog.on(Track::Stable).count(),
        "nightly": catalog.on(Track::Nightly).count(),
        "unlisted": status.unlisted(),
        "cleared_out": catalog.retired.len(),
        "yanked": marked(|wheel| wheel.yanked.as_ref()),
        "held": marked(|wheel| wheel.hold.as_ref()),
        "earlier": earlier,
    });
    data(&format!("{text:#}"))
}

/// How fresh a shelf is.
pub(crate) struct Freshness<'a> {
    /// The shelf.
    pub(crate) place: &'a str,
    /// What was found.
    pub(crate) found: &'a freshness::Freshness,
    /// How old the newest wheel of each line of a track may be.
    pub(crate) limit: Option<(Track, TimeLimit)>,
}

impl Freshness<'_> {
    /// Whether the limit is passed; a track that has nothing to judge is older than any limit.
    pub(crate) fn is_stale(&self) -> bool {
        self.limit.is_some_and(|(track, _)| {
            let mut judged = self.found.judged(track).peekable();
            judged.peek().is_none() || judged.any(|line| self.is_too_old(line))
        })
    }

    fn is_too_old(&self, line: &Line) -> bool {
        self.limit.is_some_and(|(track, limit)| {
            line.track == track && line.is_declared() && line.is_older_than(limit.duration())
        })
    }

    /// What a limit makes of it all.
    fn verdict(&self) -> Option<String> {
        let (track, limit) = self.limit?;
        let judged = self.found.judged(track).count();
        let late = self
            .found
            .judged(track)
            .filter(|line| self.is_too_old(line))
            .count();
        Some(match (judged, late) {
            (0, _) => format!("STALE: nothing is on track {track}"),
            (_, 0) => format!("fresh: no channel of track {track} is older than {limit}"),
            (_, late) => format!(
                "STALE: {late} of {judged} channels of track {track} are older than {limit}"
            ),
        })
    }
}

/// A line for each channel and track, and one for each job that has no wheel.
pub(crate) fn freshness_human(report: &Freshness<'_>) -> Result<(), OutputError> {
    data(&freshness_text(report))
}

fn freshness_text(report: &Freshness<'_>) -> String {
    let found = report.found;
    let age = found
        .age_s
        .map_or_else(|| "never".to_owned(), |age| format!("{} ago", said(age)));
    let mut lines = vec![format!(
        "release {} of {}, {age}",
        found.release, report.place
    )];
    for line in &found.lines {
        lines.push(line_text(line, report.is_too_old(line)));
        for (job, published) in line.declared.iter().flatten() {
            lines.extend(match published {
                Published::Yes(_) => None,
                Published::Stale(wheel) => Some(format!("  stale    {job}: there is {wheel}")),
                Published::Yanked(wheel) => Some(format!("  yanked   {job}: {wheel}")),
                Published::Missing => Some(format!("  missing  {job}")),
            });
        }
    }
    lines.extend(report.verdict());
    lines.join("\n")
}

fn line_text(line: &Line, is_too_old: bool) -> String {
    let mark = if is_too_old { "STALE  " } else { "" };
    let newest = match &line.newest {
        Some(newest) => format!("newest {} old", said(newest.age_s)),
        None => "no wheel".to_owned(),
    };
    let yanked = match line.yanked {
        0 => String::new(),
        yanked => format!(", {yanked} yanked"),
    };
    let declared = match &line.declared {
        None => String::new(),
        Some(jobs) if jobs.is_empty() => "; not in the matrix".to_owned(),
        Some(jobs) => {
            let done = jobs
                .iter()
                .filter(|(_, there)| matches!(there, Published::Yes(_)));
            format!("; {} of {} jobs published", done.count(), jobs.len())
        }
    };
    format!(
        "{mark}{} {}: {newest}, {} wheels{yanked}{declared}",
        line.channel, line.track, line.wheels
    )
}

/// `3d 4h`, `5h 20m`, `40m`: two units say enough.
fn said(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, hours) => format!("{hours}h {minutes}m"),
        (days, hours) => format!("{days}d {hours}h"),
    }
}

/// Schema 1.
pub(crate) fn freshness_json(report: &Freshness<'_>) -> Result<(), OutputError> {
    let found = report.found;
    let lines: Vec<_> = found
        .lines
        .iter()
        .map(|line| line_json(line, report.is_too_old(line)))
        .collect();
    let text = json!({
        "schema": 1,
        "shelf": report.place,
        "release": found.release,
        "age_s": found.age_s,
        "is_stale": report.is_stale(),
        "lines": lines,
    });
    data(&format!("{text:#}"))
}

fn line_json(line: &Line, is_too_old: bool) -> Value {
    let newest = line
        .newest
        .as_ref()
        .map(|newest| json!({ "wheel": newest.name, "age_s": newest.age_s }));
    let jobs = line.declared.as_ref().map(|jobs| {
        let jobs = jobs.iter();
        let job = |(job, there): &(_, Published)| {
            json!({ "job": job, "state": there.as_str(), "wheel": there.wheel() })
        };
        jobs.map(job).collect::<Vec<_>>()
    });
    json!({
        "channel": line.channel,
        "track": line.track.as_str(),
        "wheels": line.wheels,
        "yanked": line.yanked,
        "newest": newest,
        "jobs": jobs,
        "is_too_old": is_too_old,
    })
}
