//! The plain lists of a release: digests for `sha256sum`, constraints and requirements for pip and uv.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::ident::PackageName;
use crate::release::catalog::{Catalog, CatalogWheel};
use crate::release::install::direct_requirement;
use crate::release::links::Links;
use crate::release::listing::{Age, Listing, newest};
use crate::version::PythonVersion;
use crate::wheel::platform::machine_of;

/// `SHA256SUMS` of a release: `sha256sum -c` takes it at its root.
pub(super) fn sha256sums(catalog: &Catalog) -> String {
    let lines = catalog.wheels.values();
    let mut lines: Vec<String> = lines
        .map(|wheel| format!("{}  {}\n", wheel.sha256, wheel.path()))
        .collect();
    lines.sort_by(|left, right| left[64..].cmp(&right[64..]));
    lines.concat()
}

/// `constraints.txt` of a channel: its torch, and each project at its newest version.
pub(super) fn constraints(listing: &Listing<'_>) -> String {
    let mut text = format!(
        "# Keeps pip and uv to channel {} of the {} track: pip install -c THIS …\ntorch{}\n",
        listing.channel,
        listing.track,
        listing.channel.torch().specifier()
    );
    let newest = listing.projects.keys();
    for wheel in newest.filter_map(|project| newest_of(listing, project)) {
        let name = &wheel.file_name;
        writeln!(text, "{}=={}", name.project(), name.full_version())
            .expect("a String takes all that is written");
    }
    text
}

fn newest_of<'a>(listing: &Listing<'a>, project: &PackageName) -> Option<&'a CatalogWheel> {
    newest(listing.offered(project))
}

/// The files of requirements of a project for one Python: of its newest version (`demo.txt`) and of
/// each (`demo-1.0.txt`), by name. None where no wheel serves that Python.
pub(super) fn requirements(
    listing: &Listing<'_>,
    project: &PackageName,
    python: PythonVersion,
    links: &Links,
) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let wheels: Vec<_> = listing.offered_to(project, python).collect();
    let Some(newest) = newest(wheels.iter().copied()) else {
        return files;
    };
    let newest = newest.file_name.public_version();
    // They come by version: those of one public version stand together.
    for same in wheels
        .chunk_by(|one, other| one.file_name.public_version() == other.file_name.public_version())
    {
        let version = same[0].file_name.public_version();
        let text = requirement(listing, python, same, links);
        if version == newest {
            files.insert(format!("{project}.txt"), text.clone());
        }
        files.insert(format!("{project}-{version}.txt"), text);
    }
    files
}

/// The best wheels of one version for each machine, by their addresses.
fn requirement(
    listing: &Listing<'_>,
    python: PythonVersion,
    wheels: &[&CatalogWheel],
    links: &Links,
) -> String {
    let mut best: BTreeMap<Option<String>, &CatalogWheel> = BTreeMap::new();
    for &wheel in wheels {
        let mut machine = wheel.file_name.platform_tags().iter();
        let machine = machine.find_map(|tag| machine_of(tag));
        best.insert(machine.map(str::to_owned), wheel);
    }
    // A wheel for every machine is worth no less than an older one for this.
    if let Some(&any) = best.get(&None) {
        let age = Age::of(&any.file_name);
        best.retain(|machine, wheel| {
            machine.is_none() || Age::of(&wheel.file_name).cmp_version(&age).is_gt()
        });
    }
    let machines: Vec<String> = best.keys().flatten().cloned().collect();
    let mut text = String::new();
    for (machine, wheel) in &best {
        let line = direct_requirement(wheel, links);
        let marker = marker(machine.as_deref(), &machines, best.len());
        if text.is_empty() {
            let name = &wheel.file_name;
            writeln!(
                text,
                "# {} {} for CUDA {}, torch {}, Python {python}",
                name.project(),
                name.full_version(),
                listing.cuda,
                listing.channel.torch(),
            )
            .expect("a String takes all that is written");
            text += &note(links);
        }
        writeln!(text, "{line}{marker}").expect("a String takes all that is written");
    }
    text
}

/// What keeps a line to its machine, where there are several lines.
fn marker(machine: Option<&str>, machines: &[String], lines: usize) -> String {
    let (operator, machines) = match machine {
        _ if lines == 1 => return String::new(),
        Some(machine) => ("==", &[machine.to_owned()][..]),
        None => ("!=", machines),
    };
    let terms = machines.iter();
    let terms = terms.map(|machine| format!("platform_machine {operator} \"{machine}\""));
    format!(" ; {}", terms.collect::<Vec<_>>().join(" and "))
}

fn note(links: &Links) -> String {
    match links {
        Links::Relative => format!(
            "# set {} to the address of the release first: https://… or file:///…\n",
            super::links::ADDRESS_VARIABLE
        ),
        Links::Absolute { .. } | Links::Hub { .. } => String::new(),
    }
}
