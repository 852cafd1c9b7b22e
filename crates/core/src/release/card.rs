//! What people read of a release: its README, which a Hub shows as the model card, and the page of its
//! channels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::release::catalog::{CatalogWheel, Track};
use crate::release::index::escaped;
use crate::release::install::{Client, Offer, Way, torch_line, torch_requirement};
use crate::release::layout::Layout;
use crate::release::links::{ADDRESS_VARIABLE, Links};
use crate::release::listing::{Listing, channel_path, newest};
use crate::version::PythonVersion;
use crate::wheel::platform::{glibc_of, machine_of};

/// Hubs show what stands between the dashes as tags. The licence is each project's own.
const FRONT_MATTER: &str = "---\ntags:\n- wheelfarm\n- cuda\n- pip\n---\n";

/// The README of a release.
pub(super) fn readme(layout: &Layout<'_>, listings: &[Listing<'_>]) -> String {
    let catalog = layout.catalog;
    let mut text = format!("{FRONT_MATTER}\n# CUDA wheels for pip and uv\n\n");
    let count = catalog.wheels.len();
    if listings.is_empty() {
        text += "There are no wheels in this release.\n";
        return text;
    }
    let projects: BTreeSet<_> = catalog
        .wheels
        .values()
        .map(|wheel| wheel.file_name.project())
        .collect();
    write!(text, "Release {} of {}: {} of {}. Everything here but the wheels is made from\n\
         [manifest.json](manifest.json); `sha256sum -c SHA256SUMS` checks the wheels. Beside each wheel stand\n\
         what is known of it (`.manifest.json`, `.html`), what the checks found in it (`.report.json`) and, where it\n\
         has run on a GPU, what that came to (`.gpu-receipt.json`).\n",
        catalog.release,
        catalog.published_at,
        counted(count, "wheel"),
        counted(projects.len(), "project"),
    ).expect("a String takes all that is written");
    for (track, title) in [
        (Track::Stable, "What there is"),
        (Track::Nightly, "Nightly"),
    ] {
        let listings: Vec<_> = listings
            .iter()
            .filter(|listing| listing.track == track)
            .collect();
        if !listings.is_empty() {
            write!(text, "\n## {title}\n\n{}", table(&listings))
                .expect("a String takes all that is written");
        }
    }
    text += &yanked(layout);
    text += &install(layout, listings);
    text
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The newest wheels of every project in every channel; a line for those that differ in their Python
/// alone.
fn table(listings: &[&Listing<'_>]) -> String {
    let mut text = "The newest of each; what is older is in the indexes.\n\n\
         | project | version | CUDA | torch | Python | GPUs, by compute capability | system | run on a GPU |\n\
         |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for listing in listings {
        for (project, wheels) in &listing.projects {
            let Some(newest) = newest(listing.offered(project)) else {
                continue;
            };
            let version = newest.file_name.public_version();
            let mut lines: BTreeMap<[String; 3], BTreeSet<PythonVersion>> = BTreeMap::new();
            for wheel in wheels.iter().filter(|wheel| {
                wheel.yanked.is_none() && wheel.file_name.public_version() == version
            }) {
                let facts = [
                    gpus(wheel),
                    system(wheel),
                    wheel.gpu_run.as_str().to_owned(),
                ];
                let pythons = listing.pythons.iter().copied();
                let pythons = pythons.filter(|&python| super::listing::serves(wheel, python));
                lines.entry(facts).or_default().extend(pythons);
            }
            for ([gpus, system, run], pythons) in lines {
                let pythons: Vec<_> = pythons.iter().map(ToString::to_string).collect();
                writeln!(
                    text,
                    "| {project} | {version} | {} | {} | {} | {gpus} | {system} | {run} |",
                    listing.cuda,
                    listing.channel.torch(),
                    pythons.join(", "),
                )
                .expect("a String takes all that is written");
            }
        }
    }
    text
}

/// `native on 9.0, 12.0; compiled on first use on 12.1`.
fn gpus(wheel: &CatalogWheel) -> String {
    if wheel.runs_on.is_empty() {
        return "not checked".to_owned();
    }
    let with = |wanted: &str| {
        let mut found: Vec<&str> = wheel
            .runs_on
            .iter()
            .filter(|(_, answer)| answer.verdict == wanted)
            .map(|(capability, _)| capability.as_str())
            .collect();
        found.sort_by_key(|capability| {
            let (major, minor) = capability.split_once('.').unwrap_or((capability, "0"));
            (
                major.parse::<u32>().unwrap_or(u32::MAX),
                minor.parse::<u32>().unwrap_or(u32::MAX),
            )
        });
        found.join(", ")
    };
    if !with("no-device-code").is_empty() {
        return "holds no GPU code".to_owned();
    }
    let kinds = [
        ("native", "native: "),
        ("jit", "compiled on first use: "),
        ("partly", "in part: "),
        ("unknown", "not known: "),
    ];
    let said: Vec<String> = kinds
        .iter()
        .map(|(verdict, text)| (with(verdict), text))
        .filter(|(found, _)| !found.is_empty())
        .map(|(found, text)| format!("{text}{found}"))
        .collect();
    if said.is_empty() {
        return "none that is known".to_owned();
    }
    said.join("; ")
}

/// `x86_64, glibc 2.28`.
fn system(wheel: &CatalogWheel) -> String {
    let tags = wheel.file_name.platform_tags();
    let machine = tags.iter().find_map(|tag| machine_of(tag));
    let Some(machine) = machine else {
        return "any".to_owned();
    };
    // Of several tags the one that promises the least is the one that decides.
    match tags.iter().filter_map(|tag| glibc_of(tag)).min() {
        Some((major, minor)) => format!("{machine}, glibc {major}.{minor}"),
        None => format!("{machine}, glibc not known"),
    }
}

fn yanked(layout: &Layout<'_>) -> String {
    let mut lines = String::new();
    for wheel in layout.catalog.wheels.values() {
        let Some(reason) = &wheel.yanked else {
            continue;
        };
        if !wheel.tracks.is_empty() {
            let reason = reason.replace('|', "\\|").replace(['\n', '\r'], " ");
            writeln!(lines, "| `{}` | {} |", wheel.file_name, escaped(&reason))
                .expect("a String takes all that is written");
        }
    }
    if lines.is_empty() {
        return lines;
    }
    format!(
        "\n## Taken back\n\nInstallers take these only when they are asked for by their exact version.\n\n\
         | wheel | why |\n|---|---|\n{lines}"
    )
}

fn install(layout: &Layout<'_>, listings: &[Listing<'_>]) -> String {
    let mut text = "\n## Install\n\n\
        torch stands in every line, so that pip and uv do not change the one that is installed. Write the version\n\
        that you have in its place (`torch==2.11.0`): they refuse then where a wheel does not go with it.\n"
        .to_owned();
    if *layout.links == Links::Relative {
        write!(text, "\nThis release knows no address. Say where you have it, as a folder on a disk or on a web server:\n\n\
             ```sh\nexport {ADDRESS_VARIABLE}=file:///srv/wheels    # or https://wheels.example.org\n```\n"
        ).expect("a String takes all that is written");
    }
    if super::install::whl_address(layout.links, layout.index_url).is_none() {
        text += "\nThere is no index page for pip and uv here: this place serves pages as plain text, which both refuse as an\n\
                 index. The lines below name files.\n";
    }
    for listing in listings {
        if let Some(lines) = install_channel(layout, listing) {
            text += &lines;
        }
    }
    text
}

