//! Builds and estimates for tests.

use super::{Grant, History, Objects, Sample, SampleEnd, Subject};
use crate::package::Resources;
use crate::quantity::{ByteSize, TimeLimit};

pub(super) const GIB: u64 = 1 << 30;
pub(super) const MINUTE_MS: u64 = 60_000;

/// A package that declares so much memory, in GiB: for the build, and for each compiler.
pub(super) fn subject(package: &str, memory: u64, each: u64) -> Subject {
    Subject {
        package: package.parse().unwrap(),
        version: "1.0".to_owned(),
        targets: 2,
        resources: Resources {
            memory: ByteSize::gib(memory),
            memory_per_process: ByteSize::gib(each),
            disk: ByteSize::gib(10),
            processes: 2048,
            time: TimeLimit::minutes(120),
            silence: TimeLimit::minutes(60),
        },
        most_compilers: None,
    }
}

/// A build of version 1.0 for two archs that went well, with every object compiled.
pub(super) fn built(package: &str, compilers: u32, peak_bytes: u64, cpu_ms: u64) -> Sample {
    Sample {
        at: "2026-11-20T00:00:00Z".to_owned(),
        package: package.parse().unwrap(),
        version: "1.0".to_owned(),
        channel: "cu130/torch2.11".to_owned(),
        targets: 2,
        grant: Grant {
            compilers,
            milli_cpus: u64::from(compilers) * 1000,
            memory_bytes: 64 * GIB,
        },
        end: SampleEnd::Done,
        peak_memory_bytes: Some(peak_bytes),
        cpu_ms: Some(cpu_ms),
        compile_ms: cpu_ms / u64::from(compilers),
        objects: None,
        disk_bytes: None,
    }
}

/// A build that was killed at this limit.
pub(super) fn killed(package: &str, compilers: u32, limit_bytes: u64) -> Sample {
    let mut sample = built(package, compilers, limit_bytes, MINUTE_MS);
    sample.end = SampleEnd::OutOfMemory;
    sample.grant.memory_bytes = limit_bytes;
    sample
}

/// The same build with so many of its objects compiled.
pub(super) fn with_objects(mut sample: Sample, needed: u64, compiled: u64) -> Sample {
    sample.objects = Some(Objects { needed, compiled });
    sample
}

/// What is expected of a package of which these builds are known.
pub(super) fn learned(subject: &Subject, samples: &[Sample]) -> super::Estimate {
    History::new(samples.to_vec()).estimate_of(subject)
}
