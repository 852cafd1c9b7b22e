//! One way for all that becomes of a shelf after a publication: it is read, another catalog is made of
//! its own, and everything that follows from it changes in one commit.

use std::collections::BTreeSet;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use wheelfarm_core::release::catalog::{self, Catalog, CatalogError};
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::release::life::holds::Holds;
use wheelfarm_core::release::life::steps::{ClearedOut, Earlier, Yanks, rollback};
use wheelfarm_core::release::life::sweep::{KeepRules, Sweep, sweep};
use wheelfarm_core::release::life::{LifeError, Revision};

use super::change::between;
use super::{Fault, Head, PastRelease, Shelf, Snapshot};
use crate::publish::now;

/// A shelf could not be revised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviseError<E: Fault> {
    /// Nothing was published to it.
    #[error("nothing was published to `{0}`")]
    Empty(String),
    /// It had no such release.
    #[error("`{place}` has no earlier release {wanted}; its latest is {latest}")]
    NoSuchRelease {
        /// The shelf.
        place: String,
        /// What was asked for.
        wanted: String,
        /// The number of the latest release.
        latest: u64,
    },
    /// The catalog of an earlier release cannot be read.
    #[error("failed to read the catalog of release {0}")]
    Past(u64, #[source] CatalogError),
    /// A lock file cannot be read.
    #[error("failed to read the lock file `{0}`")]
    LockFile(Utf8PathBuf, #[source] io::Error),
    /// The catalog does not take it.
    #[error(transparent)]
    Life(#[from] LifeError),
    /// The shelf failed.
    #[error(transparent)]
    Shelf(E),
    /// The shelf failed when the change may have been made already.
    #[error("failed to see what came of release {release} of `{place}`: {title}")]
    InDoubt {
        /// The shelf.
        place: String,
        /// The number that the release has if it was made.
        release: u64,
        /// What it is about.
        title: String,
        /// The release that was to come back, if one was: its number means the same afterwards.
        back_to: Option<u64>,
        /// Why.
        #[source]
        source: E,
    },
}

impl<E: Fault> Fault for ReviseError<E> {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Empty(_) => Some("name the shelf as `wheelfarm publish --to` has it".to_owned()),
            Self::NoSuchRelease { .. } => {
                Some("`wheelfarm status --from …` lists the releases that can come back".to_owned())
            }
            Self::LockFile(_, error) if error.kind() == io::ErrorKind::InvalidData => {
                Some("save it as UTF-8: nothing was cleared out".to_owned())
            }
            Self::LockFile(..) => {
                Some("name a file that is there: nothing was cleared out".to_owned())
            }
            Self::Past(..) => None,
            Self::Life(error) => error.hint(),
            Self::Shelf(error) => error.hint(),
            // What was typed may count from the latest release, and that may be another one by now.
            Self::InDoubt {
                place,
                release,
                title,
                back_to,
                ..
            } => {
                let again =
                    back_to.map_or_else(String::new, |number| format!(" with `--to {number}`"));
                Some(format!(
                    "`wheelfarm status --from {place}` says: if it has a release {release}, `{title}`, it is done; \
                     only if not, run it again{again}"
                ))
            }
        }
    }

    fn is_bad_input(&self) -> bool {
        match self {
            Self::Empty(_) | Self::NoSuchRelease { .. } | Self::LockFile(..) => true,
            Self::Life(error) => matches!(error, LifeError::NothingPicked { .. }),
            Self::Shelf(error) => error.is_bad_input(),
            Self::Past(..) | Self::InDoubt { .. } => false,
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Life(error) => error.is_refusal(),
            Self::Shelf(error) => error.is_refusal(),
            Self::Empty(_)
            | Self::NoSuchRelease { .. }
            | Self::Past(..)
            | Self::LockFile(..)
            | Self::InDoubt { .. } => false,
        }
    }
}

/// Whether a revision is made or only shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing is changed.
    Show,
    /// It is made.
    Make,
}

/// What became of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revised {
    /// The shelf.
    pub place: String,
    /// The number of the release that was read.
    pub before: u64,
    /// The revision.
    pub revision: Revision,
    /// How far it went.
    pub end: End,
    /// How many files are written.
    pub written: usize,
    /// How many files are deleted.
    pub deleted: usize,
}

