//! Images: built, imported, and those that are not to be had.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, Engine, EngineErrorKind, ImageBuild, ImageRef, Labels,
};

use crate::lab::{AMPLE, Lab, run, tar_of, with_lab};

/// A build of a Dockerfile on top of the test's image.
fn image_build(lab: &Lab, steps: &str) -> ImageBuild {
    let dockerfile = format!("FROM {} AS first\n{steps}", lab.image_name);
    ImageBuild {
        context: tar_of("Dockerfile", &dockerfile),
        target: None,
        tag: ImageRef::new(format!("{}-built", lab.image_name)),
        labels: lab
            .labels()
            .with("dev.wheelfarm.text", "two words, \"quoted\""),
    }
}

#[tokio::test]
async fn docker_an_image_is_built_as_far_as_its_target() {
    with_lab("build", async |lab| {
        let steps = "RUN echo from the first stage && echo one > /one\n\
                     FROM first\nRUN echo from the second && false\n";
        let build = ImageBuild {
            target: Some("first".to_owned()),
            ..image_build(lab, steps)
        };
        let (tag, labels) = (build.tag.clone(), build.labels.clone());
        let mut lines = Vec::new();
        let id = lab
            .engine
            .build_image(build, &CancellationToken::new(), &mut |line: &[u8]| {
                lines.push(String::from_utf8_lossy(line).into_owned());
            })
            .await
            .unwrap();
        assert!(
            lines.contains(&"from the first stage".to_owned()),
            "{lines:#?}"
        );
        let facts = lab.engine.image(&tag).await.unwrap().unwrap();
        assert_eq!(facts.id, id);
        assert!(facts.labels.contain(&labels), "{:?}", facts.labels);
        let spec = ContainerSpec {
            image: id,
            ..lab.spec("cat /one")
        };
        let (_, lines) = run(lab, spec, &AMPLE).await;
        assert_eq!(lines, ["one"]);
        lab.engine.remove_image(&tag).await.unwrap();
        assert!(lab.engine.image(&tag).await.unwrap().is_none());
        lab.engine.remove_image(&tag).await.expect("absent is fine");
    })
    .await;
}

#[tokio::test]
async fn docker_a_step_that_fails_is_shown_with_its_line() {
    with_lab("step", async |lab| {
        let build = image_build(lab, "RUN echo why it fails >&2 && exit 7\n");
        let tag = build.tag.clone();
        let mut lines = Vec::new();
        let error = lab
            .engine
            .build_image(build, &CancellationToken::new(), &mut |line: &[u8]| {
                lines.push(String::from_utf8_lossy(line).into_owned());
            })
            .await
            .unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::BuildFailed, "{error:?}");
        // The engine paints what comes by stderr.
        let says_why = |line: &String| line.ends_with("why it fails");
        assert!(lines.iter().any(says_why), "{lines:#?}");
        let last = lines.last().unwrap();
        assert!(
            last.contains("exit 7") && last.contains("code: 7"),
            "{last}"
        );
        assert!(lab.engine.image(&tag).await.unwrap().is_none());
        assert_eq!(lab.left_behind().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn docker_a_cancelled_image_build_leaves_no_container() {
    with_lab("build-cancel", async |lab| {
        let build = image_build(lab, "RUN echo ready && sleep 600\n");
        let tag = build.tag.clone();
        let (ready, stop) = (CancellationToken::new(), CancellationToken::new());
        let begun = Instant::now();
        let mut on_line = |line: &[u8]| {
            if line == b"ready" {
                ready.cancel();
            }
        };
        let cancel = async {
            ready.cancelled().await;
            assert_eq!(lab.left_behind().await.len(), 1, "the step's container");
            stop.cancel();
            // The build ends this.
            std::future::pending::<()>().await;
        };
        let res = tokio::select! {
            res = lab.engine.build_image(build, &stop, &mut on_line) => res,
            () = cancel => unreachable!(),
        };
        let error = res.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Cancelled, "{error:?}");
        assert!(lab.engine.image(&tag).await.unwrap().is_none());
        // The engine hears of the closed connection and cleans up by itself, in its own time.
        while !lab.left_behind().await.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn docker_an_imported_image_has_its_labels() {
    with_lab("labels", async |lab| {
        let labels = Labels::default()
            .with("dev.wheelfarm.recipe", "0123abcd")
            .with("dev.wheelfarm.text", "two words, \"quoted\" and $HOME \\");
        let name = ImageRef::new(format!("{}-labelled", lab.image_name));
        let id = lab
            .engine
            .import_image(tar_of("file", "content"), &name, &labels)
            .await
            .unwrap();
        let facts = lab.engine.image(&name).await.unwrap().unwrap();
        lab.engine.remove_image(&name).await.unwrap();
        assert_eq!(facts.id, id);
        assert_eq!(facts.labels, labels);
    })
    .await;
}

#[tokio::test]
async fn docker_an_image_that_is_nowhere_is_named_so() {
    with_lab("nowhere", async |lab| {
        let stop = CancellationToken::new();
        let absent = ImageRef::new("wheelfarm-test.invalid/no/such:image");
        assert!(lab.engine.image(&absent).await.unwrap().is_none());
        let error = lab.engine.pull(&absent, &stop).await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::NoSuchImage, "{error:?}");
        let build = ImageBuild {
            context: tar_of("Dockerfile", &format!("FROM {absent}\n")),
            ..image_build(lab, "")
        };
        let res = lab
            .engine
            .build_image(build, &stop, &mut |_: &[u8]| ())
            .await;
        let error = res.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::NoSuchImage, "{error:?}");
    })
    .await;
}
