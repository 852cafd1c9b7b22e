use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelfarm_core::release::catalog::{CatalogWheel, Track};

use super::*;
use crate::shelf::change::between;
use crate::shelf::fixture::{Folder, NOW, Silent, bytes, wheel};

/// What a publication of wheels brings, from files beside the shelf.
fn blobs(desk: &Folder, wheels: &[CatalogWheel]) -> Vec<Blob> {
    let blob = |wheel: &CatalogWheel| {
        let name = wheel.file_name.to_string();
        let source = desk.join(&name);
        fs::write(&source, bytes(&name)).unwrap();
        Blob {
            path: wheel.path(),
            source,
            sha256: wheel.sha256,
            size_bytes: wheel.size_bytes,
        }
    };
    wheels.iter().map(blob).collect()
}

/// The change that takes the shelf from what was read to `next`, wheels that are in it no more gone.
fn change(shelf: &FolderShelf, read: &Snapshot, next: &Catalog, add: Vec<Blob>) -> Change {
    let links = shelf.links();
    let layout = |catalog| Layout {
        catalog,
        links: &links,
        index_url: None,
    };
    let old = layout(&read.catalog);
    let new = layout(next);
    let old = (read.catalog.release > 0).then_some(&old);
    let mut change = between(old, &new, format!("release {}", next.release));
    for wheel in &add {
        change
            .put
            .insert(format!("{}.html", wheel.path), b"what it is".to_vec());
    }
    change.add = add;
    for (name, wheel) in &read.catalog.wheels {
        if !next.wheels.contains_key(name) {
            change
                .delete
                .extend([wheel.path(), format!("{}.html", wheel.path())]);
        }
    }
    change
}

async fn publish(
    shelf: &FolderShelf,
    desk: &Folder,
    wheels: &[CatalogWheel],
    gone: &str,
) -> Result<(), FolderError> {
    let read = shelf.read().await?;
    let mut next = read
        .catalog
        .with(wheels.to_vec(), Track::Stable, NOW)
        .unwrap();
    next.wheels
        .retain(|name, _| name.project().as_str() != gone);
    let blobs = blobs(desk, wheels);
    shelf.bring(&blobs, &Silent).await?;
    let change = change(shelf, &read, &next, blobs);
    shelf.commit(&read.head, &change).await?;
    Ok(())
}

fn files_of(shelf: &FolderShelf) -> BTreeMap<String, Vec<u8>> {
    let head = shelf.head_now().unwrap();
    let files = shelf.files_at(&head).unwrap().into_keys();
    files
        .map(|path| {
            let content = fs::read(shelf.root().join(&path)).unwrap();
            (path, content)
        })
        .collect()
}

/// No page names a file that is not there, whatever state the folder is in.
#[track_caller]
fn check_whole(shelf: &FolderShelf, when: &str) {
    let files = files_of(shelf);
    let named = |text: &str| -> BTreeSet<String> {
        let links = text.split("href=\"").skip(1);
        links
            .filter_map(|link| link.split(['"', '#']).next())
            .filter_map(|link| Some(link[link.find("files/")?..].replace("%2B", "+")))
            .collect()
    };
    for (path, content) in &files {
        let text = String::from_utf8_lossy(content);
        let mut wanted = named(&text);
        match path.as_str() {
            "SHA256SUMS" => wanted.extend(text.lines().map(|line| line[66..].to_owned())),
            "manifest.json" => {
                let catalog = Catalog::parse(&text).unwrap();
                wanted.extend(catalog.wheels.values().map(CatalogWheel::path));
            }
            path if path.ends_with("/simple/index.html") => {
                let folder = path.trim_end_matches("index.html");
                let projects = text.split("<a href=\"").skip(1);
                let projects = projects.map(|link| link.split('/').next().unwrap());
                wanted.extend(projects.map(|project| format!("{folder}{project}/index.html")));
            }
            _ => {}
        }
        for file in wanted {
            assert!(files.contains_key(&file), "{when}: {path} names {file}");
        }
    }
}

fn shelf(folder: &Folder) -> FolderShelf {
    FolderShelf::new(&folder.join("release"), Address::Kept).unwrap()
}

fn first() -> [CatalogWheel; 2] {
    [wheel("alpha", "1.0"), wheel("beta", "1.0")]
}

fn second() -> [CatalogWheel; 2] {
    [wheel("alpha", "2.0"), wheel("gamma", "1.0")]
}

#[tokio::test]
async fn a_release_is_read_as_it_was_published() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    assert_eq!(shelf.read().await.unwrap().catalog, Catalog::empty());
    assert!(!shelf.root().exists(), "looking writes nothing");
    publish(&shelf, &folder, &first(), "").await.unwrap();
    let read = shelf.read().await.unwrap();
    assert_eq!((read.catalog.release, read.catalog.wheels.len()), (1, 2));
    publish(&shelf, &folder, &second(), "beta").await.unwrap();
    let read = shelf.read().await.unwrap();
    assert_eq!((read.catalog.release, read.catalog.wheels.len()), (2, 3));
    check_whole(&shelf, "at the end");
    let kept = shelf.root().join(OWN);
    let own: BTreeSet<_> = fs::read_dir(&kept)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(own, BTreeSet::from(["lock".into(), "releases".into()]));
    let paths: Vec<_> = shelf.files(&read.head).await.unwrap().into_keys().collect();
    insta::assert_snapshot!(paths.join("\n"));
}