/// How far a revision went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything was so already.
    Nothing,
    /// It was shown.
    Shown,
    /// It was made, and this is the state of the shelf now.
    Made(Head),
}

impl End {
    /// Its stable name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing-to-do",
            Self::Shown => "dry-run",
            Self::Made(_) => "done",
        }
    }
}

/// The shelf as it is, if anything was published to it.
pub async fn read<S: Shelf>(shelf: &S) -> Result<Snapshot, ReviseError<S::Error>> {
    let snapshot = shelf.read().await.map_err(ReviseError::Shelf)?;
    if snapshot.catalog.release == 0 {
        return Err(ReviseError::Empty(shelf.address()));
    }
    Ok(snapshot)
}

/// Reads the shelf, makes another catalog of its own with `step`, which is given the moment too, and
/// commits what follows.
pub async fn revise<S: Shelf>(
    shelf: &S,
    act: Act,
    step: impl FnOnce(&Catalog, &str) -> Result<Revision, LifeError>,
) -> Result<Revised, ReviseError<S::Error>> {
    let snapshot = read(shelf).await?;
    let revision = step(&snapshot.catalog, &now())?;
    apply(shelf, &snapshot, revision, BTreeSet::new(), act).await
}

/// Brings an earlier release back, as a new one.
pub async fn roll_back<S: Shelf>(
    shelf: &S,
    act: Act,
    earlier: Earlier,
    yanks: Yanks,
    cleared_out: ClearedOut,
) -> Result<Revised, ReviseError<S::Error>> {
    let snapshot = read(shelf).await?;
    let latest = snapshot.catalog.release;
    let missing = || ReviseError::NoSuchRelease {
        place: shelf.address(),
        wanted: match earlier {
            Earlier::Number(number) => number.to_string(),
            Earlier::Back(back) => format!("latest-{back}"),
        },
        latest,
    };
    let wanted = earlier.number(latest).ok_or_else(missing)?;
    let count = usize::try_from(latest - wanted).unwrap_or(usize::MAX);
    // The latest may be among them.
    let past = shelf.past(count.saturating_add(1)).await;
    let past = past.map_err(ReviseError::Shelf)?;
    let past = past.iter().find(|past| past.release == wanted);
    let to = past_catalog(shelf, past.ok_or_else(missing)?).await?;
    let revision = rollback(&snapshot.catalog, &to, yanks, cleared_out, &now())?;
    let mut res = apply(shelf, &snapshot, revision, BTreeSet::new(), act).await;
    if let Err(ReviseError::InDoubt { back_to, .. }) = &mut res {
        *back_to = Some(wanted);
    }
    res
}

/// What clearing out came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// What goes and what stays.
    pub sweep: Sweep,
    /// What became of it.
    pub revised: Revised,
    /// How many wheels of the shelf each lock file points to.
    pub held_by: Vec<(String, usize)>,
}

/// Clears out what neither `rules` nor the texts in `lock_files` keep.
pub async fn clear_out<S: Shelf>(
    shelf: &S,
    act: Act,
    rules: &KeepRules,
    lock_files: &[Utf8PathBuf],
) -> Result<Cleared, ReviseError<S::Error>> {
    let holds = read_holds(lock_files)?;
    let snapshot = read(shelf).await?;
    let mut earlier = Vec::new();
    if let Some(count) = rules.releases {
        let count = usize::try_from(count.get()).unwrap_or(usize::MAX);
        for past in shelf.past(count).await.map_err(ReviseError::Shelf)? {
            if past.release < snapshot.catalog.release {
                earlier.push(past_catalog(shelf, &past).await?);
            }
        }
    }
    let files = shelf.files(&snapshot.head).await;
    let files = files.map_err(ReviseError::Shelf)?;
    let sweep = sweep(&snapshot.catalog, &earlier, rules, &holds, &files, &now())?;
    let going = sweep.files.iter().map(|file| file.path.clone()).collect();
    let revised = apply(shelf, &snapshot, sweep.revision.clone(), going, act).await?;
    let held_by = holds.counts(&snapshot.catalog).into_iter();
    Ok(Cleared {
        sweep,
        revised,
        held_by: held_by
            .map(|(file, count)| (file.to_owned(), count))
            .collect(),
    })
}

