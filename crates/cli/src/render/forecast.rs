//! What a run is expected to take, and how far off that was.

use std::time::Duration;

use serde_json::{Value, json};
use wheelfarm_core::estimate::{Accuracy, Basis, Forecast, Host, HourlyPrice, JobForecast, Spread};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::quantity::ByteSize;

use super::elapsed;

/// A forecast with what it reckons with.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) forecast: Forecast,
    pub(crate) host: Host,
    pub(crate) price: Option<HourlyPrice>,
    pub(crate) history: Builds,
}

/// Whether anything is known of earlier builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builds {
    None,
    Some,
}

/// How many jobs are named of those that nothing is known of.
const NAMED: usize = 5;

impl Explained {
    /// A line about one job: how long it takes, with what, and how that is known.
    pub(super) fn job_line(&self, job: &JobId) -> Option<String> {
        let mut jobs = self.forecast.jobs.iter();
        jobs.find(|forecast| forecast.job == *job).map(takes)
    }

    /// The whole run.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self {
            forecast,
            host,
            price,
            history,
        } = self;
        if forecast.jobs.is_empty() {
            return vec!["forecast: there is nothing to build".to_owned()];
        }
        let at_a_time = match host.jobs {
            None => "as many jobs at a time as fit".to_owned(),
            Some(1) => "one job at a time".to_owned(),
            Some(jobs) => format!("{jobs} jobs at a time at most"),
        };
        let processors = if host.cpus == 1 {
            "processor"
        } else {
            "processors"
        };
        let mut lines = vec![format!(
            "forecast for {} {processors} and {}, {at_a_time}",
            host.cpus,
            ByteSize::from_bytes(host.memory_bytes)
        )];
        if *history == Builds::None {
            lines.push(
                "  no build is known yet: the figures are those that packages declare".into(),
            );
        }
        let spread = forecast.makespan_ms;
        lines.push(format!("  time     {}", self.between(spread, "", time)));
        let work = self.between(forecast.cpu_ms, " core-hours", core_hours);
        lines.push(format!("  work     {work}"));
        let peak = ByteSize::from_bytes(forecast.peak_memory_bytes);
        lines.push(format!("  memory   {peak} set aside at most"));
        if let Some(price) = price {
            let cost = self.between(spread, "", |ms| price.cost(ms).to_string());
            lines.push(format!("  cost     {cost} at {price} an hour"));
        }
        lines.push(format!("  sure     {}", self.how_sure()));
        lines
    }

    /// What is likely, and between what it lies. Where nothing is known there is an end at most.
    fn between(&self, spread: Spread, unit: &str, text: impl Fn(u64) -> String) -> String {
        let Spread { low, likely, high } = spread;
        let is_bounded = high > 0;
        let (low, likely, high) = (text(low), text(likely), text(high));
        if !self.forecast.says_when() {
            return if is_bounded {
                format!("not known, {high}{unit} at the most")
            } else {
                "not known".to_owned()
            };
        }
        let without = match self.forecast.unknown().next() {
            Some(_) => " without what is not known",
            None => "",
        };
        format!("{likely}{unit}{without} ({low} to {high})")
    }

    fn how_sure(&self) -> String {
        let count = |picks: fn(&Basis) -> bool| {
            let jobs = self.forecast.jobs.iter();
            jobs.filter(|job| job.wall_ms.is_some() && picks(&job.basis))
                .count()
        };
        let release = count(|basis| matches!(basis, Basis::Release { .. }));
        let package = count(|basis| matches!(basis, Basis::Package { .. }));
        let unknown: Vec<_> = self.forecast.unknown().map(JobId::as_str).collect();
        let mut parts = Vec::new();
        if release > 0 {
            parts.push(format!("{release} by builds of the release"));
        }
        if package > 0 {
            parts.push(format!("{package} by other builds of the package"));
        }
        if !unknown.is_empty() {
            let named = unknown
                .iter()
                .take(NAMED)
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
            let more = match unknown.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let count = unknown.len();
            parts.push(format!("{count} not known: {named}{more}"));
        }
        parts.join("; ")
    }

    /// Times in milliseconds, memory in bytes, money as text.
    pub(super) fn json(&self) -> Value {
        let Self {
            forecast,
            host,
            price,
            history,
        } = self;
        let mut value = json!(forecast);
        let cost = |price: &HourlyPrice| {
            let Spread { low, likely, high } = forecast.makespan_ms;
            json!({
                "price_per_hour": price.to_string(),
                "low": price.cost(low).to_string(),
                "likely": price.cost(likely).to_string(),
                "high": price.cost(high).to_string(),
            })
        };
        value["cost"] = price.as_ref().map_or(Value::Null, cost);
        value["host"] = json!({
            "cpus": host.cpus, "memory_bytes": host.memory_bytes, "jobs": host.jobs,
        });
        value["has_history"] = json!(*history == Builds::Some);
        value["unknown"] = json!(forecast.unknown().collect::<Vec<_>>());
        value
    }
}

