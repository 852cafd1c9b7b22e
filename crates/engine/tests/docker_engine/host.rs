//! What is cleared away of a real engine, and what is not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, Engine, ImageBuild, ImageRef, Labels, TarSource, Volume, labels,
};
use wheelfarm_engine::host::clear::{Act, Cleared, End, clear};
use wheelfarm_engine::host::things::{Inventory, Sizes};
use wheelfarm_engine::host::verdict::{Rules, SharedImages, Wanted, When};
use wheelfarm_engine::host::{shrink_cache, volume_sizes};
use wheelfarm_engine::out_folder::OutFolder;

use crate::lab::{AMPLE, Lab, root_file_system, run, tar_of, with_lab};

const MIB: u64 = 1 << 20;

fn rules() -> Rules {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Rules {
        // A step of an image that a build may go on with is left for a day.
        now_s: now.as_secs() + 2 * 24 * 3600,
        keep: Duration::from_hours(30 * 24),
        cache_bytes: Some(2 * MIB),
        shared: SharedImages::Unneeded,
        when: When::Idle,
    }
}

/// A volume with files of so many MiB, the first the oldest.
async fn fill(lab: &Lab, name: &str, labels: &Labels, files_mib: &[u64]) {
    let steps = files_mib.iter().enumerate().map(|(year, mib)| {
        format!(
            "dd if=/dev/zero of=/build/f{year} bs=1048576 count={mib} 2>/dev/null && \
             touch -t 200{year}01010000 /build/f{year} && "
        )
    });
    let steps: String = steps.collect();
    let spec = ContainerSpec {
        volumes: vec![Volume {
            name: name.to_owned(),
            path: "/build".to_owned(),
            labels: labels.clone(),
        }],
        ..lab.spec(&format!("{steps} true"))
    };
    let mut container = lab.create(spec).await;
    container.keep_volumes();
    let never = CancellationToken::new();
    let end = container.run_to_end(&AMPLE, &never, &never, |_| ()).await;
    assert_eq!(end.unwrap().exit_code, 0);
    container.remove().await.unwrap();
}

#[tokio::test]
async fn docker_a_cache_loses_what_was_not_used_for_longest() {
    with_lab("shrink", async |lab| {
        let (cache, other) = (lab.name("cache"), lab.name("other"));
        fill(lab, &cache, &lab.labels(), &[1, 1, 1, 1]).await;
        fill(lab, &other, &lab.labels(), &[2]).await;
        let names = [cache.clone(), other.clone()];
        let sizes = async || {
            let sizes = volume_sizes(&lab.engine, &lab.image, &names, &lab.labels()).await;
            sizes.unwrap()
        };
        let before = sizes().await;
        assert!(
            (4 * MIB..4 * MIB + MIB / 2).contains(&before[&cache]),
            "{before:?}"
        );
        assert!(
            (2 * MIB..2 * MIB + MIB / 2).contains(&before[&other]),
            "{before:?}"
        );

        // It takes up a little more than its files.
        let limit = 2 * MIB + MIB / 2;
        let shrink = async || {
            let freed = shrink_cache(&lab.engine, &lab.image, &cache, limit, &lab.labels()).await;
            freed.unwrap()
        };
        assert_eq!(shrink().await, 2 * MIB);
        let after = sizes().await;
        assert_eq!(after[&cache], before[&cache] - 2 * MIB);
        assert_eq!(after[&other], before[&other]);
        let spec = ContainerSpec {
            volumes: vec![Volume {
                name: cache.clone(),
                path: "/build".to_owned(),
                labels: Labels::default(),
            }],
            ..lab.spec("ls /build | grep f")
        };
        assert_eq!(shrink().await, 0, "it is small enough");
        // This removes the volume.
        let (_, left) = run(lab, spec, &AMPLE).await;
        assert_eq!(left, ["f2", "f3"]);
        lab.engine.remove_volume(&other).await.unwrap();
    })
    .await;
}

/// A small image with this name.
async fn put(lab: &Lab, name: &str, labels: &Labels) {
    let root = TarSource::Memory(root_file_system(&[]));
    let name = ImageRef::new(name);
    lab.engine.import_image(root, &name, labels).await.unwrap();
}

/// A build on the test's image; `None` when a step fails.
async fn build(lab: &Lab, name: &str, labels: &Labels, steps: &str) -> Option<()> {
    let build = ImageBuild {
        context: tar_of("Dockerfile", &format!("FROM {}\n{steps}", lab.image_name)),
        target: None,
        tag: ImageRef::new(name),
        labels: labels.clone(),
    };
    let stop = CancellationToken::new();
    let built = lab.engine.build_image(build, &stop, &mut |_| ()).await;
    built.ok().map(|_| ())
}

async fn is_there(lab: &Lab, name: &str) -> bool {
    let image = lab.engine.image(&ImageRef::new(name)).await;
    image.unwrap().is_some()
}

