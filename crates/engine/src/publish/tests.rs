use camino::Utf8PathBuf;
use fs_err as fs;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::manifest::{self, Manifest};
use wheelfarm_core::receipt::{GpuRunRecord, ReceiptFile, RunState};
use wheelfarm_core::release::catalog::{Catalog, Track};

use super::draft::{Draft, PublishError, Published};
use super::records::{ReadyWheel, RecordError, ready};
use crate::prove::container::ProofRecord;
use crate::run::StopSignal;
use crate::shelf::fixture::{Folder, NOW, Silent};
use crate::shelf::folder::{Address, FolderError, FolderShelf};
use crate::shelf::{Fault, Shelf};

const SAMPLE: &str = include_str!("../../../core/src/manifest/sample.json");

/// A record of torch-spline-conv whose wheel has those bytes.
fn record(folder: &Folder, bytes: &[u8], receipt: Option<&str>) -> (Utf8PathBuf, Manifest) {
    let mut manifest = Manifest::parse(SAMPLE).unwrap();
    manifest.wheel.sha256 = Sha256Digest::of(bytes);
    manifest.wheel.size_bytes = u64::try_from(bytes.len()).unwrap();
    manifest.wheel.metadata_sha256 = Sha256Digest::of(b"Name: x\n");
    if let Some(text) = receipt {
        let mut run = GpuRunRecord::not_run();
        run.state = RunState::Passed;
        run.receipt = Some(ReceiptFile {
            file_name: wheelfarm_core::receipt::FILE_NAME.to_owned(),
            sha256: Sha256Digest::of(text.as_bytes()),
        });
        manifest.gpu_run = Some(run);
    }
    let place = folder.join("record");
    fs::create_dir_all(&place).unwrap();
    let wheel = place.join(&manifest.wheel.file_name);
    fs::write(format!("{wheel}.metadata"), "Name: x\n").unwrap();
    fs::write(wheel, bytes).unwrap();
    fs::write(place.join(manifest::FILE_NAME), manifest.to_text()).unwrap();
    if let Some(text) = receipt {
        fs::write(place.join(wheelfarm_core::receipt::FILE_NAME), text).unwrap();
    }
    (place, manifest)
}

fn wheels(record: &(Utf8PathBuf, Manifest)) -> Vec<ReadyWheel> {
    ready(vec![record.clone()], NOW).unwrap()
}

fn shelf(folder: &Folder) -> FolderShelf {
    FolderShelf::new(&folder.join("release"), Address::Kept).unwrap()
}

async fn publish(
    shelf: &FolderShelf,
    record: &(Utf8PathBuf, Manifest),
    track: Track,
) -> Result<Published, PublishError<FolderError>> {
    let draft = Draft::of(shelf, wheels(record), track, NOW).await?;
    draft.publish(shelf, &Silent, &StopSignal::default()).await
}

async fn catalog(shelf: &FolderShelf) -> Catalog {
    shelf.read().await.unwrap().catalog
}

#[tokio::test]
async fn a_wheel_goes_out_with_what_stands_beside_it_and_once_only() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let record = record(&folder, b"a wheel", Some("a receipt"));
    let first = publish(&shelf, &record, Track::Stable).await.unwrap();
    assert_eq!((first.release, first.deleted), (1, 0));
    let paths: Vec<_> = shelf
        .files(&first.head)
        .await
        .unwrap()
        .into_keys()
        .collect();
    insta::assert_snapshot!(paths.join("\n"));
    let again = publish(&shelf, &record, Track::Stable).await.unwrap();
    assert_eq!(
        (again.release, again.written, again.brought.unchanged),
        (1, 0, 1)
    );
    assert_eq!(again.head, first.head);
}

#[tokio::test]
async fn what_was_tried_of_it_and_another_track_are_a_release_of_the_same_wheel() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let record = record(&folder, b"a wheel", None);
    publish(&shelf, &record, Track::Nightly).await.unwrap();
    assert_eq!(catalog(&shelf).await.on(Track::Stable).count(), 0);
    let stable = publish(&shelf, &record, Track::Stable).await.unwrap();
    assert_eq!((stable.release, stable.brought.offered_bytes), (2, 0));
    let mut draft = Draft::of(&shelf, wheels(&record), Track::Stable, NOW)
        .await
        .unwrap();
    assert!(draft.is_there());
    let path = format!("{}.proof-cp311.json", draft.listed()[0].path());
    draft.add_proof(ProofRecord {
        path: path.clone(),
        text: "it holds".to_owned(),
    });
    assert!(!draft.is_there());
    let proven = draft
        .publish(&shelf, &Silent, &StopSignal::default())
        .await
        .unwrap();
    assert_eq!(proven.release, 3);
    let text = shelf.file(&proven.head, &path).await.unwrap();
    assert_eq!(text.as_deref(), Some(&b"it holds"[..]));
}

