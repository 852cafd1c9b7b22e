//! A small release with variants, made as a publication makes one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::release::links::Links;
use wheelfarm_core::release::variants;
use wheelfarm_core::wheel::WheelCaps;
use wheelfarm_core::wheel::name::WheelName;

/// Channel, version and the images that every container holds; withdrawn ones have a `!`.
const BUILDS: &[(&str, &str, &str)] = &[
    ("cu130/torch2.11", "1.0", "sm_90a compute_90"),
    ("cu130/torch2.11-sm120", "1.0", "sm_120f"),
    ("cu128/torch2.11", "1.0", "sm_80 sm_86 sm_90"),
    ("cu126/torch2.8", "1.0", "sm_90"),
    ("cu130/torch2.11", "1.1!", "sm_90"),
];

/// A release in a folder, with torches in another index beside it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) root: PathBuf,
    /// The wheels that have a label.
    pub(crate) variants: Vec<PathBuf>,
}

impl Site {
    /// `plain` are the channels whose plain wheels the maintainer names.
    pub(crate) fn write(root: &Path, plain: &[&str]) -> Self {
        let mut site = Self {
            root: root.to_owned(),
            variants: Vec::new(),
        };
        let mut catalog = Catalog::parse(&catalog_text(plain)).unwrap();
        for (&(channel, version, _), wheel) in BUILDS.iter().zip(built().iter()) {
            let listed = catalog.wheels.get_mut(&wheel.name).unwrap();
            assert_eq!(listed.channel.to_string(), channel, "{version}");
            site.put(&listed.path(), &wheel.bytes, &wheel.metadata);
            let variant = variants::variant_name(listed).unwrap();
            let mut output = Cursor::new(Vec::new());
            let made = variants::variant_wheel(
                &wheel.name,
                Cursor::new(&wheel.bytes),
                &variant,
                &WheelCaps::default(),
                &mut output,
            )
            .unwrap();
            let path = made.variant.path();
            site.put(&path, &output.into_inner(), &made.metadata);
            site.variants.push(site.root.join(path));
            listed.variant = Some(made.variant);
        }
        // What stands in the catalog is all that the pages are made of.
        let catalog = Catalog::parse(&catalog.to_text()).unwrap();
        for (path, content) in variants::tree(&catalog, &Links::Relative) {
            site.write_file(&path, &content);
        }
        site.put_torches();
        site
    }

    fn put(&self, path: &str, wheel: &[u8], metadata: &[u8]) {
        self.write_file(path, wheel);
        self.write_file(&format!("{path}.metadata"), metadata);
    }

    fn write_file(&self, path: &str, content: &[u8]) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// torch is of another index, as PyPI's is; these have no code.
    fn put_torches(&self) {
        let links = ["2.8.0", "2.11.0"].map(|version| {
            let name = format!("torch-{version}-py3-none-any.whl");
            let wheel = Built::new(&name, &[], "");
            self.write_file(&format!("others/simple/torch/{name}"), &wheel.bytes);
            format!("<a href=\"{name}\">{name}</a><br>\n")
        });
        let links = links.concat();
        let page = format!("<!DOCTYPE html>\n<html>\n<body>\n{links}</body>\n</html>\n");
        self.write_file("others/simple/torch/index.html", page.as_bytes());
    }
}

/// A wheel of pure Python, which is named as the farm names compiled ones.
struct Built {
    name: WheelName,
    bytes: Vec<u8>,
    metadata: Vec<u8>,
}

fn built() -> Vec<Built> {
    let builds = BUILDS.iter();
    builds
        .map(|(channel, version, images)| {
            let (cuda, torch) = channel.split_once('/').unwrap();
            let local = format!("{cuda}{}", torch.replace('-', "."));
            let version = version.trim_end_matches('!');
            let name = format!("demo-{version}+{local}-py3-none-manylinux_2_17_x86_64.whl");
            let torch = torch.trim_start_matches("torch").split('-').next().unwrap();
            Built::new(&name, &[&format!("torch=={torch}.*")], images)
        })
        .collect()
}

impl Built {
    fn new(name: &str, requires: &[&str], images: &str) -> Self {
        let name: WheelName = name.parse().unwrap();
        let requires: Vec<String> = requires
            .iter()
            .map(|requirement| format!("Requires-Dist: {requirement}\n"))
            .collect();
        let requires = requires.concat();
        let metadata = format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\n{requires}",
            name.project(),
            name.full_version()
        );
        let tags = name.expanded_tags().join("\nTag: ");
        let wheel_file =
            format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tags}\n");
        let stem = name.folder_stem();
        let files = [
            (
                format!("{}.py", name.project()),
                format!("BUILT = {images:?}\n"),
            ),
            (format!("{stem}.dist-info/METADATA"), metadata.clone()),
            (format!("{stem}.dist-info/WHEEL"), wheel_file),
        ];
        Self {
            bytes: zipped(&files, &format!("{stem}.dist-info/RECORD")),
            metadata: metadata.into_bytes(),
            name,
        }
    }
}

fn zipped(files: &[(String, String)], record: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let mut lines = Vec::new();
    for (path, content) in files {
        zip.start_file(path.as_str(), options).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        lines.push(format!("{path},sha256={digest},{}\n", content.len()));
    }
    lines.push(format!("{record},,\n"));
    zip.start_file(record, options).unwrap();
    zip.write_all(lines.concat().as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// The catalog as a publication without variants leaves it.
fn catalog_text(plain: &[&str]) -> String {
    let wheels = built();
    let wheels = BUILDS.iter().zip(&wheels);
    let wheels: Vec<Value> = wheels
        .map(|((channel, version, images), wheel)| entry(channel, version, images, wheel))
        .collect();
    let catalog = json!({
        "schema": 2,
        "release": 1,
        "published_at": "2026-11-21T03:00:00Z",
        "variants": {"plain": plain},
        "wheels": wheels,
    });
    catalog.to_string()
}

fn entry(channel: &str, version: &str, images: &str, wheel: &Built) -> Value {
    let cuda = channel.trim_start_matches("cu").split('/').next().unwrap();
    let (major, minor) = cuda.split_at(2);
    let images: BTreeMap<&str, usize> = images.split(' ').map(|image| (image, 3)).collect();
    let mut entry = json!({
        "file_name": wheel.name,
        "sha256": Sha256Digest::of(&wheel.bytes),
        "size_bytes": wheel.bytes.len(),
        "metadata_sha256": Sha256Digest::of(&wheel.metadata),
        "requires_dist": [],
        "channel": channel,
        "tracks": ["stable"],
        "job": "demo",
        "package": "demo",
        "built_against": {"cuda": format!("{major}.{minor}"), "torch": "2.11.0", "python": "3.11"},
        "uses_torch_cxx_abi": true,
        "module_archs": {"demo/_C.so": {"containers": 3, "images": images}},
        "runs_on": {"7.5": {"verdict": "fails"}},
        "gate": "passed",
        "gpu_run": "not-run",
        "published_at": "2026-11-20T03:00:00Z",
    });
    if version.ends_with('!') {
        entry["yanked"] = "wrong results".into();
    }
    entry
}
