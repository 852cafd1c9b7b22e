//! What a compiler cache did for a build, as `dockerfiles/watched_build.py` leaves it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest text about a fault that is kept; the build could have written anything.
const MAX_FAULT_CHARACTERS: usize = 300;

/// How many kinds of steps there may be; nvcc's and the host compilers are eight.
const MAX_STEPS: usize = 16;

/// How far a build used its compiler cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CacheState {
    /// Objects went through it.
    Used,
    /// There was none.
    Off,
    /// It did not start, or did not last; what it could not do was compiled without it.
    Broken,
}

/// Objects that a build asked for, and those of them that a compiler made in this build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ObjectCounts {
    /// Asked for.
    pub needed: u64,
    /// Compiled, not taken from the cache.
    pub compiled: u64,
}

/// Objects by the compiler that makes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Objects {
    /// nvcc's.
    #[serde(default)]
    pub cuda: ObjectCounts,
    /// The host compilers'.
    #[serde(default)]
    pub host: ObjectCounts,
}

/// The steps of one program: `cicc` and `ptxas` run once for each arch of a `.cu`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StepCounts {
    /// Taken from the cache.
    pub hits: u64,
    /// Run.
    pub misses: u64,
}

/// What a compiler cache did for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CacheFigures {
    /// How far it was used.
    pub state: CacheState,
    /// Objects needed and compiled.
    pub objects: Objects,
    /// The steps of which objects are made, by program.
    #[serde(default)]
    pub steps: BTreeMap<String, StepCounts>,
    /// Objects that were compiled past the cache, because there was none or it failed.
    #[serde(default)]
    pub without_cache: u64,
    /// Entries that could not be read, and were made again.
    #[serde(default)]
    pub read_faults: u64,
    /// Entries that could not be written.
    #[serde(default)]
    pub write_faults: u64,
    /// What the cache held at the end, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// The program and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The first thing that was wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl CacheFigures {
    /// Reads what a build left. `None` when it is none of ours: the build could have written it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut figures: Self = serde_json::from_str(text).ok()?;
        let short = |text: &String| {
            let plain = text.chars().filter(|c| !c.is_control());
            plain.take(MAX_FAULT_CHARACTERS).collect()
        };
        figures.fault = figures.fault.as_ref().map(short);
        figures.tool = figures.tool.as_ref().map(short);
        let is_name =
            |name: &String| name.len() <= 32 && name.chars().all(|c| c.is_ascii_graphic());
        let has_sound_steps = figures.steps.len() <= MAX_STEPS && figures.steps.keys().all(is_name);
        has_sound_steps.then_some(figures)
    }

    /// Objects needed and compiled, whatever compiles them.
    pub fn objects(&self) -> ObjectCounts {
        let Objects { cuda, host } = self.objects;
        ObjectCounts {
            needed: cuda.needed.saturating_add(host.needed),
            compiled: cuda.compiled.saturating_add(host.compiled),
        }
    }

    /// Steps that make device code, of all archs: taken from the cache, and run.
    pub fn device_steps(&self) -> StepCounts {
        let steps = ["cicc", "ptxas"]
            .iter()
            .filter_map(|name| self.steps.get(*name));
        steps.fold(StepCounts::default(), |sum, step| StepCounts {
            hits: sum.hits.saturating_add(step.hits),
            misses: sum.misses.saturating_add(step.misses),
        })
    }
}

impl fmt::Display for CacheFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectCounts { needed, compiled } = self.objects();
        write!(f, "objects: {needed} needed, {compiled} compiled")?;
        let StepCounts { hits, misses } = self.device_steps();
        let steps = hits.saturating_add(misses);
        if steps > 0 {
            write!(f, "; device code: {steps} steps, {misses} run")?;
        }
        match self.state {
            CacheState::Used => {}
            CacheState::Off => f.write_str("; no compiler cache")?,
            CacheState::Broken => f.write_str("; the compiler cache broke")?,
        }
        if let Some(fault) = &self.fault {
            write!(f, ": {fault}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: &str = r#"{"cache_bytes": 48046376, "objects": {"cuda": {"compiled": 1, "needed": 2}, "host":
        {"compiled": 0, "needed": 10}}, "read_faults": 0, "schema": 1, "state": "used", "steps": {"cicc": {"hits": 4,
        "misses": 1}, "gcc": {"hits": 10, "misses": 0}, "nvcc": {"hits": 1, "misses": 1}, "ptxas": {"hits": 4,
        "misses": 1}}, "tool": "sccache 0.16.0", "without_cache": 0, "write_faults": 0}"#;

    #[test]
    fn what_a_build_left_is_read() {
        let figures = CacheFigures::parse(LEFT).unwrap();
        let text = "objects: 12 needed, 1 compiled; device code: 10 steps, 2 run";
        assert_eq!(figures.to_string(), text);
        let again = serde_json::to_string(&figures).unwrap();
        assert_eq!(CacheFigures::parse(&again), Some(figures));
    }

    #[test]
    fn a_build_cannot_write_anything_it_likes() {
        assert_eq!(CacheFigures::parse("[]"), None);
        let many: Vec<_> = (0..99)
            .map(|n| format!("\"s{n}\": {{\"hits\": 0, \"misses\": 0}}"))
            .collect();
        let text = LEFT.replace("\"cicc\"", &format!("{}, \"cicc\"", many.join(", ")));
        assert_eq!(CacheFigures::parse(&text), None);
        let long = LEFT.replace(
            "\"used\"",
            &format!("\"broken\", \"fault\": \"a\\u001b[2J{}\"", "b".repeat(999)),
        );
        let figures = CacheFigures::parse(&long).unwrap();
        assert_eq!(
            figures.fault.as_deref().map(str::len),
            Some(MAX_FAULT_CHARACTERS)
        );
        assert!(
            figures
                .to_string()
                .contains("the compiler cache broke: a[2Jbbb"),
            "{figures}"
        );
    }
}