fn read_holds<E: Fault>(files: &[Utf8PathBuf]) -> Result<Holds, ReviseError<E>> {
    let mut holds = Holds::default();
    for file in files {
        let text = read_text(file).map_err(|error| ReviseError::LockFile(file.clone(), error))?;
        holds.add(file.as_str(), &text);
    }
    Ok(holds)
}

/// A lock file as text: UTF-8, or UTF-16 with the mark at its start that PowerShell's `>` writes and pip
/// reads. What else is not UTF-8 is in a comment, and names nothing.
fn read_text(file: &Utf8Path) -> io::Result<String> {
    let bytes = fs::read(file)?;
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    };
    // Of text in another encoding nothing would be found, and all that it points to would go.
    if text.contains('\0') {
        let what = "it is no text in UTF-8, nor in UTF-16 with a mark at its start";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(text)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| unit([pair[0], pair[1]]))
        .collect();
    String::from_utf16_lossy(&units)
}

async fn past_catalog<S: Shelf>(
    shelf: &S,
    past: &PastRelease,
) -> Result<Catalog, ReviseError<S::Error>> {
    let text = shelf.file(&past.head, catalog::FILE_NAME).await;
    let text = text.map_err(ReviseError::Shelf)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Catalog::parse(&text).map_err(|error| ReviseError::Past(past.release, error))
}

/// Makes a revision of what was read: pages and catalog, and `going`, the files that go with it.
async fn apply<S: Shelf>(
    shelf: &S,
    snapshot: &Snapshot,
    revision: Revision,
    going: BTreeSet<String>,
    act: Act,
) -> Result<Revised, ReviseError<S::Error>> {
    shelf
        .check_writing(&snapshot.catalog)
        .map_err(ReviseError::Shelf)?;
    let before = snapshot.catalog.release;
    let mut revised = Revised {
        place: shelf.address(),
        before,
        revision,
        end: End::Nothing,
        written: 0,
        deleted: 0,
    };
    if revised.revision.catalog.release == before {
        let (links, index_url) = (shelf.links(), shelf.index_url());
        let layout = Layout {
            catalog: &snapshot.catalog,
            links: &links,
            index_url: index_url.as_deref(),
        };
        if act == Act::Make && layout.is_there() {
            let settled = shelf.settle(&snapshot.catalog).await;
            settled.map_err(ReviseError::Shelf)?;
        }
        return Ok(revised);
    }
    let (links, index_url) = (shelf.links(), shelf.index_url());
    let layout = |catalog| Layout {
        catalog,
        links: &links,
        index_url: index_url.as_deref(),
    };
    let old = layout(&snapshot.catalog);
    let new = layout(&revised.revision.catalog);
    let mut change = between(Some(&old), &new, &*revised.revision.title);
    change.delete.extend(going);
    (revised.written, revised.deleted) = (change.put.len(), change.delete.len());
    revised.end = match act {
        Act::Show => End::Shown,
        Act::Make => {
            let head = shelf.commit(&snapshot.head, &change).await;
            let head = head.map_err(|error| in_doubt(error, &revised))?;
            let settled = shelf.settle(&revised.revision.catalog).await;
            settled.map_err(ReviseError::Shelf)?;
            End::Made(head)
        }
    };
    Ok(revised)
}