#[tokio::test]
async fn what_was_published_is_not_copied_again() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let blobs = blobs(&folder, &first());
    let size = blobs.iter().map(|blob| blob.size_bytes).sum();
    let once = shelf.bring(&blobs, &Silent).await.unwrap();
    assert_eq!((once.offered_bytes, once.unchanged), (size, 0));
    let again = shelf.bring(&blobs, &Silent).await.unwrap();
    assert_eq!((again.offered_bytes, again.unchanged), (0, 2));
    assert_eq!(again.commit, None);
}

#[tokio::test]
async fn other_bytes_are_refused_on_both_sides() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let blobs = blobs(&folder, &first());
    fs::write(&blobs[1].source, "other bytes").unwrap();
    let error = shelf.bring(&blobs, &Silent).await.unwrap_err();
    assert!(matches!(error, FolderError::Altered { .. }), "{error:?}");
    assert!(error.is_refusal() && !shelf.root().join(&blobs[1].path).exists());
    fs::write(shelf.root().join(&blobs[0].path), "damaged").unwrap();
    let error = shelf.bring(&blobs[..1], &Silent).await.unwrap_err();
    assert!(matches!(error, FolderError::OtherBytes { .. }), "{error:?}");
}

#[tokio::test]
async fn a_change_on_another_state_or_of_what_was_not_brought_changes_nothing() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    publish(&shelf, &folder, &first(), "").await.unwrap();
    let before = files_of(&shelf);
    let read = shelf.read().await.unwrap();
    let next = read.catalog.with(second(), Track::Stable, NOW).unwrap();
    let change = change(&shelf, &read, &next, blobs(&folder, &second()));
    let error = shelf.commit(&read.head, &change).await.unwrap_err();
    assert!(matches!(error, FolderError::Missing(_)), "{error:?}");
    let stale = Head("none".to_owned());
    let error = shelf.commit(&stale, &change).await.unwrap_err();
    assert!(matches!(error, FolderError::Changed(_)), "{error:?}");
    assert_eq!(files_of(&shelf), before);
    assert!(!shelf.has_begun());
}

#[tokio::test]
async fn a_second_run_is_kept_out() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    let _lock = shelf.lock().unwrap();
    let error = shelf.bring(&[], &Silent).await.unwrap_err();
    assert!(matches!(error, FolderError::Busy(_)), "{error:?}");
}

#[tokio::test]
async fn folders_of_something_else_and_of_older_programs_are_refused() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    fs::create_dir_all(shelf.root()).unwrap();
    fs::write(shelf.root().join("README.md"), "mine").unwrap();
    let error = shelf.read().await.unwrap_err();
    assert!(
        matches!(error, FolderError::NotARelease { .. }),
        "{error:?}"
    );
    fs::write(
        shelf.root().join("manifest.json"),
        "{\"schema\": 1, \"wheels\": []}",
    )
    .unwrap();
    let error = shelf.read().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the catalog has schema 1, and this program reads 2");
    assert!(error.hint().unwrap().contains("publish to a new folder"));
}