async fn clear_all(lab: &Lab, out: &OutFolder, wanted: &Wanted, act: Act) -> Vec<Cleared> {
    let inventory = Inventory::take(&lab.engine, out, "test", Sizes::Measured).await;
    let never = CancellationToken::new();
    clear(
        &lab.engine,
        inventory.unwrap(),
        wanted,
        &rules(),
        act,
        &never,
    )
    .await
}

#[tokio::test]
async fn docker_gc_clears_what_is_the_farms_and_nothing_else() {
    with_lab("gc", async |lab| {
        let folder = tempfile::tempdir().unwrap();
        let out = Utf8Path::from_path(folder.path()).unwrap().join("out");
        let out = OutFolder::open(&out).unwrap();
        let own = Labels::default().with(labels::FARM, &out.label("test"));
        let theirs = Labels::default().with(labels::FARM, "test@0123456789ab");
        let unique = lab.name("gc");
        let name = |kind: &str| format!("wheelfarm/{kind}:{unique}");
        let [job, toolkit, torch] = ["job", "toolkit", "torch"].map(name);
        let (stranger, mine) = (format!("{}-x", name("proof")), format!("{unique}/mine:1"));
        let steps = "RUN echo one > /one\n";
        build(lab, &job, &own, steps).await.unwrap();
        // It leaves its second step, which has no label at all.
        let steps = format!("{steps}RUN echo {unique} > /two\nRUN false\n");
        assert_eq!(build(lab, &job, &own, &steps).await, None);
        put(lab, &toolkit, &own).await;
        put(lab, &torch, &own).await;
        put(lab, &stranger, &theirs).await;
        put(lab, &mine, &own).await;
        let kept = Labels::default()
            .with(labels::KEPT, &out.label("test"))
            .with(labels::JOB, "demo-1.0")
            .with(labels::DIGEST, "of-before");
        let cache = Labels::default()
            .with(labels::CACHE, &out.label("test"))
            .with(labels::PACKAGE, "demo");
        let [kept_name, cache_name, other_name] = ["kept", "cache", "other"].map(|n| lab.name(n));
        fill(lab, &kept_name, &kept, &[1]).await;
        fill(lab, &cache_name, &cache, &[1, 1, 1]).await;
        fill(lab, &other_name, &lab.labels(), &[1]).await;
        let wanted = Wanted {
            packages: ["demo".to_owned()].into(),
            images: [torch.clone()].into(),
            ..Wanted::default()
        };

        let count = async || lab.engine.images().await.unwrap().len();
        let before = count().await;
        let shown = clear_all(lab, &out, &wanted, Act::Show).await;
        assert_eq!(count().await, before, "a dry run removes nothing");
        let volumes = async |labels: &Labels| lab.engine.volumes(labels).await.unwrap().len();
        assert_eq!((volumes(&kept).await, volumes(&cache).await), (1, 1));

        let done = clear_all(lab, &out, &wanted, Act::Do).await;
        let words = |cleared: &[Cleared]| -> Vec<_> {
            let word = |done: &Cleared| {
                let step = done.thing.name.starts_with("sha256:");
                let name = if step { "a step" } else { &done.thing.name };
                format!("{} {}", done.verdict.as_str(), name.replace(&unique, "X"))
            };
            // Bases that farms of this host share are listed.
            let own = |done: &&Cleared| done.thing.kind.as_str() != "base-image";
            cleared.iter().filter(own).map(word).collect()
        };
        assert_eq!(words(&done), words(&shown));
        assert_eq!(
            words(&done),
            [
                "goes a step".to_owned(),
                "goes wheelfarm/job:X".to_owned(),
                format!("goes {kept_name}"),
                format!("shrinks {cache_name}"),
                "goes wheelfarm/toolkit:X".to_owned(),
                "stays wheelfarm/torch:X".to_owned(),
            ]
        );
        let freed = |done: &Cleared| match done.end {
            End::Freed(bytes) => bytes.unwrap(),
            _ => 0,
        };
        let freed: Vec<_> = done.iter().map(freed).collect();
        assert!(freed[2] >= MIB && freed[3] == 2 * MIB, "{freed:?}");
        assert!(freed[4] > MIB / 2, "{freed:?}");

        for (name, want) in [
            (&job, false),
            (&toolkit, false),
            (&torch, true),
            (&stranger, true),
            (&mine, true),
        ] {
            assert_eq!(is_there(lab, name).await, want, "{name}");
        }
        assert_eq!((volumes(&kept).await, volumes(&cache).await), (0, 1));
        let test_images = lab.engine.images().await.unwrap();
        let test_image = test_images
            .iter()
            .filter(|image| image.parent.as_ref() == Some(&lab.image));
        assert_eq!(test_image.count(), 0, "no step is left");

        for name in [&torch, &stranger, &mine] {
            lab.engine
                .remove_image(&ImageRef::new(name.as_str()))
                .await
                .unwrap();
        }
        for name in [&cache_name, &other_name] {
            lab.engine.remove_volume(name).await.unwrap();
        }
    })
    .await;
}
