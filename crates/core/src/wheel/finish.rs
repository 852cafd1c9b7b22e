//! Turns the wheel that a build left behind into the wheel that users get.
//!
//! The build's own wheel says what its author believed. The finished one says what is true of
//! its machine code: the local version of its channel, the platform that its libraries allow,
//! the torch that its C++ ABI is tied to. A wheel without machine code says that already.

use std::io::{self, Read, Seek, Write};

use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::wheel::archive::{ArchiveError, LocalHeaders, WheelArchive, WheelCaps};
use crate::wheel::build_number::BuildNumber;
use crate::wheel::elf::ModuleFacts;
use crate::wheel::metadata::MetadataError;
use crate::wheel::name::{WheelName, WheelNameError};
use crate::wheel::platform::{PlatformError, platform_tag};
use crate::wheel::requirement::RequirementError;
use crate::wheel::rewrite::{self, Upstream, WriteError};
use crate::wheel::survey::{self, SurveyError};
use crate::wheel::version::{LocalVersion, PublicVersion, TorchAbi};
use crate::wheel::wheel_file::WheelFileError;

/// What was asked for, and how the result is to be marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishRequest {
    /// The project that the job builds.
    pub project: PackageName,
    /// The upstream version that the job builds.
    pub version: PublicVersion,
    /// What a compiled wheel gets after the `+`: `cu130torch2.11`.
    pub local_version: LocalVersion,
    /// The build number that the wheel gets, machine code or not; `None` leaves what it has.
    pub build: Option<BuildNumber>,
    /// The torch of the job's environment.
    pub torch: TorchAbi,
    /// The time that all files get, in seconds since 1970.
    pub source_date_epoch_s: u64,
    /// Limits on what the wheel may unpack to.
    pub caps: WheelCaps,
}

/// A wheel as it goes out, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedWheel {
    name: WheelName,
    sha256: Sha256Digest,
    size_bytes: u64,
    metadata: Vec<u8>,
    requires_python: Option<String>,
    requires_dist: Vec<String>,
    modules: Vec<ModuleFacts>,
    platform_reason: String,
}

