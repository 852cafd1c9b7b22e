//! What is cleared away of a real engine, and what is not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, Engine, ImageBuild, ImageRef, Labels, TarSource, Volume, labels,
};
use wheelfarm_engine::host::clear::{Act, Cleared, clear};
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

/// What a farm has in the engine for the test, and others have.
struct Filled {
    out: OutFolder,
    _folder: tempfile::TempDir,
    kept: Labels,
    cache: Labels,
    /// Of the farm's: the job's image, one of a stage that nobody needs and one of a stage that is needed.
    own_images: [String; 3],
    /// Of another farm, and of somebody who built on one of the farm's.
    other_images: [String; 2],
    /// A kept build, a cache, and a volume of somebody else's.
    volumes: [String; 3],
}

impl Filled {
    async fn new(lab: &Lab, unique: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = Utf8Path::from_path(folder.path()).unwrap().join("out");
        let out = OutFolder::open(&out).unwrap();
        let label = out.label("test");
        let own = Labels::default().with(labels::FARM, &label);
        let name = |kind: &str| format!("wheelfarm/{kind}:{unique}");
        let filled = Self {
            kept: Labels::default()
                .with(labels::KEPT, &label)
                .with(labels::JOB, "demo-1.0")
                .with(labels::DIGEST, "of-before"),
            cache: Labels::default()
                .with(labels::CACHE, &label)
                .with(labels::PACKAGE, "demo"),
            own_images: ["job", "toolkit", "torch"].map(name),
            other_images: [format!("{}-x", name("proof")), format!("{unique}/mine:1")],
            volumes: ["kept", "cache", "other"].map(|part| lab.name(part)),
            out,
            _folder: folder,
        };
        let [job, toolkit, torch] = &filled.own_images;
        let steps = "RUN echo one > /one\n";
        build(lab, job, &own, steps).await.unwrap();
        // It leaves its second step, which has no label at all.
        let steps = format!("{steps}RUN echo {unique} > /two\nRUN false\n");
        assert_eq!(build(lab, job, &own, &steps).await, None);
        put(lab, toolkit, &own).await;
        put(lab, torch, &own).await;
        let theirs = Labels::default().with(labels::FARM, "test@0123456789ab");
        let [stranger, mine] = &filled.other_images;
        put(lab, stranger, &theirs).await;
        put(lab, mine, &own).await;
        let [kept, cache, other] = &filled.volumes;
        fill(lab, kept, &filled.kept, &[1]).await;
        fill(lab, cache, &filled.cache, &[1, 1, 1]).await;
        fill(lab, other, &lab.labels(), &[1]).await;
        filled
    }

    /// Kept builds and caches that are there.
    async fn volumes_there(&self, lab: &Lab) -> (usize, usize) {
        let count = async |labels| lab.engine.volumes(labels).await.unwrap().len();
        (count(&self.kept).await, count(&self.cache).await)
    }

    async fn remove(&self, lab: &Lab) {
        for name in self.own_images.iter().chain(&self.other_images) {
            let name = ImageRef::new(name.as_str());
            lab.engine.remove_image(&name).await.unwrap();
        }
        for name in &self.volumes {
            lab.engine.remove_volume(name).await.unwrap();
        }
    }
}

/// What became of each thing, with names that do not change from run to run. Bases that farms of this host share are
/// left out.
fn words(cleared: &[Cleared], unique: &str) -> Vec<String> {
    let word = |done: &Cleared| {
        let is_step = done.thing.name.starts_with("sha256:");
        let name = if is_step { "a step" } else { &done.thing.name };
        format!("{} {}", done.verdict.as_str(), name.replace(unique, "X"))
    };
    let own = |done: &&Cleared| done.thing.kind.as_str() != "base-image";
    cleared.iter().filter(own).map(word).collect()
}

#[tokio::test]
async fn docker_gc_clears_what_is_the_farms_and_nothing_else() {
    with_lab("gc", async |lab| {
        let unique = lab.name("gc");
        let filled = Filled::new(lab, &unique).await;
        let [job, toolkit, torch] = &filled.own_images;
        let wanted = Wanted {
            packages: ["demo".to_owned()].into(),
            images: [torch.clone()].into(),
            ..Wanted::default()
        };
        let shown = clear_all(lab, &filled.out, &wanted, Act::Show).await;
        for name in filled.own_images.iter().chain(&filled.other_images) {
            assert!(is_there(lab, name).await, "a dry run removed {name}");
        }
        assert_eq!(filled.volumes_there(lab).await, (1, 1));

        let done = clear_all(lab, &filled.out, &wanted, Act::Do).await;
        assert_eq!(words(&done, &unique), words(&shown, &unique));
        let [kept, cache, _] = &filled.volumes;
        assert_eq!(
            words(&done, &unique),
            [
                "goes a step".to_owned(),
                "goes wheelfarm/job:X".to_owned(),
                format!("goes {kept}"),
                format!("shrinks {cache}"),
                "goes wheelfarm/toolkit:X".to_owned(),
                "stays wheelfarm/torch:X".to_owned(),
            ]
        );
        let freed: Vec<_> = done.iter().map(Cleared::freed_bytes).collect();
        assert!(freed[2] >= MIB && freed[3] == 2 * MIB, "{freed:?}");
        assert!(freed[4] > MIB / 2, "{freed:?}");
        assert!(!is_there(lab, job).await && !is_there(lab, toolkit).await);
        for name in [torch].into_iter().chain(&filled.other_images) {
            assert!(is_there(lab, name).await, "{name}");
        }
        assert_eq!(filled.volumes_there(lab).await, (0, 1));
        let images = lab.engine.images().await.unwrap();
        let mut steps = images
            .iter()
            .filter(|image| image.parent.as_ref() == Some(&lab.image));
        assert!(steps.next().is_none(), "no step is left");
        filled.remove(lab).await;
    })
    .await;
}
