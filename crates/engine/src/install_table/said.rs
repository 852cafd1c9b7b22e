//! What installers say that they would do: pip by its report, uv by its lines.

use std::collections::BTreeMap;

use serde::Deserialize;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::release::table::Taken;
use wheelfarm_core::wheel::name::WheelName;

/// As much of an installer's words as a message holds.
const SAID_CHARS: usize = 1200;

/// What is kept of pip's report (<https://pip.pypa.io/en/stable/reference/installation-report/>).
#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    download_info: Download,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Download {
    url: String,
    archive_info: Option<Archive>,
}

#[derive(Deserialize)]
struct Archive {
    hashes: Option<BTreeMap<String, String>>,
}

/// What pip's report lists.
pub(super) fn by_pip(report: &str) -> Result<Vec<Taken>, serde_json::Error> {
    let report: Report = serde_json::from_str(report)?;
    let taken = |item: Item| {
        let hashes = item.download_info.archive_info.and_then(|info| info.hashes);
        Some(Taken {
            project: PackageName::normalise(&item.metadata.name).ok()?,
            version: item.metadata.version,
            file_name: Some(file_name(&item.download_info.url)),
            sha256: hashes.and_then(|hashes| hashes.get("sha256")?.parse().ok()),
        })
    };
    Ok(report.install.into_iter().filter_map(taken).collect())
}

/// What uv's lines on standard error list, with `-v`.
pub(super) fn by_uv(lines: &[String]) -> Vec<Taken> {
    // The last word on a version counts: uv goes back on choices.
    let mut chosen: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines {
        let choice = line.split_once("Selecting: ").map(|(_, choice)| choice);
        let choice = choice.and_then(|choice| choice.split_once(" ["));
        if let Some((what, rest)) = choice {
            let file = rest
                .rsplit_once('(')
                .map(|(_, file)| file.trim_end_matches(')'));
            chosen.extend(file.map(|file| (what, file)));
        }
    }
    let added = lines.iter().filter_map(|line| line.strip_prefix(" + "));
    let taken = |added: &str| {
        if let Some((name, address)) = added.split_once(" @ ") {
            let name = PackageName::normalise(name).ok()?;
            return by_address(name, address);
        }
        let (name, version) = added.split_once("==")?;
        Some(Taken {
            project: PackageName::normalise(name).ok()?,
            version: version.to_owned(),
            file_name: chosen.get(added).map(|file| (*file).to_owned()),
            sha256: None,
        })
    };
    added.filter_map(taken).collect()
}

fn by_address(project: PackageName, address: &str) -> Option<Taken> {
    let file_name = file_name(address);
    let name: WheelName = file_name.parse().ok()?;
    let sha256 = address.split_once("#sha256=");
    Some(Taken {
        project,
        version: name.full_version(),
        file_name: Some(file_name),
        sha256: sha256.and_then(|(_, digest)| digest.parse::<Sha256Digest>().ok()),
    })
}

/// The file that an address ends in.
fn file_name(address: &str) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    let last = address[..end].rsplit('/').next().unwrap_or_default();
    last.replace("%2B", "+").replace("%2b", "+")
}

/// How pip and uv call it when a server cannot be reached, or is not well: that says nothing of a release.
const NETWORK: [&str; 10] = [
    "Connection refused",
    "Failed to establish a new connection",
    "Name or service not known",
    "Temporary failure in name resolution",
    "error sending request",
    "dns error",
    "timed out",
    "Too Many Requests",
    "Server Error",
    "server error",
];

/// The line that tells of a server that cannot be reached, if there is one.
pub(super) fn unreachable(lines: &[String]) -> Option<&str> {
    let tells = |line: &&str| NETWORK.iter().any(|sign| line.contains(sign));
    spoken(lines).find(tells)
}

/// What an installer says to its user.
fn spoken(lines: &[String]) -> impl Iterator<Item = &str> {
    let is_spoken = |line: &&String| {
        let is_log = ["DEBUG ", "TRACE ", "INFO "]
            .iter()
            .any(|log| line.starts_with(log));
        !is_log && !line.trim().is_empty()
    };
    lines.iter().filter(is_spoken).map(|line| line.trim())
}

