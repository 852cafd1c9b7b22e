//! One file with fatbins, read by both and compared.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use wheelfarm_core::fatbin::{
    Container, Content, Depth, FatbinCaps, Image, ImageKind, Kernel, Section, read_section,
};
use wheelfarm_core::read_at::{ReadAt, SeekBytes};
use wheelfarm_core::wheel::elf::{self, FatbinSection};

use crate::listing::{Line, Reader};

/// What the comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Image for image, in order.
    Agrees,
    /// cuobjdump gave up; what it listed before is how ours begins.
    Aborts { listed: usize, why: String },
    /// Where the two part.
    Differs {
        at: usize,
        ours: String,
        theirs: String,
    },
}

/// One file, compared and looked into.
#[derive(Debug)]
pub(crate) struct Report {
    module: String,
    containers: usize,
    pub(crate) images: usize,
    pub(crate) stubs: usize,
    /// Those that the headers' depth found as well.
    pub(crate) quick_stubs: usize,
    kernels: usize,
    pub(crate) verdict: Verdict,
    /// Containers whose images have not all the same kernels.
    unequal: usize,
    wrong: Vec<String>,
}

impl Report {
    pub(crate) fn line(&self) -> String {
        let verdict = match &self.verdict {
            Verdict::Agrees => "agrees".to_owned(),
            Verdict::Aborts { listed, why } => {
                format!("cuobjdump aborts after {listed}: {why}")
            }
            Verdict::Differs { .. } => "DIFFERS".to_owned(),
        };
        format!(
            "{:<44} {:>5} containers {:>5} images {:>3} stubs {:>6} kernels {:>3} unequal  {verdict}",
            self.module, self.containers, self.images, self.stubs, self.kernels, self.unequal,
        )
    }

    /// What must not be.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        if let Verdict::Differs { at, ours, theirs } = &self.verdict {
            wrong.push(format!("image {at}: ours {ours}, cuobjdump's {theirs}"));
        }
        wrong
            .iter()
            .map(|wrong| format!("{}: {wrong}", self.module))
            .collect()
    }
}

/// Compares a shared library; `None` if neither side finds a fatbin in it.
pub(crate) fn compare(name: &str, file: &Path, reader: &Reader) -> Option<Report> {
    let mut source = SeekBytes::new(File::open(file).unwrap()).unwrap();
    let module =
        elf::inspect(name, &mut source).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let of_section = |wanted| {
        let places = module.fatbins.iter();
        places
            .filter(move |place| place.section == wanted)
            .map(|place| place.range.clone())
    };
    let ranges: Vec<_> = of_section(FatbinSection::Executable)
        .chain(of_section(FatbinSection::Relocatable))
        .collect();
    let report = compare_ranges(name, file, &mut source, &ranges, reader);
    (report.images > 0 || report.verdict != Verdict::Agrees).then_some(report)
}

/// Compares a file that is containers and nothing else.
pub(crate) fn compare_fatbin(name: &str, file: &Path, reader: &Reader) -> Report {
    let mut source = SeekBytes::new(File::open(file).unwrap()).unwrap();
    let whole = 0..source.size_bytes();
    compare_ranges(name, file, &mut source, &[whole], reader)
}

fn compare_ranges(
    name: &str,
    file: &Path,
    source: &mut dyn ReadAt,
    ranges: &[Range<u64>],
    reader: &Reader,
) -> Report {
    let mut wrong = Vec::new();
    let mut containers = Vec::new();
    let mut quick_stubs = 0;
    for range in ranges {
        let mut read =
            |depth| read_section(source, range.clone(), depth, &FatbinCaps::default()).unwrap();
        let headers = read(Depth::Headers);
        let deep = read(Depth::Kernels);
        wrong.extend(deep.faults.iter().map(|fault| format!("{fault:?}")));
        wrong.extend(stubs_that_are_none(&headers, &deep));
        quick_stubs += stubs(&headers.containers);
        containers.extend(deep.containers);
    }
    let images: Vec<&Image> = containers.iter().flat_map(|one| &one.images).collect();
    wrong.extend(images.iter().filter_map(|image| contradiction(image)));
    let theirs = reader.list(file);
    let ours: Vec<Line> = images.iter().copied().map(Line::from).collect();
    Report {
        module: name.to_owned(),
        containers: containers.len(),
        images: images.len(),
        stubs: stubs(&containers),
        quick_stubs,
        kernels: images
            .iter()
            .filter_map(|image| kernels(image))
            .map(<[_]>::len)
            .sum(),
        verdict: verdict(&ours, &theirs.lines, theirs.abort),
        unequal: containers
            .iter()
            .filter(|one| !has_equal_kernels(one))
            .count(),
        wrong,
    }
}

fn verdict(ours: &[Line], theirs: &[Line], abort: Option<String>) -> Verdict {
    let show = |line: Option<&Line>| line.map_or("nothing".to_owned(), |line| format!("{line:?}"));
    let differ = (0..theirs.len().max(ours.len())).find(|&at| ours.get(at) != theirs.get(at));
    match (differ, abort) {
        (None, None) => Verdict::Agrees,
        (None, Some(why)) => Verdict::Aborts {
            listed: theirs.len(),
            why,
        },
        (Some(at), Some(why)) if at == theirs.len() => Verdict::Aborts { listed: at, why },
        (Some(at), _) => Verdict::Differs {
            at,
            ours: show(ours.get(at)),
            theirs: show(theirs.get(at)),
        },
    }
}

/// What a look into the payload says against the header.
fn contradiction(image: &Image) -> Option<String> {
    match (&image.content, image.kind) {
        (Some(Content::Read { arch, .. }), _) if *arch == image.arch => None,
        (None, ImageKind::Lto) => None,
        _ => Some(format!("not what its header says: {image:?}")),
    }
}

fn stubs(containers: &[Container]) -> usize {
    containers.iter().filter(|one| one.is_stub()).count()
}

/// The headers alone must never take a container for a stub that is none.
fn stubs_that_are_none(headers: &Section, deep: &Section) -> Vec<String> {
    let both = headers.containers.iter().zip(&deep.containers);
    both.filter(|(quick, deep)| quick.is_stub() && !deep.is_stub())
        .map(|(quick, _)| format!("the container at {} is no stub", quick.offset))
        .collect()
}

fn kernels(image: &Image) -> Option<&[Kernel]> {
    match &image.content {
        Some(Content::Read { kernels, .. }) => Some(kernels),
        Some(Content::Unreadable(_)) | None => None,
    }
}

fn has_equal_kernels(container: &Container) -> bool {
    let names = |image| {
        let kernels: &[Kernel] = kernels(image)?;
        Some(
            kernels
                .iter()
                .map(|kernel| &kernel.name)
                .collect::<Vec<_>>(),
        )
    };
    let mut sets = container.images.iter().filter_map(names);
    let first = sets.next();
    sets.all(|set| Some(&set) == first.as_ref())
}
