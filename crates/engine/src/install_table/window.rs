//! A window on the default index, PyPI: every row sees it, as every user does.
//!
//! What it lists is what the index lists. Of the release's own projects no file is handed out: a row that
//! asks for one has chosen it, which is all that the table wants to know, and an sdist would be run to be
//! looked at. Of all other projects (torch and what the wheels require) each version is an empty wheel
//! without requirements, so that no row downloads two gigabytes to say that it would.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::release::index::escaped;
use wheelfarm_core::source::IndexUrl;
use wheelfarm_core::source::simple_index::{IndexFile, releases};
use wheelfarm_core::wheel::name::WheelName;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::fetch::{FetchError, Fetcher};

/// What the index has of a project; why it could not be asked.
type Listed = Result<Arc<[IndexFile]>, String>;

/// The default index as rows see it.
#[derive(Debug)]
pub(super) struct Window {
    fetcher: Fetcher,
    index: IndexUrl,
    own: BTreeSet<PackageName>,
    pages: Mutex<BTreeMap<PackageName, Arc<OnceCell<Listed>>>>,
}

impl Window {
    /// A window on `index`, for a release of the projects `own`.
    pub(super) fn new(fetcher: Fetcher, index: IndexUrl, own: BTreeSet<PackageName>) -> Self {
        Self {
            fetcher,
            index,
            own,
            pages: Mutex::default(),
        }
    }

    /// Whether the index can be asked at all: why not.
    pub(super) async fn is_open(&self, project: &PackageName) -> Result<(), String> {
        self.listed(project).await.map(drop)
    }

    /// The page of a project, none if the index does not have it; `extra` versions of torch are listed
    /// besides, for users have some from PyTorch's own index.
    pub(super) async fn page(
        &self,
        project: &PackageName,
        base: &str,
        extra: &[String],
    ) -> Result<Option<String>, String> {
        let files = self.listed(project).await?;
        let is_torch = project.as_str() == "torch";
        if files.is_empty() && !is_torch {
            return Ok(None);
        }
        let links: String = if self.own.contains(project) {
            files.iter().map(|file| own_link(base, file)).collect()
        } else {
            let mut versions: BTreeSet<String> = releases(&files, project)
                .iter()
                .filter(|release| release.yanked().is_none())
                .map(|release| release.version.to_string())
                .collect();
            if is_torch {
                versions.extend(extra.iter().cloned());
            }
            let links = versions.iter();
            links
                .map(|version| stub_link(base, project, version))
                .collect()
        };
        Ok(Some(format!(
            "<!DOCTYPE html>\n<html>\n<head><title>Links for {project}</title></head>\n<body>\n{links}</body>\n</html>\n"
        )))
    }

    async fn listed(&self, project: &PackageName) -> Listed {
        let cell = {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pages.entry(project.clone()).or_default())
        };
        let ask = async || {
            let files = self
                .fetcher
                .project_files(&self.index, project, |_| ())
                .await;
            match files {
                Ok(files) => Ok(files.into()),
                Err(FetchError::NoProject { .. }) => Ok(Arc::from([])),
                Err(error) => Err(chain(&error)),
            }
        };
        cell.get_or_init(ask).await.clone()
    }
}

fn own_link(base: &str, file: &IndexFile) -> String {
    let name = escaped(&file.file_name);
    let python = file
        .requires_python
        .as_deref()
        .map_or_else(String::new, |python| {
            format!(" data-requires-python=\"{}\"", escaped(python))
        });
    let yanked = file.yanked.as_deref().map_or_else(String::new, |reason| {
        format!(" data-yanked=\"{}\"", escaped(reason))
    });
    let address = file.file_name.replace('%', "%25").replace('+', "%2B");
    format!(
        "<a href=\"{base}/file/{}\"{python}{yanked}>{name}</a><br>\n",
        escaped(&address)
    )
}

fn stub_link(base: &str, project: &PackageName, version: &str) -> String {
    let name = stub_name(project, version);
    // PEP 714 renamed the attribute; pip before 23.3 knows the old name alone.
    format!(
        "<a href=\"{base}/stub/{}\" data-core-metadata=\"true\" data-dist-info-metadata=\"true\">{name}</a><br>\n",
        name.replace('+', "%2B")
    )
}

/// The name of the empty wheel that stands for a version.
fn stub_name(project: &PackageName, version: &str) -> String {
    let distribution = project.as_str().replace('-', "_");
    format!("{distribution}-{version}-py3-none-any.whl")
}

/// The METADATA of the empty wheel of that name; none if it is no such name.
pub(super) fn stub_metadata(name: &str) -> Option<String> {
    let name: WheelName = name.parse().ok()?;
    Some(format!(
        "Metadata-Version: 2.1\nName: {}\nVersion: {}\n",
        name.project(),
        name.full_version()
    ))
}

/// The empty wheel of that name.
pub(super) fn stub_wheel(name: &str) -> Option<Vec<u8>> {
    let metadata = stub_metadata(name)?;
    let name: WheelName = name.parse().ok()?;
    let folder = format!("{}.dist-info", name.folder_stem());
    let wheel =
        "Wheel-Version: 1.0\nGenerator: wheelfarm\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let record = format!("{folder}/METADATA,,\n{folder}/WHEEL,,\n{folder}/RECORD,,\n");
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (file, text) in [
        ("METADATA", metadata.as_str()),
        ("WHEEL", wheel),
        ("RECORD", &record),
    ] {
        let path = format!("{folder}/{file}");
        writer.start_file(path, SimpleFileOptions::default()).ok()?;
        writer.write_all(text.as_bytes()).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}