/// The lines of a channel, with one of its wheels as the example.
fn install_channel(layout: &Layout<'_>, listing: &Listing<'_>) -> Option<String> {
    let examples = listing.projects.keys().filter_map(|project| {
        let python = listing.pythons.iter().rev().find_map(|&python| {
            let wheel = newest(listing.offered_to(project, python))?;
            Some((python, wheel))
        })?;
        Some(python)
    });
    // One with a local version can be told from PyPI's in every way.
    let (python, wheel) =
        examples.min_by_key(|(_, wheel)| wheel.file_name.local_version().is_none())?;
    let torch = torch_requirement(listing.channel);
    let offer = Offer {
        links: layout.links,
        index_url: layout.index_url,
        track: listing.track,
        channel: listing.channel,
        python,
        wheel,
        torch: &torch,
    };
    let track = match listing.track {
        Track::Stable => "",
        Track::Nightly => ", nightly",
    };
    let mut text = format!(
        "\n### CUDA {}, torch {}{track} (`{}`)\n\n`{}` on Python {python}; where torch is not there yet, it comes first:\n\n```sh\n{}\n```\n",
        listing.cuda,
        listing.channel.torch(),
        channel_path(listing.channel, listing.track),
        wheel.file_name.project(),
        torch_line(listing.channel, Client::Pip),
    );
    let ways = [
        (
            "the newest wheel, by a file of requirements",
            Way::Requirements,
        ),
        ("that wheel, by its address", Way::Direct),
        ("from the page of the channel's links", Way::FindLinks),
        ("from the channel's index", Way::Index),
    ];
    for (what, way) in ways {
        let lines = Client::ALL
            .iter()
            .filter_map(|&client| offer.line(client, way));
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            write!(text, "\n{what}:\n\n```sh\n{}\n```\n", lines.join("\n"))
                .expect("a String takes all that is written");
        }
    }
    Some(text)
}

/// `whl/index.html`: the channels, for people.
pub(super) fn overview(layout: &Layout<'_>, listings: &[Listing<'_>]) -> String {
    let mut rows = String::new();
    for listing in listings {
        let path = channel_path(listing.channel, listing.track);
        let projects = listing
            .projects
            .keys()
            .map(|project| format!("<a href=\"{path}/simple/{project}/index.html\">{project}</a>"));
        let pythons: Vec<_> = listing.pythons.iter().map(ToString::to_string).collect();
        writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>\
             <a href=\"{path}/simple/index.html\">index</a> \
             <a href=\"{path}.html\">links</a> \
             <a href=\"{path}/constraints.txt\">constraints</a></td></tr>",
            listing.channel,
            listing.track,
            pythons.join(", "),
            projects.collect::<Vec<_>>().join(" "),
        )
        .expect("a String takes all that is written");
    }
    let body = if rows.is_empty() {
        "<p>There are no wheels in this release.</p>\n".to_owned()
    } else {
        format!(
            "<table>\n<tr><th>channel</th><th>track</th><th>Python</th><th>projects</th><th>pages</th></tr>\n\
             {rows}</table>\n"
        )
    };
    let release = layout.catalog.release;
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Wheels</title>\n\
         <style>{}</style>\n</head>\n<body>\n<h1>Wheels: release {release}</h1>\n{body}\
         <p>Install from the index of the one channel that has your CUDA and torch; the README has the lines.</p>\n\
         </body>\n</html>\n",
        super::wheel_page::STYLE
    )
}
