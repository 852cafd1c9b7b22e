//! The layout of releases before catalogs; goes with the publisher that still uses it.

mod index;
pub mod install;
mod lists;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::str::FromStr;

use pep440_rs::Version;

use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::ReleaseError;
use crate::release::channel::Channel;
use crate::wheel::name::WheelName;

/// A wheel that is to go out, with what the index has to say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedWheel {
    /// Its file name.
    pub name: WheelName,
    /// The digest of the file.
    pub sha256: Sha256Digest,
    /// The length of the file.
    pub size_bytes: u64,
    /// The Python versions that it is for.
    pub requires_python: Option<String>,
    /// The METADATA file inside it.
    pub metadata: Vec<u8>,
    /// Where users install it from.
    pub channel: Channel,
}

/// The wheel that is to stand at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelReference {
    /// Its file name.
    pub name: WheelName,
    /// The digest that names its bytes.
    pub sha256: Sha256Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// Paths relative to the root of the release, with what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    files: BTreeMap<String, Vec<u8>>,
    wheels: BTreeMap<String, WheelReference>,
}

impl Release {
    /// Lays out `wheels`; their order does not matter, and a wheel may come twice.
    pub fn new(wheels: &[ReleasedWheel]) -> Result<Self, ReleaseError> {
        check_names(wheels)?;
        let mut release = Self {
            files: BTreeMap::new(),
            wheels: BTreeMap::new(),
        };
        for (channel, projects) in by_channel(wheels)? {
            for wheel in projects.values().flatten() {
                let path = format!("{channel}/{}", wheel.name);
                let metadata = wheel.metadata.clone();
                release.files.insert(format!("{path}.metadata"), metadata);
                let reference = WheelReference {
                    name: wheel.name.clone(),
                    sha256: wheel.sha256,
                    size_bytes: wheel.size_bytes,
                };
                release.wheels.insert(path, reference);
            }
            let mut add = |path: &str, text: String| {
                release
                    .files
                    .insert(format!("{channel}/{path}"), text.into_bytes());
            };
            add("SHA256SUMS", lists::sha256sums(&projects));
            add("requirements.txt", lists::requirements(channel, &projects));
            add("simple/index.html", index::root_html(&projects));
            add("simple/index.json", index::root_json(&projects));
            for (project, wheels) in &projects {
                let folder = format!("simple/{project}");
                let html = index::project_html(project, wheels);
                add(&format!("{folder}/index.html"), html);
                let json = index::project_json(project, wheels);
                add(&format!("{folder}/index.json"), json);
            }
        }
        Ok(release)
    }

    /// The generated files: path and content.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// The wheels: path and which one.
    pub fn wheels(&self) -> &BTreeMap<String, WheelReference> {
        &self.wheels
    }
}

/// The wheels of one channel by project; of one project from the oldest version to the newest.
type Projects<'a> = BTreeMap<&'a PackageName, Vec<&'a ReleasedWheel>>;

fn check_names(wheels: &[ReleasedWheel]) -> Result<(), ReleaseError> {
    let mut known: BTreeMap<&WheelName, &ReleasedWheel> = BTreeMap::new();
    for wheel in wheels {
        let first = *known.entry(&wheel.name).or_insert(wheel);
        if first.sha256 != wheel.sha256 {
            return Err(ReleaseError::OtherBytes {
                name: wheel.name.to_string(),
                first: first.sha256,
                second: wheel.sha256,
            });
        }
        let is_same = first.metadata == wheel.metadata
            && first.size_bytes == wheel.size_bytes
            && first.requires_python == wheel.requires_python;
        if !is_same {
            return Err(ReleaseError::OtherMetadata {
                name: wheel.name.to_string(),
            });
        }
    }
    Ok(())
}

fn by_channel(wheels: &[ReleasedWheel]) -> Result<BTreeMap<&Channel, Projects<'_>>, ReleaseError> {
    let mut channels: BTreeMap<&Channel, Projects<'_>> = BTreeMap::new();
    for wheel in wheels {
        if !wheel.channel.admits(wheel.name.local_version()) {
            return Err(ReleaseError::WrongChannel {
                name: wheel.name.to_string(),
                channel: wheel.channel.clone(),
            });
        }
        let projects = channels.entry(&wheel.channel).or_default();
        projects
            .entry(wheel.name.project())
            .or_default()
            .push(wheel);
    }
    for wheels in channels.values_mut().flat_map(BTreeMap::values_mut) {
        wheels.sort_by(|left, right| by_version(left, right));
        wheels.dedup_by(|left, right| left.name == right.name);
    }
    Ok(channels)
}

fn by_version(left: &ReleasedWheel, right: &ReleasedWheel) -> Ordering {
    let version = |wheel: &ReleasedWheel| Version::from_str(&wheel.name.full_version()).ok();
    version(left)
        .cmp(&version(right))
        .then_with(|| left.name.cmp(&right.name))
}
