//! What is printed of places that wheels are published to.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::One;
use crate::digest::Sha256Digest;
use crate::ident::{JobId, PackageName};
use crate::receipt::Check;
use crate::release::catalog::Track;
use crate::release::channel::Channel;
use crate::release::table::{Face, Installer, Purpose};
use crate::wheel::name::WheelName;

/// Always 2.
#[derive(JsonSchema)]
#[schemars(inline, extend("const" = 2))]
pub(in crate::schema) struct Two(u32);

/// Always true.
#[derive(JsonSchema)]
#[schemars(inline, extend("const" = true))]
pub(in crate::schema) struct True(bool);

/// Always false.
#[derive(JsonSchema)]
#[schemars(inline, extend("const" = false))]
pub(in crate::schema) struct False(bool);

/// What `wheelfarm publish --format json` prints.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(in crate::schema) enum Publish {
    /// The release is out.
    Made {
        schema: Two,
        /// The place.
        to: String,
        track: Track,
        /// The number of the release that lists the wheels; one from before if there was nothing to do.
        release: u64,
        /// Where it can be read: a commit on the Hub.
        head: String,
        published: True,
        wheels: Vec<PublishedWheel>,
        /// How many wheels were there before.
        unchanged: u64,
        /// The bytes of the others.
        offered_bytes: u64,
        /// How many of those went over the wire.
        sent_bytes: u64,
        /// How many files were written beside the wheels.
        written: u64,
        /// How many files were deleted.
        deleted: u64,
        /// Before the release; null with `--without-install-table`.
        install_table: Option<InstallTable>,
        /// After it; null without `--prove-after`.
        install_table_after: Option<InstallTable>,
        /// How many wheels were yanked because a row of the latter was wrong.
        yanked: u64,
        /// With `--prove`.
        proofs: Vec<Proofs>,
    },
    /// With `--dry-run`.
    Planned {
        schema: Two,
        /// The place.
        to: String,
        track: Track,
        /// The number that the release would have.
        release: u64,
        published: False,
        wheels: Vec<PublishedWheel>,
        /// The files that would be brought.
        bring: Vec<String>,
        /// The files that would be written beside them.
        write: Vec<String>,
        /// The files that would be deleted.
        delete: Vec<String>,
        install_table: Option<InstallTable>,
        install_table_after: Option<InstallTable>,
        yanked: u64,
        proofs: Vec<Proofs>,
    },
}

/// A wheel of a release.
#[derive(JsonSchema)]
pub(in crate::schema) struct PublishedWheel {
    channel: Channel,
    file_name: WheelName,
    job: JobId,
    /// From the root of the place.
    path: String,
    /// PEP 345's field.
    requires_python: Option<String>,
    sha256: Sha256Digest,
    size_bytes: u64,
}

/// The proofs of a channel.
#[derive(JsonSchema)]
pub(in crate::schema) struct Proofs {
    channel: Channel,
    receipts: Vec<ContainerReceipt>,
}

/// What a wheel's test in a clean container said.
#[derive(JsonSchema)]
pub(in crate::schema) struct ContainerReceipt {
    /// The wheel.
    wheel: String,
    sha256: Sha256Digest,
    /// The engine's id of the image that it was installed into.
    image: String,
    /// Whether the container had a GPU.
    gpu: bool,
    checks: Vec<Check>,
}

/// What pip and uv would install.
#[derive(JsonSchema)]
pub(in crate::schema) struct InstallTable {
    schema: One,
    /// Which versions were asked.
    installers: String,
    /// How many more rows there would be without the cap.
    left_out: u64,
    rows: Vec<Row>,
}

/// One installer in one environment.
#[derive(JsonSchema)]
pub(in crate::schema) struct Row {
    channel: Channel,
    /// What came instead, or why it was not checked; null when it is right.
    detail: Option<String>,
    /// What has to come of it.
    expected: String,
    face: Face,
    /// The torch that is installed, local part included.
    installed_torch: Option<String>,
    installer: Installer,
    /// The line as a user of the real place would type it.
    line: String,
    /// The user's machine: `x86_64`.
    machine: String,
    project: PackageName,
    purpose: Purpose,
    python: String,
    result: RowResult,
    /// The installer's own words.
    said: String,
    took_ms: u64,
    track: Track,
    way: Way,
}

/// What came of a row.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum RowResult {
    /// It is as it must be.
    Pass,
    /// Something else came.
    Wrong,
    /// It could not be run.
    NotChecked,
}

/// A way to install.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum Way {
    /// `-r https://…/req/….txt`
    Requirements,
    /// The wheel's own address.
    Direct,
    /// `--find-links`
    FindLinks,
    /// `--index-url` or `--extra-index-url`
    Index,
}