/// Why a wheel cannot be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WheelError {
    /// The wheel is of another project or version than the job builds.
    #[error("wheel `{found}` is not the `{wanted}` that was asked for")]
    OtherName {
        /// Project and version asked for.
        wanted: String,
        /// The wheel's file name.
        found: String,
    },
    /// Upstream's build gave the version a local part of its own.
    #[error("wheel `{found}` has a local version of its own, so it cannot get `+{wanted}`")]
    OtherLocalVersion {
        /// The local version that the job's wheels get.
        wanted: LocalVersion,
        /// The wheel's file name.
        found: String,
        /// The project.
        project: PackageName,
        /// The version without the local part.
        version: PublicVersion,
    },
    /// The file name and a place inside the wheel tell of different releases.
    #[error("file name says `{in_name}`, but {place} says `{inside}`")]
    Disagree {
        /// Project and version from the file name.
        in_name: String,
        /// Where the other one stands.
        place: &'static str,
        /// Project and version from there.
        inside: String,
    },
    /// The archive is not sound.
    #[error("failed to open the wheel")]
    Archive(#[from] ArchiveError),
    /// METADATA cannot be used.
    #[error("failed to read the wheel's metadata")]
    Metadata(#[from] MetadataError),
    /// WHEEL cannot be used, or disagrees with the file name.
    #[error("failed to read the wheel's tags")]
    WheelFile(#[from] WheelFileError),
    /// A member is not what RECORD says, or an ELF file cannot be judged.
    #[error("failed to take stock of the wheel")]
    Survey(#[from] SurveyError),
    /// The requirement on torch cannot be settled.
    #[error("failed to bind the wheel to its torch")]
    Requirement(#[from] RequirementError),
    /// No platform tag is true.
    #[error("failed to choose a platform tag")]
    Platform(#[from] PlatformError),
    /// The new name is not a wheel's.
    #[error("failed to name the finished wheel")]
    Name(#[from] WheelNameError),
    /// The output cannot be written.
    #[error("failed to write the finished wheel `{name}`")]
    Write {
        /// Its name.
        name: String,
        /// What the output says.
        #[source]
        source: io::Error,
    },
}

impl WheelError {
    /// What the maintainer can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OtherLocalVersion {
                project, version, ..
            } => Some(format!(
                "build `{project}` without the `+` part: most projects take it from git, so build from an sdist or set `SETUPTOOLS_SCM_PRETEND_VERSION={version}`"
            )),
            Self::OtherName { wanted, .. } => Some(format!(
                "check that the source is at the release of `{wanted}`, and that the output rule takes no dependency's wheel"
            )),
            Self::Requirement(RequirementError::RulesOut { torch, .. }) => Some(format!(
                "exclude torch {torch} for this package in the matrix, or patch the requirement if it is out of date"
            )),
            Self::Requirement(_)
            | Self::Disagree { .. }
            | Self::Archive(_)
            | Self::Metadata(_)
            | Self::WheelFile(_)
            | Self::Survey(_)
            | Self::Platform(_)
            | Self::Name(_)
            | Self::Write { .. } => None,
        }
    }
}

/// Checks the wheel `name` and writes its finished form to `output`, which must be empty.
///
/// `output` is read back for its digest: a zip writer returns to headers it has written, so the
/// bytes cannot be hashed as they pass. Finishing a finished wheel gives the same bytes again.
pub fn finish<R, W>(
    name: &WheelName,
    wheel: R,
    request: &FinishRequest,
    output: W,
) -> Result<FinishedWheel, WheelError>
where
    R: Read + Seek,
    W: Read + Write + Seek,
{
    check_name(name, request)?;
    let mut archive = WheelArchive::open(wheel, &request.caps, LocalHeaders::Checked)?;
    let upstream = Upstream::read(&mut archive, name)?;
    let survey = survey::survey(&mut archive, &upstream.dist_info)?;
    let platform = platform_tag(&survey.modules)?;
    let finished = upstream.finished(name, &survey.modules, &platform, request)?;
    let metadata = finished.metadata.to_bytes();
    let (sha256, size_bytes) = rewrite::write(&mut archive, &survey, &finished, request, output)
        .map_err(|error| match error {
            WriteError::Archive(error) => WheelError::Archive(error),
            WriteError::Output(source) => WheelError::Write {
                name: finished.name.to_string(),
                source,
            },
        })?;
    Ok(FinishedWheel {
        sha256,
        size_bytes,
        metadata,
        requires_python: finished.metadata.requires_python().map(str::to_owned),
        requires_dist: finished
            .metadata
            .requires_dist()
            .map(str::to_owned)
            .collect(),
        modules: survey.modules,
        platform_reason: platform.why,
        name: finished.name,
    })
}

impl FinishedWheel {
    /// The file name that it goes out under.
    pub fn name(&self) -> &WheelName {
        &self.name
    }

    /// The digest of the file.
    pub fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// The length of the file.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The METADATA file inside, which an index serves beside the wheel.
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// The digest of [`Self::metadata`].
    pub fn metadata_sha256(&self) -> Sha256Digest {
        Sha256Digest::of(&self.metadata)
    }

    /// The Python versions that it is for.
    pub fn requires_python(&self) -> Option<&str> {
        self.requires_python.as_deref()
    }

    /// What it depends on, as METADATA says it.
    pub fn requires_dist(&self) -> &[String] {
        &self.requires_dist
    }

    /// Whether any module is tied to one minor version of torch.
    pub fn uses_torch_cxx_abi(&self) -> bool {
        self.modules.iter().any(ModuleFacts::uses_torch_cxx_abi)
    }

    /// Every ELF file inside, by path.
    pub fn modules(&self) -> &[ModuleFacts] {
        &self.modules
    }

    /// Why the wheel has its platform tag and no lower one.
    pub fn platform_reason(&self) -> &str {
        &self.platform_reason
    }
}

fn check_name(name: &WheelName, request: &FinishRequest) -> Result<(), WheelError> {
    if *name.project() != request.project || *name.public_version() != request.version {
        return Err(WheelError::OtherName {
            wanted: format!("{} {}", request.project, request.version),
            found: name.to_string(),
        });
    }
    match name.local_version() {
        Some(local) if *local != request.local_version => Err(WheelError::OtherLocalVersion {
            wanted: request.local_version.clone(),
            found: name.to_string(),
            project: request.project.clone(),
            version: request.version.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::wheel::fixture::{Elf, PLAIN, Packing, Tree};

    const STEM: &str = "Demo_Kernels-1.2.0";
    const NAME: &str = "Demo_Kernels-1.2.0-cp312-cp312-linux_x86_64.whl";
    const TAG: &str = "cp312-cp312-linux_x86_64";

    fn request() -> FinishRequest {
        FinishRequest {
            project: "demo-kernels".parse().unwrap(),
            version: "1.2.0".parse().unwrap(),
            local_version: "cu130torch2.11".parse().unwrap(),
            build: None,
            torch: "2.11".parse().unwrap(),
            source_date_epoch_s: 1_700_000_000,
            caps: WheelCaps::default(),
        }
    }

    fn torch_extension() -> Vec<u8> {
        let elf = Elf {
            needed: &["libc10.so", "libtorch.so", "libc.so.6"],
            versions: &[("libc.so.6", &["GLIBC_2.27"])],
            undefined: &["_ZN3c105ErrorD1Ev", "PyLong_FromLong"],
            ..Elf::default()
        };
        elf.bytes()
    }

    fn compiled() -> Tree {
        Tree::wheel(STEM, &["numpy", "torch>=2.0"], TAG)
            .with("demo_kernels/_C.so", &torch_extension())
            .with("Demo_Kernels-1.2.0.data/scripts/demo", b"#!python\n")
            .with("empty.bin", b"")
    }

    fn run(
        name: &str,
        tree: &Tree,
        packing: Packing,
    ) -> Result<(FinishedWheel, Vec<u8>), WheelError> {
        let mut output = Cursor::new(Vec::new());
        let name = name.parse().unwrap();
        let finished = finish(&name, tree.pack(packing), &request(), &mut output)?;
        Ok((finished, output.into_inner()))
    }

    fn listing(bytes: &[u8]) -> String {
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut lines = Vec::new();
        for index in 0..zip.len() {
            let mut file = zip.by_index(index).unwrap();
            let path = file.name().unwrap().into_owned();
            lines.push(format!("{:o} {path}", file.unix_mode().unwrap()));
            if ["METADATA", "WHEEL", "RECORD"]
                .iter()
                .any(|end| path.ends_with(end))
            {
                let mut content = String::new();
                file.read_to_string(&mut content).unwrap();
                lines.extend(content.lines().map(|line| format!("    | {line}")));
            }
        }
        lines.join("\n")
    }

    #[test]
    fn a_compiled_wheel_says_what_its_code_needs() {
        let (finished, bytes) = run(NAME, &compiled().recorded(STEM), PLAIN).unwrap();
        assert_eq!(
            finished.name().to_string(),
            "demo_kernels-1.2.0+cu130torch2.11-cp312-cp312-manylinux_2_27_x86_64.whl"
        );
        assert_eq!(finished.sha256(), Sha256Digest::of(&bytes));
        assert_eq!(finished.size_bytes(), u64::try_from(bytes.len()).unwrap());
        assert_eq!(finished.requires_dist(), ["numpy", "torch==2.11.*"]);
        assert_eq!(finished.requires_python(), Some(">=3.10"));
        assert!(finished.uses_torch_cxx_abi());
        assert_eq!(
            finished.platform_reason(),
            "`demo_kernels/_C.so` needs `GLIBC_2.27` of `libc.so.6`"
        );
        insta::assert_snapshot!(listing(&bytes), @"
100644 Demo_Kernels/__init__.py
100644 demo_kernels-1.2.0+cu130torch2.11.data/scripts/demo
100644 demo_kernels/_C.so
100644 empty.bin
100644 demo_kernels-1.2.0+cu130torch2.11.dist-info/METADATA
    | Metadata-Version: 2.4
    | Name: Demo_Kernels
    | Version: 1.2.0+cu130torch2.11
    | Requires-Python: >=3.10
    | Requires-Dist: numpy
    | Requires-Dist: torch==2.11.*
    | 
    | # Demo_Kernels
100644 demo_kernels-1.2.0+cu130torch2.11.dist-info/WHEEL
    | Wheel-Version: 1.0
    | Generator: test
    | Root-Is-Purelib: false
    | Tag: cp312-cp312-manylinux_2_27_x86_64
100644 demo_kernels-1.2.0+cu130torch2.11.dist-info/RECORD
    | Demo_Kernels/__init__.py,sha256=Nyet_1JOBhYCLq3Y9K8hoHeLKfxMd73-_Rr84sv15Lc,10
    | demo_kernels-1.2.0+cu130torch2.11.data/scripts/demo,sha256=NKJyCC0fONcaYytG9mysca37TZf8wBDISvRNAW-78pQ,9
    | demo_kernels/_C.so,sha256=2y4rIDoMGmaSLgMNU469poEPYE_NRDdC0hT04tGGtU8,872
    | empty.bin,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
    | demo_kernels-1.2.0+cu130torch2.11.dist-info/METADATA,sha256=lLMtB6oV8c0ReV4ydGC5dwMnY907N48-qbqq80ZR7DA,161
    | demo_kernels-1.2.0+cu130torch2.11.dist-info/WHEEL,sha256=Alan2I_lSLzU115mNA504FwqMq0_oOjX_DdzsA85Ntw,97
    | demo_kernels-1.2.0+cu130torch2.11.dist-info/RECORD,,
");
    }

    #[test]
    fn a_pure_wheel_keeps_its_version_and_tags() {
        let stem = "demo_kernels-1.2.0";
        let tree = Tree::wheel(stem, &["torch"], "py3-none-any").recorded(stem);
        let name = "demo_kernels-1.2.0-py3-none-any.whl";
        let (finished, bytes) = run(name, &tree, PLAIN).unwrap();
        assert_eq!(finished.name().to_string(), name);
        assert_eq!(finished.requires_dist(), ["torch"]);
        assert_eq!(finished.platform_reason(), "no compiled module");
        assert!(listing(&bytes).contains("Root-Is-Purelib: true"));
    }

    #[test]
    fn code_without_the_cxx_abi_leaves_torch_alone() {
        let elf = Elf {
            undefined: &["aoti_torch_empty_strided"],
            ..Elf::default()
        };
        let tree = Tree::wheel(STEM, &["torch>=2.10"], TAG)
            .with("demo_kernels/_C.so", &elf.bytes())
            .recorded(STEM);
        let (finished, _) = run(NAME, &tree, PLAIN).unwrap();
        assert_eq!(finished.requires_dist(), ["torch>=2.10"]);
        assert!(!finished.uses_torch_cxx_abi());
    }

    /// Finishes it as the second build.
    fn run_second(name: &str, tree: &Tree) -> (FinishedWheel, Vec<u8>) {
        let request = FinishRequest {
            build: BuildNumber::new(2),
            ..request()
        };
        let mut output = Cursor::new(Vec::new());
        let name = name.parse().unwrap();
        let finished = finish(&name, tree.pack(PLAIN), &request, &mut output).unwrap();
        (finished, output.into_inner())
    }

    #[test]
    fn a_build_number_stands_in_the_name_and_in_wheel() {
        let (finished, bytes) = run_second(NAME, &compiled().recorded(STEM));
        assert_eq!(
            finished.name().to_string(),
            "demo_kernels-1.2.0+cu130torch2.11-2-cp312-cp312-manylinux_2_27_x86_64.whl"
        );
        let listed = listing(&bytes);
        assert!(listed.contains("| Build: 2\n"), "{listed}");
        // What names folders and METADATA has no build number.
        assert!(
            listed.contains(" demo_kernels-1.2.0+cu130torch2.11.dist-info/WHEEL"),
            "{listed}"
        );
        let (first, _) = run(NAME, &compiled().recorded(STEM), PLAIN).unwrap();
        assert_eq!(first.metadata(), finished.metadata());
        assert_ne!(first.sha256(), finished.sha256());

        let mut output = Cursor::new(Vec::new());
        let again = finish(finished.name(), Cursor::new(bytes), &request(), &mut output).unwrap();
        assert_eq!(again.sha256(), finished.sha256());
    }

    #[test]
    fn a_pure_wheel_gets_a_build_number_too_and_upstreams_own_is_replaced() {
        let stem = "demo_kernels-1.2.0";
        let tree = Tree::wheel(stem, &["torch"], "py3-none-any").recorded(stem);
        let (finished, bytes) = run_second("demo_kernels-1.2.0-py3-none-any.whl", &tree);
        assert_eq!(
            finished.name().to_string(),
            "demo_kernels-1.2.0-2-py3-none-any.whl"
        );
        let listed = listing(&bytes);
        assert!(listed.contains("| Build: 2\n"), "{listed}");

        let wheel_file = format!("{stem}.dist-info/WHEEL");
        let text = b"Wheel-Version: 1.0\nBuild: 7\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        let own = Tree::wheel(stem, &["torch"], "py3-none-any")
            .with(&wheel_file, text)
            .recorded(stem);
        let name = "demo_kernels-1.2.0-7-py3-none-any.whl";
        let (kept, _) = run(name, &own, PLAIN).unwrap();
        assert_eq!(kept.name().to_string(), name);
        let (second, bytes) = run_second(name, &own);
        assert_eq!(second.name(), finished.name());
        assert!(listing(&bytes).contains("| Build: 2\n"));
    }

    /// The promise of the normal form: how the input was packed cannot be seen in the output.
    #[test]
    fn the_same_files_give_the_same_bytes() {
        let tree = compiled().recorded(STEM);
        let (first, first_bytes) = run(NAME, &tree, PLAIN).unwrap();
        for packing in [
            Packing {
                reversed: true,
                ..PLAIN
            },
            Packing {
                year: 1999,
                ..PLAIN
            },
            Packing {
                level: Some(9),
                ..PLAIN
            },
            Packing {
                level: None,
                ..PLAIN
            },
            Packing {
                mode_bits: 0o020,
                ..PLAIN
            },
            Packing {
                folders: true,
                ..PLAIN
            },
            Packing {
                reversed: true,
                year: 2030,
                level: Some(9),
                mode_bits: 0o022,
                folders: true,
            },
        ] {
            let (second, second_bytes) = run(NAME, &tree, packing).unwrap();
            assert_eq!(first.sha256(), second.sha256(), "{packing:?}");
            assert_eq!(first_bytes, second_bytes, "{packing:?}");
        }
    }

    #[test]
    fn a_finished_wheel_is_finished() {
        let (first, bytes) = run(NAME, &compiled().recorded(STEM), PLAIN).unwrap();
        let mut output = Cursor::new(Vec::new());
        let again = finish(first.name(), Cursor::new(bytes), &request(), &mut output).unwrap();
        assert_eq!(
            again,
            FinishedWheel {
                platform_reason: again.platform_reason.clone(),
                ..first
            }
        );
    }

    #[track_caller]
    fn check_refused(name: &str, tree: &Tree, want: &str) {
        let error = run(name, tree, PLAIN).unwrap_err();
        let mut texts = vec![error.to_string()];
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            texts.push(next.to_string());
            cause = next;
        }
        assert_eq!(texts.join(": "), want);
    }

    #[test]
    fn another_project_or_version_is_refused() {
        let tree = compiled().recorded(STEM);
        check_refused(
            "other-1.2.0-py3-none-any.whl",
            &tree,
            "wheel `other-1.2.0-py3-none-any.whl` is not the `demo-kernels 1.2.0` that was asked for",
        );
        check_refused(
            "demo_kernels-1.2.1-py3-none-any.whl",
            &tree,
            "wheel `demo_kernels-1.2.1-py3-none-any.whl` is not the `demo-kernels 1.2.0` that was asked for",
        );
        check_refused(
            "demo_kernels-1.2.0+gitabc-py3-none-any.whl",
            &tree,
            "wheel `demo_kernels-1.2.0+gitabc-py3-none-any.whl` has a local version of its own, so it cannot get `+cu130torch2.11`",
        );
        let error = run("demo_kernels-1.2.0+gitabc-py3-none-any.whl", &tree, PLAIN).unwrap_err();
        insta::assert_snapshot!(error.hint().unwrap(), @"build `demo-kernels` without the `+` part: most projects take it from git, so build from an sdist or set `SETUPTOOLS_SCM_PRETEND_VERSION=1.2.0`");
    }

    #[test]
    fn places_that_disagree_are_refused() {
        check_refused(
            NAME,
            &Tree::wheel("demo_kernels-1.2.1", &[], TAG).recorded("demo_kernels-1.2.1"),
            "file name says `demo-kernels 1.2.0`, but the `.dist-info` folder says `demo_kernels-1.2.1`",
        );
        let metadata = format!("{STEM}.dist-info/METADATA");
        check_refused(
            NAME,
            &compiled()
                .with(&metadata, b"Name: demo-kernels\nVersion: 1.2.0+x\n")
                .recorded(STEM),
            "file name says `demo-kernels 1.2.0`, but METADATA says `demo-kernels 1.2.0+x`",
        );
        check_refused(
            "demo_kernels-1.2.0-cp313-cp313-linux_x86_64.whl",
            &compiled().recorded(STEM),
            "failed to read the wheel's tags: file name has the tags `cp313-cp313-linux_x86_64`, but WHEEL has `cp312-cp312-linux_x86_64`",
        );
    }

    #[test]
    fn a_record_that_does_not_hold_is_refused() {
        let tree = compiled()
            .recorded(STEM)
            .with("Demo_Kernels/__init__.py", b"evil\n");
        check_refused(
            NAME,
            &tree,
            "failed to take stock of the wheel: the wheel's RECORD does not hold: `Demo_Kernels/__init__.py` has not the digest or size that RECORD has for it",
        );
        check_refused(
            NAME,
            &compiled(),
            "failed to take stock of the wheel: failed to read the wheel: there is no `Demo_Kernels-1.2.0.dist-info/RECORD`",
        );
        let signature = format!("{STEM}.dist-info/RECORD.jws");
        check_refused(
            NAME,
            &compiled().recorded(STEM).with(&signature, b"{}"),
            "failed to take stock of the wheel: the wheel is signed by `Demo_Kernels-1.2.0.dist-info/RECORD.jws`, and finishing it would break the signature",
        );
    }

    #[test]
    fn a_torch_that_upstream_rules_out_is_refused_with_a_hint() {
        let tree = Tree::wheel(STEM, &["torch<2.9"], TAG)
            .with("demo_kernels/_C.so", &torch_extension())
            .recorded(STEM);
        let error = run(NAME, &tree, PLAIN).unwrap_err();
        insta::assert_snapshot!(error.hint().unwrap(), @"exclude torch 2.11 for this package in the matrix, or patch the requirement if it is out of date");
        check_refused(
            NAME,
            &tree,
            "failed to bind the wheel to its torch: requirement `torch<2.9` rules out torch 2.11, which the wheel was compiled with",
        );
    }
}
