//! Wheels and folders for the tests of shelves.

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::CatalogWheel;

use super::Progress;

pub(crate) const NOW: &str = "2026-11-21T03:00:00Z";

/// What the small wheel of that name holds.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    format!("the bytes of {name}").into_bytes()
}

/// A wheel of a project in channel `cu130/torch2.11` for Python 3.11.
pub(crate) fn wheel(project: &str, version: &str) -> CatalogWheel {
    let name = format!("{project}-{version}+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl");
    let content = bytes(&name);
    serde_json::from_value(serde_json::json!({
        "file_name": name,
        "sha256": Sha256Digest::of(&content),
        "size_bytes": content.len(),
        "metadata_sha256": Sha256Digest::of(b""),
        "requires_dist": ["torch==2.11.*"],
        "channel": "cu130/torch2.11",
        "tracks": [],
        "job": format!("{project}-{version}-cu130-torch2.11-cp311"),
        "package": project,
        "built_against": { "cuda": "13.0", "torch": "2.11.0", "python": "3.11" },
        "uses_torch_cxx_abi": true,
        "module_archs": {},
        "runs_on": {},
        "gate": "passed",
        "gpu_run": "not-run",
        "published_at": NOW,
    }))
    .unwrap()
}

/// A temporary folder with a path in UTF-8.
pub(crate) struct Folder(tempfile::TempDir, Utf8PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        // In memory where there is such a place: everything is synced, and a disk takes its time.
        let memory = tempfile::tempdir_in("/dev/shm");
        let folder = memory.or_else(|_| tempfile::tempdir()).unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        Self(folder, path)
    }

    pub(crate) fn join(&self, name: &str) -> Utf8PathBuf {
        let _ = &self.0;
        self.1.join(name)
    }
}

/// Hears nothing.
pub(crate) struct Silent;

impl Progress for Silent {
    fn on_progress(&self, _done: u64, _all: u64, _sent: u64) {}
}