/// The failure of a commit, which may be there all the same.
fn in_doubt<E: Fault>(error: E, revised: &Revised) -> ReviseError<E> {
    if !error.is_in_doubt() {
        return ReviseError::Shelf(error);
    }
    ReviseError::InDoubt {
        place: revised.place.clone(),
        release: revised.revision.catalog.release,
        title: revised.revision.title.clone(),
        back_to: None,
        source: error,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use wheelfarm_core::release::catalog::{CatalogWheel, Track};
    use wheelfarm_core::release::life::pick::WheelGlobs;
    use wheelfarm_core::release::life::steps;

    use super::*;
    use crate::shelf::fixture::{NOW, bytes, wheel};
    use crate::shelf::folder::{Address, FolderError, FolderShelf};
    use crate::shelf::{Blob, Progress};

    struct Silent;

    impl Progress for Silent {
        fn on_progress(&self, _done: u64, _all: u64, _sent: u64) {}
    }

    /// A shelf in a folder that goes with the test.
    struct Lab {
        folder: tempfile::TempDir,
        shelf: FolderShelf,
    }

    impl Lab {
        fn new() -> Self {
            let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
            let folder = folder.unwrap();
            let root = Utf8Path::from_path(folder.path()).unwrap().join("shelf");
            let shelf = FolderShelf::new(&root, Address::Anywhere).unwrap();
            Self { folder, shelf }
        }

        /// Publishes versions of `demo`, with a manifest beside each wheel.
        async fn publish(&self, versions: &[&str], track: Track) {
            let wheels: Vec<_> = versions
                .iter()
                .map(|version| wheel("demo", version))
                .collect();
            let mut blobs: Vec<_> = wheels.iter().map(|wheel| self.blob(wheel, "")).collect();
            blobs.extend(wheels.iter().map(|wheel| self.blob(wheel, ".metadata")));
            self.shelf.bring(&blobs, &Silent).await.unwrap();
            let read = self.shelf.read().await.unwrap();
            let next = read.catalog.with(wheels, track, NOW).unwrap();
            let links = self.shelf.links();
            let new = Layout {
                catalog: &next,
                links: &links,
                index_url: None,
            };
            let mut change = between(None, &new, "publish");
            change.add = blobs;
            self.shelf.commit(&read.head, &change).await.unwrap();
        }

        fn blob(&self, wheel: &CatalogWheel, suffix: &str) -> Blob {
            let name = format!("{}{suffix}", wheel.file_name);
            let content = bytes(&name);
            let source = self.folder.path().join(&name);
            fs::write(&source, &content).unwrap();
            Blob {
                path: wheel.path() + suffix,
                source: source.try_into().unwrap(),
                sha256: wheelfarm_core::digest::Sha256Digest::of(&content),
                size_bytes: u64::try_from(content.len()).unwrap(),
            }
        }

        async fn catalog(&self) -> Catalog {
            self.shelf.read().await.unwrap().catalog
        }

        /// Files below `files/`: how many.
        async fn files(&self) -> usize {
            let read = self.shelf.read().await.unwrap();
            let files = self.shelf.files(&read.head).await.unwrap();
            files
                .keys()
                .filter(|path| path.starts_with("files/"))
                .count()
        }

        fn page(&self) -> String {
            let page = "whl/cu130/torch2.11/simple/demo/index.html";
            fs::read_to_string(self.shelf.root().join(page)).unwrap_or_default()
        }

        async fn yank(&self, glob: &str, act: Act) -> Result<Revised, ReviseError<FolderError>> {
            let globs = WheelGlobs::new(&[glob.to_owned()]).unwrap();
            let reason = "wrong results".parse().unwrap();
            revise(&self.shelf, act, |catalog, now| {
                steps::yank(catalog, &globs, &reason, now)
            })
            .await
        }
    }

    #[tokio::test]
    async fn a_revision_changes_pages_and_catalog_in_one_commit() {
        let lab = Lab::new();
        lab.publish(&["1.0", "1.1"], Track::Stable).await;
        let files = lab.files().await;

        let shown = lab.yank("demo-1.0*", Act::Show).await.unwrap();
        assert_eq!((shown.end, lab.catalog().await.release), (End::Shown, 1));
        assert!(shown.written >= 3, "{}", shown.written);
        assert!(!lab.page().contains("data-yanked"));

        let made = lab.yank("demo-1.0*", Act::Make).await.unwrap();
        assert!(matches!(made.end, End::Made(_)), "{made:?}");
        assert_eq!(made.written, shown.written);
        let catalog = lab.catalog().await;
        assert_eq!(catalog.release, 2);
        assert_eq!(
            lab.page().matches("data-yanked=\"wrong results\"").count(),
            1
        );
        assert_eq!(lab.files().await, files, "no file goes");
        let past = lab.shelf.past(9).await.unwrap();
        assert_eq!(past[0].title, "yank 1 wheel: wrong results");

        let again = lab.yank("demo-1.0*", Act::Make).await.unwrap();
        assert_eq!((again.end, lab.catalog().await.release), (End::Nothing, 2));
    }

    #[tokio::test]
    async fn an_earlier_release_comes_back_and_the_newer_wheel_can_be_published_again() {
        let lab = Lab::new();
        lab.publish(&["1.0"], Track::Stable).await;
        lab.publish(&["1.1"], Track::Stable).await;
        let back = async |to: &str| {
            let to = to.parse().unwrap();
            roll_back(&lab.shelf, Act::Make, to, Yanks::Keep, ClearedOut::Refuse).await
        };
        let revised = back("latest-1").await.unwrap();
        assert_eq!(revised.revision.title, "roll back to release 1");
        assert_eq!(lab.catalog().await.release, 3);
        assert!(lab.page().contains("demo-1.0") && !lab.page().contains("demo-1.1"));
        assert_eq!(lab.files().await, 4, "bytes stay");
        assert_eq!(back("1").await.unwrap().end, End::Nothing);

        lab.publish(&["1.1"], Track::Stable).await;
        assert!(lab.page().contains("demo-1.1"));
        assert_eq!(lab.catalog().await.wheels.len(), 2);

        for none in ["4", "9", "latest-4"] {
            let error = back(none).await.unwrap_err();
            assert!(error.is_bad_input(), "{error}");
            let text = error.to_string();
            let want = format!("has no earlier release {none}; its latest is 4");
            assert!(text.contains(&want), "{text}");
        }
    }

    #[tokio::test]
    async fn clearing_out_takes_the_files_of_a_wheel_and_keeps_what_is_locked() {
        let lab = Lab::new();
        lab.publish(&["1.0"], Track::Stable).await;
        lab.publish(&["1.1", "1.2", "1.3"], Track::Stable).await;
        let lock = lab.folder.path().join("requirements.txt");
        fs::write(&lock, "demo==1.1+cu130torch2.11\n").unwrap();
        let lock = [Utf8PathBuf::try_from(lock).unwrap()];
        let rules = KeepRules {
            last: NonZeroU32::new(1),
            ..KeepRules::default()
        };
        let shown = clear_out(&lab.shelf, Act::Show, &rules, &lock)
            .await
            .unwrap();
        assert_eq!((lab.files().await, lab.catalog().await.release), (8, 2));
        assert_eq!(shown.held_by, [(lock[0].to_string(), 1)]);
        assert_eq!(shown.sweep.files.len(), 4);

        let made = clear_out(&lab.shelf, Act::Make, &rules, &lock)
            .await
            .unwrap();
        assert_eq!(made.sweep.files, shown.sweep.files);
        assert_eq!(lab.files().await, 4);
        let catalog = lab.catalog().await;
        let names: Vec<_> = catalog.wheels.keys().map(ToString::to_string).collect();
        assert!(names[0].starts_with("demo-1.1+") && names[1].starts_with("demo-1.3+"));
        assert_eq!((names.len(), catalog.retired.len()), (2, 2));
        assert!(!lab.page().contains("demo-1.0"));
        let again = clear_out(&lab.shelf, Act::Make, &rules, &lock)
            .await
            .unwrap();
        assert_eq!(again.revised.end, End::Nothing);

        // What is gone keeps its release from coming back, unless it is left out.
        let to = Earlier::Number(2);
        let refused = roll_back(&lab.shelf, Act::Make, to, Yanks::Keep, ClearedOut::Refuse).await;
        assert!(refused.unwrap_err().is_refusal());
        let without = roll_back(&lab.shelf, Act::Make, to, Yanks::Keep, ClearedOut::LeaveOut).await;
        assert_eq!(
            without.unwrap().end,
            End::Nothing,
            "the rest is listed as it was"
        );
        // And what releases of before had is kept as long as they are asked for.
        let rules = KeepRules {
            releases: NonZeroU32::new(9),
            ..KeepRules::default()
        };
        let kept = clear_out(&lab.shelf, Act::Show, &rules, &[]).await.unwrap();
        assert_eq!(kept.revised.end, End::Nothing);
    }

    /// PowerShell 5 writes `pip freeze > requirements.txt` in UTF-16, and pip reads it.
    #[tokio::test]
    async fn a_lock_file_is_read_in_the_encodings_that_pip_reads_or_refused() {
        let lab = Lab::new();
        lab.publish(&["1.0", "1.1", "1.2"], Track::Stable).await;
        let line = "demo==1.1+cu130torch2.11\r\n";
        let utf16 = |unit: fn(u16) -> [u8; 2], mark: &str| -> Vec<u8> {
            let text = format!("{mark}{line}");
            text.encode_utf16().flat_map(unit).collect()
        };
        let lock = lab.folder.path().join("requirements.txt");
        let lock = [Utf8PathBuf::try_from(lock).unwrap()];
        let rules = KeepRules {
            last: NonZeroU32::new(1),
            ..KeepRules::default()
        };
        let clear = async |bytes: &[u8], act| {
            fs::write(&lock[0], bytes).unwrap();
            clear_out(&lab.shelf, act, &rules, &lock).await
        };
        for bytes in [
            format!("\u{feff}{line}").into_bytes(),
            utf16(u16::to_le_bytes, "\u{feff}"),
            utf16(u16::to_be_bytes, "\u{feff}"),
        ] {
            let cleared = clear(&bytes, Act::Show).await.unwrap();
            assert_eq!(cleared.held_by[0].1, 1, "{bytes:?}");
        }
        let error = clear(&utf16(u16::to_le_bytes, ""), Act::Make).await;
        let error = error.unwrap_err();
        assert!(error.is_bad_input(), "{error:?}");
        assert_eq!(
            error.hint().unwrap(),
            "save it as UTF-8: nothing was cleared out"
        );
        assert_eq!(lab.catalog().await.wheels.len(), 3);
    }

    #[tokio::test]
    async fn what_a_cut_publication_left_is_cleared_out_and_can_be_brought_again() {
        let lab = Lab::new();
        lab.publish(&["1.0"], Track::Stable).await;
        let lost = wheel("demo", "2.0");
        let blob = [lab.blob(&lost, "")];
        lab.shelf.bring(&blob, &Silent).await.unwrap();
        let before = lab.shelf.read().await.unwrap();
        let rules = KeepRules {
            last: NonZeroU32::new(9),
            ..KeepRules::default()
        };
        let cleared = clear_out(&lab.shelf, Act::Make, &rules, &[]).await.unwrap();
        assert_eq!((cleared.sweep.files.len(), lab.files().await), (1, 2));
        // Whoever brought it at that moment is told that the shelf has changed.
        let change = super::super::Change::default();
        let late = lab.shelf.commit(&before.head, &change).await;
        assert!(matches!(late, Err(FolderError::Changed(_))), "{late:?}");
        lab.publish(&["2.0"], Track::Stable).await;
        assert_eq!(lab.files().await, 4);
    }

    #[tokio::test]
    async fn what_cannot_be_is_said_with_what_to_type() {
        let lab = Lab::new();
        let empty = lab.yank("*", Act::Make).await.unwrap_err();
        assert!(empty.is_bad_input() && empty.hint().is_some(), "{empty}");
        assert!(!lab.shelf.root().exists(), "nothing is made by asking");
        lab.publish(&["1.0"], Track::Stable).await;
        let error = lab.yank("demo-2*", Act::Make).await.unwrap_err();
        assert!(error.is_bad_input());
        assert_eq!(
            error.hint().unwrap(),
            "globs match whole file names, or a channel and a file name; here is \
             `cu130/torch2.11/demo-1.0+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl`"
        );
        let missing = [Utf8PathBuf::from("/nowhere/uv.lock")];
        let rules = KeepRules::default();
        let error = clear_out(&lab.shelf, Act::Make, &rules, &missing).await;
        let error = error.unwrap_err();
        assert!(error.is_bad_input());
        assert_eq!(
            error.to_string(),
            "failed to read the lock file `/nowhere/uv.lock`"
        );
    }
}
