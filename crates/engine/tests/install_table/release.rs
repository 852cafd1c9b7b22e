//! Releases of tiny wheels.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write};
use std::sync::Arc;

use serde_json::json;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::{Catalog, CatalogWheel, Track};
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_engine::install_table::Source;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) const NOW: &str = "2026-11-21T03:00:00Z";

/// A wheel and what a catalog says of it.
pub(crate) struct Tiny {
    pub(crate) entry: CatalogWheel,
    content: Vec<u8>,
    metadata: Vec<u8>,
}

impl Tiny {
    /// A wheel of that name in that channel, which requires `requires`.
    pub(crate) fn new(name: &str, channel: &str, requires: &[&str]) -> Self {
        let file_name: WheelName = name.parse().unwrap();
        let dist: String = requires
            .iter()
            .map(|one| ["Requires-Dist: ", one, "\n"].concat())
            .collect();
        let metadata = format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\nRequires-Python: >=3.9\n{dist}",
            file_name.project(),
            file_name.full_version()
        );
        let content = zipped(&file_name, &metadata);
        let (cuda, torch) = channel.split_once("/torch").unwrap();
        let python = file_name.python_tags()[0]
            .trim_start_matches("cp3")
            .to_owned();
        let entry = json!({
            "file_name": name,
            "sha256": Sha256Digest::of(&content).to_string(),
            "size_bytes": content.len(),
            "metadata_sha256": Sha256Digest::of(metadata.as_bytes()).to_string(),
            "requires_python": ">=3.9",
            "requires_dist": requires,
            "channel": channel,
            "tracks": [],
            "job": format!("{}-1.0-{cuda}-torch{torch}-cp3{python}", file_name.project()),
            "package": file_name.project().as_str(),
            "built_against": {"cuda": "13.0", "torch": format!("{torch}.0"), "python": format!("3.{python}")},
            "archs": "9.0",
            "uses_torch_cxx_abi": true,
            "module_archs": {},
            "runs_on": {},
            "gate": "passed",
            "gpu_run": "not-run",
            "published_at": NOW,
        });
        Self {
            entry: serde_json::from_value(entry).unwrap(),
            content,
            metadata: metadata.into_bytes(),
        }
    }

    /// The same, not tied to torch's C++ ABI.
    pub(crate) fn of_any_torch(mut self) -> Self {
        self.entry.uses_torch_cxx_abi = false;
        self
    }

    /// The same, taken back.
    pub(crate) fn yanked(mut self) -> Self {
        self.entry.yanked = Some("wrong results".to_owned());
        self
    }
}

fn zipped(name: &WheelName, metadata: &str) -> Vec<u8> {
    let folder = format!("{}.dist-info", name.folder_stem());
    let tags: String = name
        .expanded_tags()
        .iter()
        .map(|tag| ["Tag: ", tag.as_str(), "\n"].concat())
        .collect();
    let wheel = format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n{tags}");
    let record = format!("{folder}/METADATA,,\n{folder}/WHEEL,,\n{folder}/RECORD,,\n");
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (file, text) in [
        ("METADATA", metadata),
        ("WHEEL", &wheel),
        ("RECORD", &record),
    ] {
        writer
            .start_file(format!("{folder}/{file}"), SimpleFileOptions::default())
            .unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A release as the table takes it.
pub(crate) struct Release {
    pub(crate) catalog: Catalog,
    pub(crate) changed: BTreeSet<WheelName>,
    files: Arc<BTreeMap<String, Vec<u8>>>,
}

impl Release {
    pub(crate) fn new(wheels: Vec<Tiny>) -> Self {
        let mut files = BTreeMap::new();
        let mut catalog = Catalog::empty();
        for wheel in wheels {
            let path = wheel.entry.path();
            files.insert(format!("{path}.metadata"), wheel.metadata);
            files.insert(path, wheel.content);
            catalog = catalog.with([wheel.entry], Track::Stable, NOW).unwrap();
        }
        Self {
            changed: catalog.wheels.keys().cloned().collect(),
            catalog,
            files: Arc::new(files),
        }
    }

    pub(crate) fn files(&self) -> impl Fn(&str) -> Option<Source> + Send + Sync + 'static {
        let files = Arc::clone(&self.files);
        move |path| Some(Source::Memory(files.get(path)?.clone()))
    }
}

/// Two channels, two Pythons; projects that PyPI has too, in newer versions.
pub(crate) fn good() -> Vec<Tiny> {
    let mut wheels = Vec::new();
    for (cuda, torch) in [("cu130", "2.11"), ("cu128", "2.8")] {
        let channel = format!("{cuda}/torch{torch}");
        let bound = format!("torch=={torch}.*");
        for python in ["cp311", "cp312"] {
            let name = |project: &str, version: &str| {
                format!(
                    "{project}-{version}+{cuda}torch{torch}-{python}-{python}-manylinux_2_28_x86_64.whl"
                )
            };
            wheels.push(Tiny::new(
                &name("flash_attn", "2.8.3"),
                &channel,
                &[&bound, "einops"],
            ));
            wheels.push(Tiny::new(
                &name("torch_scatter", "2.1.1"),
                &channel,
                &[&bound],
            ));
            wheels.push(Tiny::new(&name("torch_scatter", "2.1.2"), &channel, &[&bound]).yanked());
        }
    }
    let build = "torch_scatter-2.1.1+cu130torch2.11-2-cp311-cp311-manylinux_2_28_x86_64.whl";
    wheels.push(Tiny::new(build, "cu130/torch2.11", &["torch==2.11.*"]));
    let stable = "kernels_of_mine-0.1+cu130-cp310-abi3-manylinux_2_28_x86_64.whl";
    wheels.push(Tiny::new(stable, "cu130/torch2.11", &["torch>=2.10"]).of_any_torch());
    wheels
}
