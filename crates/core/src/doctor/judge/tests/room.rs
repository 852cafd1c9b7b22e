//! Disks, memory, processors.

use super::*;

fn room(free_gib: u64, free_inodes: Option<u64>) -> impl Fn(&mut Facts) {
    move |facts| {
        for disk in &mut facts.disks {
            disk.room = Ok(DiskRoom {
                device: 1,
                free_bytes: free_gib * GIB,
                free_inodes,
            });
        }
    }
}

/// The largest job takes 20 GiB, the reserve is 5, a Debian is to be bootstrapped.
#[test]
fn room_on_disks() {
    check(
        Topic::Disk,
        room(26, None),
        (
            Pass,
            "20GiB for the largest job, 1 base image to pull, of unknown size, 1GiB for bootstrapping, 5GiB to stay free",
        ),
    );
    check(
        Topic::Disk,
        room(25, None),
        (Fail, "1GiB too little for the first job"),
    );
    let stages = |free_gib| {
        move |facts: &mut Facts| {
            room(free_gib, None)(facts);
            facts.images.as_mut().unwrap().stages_to_make = 2;
        }
    };
    check(Topic::Disk, stages(31), (Fail, "wheelfarm gc --dry-run"));
    check(Topic::Disk, stages(32), (Fail, "6GiB too little for all"));
    check(
        Topic::Disk,
        stages(38),
        (Pass, "12GiB for the images of 2 environments"),
    );
    let unknown = |facts: &mut Facts| facts.images = Err(Unseen::new("gone", "start it"));
    check(
        Topic::Disk,
        unknown,
        (NotChecked, "which images are there is not known"),
    );
    let pulled = |facts: &mut Facts| {
        let bases = facts
            .farm
            .as_ref()
            .unwrap()
            .wants
            .bases
            .keys()
            .cloned()
            .collect();
        facts.images = Ok(ImagesHere {
            bases,
            ..ImagesHere::default()
        });
    };
    check(
        Topic::Disk,
        pulled,
        (
            Pass,
            "500GiB free: 20GiB for the largest job, 5GiB to stay free",
        ),
    );
}

#[test]
fn disks_that_are_not_one() {
    let apart = |facts: &mut Facts| {
        room(500, None)(facts);
        for (device, disk) in (1..).zip(&mut facts.disks) {
            let room = disk.room.as_mut().unwrap();
            room.device = device;
            if disk.what == DiskUse::Out {
                room.free_bytes = 4 * GIB;
            }
        }
    };
    check_of(
        Topic::Disk,
        "/var/lib/docker",
        apart,
        (Pass, "20GiB for the largest job"),
    );
    check_of(Topic::Disk, "out", apart, (Fail, "1GiB too little"));
    check_of(
        Topic::Disk,
        "/tmp",
        apart,
        (Pass, "500GiB free: 1GiB for bootstrapping"),
    );
    let unseen = |facts: &mut Facts| facts.disks[1].room = Err(Unseen::new("denied", "df -h out"));
    check_of(
        Topic::Disk,
        "out",
        unseen,
        (NotChecked, "for wheels and records: denied"),
    );
}