/// The installer's own words on why it failed, in one line.
pub(super) fn reason(lines: &[String]) -> String {
    let words: Vec<&str> = spoken(lines).collect();
    let is_error = |line: &&str| line.starts_with("ERROR:") || line.starts_with("error:");
    let begin = words.iter().position(is_error);
    let begin = begin.unwrap_or(words.len().saturating_sub(3));
    let text = words[begin..].join(" ");
    if text.chars().count() <= SAID_CHARS {
        return text;
    }
    text.chars().take(SAID_CHARS).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_pip_names_files_and_digests() {
        let report = r#"{"version": "1", "install": [
            {"metadata": {"name": "Flash_Attn", "version": "2.8.3+cu130torch2.11"},
             "download_info": {"url": "http://h/files/0f/0f/flash_attn-2.8.3%2Bcu130torch2.11-cp311-cp311-linux_x86_64.whl?x=1",
               "archive_info": {"hashes": {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}},
            {"metadata": {"name": "torch", "version": "2.11.0"}, "download_info": {"url": "http://h/torch-2.11.0-py3-none-any.whl", "archive_info": {}}}]}"#;
        let taken = by_pip(report).unwrap();
        let shown: Vec<_> = taken
            .iter()
            .map(|one| {
                (
                    one.project.as_str(),
                    one.version.as_str(),
                    one.file_name.as_deref().unwrap(),
                    one.sha256,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "flash-attn",
                    "2.8.3+cu130torch2.11",
                    "flash_attn-2.8.3+cu130torch2.11-cp311-cp311-linux_x86_64.whl",
                    Some(Sha256Digest::of(b""))
                ),
                ("torch", "2.11.0", "torch-2.11.0-py3-none-any.whl", None),
            ]
        );
        assert!(by_pip("{}").is_err());
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_of_uv_name_files_by_its_last_choice() {
        let taken = by_uv(&lines(
            "DEBUG Selecting: torch==2.8.0 [installed] (installed)\n\
             DEBUG Selecting: demo==1.0+cu130torch2.11 [compatible] (demo-1.0+cu130torch2.11-1-cp311-cp311-linux_x86_64.whl)\n\
             DEBUG Selecting: demo==1.0+cu130torch2.11 [compatible] (demo-1.0+cu130torch2.11-2-cp311-cp311-linux_x86_64.whl)\n\
             Would install 2 packages\n \
             + demo==1.0+cu130torch2.11\n \
             + far @ http://h/f/far-2.0%2Bcu130-py3-none-any.whl#sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n \
             - torch==2.8.0\n \
             + torch==2.11.0",
        ));
        let shown: Vec<_> = taken
            .iter()
            .map(|one| {
                (
                    one.project.as_str(),
                    one.version.as_str(),
                    one.file_name.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "demo",
                    "1.0+cu130torch2.11",
                    Some("demo-1.0+cu130torch2.11-2-cp311-cp311-linux_x86_64.whl")
                ),
                ("far", "2.0+cu130", Some("far-2.0+cu130-py3-none-any.whl")),
                ("torch", "2.11.0", None),
            ]
        );
        assert_eq!(taken[1].sha256, Some(Sha256Digest::of(b"")));
    }

    #[test]
    fn a_server_that_is_down_is_no_refusal() {
        let pip = "WARNING: Retrying (Retry(total=4)) after connection broken by \
                   'NewConnectionError: [Errno 111] Connection refused': /simple/demo/\n\
                   ERROR: No matching distribution found for demo==1.0";
        assert!(
            unreachable(&lines(pip))
                .unwrap()
                .starts_with("WARNING: Retrying")
        );
        let uv = "DEBUG error sending request\nerror: Failed to fetch: `http://h/`\n  \
                  Caused by: HTTP status server error (503 Service Unavailable)";
        assert!(unreachable(&lines(uv)).unwrap().starts_with("Caused by"));
        let uv = "error: Failed to fetch\n  cause: error sending request for url (http://h/)";
        assert!(unreachable(&lines(uv)).is_some());
        assert_eq!(unreachable(&lines("ERROR: No matching distribution")), None);
    }

    #[test]
    fn reasons_begin_at_the_error() {
        let uv = "DEBUG x\nUsing Python 3.11.7\nerror: No solution found\n  cause: Because a\nDEBUG y\n\n  and b.";
        assert_eq!(
            reason(&lines(uv)),
            "error: No solution found cause: Because a and b."
        );
        let pip = "Looking in indexes: x\nERROR: No matching distribution found for a==1";
        assert_eq!(
            reason(&lines(pip)),
            "ERROR: No matching distribution found for a==1"
        );
        assert_eq!(reason(&lines("a\nb\nc\nd")), "b c d");
    }
}