#[tokio::test]
async fn earlier_releases_can_be_read() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    publish(&shelf, &folder, &first(), "").await.unwrap();
    let page = "whl/cu130/torch2.11/simple/alpha/index.html";
    let (was, card) = (
        files_of(&shelf)[page].clone(),
        files_of(&shelf)["README.md"].clone(),
    );
    let catalog = shelf.read().await.unwrap().catalog;
    publish(&shelf, &folder, &second(), "").await.unwrap();
    let past = shelf.past(10).await.unwrap();
    let numbers: Vec<_> = past
        .iter()
        .map(|past| (past.release, past.title.as_str()))
        .collect();
    assert_eq!(numbers, [(2, "release 2"), (1, "release 1")]);
    let file = |path: &'static str| shelf.file(&past[1].head, path);
    assert_eq!(file(page).await.unwrap(), Some(was));
    assert_eq!(file("README.md").await.unwrap(), Some(card));
    let text = file(catalog::FILE_NAME).await.unwrap().unwrap();
    assert_eq!(
        Catalog::parse(std::str::from_utf8(&text).unwrap()).unwrap(),
        catalog
    );
    assert_eq!(file("nowhere").await.unwrap(), None);
    assert_eq!(shelf.past(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_catalog_keeps_no_later_release_from_being_read() {
    let folder = Folder::new();
    let shelf = shelf(&folder);
    for wheels in [first(), second(), first()] {
        publish(&shelf, &folder, &wheels, "beta").await.unwrap();
    }
    fs::write(shelf.kept_path(1), "{").unwrap();
    let second = shelf.past(2).await.unwrap().remove(1);
    assert_eq!(second.release, 2);
    let text = shelf.file(&second.head, catalog::FILE_NAME).await.unwrap();
    let text = String::from_utf8(text.unwrap()).unwrap();
    assert_eq!(Catalog::parse(&text).unwrap().release, 2);
    let none = Head("none".to_owned());
    let error = shelf.file(&none, catalog::FILE_NAME).await.unwrap_err();
    assert!(matches!(error, FolderError::Own { .. }), "{error:?}");
}

#[tokio::test]
async fn links_stay_as_they_were_until_another_address_is_given() {
    let folder = Folder::new();
    let open = |address| FolderShelf::new(&folder.join("release"), address).unwrap();
    let host = "https://wheels.example.org".to_owned();
    publish(&open(Address::At(host.clone())), &folder, &first(), "")
        .await
        .unwrap();
    let kept = open(Address::Kept);
    assert_eq!(kept.links(), Links::Absolute { base: host });
    assert_eq!(
        kept.index_url().as_deref(),
        Some("https://wheels.example.org/whl")
    );
    publish(&open(Address::Anywhere), &folder, &[], "")
        .await
        .unwrap();
    assert_eq!(open(Address::Kept).links(), Links::Relative);
    let pages = files_of(&kept);
    let page = &pages["whl/cu130/torch2.11/simple/beta/index.html"];
    assert!(!String::from_utf8_lossy(page).contains("example.org"));
}

/// The address that a killed run was to write is the folder's, whoever finishes it.
#[tokio::test]
async fn links_of_a_change_that_was_cut_are_kept() {
    let folder = Folder::new();
    let root = folder.join("release");
    let open = |address| FolderShelf::new(&root, address).unwrap();
    publish(&open(Address::Kept), &folder, &first(), "")
        .await
        .unwrap();
    let base = "https://wheels.example.org".to_owned();
    for step in 0.. {
        assert!(step < 1000, "no cut after the journal was written");
        let mut cut = open(Address::At(base.clone()));
        cut.fuse.steps = Some(Arc::new(AtomicUsize::new(step)));
        publish(&cut, &folder, &second(), "").await.unwrap_err();
        if cut.has_begun() {
            break;
        }
    }
    let kept = open(Address::Kept);
    assert_eq!(kept.links(), Links::Absolute { base });
    assert!(!kept.has_begun());
}

/// Cuts the power before every step of a publication. Whatever is there then is whole, and the next
/// run leaves the folder as if nothing had happened.
#[tokio::test]
async fn a_run_that_is_killed_anywhere_leaves_a_whole_release_and_the_next_one_finishes_it() {
    let reference = Folder::new();
    let uncut = shelf(&reference);
    publish(&uncut, &reference, &first(), "").await.unwrap();
    let before = files_of(&uncut);
    publish(&uncut, &reference, &second(), "beta")
        .await
        .unwrap();
    let after = files_of(&uncut);
    for step in 0.. {
        let folder = Folder::new();
        let whole = shelf(&folder);
        publish(&whole, &folder, &first(), "").await.unwrap();
        let mut cut = whole.clone();
        let steps = Arc::new(AtomicUsize::new(step));
        cut.fuse.steps = Some(Arc::clone(&steps));
        let res = publish(&cut, &folder, &second(), "beta").await;
        check_whole(&whole, &format!("cut before step {step}"));
        let has_begun = whole.has_begun();
        if let Err(error) = &res {
            assert_eq!(error.is_in_doubt(), has_begun, "step {step}: {error:?}");
        }
        // Killed once more while the next run finishes it.
        if has_begun {
            for again in 0..3 {
                steps.store(again, Ordering::SeqCst);
                drop(cut.read().await);
                check_whole(&whole, &format!("cut before step {step}, then {again}"));
            }
        }
        let read = whole.read().await.unwrap();
        check_whole(&whole, &format!("finished after step {step}"));
        if read.catalog.release == 2 {
            assert_eq!(files_of(&whole), after, "step {step}");
        } else {
            assert!(res.is_err() && !has_begun, "step {step}");
            let listed: BTreeMap<_, _> = files_of(&whole)
                .into_iter()
                .filter(|(path, _)| before.contains_key(path))
                .collect();
            assert_eq!(listed, before, "step {step}");
            publish(&whole, &folder, &second(), "beta").await.unwrap();
            assert_eq!(files_of(&whole), after, "step {step}");
        }
        assert!(!whole.has_begun());
        whole.bring(&[], &Silent).await.unwrap();
        let staged = whole.own().join(journal::STAGED);
        assert!(!staged.exists(), "step {step}");
        if res.is_ok() {
            assert!(step > 30, "there are more steps than {step}");
            break;
        }
    }
}
