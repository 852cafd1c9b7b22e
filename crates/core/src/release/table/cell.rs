//! What rows are made of: the newest wheel of a project for one Python on one machine.

use std::collections::BTreeSet;
use std::str::FromStr;

use pep440_rs::Version;

use super::{Expected, Installer};
use crate::ident::PackageName;
use crate::release::catalog::CatalogWheel;
use crate::release::listing::{self, Listing};
use crate::version::PythonVersion;
use crate::wheel::name::WheelName;
use crate::wheel::platform::{glibc_of, machine_of};
use crate::wheel::requirement::admits_torch;

/// The oldest pip downloads a file only to say that it would install it. One that is longer than this
/// many bytes is tried with it on one Python of a channel alone.
const SMALL_BYTES: u64 = 64 << 20;

/// The newest wheel of a project for one Python on one machine.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) listing: &'a Listing<'a>,
    pub(super) project: &'a PackageName,
    pub(super) python: PythonVersion,
    pub(super) machine: &'a str,
    pub(super) wheel: &'a CatalogWheel,
    /// Whether the wheel is among those that changed, so that its file is at hand.
    pub(super) is_new: bool,
}

pub(super) fn cells<'a>(
    listing: &'a Listing<'a>,
    projects: &[&'a PackageName],
    changed: &BTreeSet<WheelName>,
) -> Vec<Cell<'a>> {
    let mut cells = Vec::new();
    for &project in projects {
        let machines: BTreeSet<&str> = listing.offered(project).filter_map(machine).collect();
        for &python in &listing.pythons {
            for &machine_name in &machines {
                // What belongs into the channel by its own name: a page may list more by mistake.
                let fits = |wheel: &&CatalogWheel| {
                    machine(wheel) == Some(machine_name)
                        && listing.channel.admits(wheel.file_name.local_version())
                };
                let newest = listing::newest(listing.offered_to(project, python).filter(fits));
                cells.extend(newest.map(|wheel| Cell {
                    listing,
                    project,
                    python,
                    machine: machine_name,
                    wheel,
                    is_new: changed.contains(&wheel.file_name),
                }));
            }
        }
    }
    cells
}

/// The machine that a wheel is for; one that is for any stands for the commonest. None for systems that
/// this farm does not build for.
pub(super) fn machine(wheel: &CatalogWheel) -> Option<&str> {
    let tags = wheel.file_name.platform_tags();
    if tags.iter().any(|tag| tag == "any") {
        return Some("x86_64");
    }
    tags.iter().find_map(|tag| machine_of(tag))
}

/// The glibc that is enough for a wheel.
pub(super) fn glibc(wheel: &CatalogWheel) -> Option<(u32, u32)> {
    let tags = wheel.file_name.platform_tags().iter();
    tags.filter_map(|tag| glibc_of(tag)).min()
}

impl Cell<'_> {
    /// The torch of the channel: what its wheels were built with.
    pub(super) fn torch(&self) -> String {
        let channel = self.listing.channel;
        let wheels = self.listing.projects.values().flatten();
        let mut own = wheels.filter(|wheel| wheel.channel == *channel);
        let torch = own.next().map(|wheel| wheel.built_against.torch.as_str());
        match torch {
            // A nightly's version may be told with its CUDA.
            Some(torch) => torch.split('+').next().unwrap_or(torch).to_owned(),
            None => format!("{}.0", channel.torch().minor()),
        }
    }

    /// The releases of torch before and after the channel's.
    pub(super) fn other_torches(&self) -> Vec<String> {
        let abi = self.listing.channel.torch();
        let (major, minor) = abi.minor().parts();
        let older = minor
            .checked_sub(1)
            .map(|minor| format!("{major}.{minor}.0"));
        let newer = match abi.nightly() {
            // What a nightly is on the way to.
            Some(_) => format!("{major}.{minor}.0"),
            None => format!("{major}.{}.0", minor + 1),
        };
        older.into_iter().chain([newer]).collect()
    }

    pub(super) fn file(&self) -> Expected {
        file(self.wheel)
    }

    /// Whether an installer may be asked for the wheel again and again: the oldest pip downloads it each
    /// time, and what is out already may be far away.
    pub(super) fn is_cheap(&self, installer: Installer) -> bool {
        installer != Installer::PipOldest || (self.is_new && self.wheel.size_bytes <= SMALL_BYTES)
    }
}

pub(super) fn file(wheel: &CatalogWheel) -> Expected {
    Expected::File {
        name: wheel.file_name.clone(),
        sha256: wheel.sha256,
    }
}

/// What must come of a wheel beside an installed and pinned torch of another minor version; none where
/// its requirements hold under conditions.
pub(super) fn beside(wheel: &CatalogWheel, torch: &str) -> Option<Expected> {
    if wheel.uses_torch_cxx_abi {
        return Some(Expected::Refusal);
    }
    let torch = Version::from_str(torch).ok()?;
    let requirements = wheel.requires_dist.iter().map(String::as_str);
    let is_admitted = admits_torch(requirements, &torch)?;
    Some(if is_admitted {
        file(wheel)
    } else {
        Expected::Refusal
    })
}

pub(super) fn next_python(python: PythonVersion) -> Option<PythonVersion> {
    let text = python.to_string();
    let free = if text.ends_with('t') { "t" } else { "" };
    let minor: u8 = text
        .trim_end_matches('t')
        .strip_prefix("3.")?
        .parse()
        .ok()?;
    format!("3.{}{free}", minor.checked_add(1)?).parse().ok()
}