fn takes(job: &JobForecast) -> String {
    let lacks = match job.lacks_bytes {
        0 => String::new(),
        bytes => format!(", {} less than it may need", ByteSize::from_bytes(bytes)),
    };
    let compilers = match job.compilers {
        1 => "1 compiler".to_owned(),
        many => format!("{many} compilers"),
    };
    let memory = ByteSize::from_bytes(job.memory_bytes);
    let with = format!("{compilers} in {memory}{lacks}");
    let by = match job.basis {
        Basis::Release { builds: 1 } => "1 build of this release".to_owned(),
        Basis::Release { builds } => format!("{builds} builds of this release"),
        Basis::Package { builds: 1 } => "1 other build of the package".to_owned(),
        Basis::Package { builds } => format!("{builds} other builds of the package"),
        Basis::Declared => "package.yaml alone".to_owned(),
    };
    let Some(wall_ms) = job.wall_ms else {
        return format!("takes    not known; {with}; by {by}");
    };
    let work = time(job.cpu_ms.unwrap_or(0));
    let after = match &job.after {
        Some(twin) => format!(" with the objects of {twin}"),
        None => String::new(),
    };
    format!(
        "takes    {}{after}; {work} of work, {with}; by {by}",
        time(wall_ms)
    )
}

fn time(ms: u64) -> String {
    elapsed(Duration::from_millis(ms))
}

/// In hundredths of an hour of one processor.
fn core_hours(ms: u64) -> String {
    let hundredths = (u128::from(ms) + 18_000) / 36_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// How far off a forecast was, in a line.
pub(super) fn accuracy_line(accuracy: &Accuracy) -> String {
    let Spread { low, likely, high } = accuracy.makespan_ms;
    let took = time(accuracy.took_ms);
    let expected = format!(
        "forecast {} ({} to {})",
        time(likely),
        time(low),
        time(high)
    );
    let unknown = match accuracy.unknown {
        0 => String::new(),
        1 => "; 1 job was not known".to_owned(),
        many => format!("; {many} jobs were not known"),
    };
    match accuracy.percent {
        None => format!("no forecast: nothing was known of these jobs; took {took}"),
        Some(0) => format!("{expected}, took {took}: as expected{unknown}"),
        Some(percent @ 1..) => format!("{expected}, took {took}: {percent} % longer{unknown}"),
        Some(percent) => {
            let percent = percent.unsigned_abs();
            format!("{expected}, took {took}: {percent} % shorter{unknown}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    #[track_caller]
    fn check(took_minutes: u64, percent: Option<i64>, unknown: u64, want: &str) {
        let accuracy = Accuracy {
            makespan_ms: Spread {
                low: 58 * MINUTE_MS,
                likely: 80 * MINUTE_MS,
                high: 110 * MINUTE_MS,
            },
            took_ms: took_minutes * MINUTE_MS,
            percent,
            within: true,
            unknown,
        };
        assert_eq!(accuracy_line(&accuracy), want);
    }

    #[test]
    fn a_run_says_how_far_off_its_forecast_was() {
        let forecast = "forecast 1h20m (58m00s to 1h50m)";
        check(
            91,
            Some(14),
            0,
            &format!("{forecast}, took 1h31m: 14 % longer"),
        );
        check(
            40,
            Some(-50),
            1,
            &format!("{forecast}, took 40m00s: 50 % shorter; 1 job was not known"),
        );
        check(
            80,
            Some(0),
            0,
            &format!("{forecast}, took 1h20m: as expected"),
        );
        check(
            80,
            None,
            3,
            "no forecast: nothing was known of these jobs; took 1h20m",
        );
    }

    #[test]
    fn work_is_rounded_to_hundredths_of_an_hour() {
        assert_eq!(core_hours(0), "0.00");
        assert_eq!(core_hours(8_676_000), "2.41");
        assert_eq!(core_hours(8_694_001), "2.42");
    }
}
