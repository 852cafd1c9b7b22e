//! Files into a container and out of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, DockerEngine, EngineError, EngineErrorKind, OwnedContainer, RootFileSystem,
};

use crate::lab::{AMPLE, tar_of, with_lab};

/// The files of a tar that is taken out of a container, by path.
async fn files(
    container: &OwnedContainer<DockerEngine>,
    path: &str,
) -> Result<BTreeMap<String, Vec<u8>>, EngineError> {
    let download = container.download(path);
    let mut reader = tokio::time::timeout(Duration::from_secs(30), download)
        .await
        .expect("a download answers")?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&*bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn docker_files_come_out_of_an_ended_build() {
    with_lab("download", async |lab| {
        let script = "echo one > /build/out/a.whl; dd if=/dev/zero of=/build/out/b bs=1M count=20; \
                      echo gcc 12 > /build/tools.txt";
        let mut container = lab.create(lab.spec(script)).await;
        let never = CancellationToken::new();
        let end = container
            .run_to_end(&AMPLE, &never, &never, |_| ())
            .await
            .unwrap();
        assert_eq!(end.exit_code, 0);
        let out = files(&container, "/build/out/.").await.unwrap();
        assert_eq!(out["./a.whl"], b"one\n");
        assert_eq!(out["./b"].len(), 20 << 20);
        assert_eq!(out.len(), 2);
        let tools = files(&container, "/build/tools.txt").await.unwrap();
        assert_eq!(tools["tools.txt"], b"gcc 12\n");
        for absent in ["/build/nothing", "/nowhere/at/all"] {
            let error = files(&container, absent).await.unwrap_err();
            assert_eq!(error.kind(), EngineErrorKind::NoSuchPath, "{error:?}");
            assert!(error.to_string().contains(absent), "{error}");
        }
        container.remove().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn docker_files_are_put_in_before_the_start() {
    with_lab("upload", async |lab| {
        let printed = async |spec: ContainerSpec, folder: &str, name: &str| {
            let mut container = lab.create(spec).await;
            container
                .upload(folder, tar_of(name, "hello\n"))
                .await
                .unwrap();
            let mut lines = Vec::new();
            let never = CancellationToken::new();
            container
                .run_to_end(&AMPLE, &never, &never, |line| lines.push(line.to_vec()))
                .await
                .unwrap();
            container.remove().await.unwrap();
            lines.join(&b'\n')
        };
        // Into a volume, and as patch scripts have it: into a root that can be written.
        let spec = lab.spec("cat /build/greeting && rm /build/greeting");
        assert_eq!(printed(spec, "/build", "greeting").await, b"hello");
        let spec = ContainerSpec {
            root: RootFileSystem::Writable,
            volumes: Vec::new(),
            ..lab.spec("cd /build/patch/source && cat greeting && echo more >> greeting")
        };
        assert_eq!(
            printed(spec, "/", "build/patch/source/greeting").await,
            b"hello"
        );
    })
    .await;
}
