//! `wheelfarm gc` on a real engine: a dry run changes nothing, and never beside a build.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::Path;
use std::process::{Command, Output};

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_engine::container::{DockerEngine, Engine, ImageRef, Labels, TarSource, labels};
use wheelfarm_engine::out_folder::OutFolder;

/// A matrix whose farm is called `bad-input`.
const MATRIX: &str = "../../tests/bad-input/gc-of-a-farm-that-was-never-built/matrix.yaml";

fn gc(out: &Utf8Path, more: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["gc", "--out", out.as_str(), "--matrix"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(MATRIX))
        .args(more)
        .output()
        .unwrap();
    let said = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code(), said.concat())
}

/// An image with one small file in it, named and labelled.
async fn put(engine: &DockerEngine, folder: &Utf8Path, name: &ImageRef, labels: &Labels) {
    fs_err::write(folder.join("file"), "content").unwrap();
    let archive = folder.join("root.tar");
    let packed = Command::new("tar")
        .args(["-C", folder.as_str(), "-cf", archive.as_str(), "file"])
        .status();
    assert!(packed.unwrap().success());
    let root = TarSource::File(archive);
    engine.import_image(root, name, labels).await.unwrap();
}

#[tokio::test]
async fn docker_gc_of_the_host_shows_first_and_clears_what_is_the_farms() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    let engine = DockerEngine::connect().await.unwrap();
    let out = OutFolder::open(&path.join("out")).unwrap();
    let own = Labels::default().with(labels::FARM, &out.label("bad-input"));
    let theirs = Labels::default().with(labels::FARM, "bad-input@0123456789ab");
    let name = |kind: &str| ImageRef::new(format!("wheelfarm/{kind}:gc-{}", std::process::id()));
    let (job, other) = (name("job"), name("toolkit"));
    put(&engine, &path, &job, &own).await;
    put(&engine, &path, &other, &theirs).await;
    let there = async || {
        let images = [engine.image(&job).await, engine.image(&other).await];
        images.map(|image| image.unwrap().is_some())
    };

    let (code, said) = gc(out.root(), &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("another run of wheelfarm works in"), "{said}");
    let out = {
        let root = out.root().to_owned();
        drop(out);
        root
    };

    let (code, said) = gc(&out, &["--dry-run"]);
    assert_eq!((code, there().await), (Some(0), [true, true]), "{said}");
    let line = said
        .lines()
        .find(|line| line.contains(job.as_str()))
        .unwrap();
    assert!(
        line.starts_with("goes ") && line.ends_with("has ended"),
        "{said}"
    );
    assert!(
        said.contains("1 would go") && said.contains("nothing was changed"),
        "{said}"
    );
    assert!(!said.contains(other.as_str()), "{said}");

    let (code, said) = gc(&out, &["--format", "json"]);
    let left = there().await;
    engine.remove_image(&other).await.unwrap();
    assert_eq!((code, left), (Some(0), [false, true]), "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    shape::check("gc", &json);
    assert_eq!(
        (&json["schema"], &json["dry_run"]),
        (&1.into(), &false.into())
    );
    let things = json["things"].as_array().unwrap();
    let thing = things
        .iter()
        .find(|thing| thing["name"] == job.as_str())
        .unwrap();
    assert_eq!(
        (&thing["end"], &thing["kind"]),
        (&"freed".into(), &"job-image".into())
    );
    assert_eq!(json["freed_bytes"], thing["freed_bytes"]);

    let (code, said) = gc(&out, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("nothing to clear\n"), "{said}");
}