#[test]
fn files_that_may_still_be_made() {
    check(
        Topic::Inodes,
        room(500, Some(49_999)),
        (Fail, "49999 files"),
    );
    check(Topic::Inodes, room(500, Some(50_000)), (Pass, "50000"));
    let many = |facts: &mut Facts| {
        room(500, Some(90_000))(facts);
        facts.images.as_mut().unwrap().stages_to_make = 2;
    };
    check(Topic::Inodes, many, (Warn, "100000"));
    assert_eq!(of(Topic::Inodes, room(500, None)), []);
    // Images are on the engine's disk alone.
    let apart = |out: u64| {
        move |facts: &mut Facts| {
            room(500, Some(49_999))(facts);
            let disk = facts.disks.iter_mut();
            let disk = disk.filter(|disk| disk.what == DiskUse::Out);
            for disk in disk {
                let room = disk.room.as_mut().unwrap();
                room.device = 2;
                room.free_inodes = Some(out);
            }
        }
    };
    check_of(Topic::Inodes, "out", apart(300), (Pass, "300 files"));
    check_of(
        Topic::Inodes,
        "out",
        apart(0),
        (Fail, "no file can be made"),
    );
    let engines = "/var/lib/docker, /root/.cache/wheelfarm, /tmp";
    check_of(Topic::Inodes, engines, apart(300), (Fail, "49999 files"));
    let idle = |facts: &mut Facts| {
        apart(300)(facts);
        facts.farm.as_mut().unwrap().wants.to_build = 0;
    };
    check_of(Topic::Inodes, engines, idle, (Pass, "49999 files"));
    // A Debian is bootstrapped in the temporary folder, whichever disk that is on.
    let temporary = |free: u64| {
        move |facts: &mut Facts| {
            room(500, Some(300_000))(facts);
            let disk = facts.disks.iter_mut();
            for disk in disk.filter(|disk| disk.what == DiskUse::Temporary) {
                let room = disk.room.as_mut().unwrap();
                room.device = 2;
                room.free_inodes = Some(free);
            }
        }
    };
    check_of(
        Topic::Inodes,
        "/tmp",
        temporary(19_999),
        (Fail, "what is made first may have 20000"),
    );
    check_of(
        Topic::Inodes,
        "/tmp",
        temporary(20_000),
        (Pass, "20000 files"),
    );
}

/// beta declares 12 GiB for one compiler.
#[test]
fn memory_against_the_largest_job() {
    check(
        Topic::Memory,
        engine(|e| e.memory_bytes = 8 * GIB),
        (Warn, "by what its package declares"),
    );
    check(
        Topic::Memory,
        engine(|e| e.memory_bytes = 32 * GIB),
        (Pass, "30GiB of it for jobs"),
    );
    let capped = |facts: &mut Facts| {
        facts.farm.as_mut().unwrap().memory_cap = Some(crate::quantity::ByteSize::gib(4));
    };
    check(Topic::Memory, capped, (Warn, "4GiB of it for jobs"));
    let in_use = |facts: &mut Facts| facts.machine.available_bytes = Some(2 * GIB);
    check(Topic::Memory, in_use, (Warn, "only 2GiB is not in use now"));
    // What is in use here says nothing of an engine elsewhere.
    let elsewhere = |facts: &mut Facts| {
        in_use(facts);
        engine(|e| e.whereabouts = Whereabouts::Elsewhere)(facts);
    };
    check(Topic::Memory, elsewhere, (Pass, "the most is"));
    check(
        Topic::Overcommit,
        |facts| facts.machine.overcommit = Some(2),
        (Warn, "overcommit_memory=0"),
    );
    check(
        Topic::OpenFiles,
        |facts| facts.machine.open_files = Some(256),
        (Warn, "ulimit -n"),
    );
    check(
        Topic::OpenFiles,
        |facts| facts.machine.open_files = Some(u64::MAX),
        (Pass, "no limit"),
    );
}

#[test]
fn builds_that_held_more_than_there_is_are_a_fault() {
    use crate::estimate::{Grant, History, ObjectCache, Planned, Sample, SampleEnd};
    let (_, plan) = fixture::plan();
    let sample = Sample {
        at: "2026-11-20T00:00:00Z".to_owned(),
        package: "beta".parse().unwrap(),
        version: "2.0".to_owned(),
        channel: "cu130/torch2.11".to_owned(),
        targets: 1,
        grant: Grant {
            compilers: 1,
            milli_cpus: 1000,
            memory_bytes: 64 * GIB,
        },
        end: SampleEnd::Done,
        peak_memory_bytes: Some(20 * GIB),
        cpu_ms: Some(3_600_000),
        compile_ms: 3_600_000,
        objects: None,
        disk_bytes: None,
    };
    let history = History::new([sample]);
    let planned: Vec<_> = plan
        .jobs
        .iter()
        .map(|job| Planned::of(job, &history, ObjectCache::On))
        .collect();
    let small = |facts: &mut Facts| {
        facts.farm.as_mut().unwrap().planned.clone_from(&planned);
        engine(|e| e.memory_bytes = 16 * GIB)(facts);
    };
    check(Topic::Memory, small, (Fail, "for one compiler of beta-2.0"));
    check(
        Topic::Processors,
        small,
        (Pass, "of which nothing is known"),
    );
}
