//! The installers that rows are tried with: pinned wheels of an index, unpacked in the cache.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::release::table::Installer;
use wheelfarm_core::source::IndexUrl;
use zip::ZipArchive;

use super::TableError;
use crate::fetch::{Fetcher, run_blocking};
use crate::files::{self, FileError};

/// A tool by the one file that it is.
struct Pin {
    version: &'static str,
    file_name: &'static str,
    sha256: &'static str,
}

/// 23.2 is the first pip that reads METADATA beside a wheel (PEP 658), and the oldest that is tried.
const PIP_OLDEST: Pin = Pin {
    version: "23.2.1",
    file_name: "pip-23.2.1-py3-none-any.whl",
    sha256: "7ccf472345f20d35bdc9d1841ff5f313260c2c33fe417f48c30ac46cccabf5be",
};

const PIP_NEWEST: Pin = Pin {
    version: "26.3",
    file_name: "pip-26.3-py3-none-any.whl",
    sha256: "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13",
};

const UV_X86_64: Pin = Pin {
    version: "0.13.8",
    file_name: "uv-0.13.8-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256: "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
};

const UV_AARCH64: Pin = Pin {
    version: "0.13.8",
    file_name: "uv-0.13.8-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
    sha256: "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d",
};

/// The least Python that an installer runs on; uv needs none.
pub(super) fn least_python(installer: Installer) -> Option<&'static str> {
    match installer {
        Installer::PipOldest => Some("3.7"),
        Installer::PipNewest => Some("3.10"),
        Installer::Uv => None,
    }
}

/// The version of an installer that rows are tried with.
pub fn version(installer: Installer) -> &'static str {
    pin(installer).version
}

fn pin(installer: Installer) -> &'static Pin {
    match installer {
        Installer::PipOldest => &PIP_OLDEST,
        Installer::PipNewest => &PIP_NEWEST,
        Installer::Uv if std::env::consts::ARCH == "aarch64" => &UV_AARCH64,
        Installer::Uv => &UV_X86_64,
    }
}

/// Where the installers are.
#[derive(Debug)]
pub(super) struct Tools {
    /// What Python needs on its path for the oldest pip.
    pub(super) pip_oldest: Utf8PathBuf,
    /// The same for the newest.
    pub(super) pip_newest: Utf8PathBuf,
    /// The program.
    pub(super) uv: Utf8PathBuf,
}

impl Tools {
    /// Fetches and unpacks what is not there yet.
    pub(super) async fn bring(fetcher: &Fetcher, index: &IndexUrl) -> Result<Self, TableError> {
        let pip_oldest = unpacked(fetcher, index, "pip", &PIP_OLDEST).await?;
        let pip_newest = unpacked(fetcher, index, "pip", &PIP_NEWEST).await?;
        let uv = pin(Installer::Uv);
        let uv_folder = unpacked(fetcher, index, "uv", uv).await?;
        let uv = uv_folder.join(format!("uv-{}.data/scripts/uv", uv.version));
        Ok(Self {
            pip_oldest,
            pip_newest,
            uv,
        })
    }
}

async fn unpacked(
    fetcher: &Fetcher,
    index: &IndexUrl,
    project: &'static str,
    pin: &Pin,
) -> Result<Utf8PathBuf, TableError> {
    let sha256: Sha256Digest = pin.sha256.parse().expect("a digest in the source is one");
    let folder = fetcher.cache().join("tools").join(pin.sha256);
    let fault = |source| TableError::Tool {
        tool: project,
        version: pin.version,
        source: Box::new(source),
    };
    let utf8 =
        Utf8PathBuf::from_path_buf(folder.clone()).map_err(|path| TableError::Path { path })?;
    if folder.exists() {
        return Ok(utf8);
    }
    let name: PackageName = project.parse().expect("a name in the source is one");
    let file = fetcher
        .index_file(index, &name, (pin.file_name, sha256), |_| ())
        .await
        .map_err(fault)?;
    run_blocking(move || unpack(&file, &folder)).await?;
    Ok(utf8)
}

/// Unpacks a wheel into a folder that is whole or not there.
fn unpack(wheel: &Path, folder: &PathBuf) -> Result<(), FileError> {
    let fault = |source| FileError::new("unpack", wheel, source);
    let parent = folder.parent().unwrap_or(folder);
    files::create_folder(parent)?;
    let staged = tempfile::tempdir_in(parent).map_err(fault)?;
    let mut archive =
        ZipArchive::new(files::open(wheel)?).map_err(|error| fault(io::Error::other(error)))?;
    archive
        .extract(staged.path())
        .map_err(|error| fault(io::Error::other(error)))?;
    let mut programs: Vec<PathBuf> = Vec::new();
    for entry in fs_err::read_dir(staged.path()).map_err(fault)? {
        let scripts = entry.map_err(fault)?.path().join("scripts");
        if scripts.is_dir() {
            for script in fs_err::read_dir(&scripts).map_err(fault)? {
                programs.push(script.map_err(fault)?.path());
            }
        }
    }
    for program in programs {
        let rights = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(program, rights).map_err(fault)?;
    }
    let staged = staged.keep();
    match fs_err::rename(&staged, folder) {
        Ok(()) => Ok(()),
        // Another run was faster, and what it brought is the same.
        Err(_) if folder.exists() => fs_err::remove_dir_all(&staged)
            .map_err(|source| FileError::new("remove", &staged, source)),
        Err(source) => Err(FileError::new("rename", &staged, source)),
    }
}
