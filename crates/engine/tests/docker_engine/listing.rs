//! What the engine says is there: images with their parents, containers with their ends, volumes.

use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerState, Engine, ImageBuild, ImageRef, ImageSummary, Labels, labels,
};

use crate::lab::{AMPLE, tar_of, with_lab};

#[tokio::test]
async fn docker_images_are_listed_with_their_steps() {
    with_lab("list-images", async |lab| {
        let tag = ImageRef::new(format!("{}-listed", lab.image_name));
        let build = ImageBuild {
            context: tar_of(
                "Dockerfile",
                &format!("FROM {}\nRUN echo one > /one\n", lab.image_name),
            ),
            target: None,
            tag: tag.clone(),
            labels: lab.labels().with(labels::IMAGE_KIND, "job"),
        };
        let stop = CancellationToken::new();
        let id = lab
            .engine
            .build_image(build, &stop, &mut |_| ())
            .await
            .unwrap();
        let listed = lab.engine.images().await.unwrap();
        lab.engine.remove_image(&tag).await.unwrap();
        let find = |id| listed.iter().find(|image| image.id == id).unwrap();

        let built = find(id.clone());
        assert_eq!(built.names, [tag]);
        assert!(built.labels.contain(&lab.labels()), "{built:?}");
        assert_eq!(built.labels.value(labels::IMAGE_KIND), Some("job"));
        let base = find(lab.image.clone());
        assert!(built.size_bytes >= base.size_bytes && base.size_bytes > 1 << 20);
        assert!(built.created_at_s > 1_700_000_000);
        assert_eq!(base.parent, None);
        // The engine puts the labels on by steps of its own, one each; the step of the Dockerfile before
        // them has none, and starts from the test's image.
        let step = |image: &ImageSummary| image.parent.clone().map(find);
        let mut steps: Vec<_> = std::iter::successors(step(built), |image| step(image)).collect();
        assert_eq!(steps.pop().map(|image| &image.id), Some(&lab.image));
        let last = steps.last().unwrap();
        assert_eq!(last.labels.value(labels::IMAGE_KIND), None, "{steps:?}");
        assert!(
            steps.iter().all(|image| image.names.is_empty()),
            "{steps:?}"
        );
        // What nothing else uses has gone with the name.
        let left = lab.engine.images().await.unwrap();
        let gone = |image: &ImageSummary| !left.iter().any(|other| other.id == image.id);
        assert!(gone(built) && steps.into_iter().all(gone), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn docker_containers_and_volumes_are_listed_by_label() {
    with_lab("list-containers", async |lab| {
        let mut container = lab.create(lab.spec("exit 3")).await;
        let (own, other) = (lab.labels(), lab.labels().with(labels::JOB, "another"));
        let listed = lab.engine.containers(&own).await.unwrap();
        let [created] = &listed[..] else {
            panic!("{listed:?}");
        };
        assert_eq!(created.name, lab.name("job"));
        assert_eq!(created.image, lab.image);
        assert_eq!(created.volumes, [lab.name("job")]);
        assert_eq!(created.state, ContainerState::Created);
        assert_eq!((created.started_at_s, created.finished_at_s), (None, None));
        assert!(lab.engine.containers(&other).await.unwrap().is_empty());
        let all = lab.engine.containers(&Labels::default()).await.unwrap();
        assert!(all.contains(created), "without labels, all are listed");

        let never = CancellationToken::new();
        container
            .run_to_end(&AMPLE, &never, &never, |_| ())
            .await
            .unwrap();
        let listed = lab.engine.containers(&own).await.unwrap();
        let ContainerState::Ended(exit) = listed[0].state else {
            panic!("{listed:?}");
        };
        assert_eq!((exit.code, exit.out_of_memory), (3, false));
        assert!(listed[0].finished_at_s >= listed[0].started_at_s);
        assert!(listed[0].started_at_s >= Some(listed[0].created_at_s));

        let volumes = lab.engine.volumes(&own).await.unwrap();
        let [volume] = &volumes[..] else {
            panic!("{volumes:?}");
        };
        assert_eq!(volume.name, lab.name("job"));
        assert!(volume.labels.contain(&own), "{volume:?}");
        assert!(volume.created_at_s > Some(1_700_000_000));
        assert!(lab.engine.volumes(&other).await.unwrap().is_empty());
        container.remove().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn docker_an_engine_of_this_host_says_where_its_data_is() {
    with_lab("data", async |lab| {
        let facts = lab.engine.describe().await.unwrap();
        let folder = facts.data_folder.expect("tests run beside their engine");
        assert!(folder.join("image").is_dir(), "{folder}");
    })
    .await;
}
