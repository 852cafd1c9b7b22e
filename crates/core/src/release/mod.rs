//! A release: the wheels that go out together, and the files that let pip and uv find them.
//!
//! Everything here is a pure function of the list of wheels. A release is laid out as a folder
//! that any static host can serve and that works from a disk as it is:
//!
//! ```text
//! cu130/torch2.11/                             one channel: one CUDA, one torch
//!     flash_attn-2.8.3+cu130torch2.11-….whl    the wheels, flat
//!     flash_attn-2.8.3+cu130torch2.11-….whl.metadata
//!     SHA256SUMS                               for `sha256sum -c`
//!     requirements.txt                         pins with hashes
//!     simple/index.html, index.json            for `--index-url`
//!     simple/flash-attn/index.html, index.json
//! ```
//!
//! Wheels lie in their channel and not under a content address: `pip --find-links` and a person
//! with a browser then see a folder of wheels, and all links stay short and relative. File names
//! are unique across channels, since compiled wheels carry their channel in the version; the few
//! pure wheels that several channels share are small. That a name never changes its bytes, which
//! a content address would give for free, is checked instead: here within a release, and by the
//! publisher against what is out already.

pub mod catalog;
pub mod channel;
mod index;
pub mod install;
pub mod links;
mod lists;
pub mod resolve;
pub mod wheel_page;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::str::FromStr;

use pep440_rs::Version;

use crate::digest::Sha256Digest;
use crate::ident::PackageName;
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

/// Why wheels cannot go out together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Two wheels have one name and different bytes.
    #[error("wheel `{name}` comes twice with different bytes: sha256 {first} and {second}")]
    OtherBytes {
        /// The file name.
        name: String,
        /// A digest.
        first: Sha256Digest,
        /// Another.
        second: Sha256Digest,
    },
    /// One wheel is described in two ways.
    #[error("wheel `{name}` comes twice with different metadata")]
    OtherMetadata {
        /// The file name.
        name: String,
    },
    /// The wheel says that it is for another CUDA or torch.
    #[error("wheel `{name}` does not belong into channel `{channel}`")]
    WrongChannel {
        /// The file name.
        name: String,
        /// The channel that it was put into.
        channel: Channel,
    },
}

impl ReleaseError {
    /// What the maintainer can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OtherBytes { .. } => Some(
                "a published name keeps its bytes; give the newer wheel a build number".to_owned(),
            ),
            Self::OtherMetadata { .. } | Self::WrongChannel { .. } => None,
        }
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wheel(name: &str, channel: &str) -> ReleasedWheel {
        let name: WheelName = name.parse().unwrap();
        ReleasedWheel {
            sha256: Sha256Digest::of(name.to_string().as_bytes()),
            size_bytes: 1234,
            requires_python: Some(">=3.10,<4".to_owned()),
            metadata: format!(
                "Name: {}\nVersion: {}\n",
                name.project(),
                name.full_version()
            )
            .into_bytes(),
            channel: channel.parse().unwrap(),
            name,
        }
    }

    fn wheels() -> Vec<ReleasedWheel> {
        let mut pure = wheel("tools-0.1-py3-none-any.whl", "cu130/torch2.11");
        pure.requires_python = None;
        let flash = |version: &str, python: &str| {
            let name = format!(
                "flash_attn-{version}+cu130torch2.11-{python}-{python}-manylinux_2_28_x86_64.whl"
            );
            wheel(&name, "cu130/torch2.11")
        };
        vec![
            flash("2.10.0", "cp313"),
            flash("2.8.3", "cp312"),
            pure,
            flash("2.10.0", "cp312"),
            wheel(
                "flash_attn-2.8.3+cu128torch2.8-cp312-cp312-manylinux_2_28_x86_64.whl",
                "cu128/torch2.8",
            ),
        ]
    }

    #[test]
    fn a_release_has_one_folder_per_channel() {
        let release = Release::new(&wheels()).unwrap();
        let files = release.files().keys().cloned();
        let wheels = release
            .wheels()
            .keys()
            .map(|path| format!("{path} (wheel)"));
        let mut paths: Vec<String> = files.chain(wheels).collect();
        paths.sort();
        insta::assert_snapshot!(paths.join("\n"));
    }

    #[track_caller]
    fn text(path: &str) -> String {
        let release = Release::new(&wheels()).unwrap();
        String::from_utf8(release.files()[path].clone()).unwrap()
    }

    #[test]
    fn the_root_page_lists_projects() {
        insta::assert_snapshot!(text("cu130/torch2.11/simple/index.html"));
        insta::assert_snapshot!(text("cu130/torch2.11/simple/index.json"));
    }

    #[test]
    fn a_project_page_lists_wheels_from_old_to_new() {
        insta::assert_snapshot!(text("cu130/torch2.11/simple/flash-attn/index.html"));
        insta::assert_snapshot!(text("cu130/torch2.11/simple/flash-attn/index.json"));
    }

    #[test]
    fn a_wheel_that_names_no_python_has_no_attribute_for_it() {
        insta::assert_snapshot!(text("cu130/torch2.11/simple/tools/index.html"));
        insta::assert_snapshot!(text("cu130/torch2.11/simple/tools/index.json"));
    }

    #[test]
    fn lists_are_for_sha256sum_and_pip() {
        insta::assert_snapshot!(text("cu130/torch2.11/SHA256SUMS"));
        insta::assert_snapshot!(text("cu130/torch2.11/requirements.txt"));
    }

    #[test]
    fn one_name_with_two_contents_is_refused() {
        let mut wheels = wheels();
        let mut other = wheels[1].clone();
        other.sha256 = Sha256Digest::of(b"other");
        wheels.push(other);
        let error = Release::new(&wheels).unwrap_err();
        insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()));
    }

    #[test]
    fn one_wheel_with_two_descriptions_is_refused() {
        let mut wheels = wheels();
        let mut other = wheels[2].clone();
        other.metadata.push(b'\n');
        wheels.push(other);
        let res = Release::new(&wheels);
        assert!(
            matches!(res, Err(ReleaseError::OtherMetadata { .. })),
            "{res:?}"
        );
    }

    #[test]
    fn a_wheel_in_the_wrong_channel_is_refused() {
        let mut wheels = wheels();
        wheels[0].channel = "cu128/torch2.8".parse().unwrap();
        let error = Release::new(&wheels).unwrap_err();
        assert_eq!(
            error.to_string(),
            "wheel `flash_attn-2.10.0+cu130torch2.11-cp313-cp313-manylinux_2_28_x86_64.whl` does not belong into channel `cu128/torch2.8`"
        );
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            order in proptest::collection::vec(0_usize..5, 0..9).prop_shuffle(),
        ) {
            let all = wheels();
            let mut shuffled: Vec<_> = order.iter().map(|&index| all[index].clone()).collect();
            shuffled.extend(all.iter().rev().cloned());
            prop_assert_eq!(Release::new(&shuffled), Release::new(&all));
        }
    }
}
