//! Lists the images of a shared library and says what that costs, beside plain reads of the same
//! file: `list_fatbins FILE [ROUNDS]`. `scripts/bench fatbin` holds it against `cuobjdump`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, that measures"
)]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::time::Instant;

use wheelfarm_core::fatbin::{Depth, FatbinCaps, read_section};
use wheelfarm_core::read_at::{ReadAt, SeekBytes};
use wheelfarm_core::wheel::elf::{self, FatbinSection};

/// What was found, for people.
struct Found {
    containers: usize,
    images: usize,
    stubs: usize,
    faults: usize,
}

/// Remembers what is read.
struct Recorded<R> {
    source: R,
    reads: Vec<(u64, usize)>,
}

impl<R: ReadAt> ReadAt for Recorded<R> {
    fn size_bytes(&self) -> u64 {
        self.source.size_bytes()
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reads.push((offset, buffer.len()));
        self.source.read_exact_at(offset, buffer)
    }
}

fn open(file: &str) -> io::Result<SeekBytes<File>> {
    SeekBytes::new(File::open(file)?)
}

fn places(file: &str) -> Result<Vec<Range<u64>>, Box<dyn Error>> {
    let module = elf::inspect(file, &mut open(file)?)?;
    let fatbins = module.fatbins.into_iter();
    let ours = fatbins.filter(|place| place.section != FatbinSection::Hip);
    Ok(ours.map(|place| place.range).collect())
}

fn list(source: &mut dyn ReadAt, places: &[Range<u64>], depth: Depth) -> io::Result<Found> {
    let mut found = Found {
        containers: 0,
        images: 0,
        stubs: 0,
        faults: 0,
    };
    for place in places {
        let section = read_section(source, place.clone(), depth, &FatbinCaps::default())?;
        found.containers += section.containers.len();
        found.faults += section.faults.len();
        for container in &section.containers {
            found.images += container.images.len();
            found.stubs += usize::from(container.is_stub());
        }
    }
    Ok(found)
}

/// Reads the same places again, and does nothing with them.
fn replay(file: &str, reads: &[(u64, usize)]) -> io::Result<()> {
    let mut file = File::open(file)?;
    let mut buffer = Vec::new();
    for &(offset, length) in reads {
        buffer.resize(length, 0);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut buffer)?;
    }
    Ok(())
}

fn read_whole(file: &str) -> io::Result<()> {
    let mut file = File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// How many milliseconds it took.
fn timed<T, E>(run: impl FnOnce() -> Result<T, E>) -> Result<f64, E> {
    let started = Instant::now();
    run()?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments
        .next()
        .ok_or("usage: list_fatbins FILE [ROUNDS]")?;
    let rounds = arguments.next().map_or(Ok(31), |rounds| rounds.parse())?;
    let places = places(&file)?;
    let mut recorded = Recorded {
        source: open(&file)?,
        reads: Vec::new(),
    };
    let found = list(&mut recorded, &places, Depth::Headers)?;
    let reads = recorded.reads;
    let read_bytes: usize = reads.iter().map(|(_, length)| length).sum();
    println!("containers {}", found.containers);
    println!("images {}", found.images);
    println!("stubs {}", found.stubs);
    println!("faults {}", found.faults);
    println!("reads {}", reads.len());
    println!("read_bytes {read_bytes}");
    // In turns, so that a machine that is busy for a while is so for both.
    let mut listing = Vec::new();
    let mut replaying = Vec::new();
    for _ in 0..rounds {
        listing.push(timed(|| list(&mut open(&file)?, &places, Depth::Headers))?);
        replaying.push(timed(|| replay(&file, &reads))?);
    }
    println!("list_ms {:.2}", median(listing));
    println!("same_reads_ms {:.2}", median(replaying));
    println!(
        "elf_tables_ms {:.2}",
        timed(|| elf::inspect(&file, &mut open(&file)?))?
    );
    println!("whole_file_ms {:.2}", timed(|| read_whole(&file))?);
    let kernels = timed(|| list(&mut open(&file)?, &places, Depth::Kernels))?;
    println!("kernels_ms {kernels:.2}");
    Ok(())
}
