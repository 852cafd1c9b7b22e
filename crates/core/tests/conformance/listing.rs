//! What `cuobjdump` lists of a file, and the same list made of what the reader found.

use std::path::{Path, PathBuf};
use std::process::Command;

use wheelfarm_core::arch::Arch;
use wheelfarm_core::fatbin::{Compression, Image, ImageKind};

/// One image as both sides tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    kind: String,
    /// The number with its suffix: `90a`.
    arch: String,
    version: (u16, u16),
    is_compressed: bool,
}

impl From<&Image> for Line {
    fn from(image: &Image) -> Self {
        Self {
            kind: match image.kind {
                ImageKind::Sass => "elf".to_owned(),
                ImageKind::Ptx => "ptx".to_owned(),
                ImageKind::Lto => "nvvm".to_owned(),
                ImageKind::Unknown(number) => format!("unknown {number}"),
            },
            arch: image.arch.map_or("none".to_owned(), Arch::number),
            version: image.version,
            is_compressed: image.compression != Compression::None,
        }
    }
}

/// What came out of one run.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) lines: Vec<Line>,
    /// Why the list ends early.
    pub(crate) abort: Option<String>,
}

/// The program, from its wheel in `.venv`.
pub(crate) struct Reader {
    program: PathBuf,
}

impl Reader {
    pub(crate) fn find() -> Self {
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
        let inside = "site-packages/nvidia/cu13/bin/cuobjdump";
        let program = std::fs::read_dir(&venv)
            .expect("there is no .venv: run `scripts/setup test`")
            .map(|entry| entry.unwrap().path().join(inside))
            .find(|program| program.exists())
            .expect("there is no cuobjdump in .venv: run `scripts/setup test`");
        Self { program }
    }

    /// `-all` adds relocatable fatbins, after the executable ones.
    pub(crate) fn list(&self, file: &Path) -> Listing {
        let output = Command::new(&self.program)
            .arg("-all")
            .arg(file)
            .output()
            .unwrap();
        let lines = parse(&String::from_utf8(output.stdout).unwrap());
        let errors = String::from_utf8_lossy(&output.stderr);
        let has_nothing = errors.contains("does not contain device code");
        let abort = (!output.status.success() && !has_nothing).then(|| {
            let fatal = errors.lines().find(|line| line.contains("fatal"));
            let (_, why) = fatal.unwrap_or(": failed").split_once(": ").unwrap();
            let (why, _) = why.split_once(" in '").unwrap_or((why, ""));
            why.to_owned()
        });
        Listing { lines, abort }
    }
}

/// Each image is a title, `Fatbin elf code:`, and lines of its properties.
fn parse(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for line in text.lines().map(str::trim) {
        let title = line
            .strip_prefix("Fatbin ")
            .and_then(|line| line.strip_suffix(" code:"));
        if let Some(kind) = title {
            lines.push(Line {
                kind: kind.to_owned(),
                arch: String::new(),
                version: (0, 0),
                is_compressed: false,
            });
        }
        let Some(last) = lines.last_mut() else {
            continue;
        };
        if let Some(arch) = line.strip_prefix("arch = sm_") {
            arch.clone_into(&mut last.arch);
        } else if let Some(version) = line.strip_prefix("code version = [") {
            let (major, minor) = version.trim_end_matches(']').split_once(',').unwrap();
            last.version = (major.parse().unwrap(), minor.parse().unwrap());
        } else if line == "compressed" {
            last.is_compressed = true;
        }
    }
    // A concatenated entry is no image; those in it follow. Up to 13.2 its title had a typing error.
    lines.retain(|line| !["concatenated entry", "contatenated entry"].contains(&&*line.kind));
    lines
}