/// What `wheelfarm yank`, `hold`, `promote` and `rollback` print with `--format json`.
#[derive(JsonSchema)]
pub(in crate::schema) struct Revised {
    schema: One,
    /// The place.
    shelf: String,
    /// The release before.
    before: u64,
    /// The release that says so.
    release: u64,
    title: String,
    end: RevisionEnd,
    effects: Vec<Effect>,
    /// How many files were written.
    written: u64,
    /// How many files were deleted.
    deleted: u64,
}

/// How it ended.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum RevisionEnd {
    /// It was so before.
    NothingToDo,
    /// Shown with `--dry-run`.
    DryRun,
    /// The release is out.
    Done,
}

/// What becomes of a wheel.
#[derive(JsonSchema)]
pub(in crate::schema) struct Effect {
    wheel: WheelName,
    effect: EffectKind,
}

/// What becomes of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum EffectKind {
    /// Nobody should install it any more.
    Yanked,
    /// That mark is taken away.
    Unyanked,
    /// On a track that it was not on.
    ListedOnStable,
    /// On a track that it was not on.
    ListedOnNightly,
    /// Its bytes stay.
    UnlistedFromStable,
    /// Its bytes stay.
    UnlistedFromNightly,
    /// In other channels, or for other Pythons.
    ListedForOtherJobs,
    /// It is never to be cleared out.
    Held,
    /// It may be cleared out again.
    Released,
    /// It leaves the catalog, and its files go.
    Cleared,
}

/// What `wheelfarm gc --from SHELF --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Sweep {
    #[schemars(flatten)]
    revised: Revised,
    /// What goes.
    files: Vec<SweptFile>,
    freed_bytes: u64,
    /// Why each of the others stays, by file name.
    kept: BTreeMap<String, Keep>,
    /// How many wheels each `--hold FILE` protects.
    lock_files: Vec<LockFile>,
}

/// A file that goes.
#[derive(JsonSchema)]
pub(in crate::schema) struct SweptFile {
    path: String,
    size_bytes: u64,
}

/// Why a wheel stays.
#[derive(JsonSchema)]
#[schemars(tag = "why", rename_all = "kebab-case")]
pub(in crate::schema) enum Keep {
    /// The newest of its line on the stable track.
    NewestOfStable,
    /// Somebody holds it.
    Held { reason: String },
    /// A lock file points to it.
    LockFile { file: String },
    /// `--keep-last`
    Last { track: Track },
    /// `--keep-days`
    Days,
    /// `--keep-release`
    Release { release: u64 },
}

/// A file of `--hold`.
#[derive(JsonSchema)]
pub(in crate::schema) struct LockFile {
    file: String,
    wheels: u64,
}

/// What `wheelfarm status --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Status {
    schema: One,
    /// The place.
    shelf: String,
    release: u64,
    /// RFC 3339, in UTC.
    published_at: String,
    /// Wheels on the stable track.
    stable: u64,
    /// Wheels on the nightly track.
    nightly: u64,
    /// Wheels that no track lists.
    unlisted: u64,
    /// Wheels whose bytes are gone.
    cleared_out: u64,
    /// Why each is yanked, by file name.
    yanked: BTreeMap<String, String>,
    /// Why each is held, by file name.
    held: BTreeMap<String, String>,
    /// Newest first.
    earlier: Vec<EarlierRelease>,
}

/// A release from before.
#[derive(JsonSchema)]
pub(in crate::schema) struct EarlierRelease {
    release: u64,
    published_at: String,
    title: String,
}

/// What `wheelfarm status --freshness --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Freshness {
    schema: One,
    /// The place.
    shelf: String,
    release: u64,
    /// Of the release.
    age_s: u64,
    /// Whether `--max-age` is passed: exit code 1.
    is_stale: bool,
    lines: Vec<FreshnessLine>,
}

/// A channel of a track.
#[derive(JsonSchema)]
pub(in crate::schema) struct FreshnessLine {
    channel: Channel,
    track: String,
    wheels: u64,
    yanked: u64,
    newest: Option<NewestWheel>,
    /// With a matrix: what it declares.
    jobs: Option<Vec<DeclaredJob>>,
    is_too_old: bool,
}

/// The newest wheel.
#[derive(JsonSchema)]
pub(in crate::schema) struct NewestWheel {
    wheel: WheelName,
    age_s: u64,
}

/// A job of the matrix.
#[derive(JsonSchema)]
pub(in crate::schema) struct DeclaredJob {
    job: JobId,
    state: DeclaredState,
    wheel: Option<WheelName>,
}

/// Whether its wheel is there.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum DeclaredState {
    /// The wheel that the matrix gives.
    Published,
    /// One that was made of something else.
    Stale,
    /// One that is marked.
    Yanked,
    /// None.
    Missing,
}