#[tokio::test]
async fn other_bytes_under_a_published_name_are_refused_with_what_to_type() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    publish(&shelf, &record(&folder, b"a wheel", None), Track::Stable)
        .await
        .unwrap();
    let before = shelf.read().await.unwrap();
    let other = record(&folder, b"another", None);
    let error = publish(&shelf, &other, Track::Stable).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Release(_)) && error.is_refusal(),
        "{error:?}"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("write `build-number: 2`"), "{hint}");
    assert_eq!(shelf.read().await.unwrap(), before);
}

#[tokio::test]
async fn a_receipt_that_is_of_no_record_any_more_goes() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let ran = record(&folder, b"a wheel", Some("a receipt"));
    let first = publish(&shelf, &ran, Track::Stable).await.unwrap();
    let path = format!("{}.gpu-receipt.json", wheels(&ran)[0].wheel.path());
    assert!(shelf.file(&first.head, &path).await.unwrap().is_some());
    let rebuilt = record(&folder, b"a wheel", None);
    let second = publish(&shelf, &rebuilt, Track::Stable).await.unwrap();
    assert_eq!((second.deleted, second.brought.unchanged), (1, 2));
    assert_eq!(shelf.file(&second.head, &path).await.unwrap(), None);
}

#[tokio::test]
async fn a_record_that_was_altered_is_refused_before_the_shelf_is_asked() {
    let folder = Folder::new();
    let record = record(&folder, b"a wheel", None);
    fs::write(record.0.join(&record.1.wheel.file_name), "altered").unwrap();
    let error = ready(vec![record], NOW).unwrap_err();
    assert!(
        matches!(error, RecordError::Altered { .. }) && error.is_refusal(),
        "{error:?}"
    );
}

#[tokio::test]
async fn somebody_else_in_between_is_told_and_nothing_is_lost() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let record = record(&folder, b"a wheel", None);
    let slow = Draft::of(&shelf, wheels(&record), Track::Stable, NOW)
        .await
        .unwrap();
    publish(&shelf, &record, Track::Nightly).await.unwrap();
    let error = slow
        .publish(&shelf, &Silent, &StopSignal::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.hint().as_deref(),
        Some("run it again: nothing was changed")
    );
    assert!(!error.is_refusal());
    assert_eq!(catalog(&shelf).await.release, 1);
    assert_eq!(
        publish(&shelf, &record, Track::Stable)
            .await
            .unwrap()
            .release,
        2
    );
}

#[tokio::test]
async fn a_stop_before_anything_is_brought_leaves_nothing() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let record = record(&folder, b"a wheel", None);
    let draft = Draft::of(&shelf, wheels(&record), Track::Stable, NOW)
        .await
        .unwrap();
    let stop = StopSignal::default();
    stop.stop.cancel();
    let error = draft.publish(&shelf, &Silent, &stop).await.unwrap_err();
    assert!(matches!(error, PublishError::Stopped), "{error:?}");
    assert!(!shelf.root().exists());
}

#[tokio::test]
async fn a_draft_says_what_it_would_do_and_where_its_wheels_lie() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let record = record(&folder, b"a wheel", None);
    let draft = Draft::of(&shelf, wheels(&record), Track::Stable, NOW)
        .await
        .unwrap();
    let candidate = draft.candidate();
    let wheel = draft.listed()[0];
    assert_eq!(candidate.changed.len(), 1);
    assert!(candidate.places[&wheel.path()].starts_with(&record.0));
    assert!(candidate.catalog.wheels.contains_key(&wheel.file_name));
    let change = draft.change();
    assert_eq!(change.title, "publish torch-spline-conv 1.2.2 (stable)");
    assert_eq!(change.add.len(), 2);
    assert!(change.put.contains_key("manifest.json") && change.delete.is_empty());
    assert!(!shelf.root().exists(), "nothing was written for it");
}
