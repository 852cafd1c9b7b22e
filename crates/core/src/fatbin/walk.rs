//! The walk over a section: container after container, entry after entry.
//!
//! It reads in rising order and nothing twice, so that a stream can be its source. What it cannot
//! follow becomes a [`Fault`]; it goes on wherever the place of the next container is known.

use std::io;
use std::ops::Range;

use crate::fatbin::caps::FatbinCaps;
use crate::fatbin::code::{Code, KernelBudget};
use crate::fatbin::entry::{Entry, HEADER_BYTES, KIND_CONCATENATED, LAYOUT};
use crate::fatbin::image::{Compression, Container, Content, Depth, Image, ImageKind};
use crate::fatbin::payload::{Inflater, Payload, PayloadError};
use crate::fatbin::records::{Record, RecordsError, read_records};
use crate::fatbin::{cubin, ptx};
use crate::read_at::ReadAt;

const MAGIC: [u8; 4] = 0xBA55_ED50_u32.to_le_bytes();
const CONTAINER_VERSION: u16 = 1;
const CONTAINER_HEADER_BYTES: u64 = 16;

/// Containers start at multiples of this, and zeros may fill the room between them.
const ALIGNMENT: u64 = 8;

/// Of 1,140 real containers without a kernel, all but six have only cubins of 0.7 to 5.5 KB. The look
/// at a container ends with the first kernel, so that this may be larger.
const STUB_CAP_BYTES: u64 = 16_384;

/// A section full of containers, walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The containers in order.
    pub containers: Vec<Container>,
    /// What was not understood; empty in every honest file.
    pub faults: Vec<Fault>,
    /// What is left of the caps, for the next section of the same file.
    pub left: FatbinCaps,
}

/// Something that the walk did not understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// Reads the containers in `range` of `source`.
///
/// An error is the source's alone: whatever the bytes are, there is an answer.
pub fn read_section(
    source: &mut dyn ReadAt,
    range: Range<u64>,
    depth: Depth,
    caps: &FatbinCaps,
) -> io::Result<Section> {
    let mut walk = Walk {
        source,
        depth,
        caps,
        images_left: caps.images,
        bytes_left: caps.total_bytes,
        kernels: KernelBudget::new(caps),
        inflater: Inflater::new(),
        section: Section {
            containers: Vec::new(),
            faults: Vec::new(),
            left: *caps,
        },
        state: State::Walking,
    };
    walk.section(range)?;
    let mut section = walk.section;
    let left = &mut section.left;
    left.containers = caps.containers.saturating_sub(section.containers.len());
    left.faults = caps.faults.saturating_sub(section.faults.len());
    left.images = walk.images_left;
    left.total_bytes = walk.bytes_left;
    (left.kernels, left.total_name_bytes) = walk.kernels.left();
    Ok(section)
}

/// Whether the walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Walking,
    /// A cap is reached, or nobody knows where the next container is.
    Stopped,
}

struct Walk<'a> {
    source: &'a mut dyn ReadAt,
    depth: Depth,
    caps: &'a FatbinCaps,
    images_left: usize,
    bytes_left: u64,
    kernels: KernelBudget,
    inflater: Inflater,
    section: Section,
    state: State,
}

impl Walk<'_> {
    fn fault(&mut self, offset: u64, what: impl Into<String>) {
        let what = what.into();
        self.section.faults.push(Fault { offset, what });
        if self.section.faults.len() >= self.caps.faults {
            self.state = State::Stopped;
        }
    }

    fn stop(&mut self, offset: u64, what: impl Into<String>) {
        self.fault(offset, what);
        self.state = State::Stopped;
    }

    fn read<const N: usize>(&mut self, offset: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.source.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn section(&mut self, range: Range<u64>) -> io::Result<()> {
        let size_bytes = self.source.size_bytes();
        let end = range.end.min(size_bytes);
        if range.start > range.end || range.end > size_bytes {
            self.fault(
                range.start,
                format!("the section ends at {} of {size_bytes} bytes", range.end),
            );
        }
        let mut offset = range.start;
        while self.state == State::Walking
            && let Some((start, header)) = self.next_header(offset, range.start, end)?
        {
            if self.section.containers.len() >= self.caps.containers {
                self.stop(start, "the section has too many containers");
                break;
            }
            offset = self.container(start, header, end)?;
        }
        Ok(())
    }

    /// The next 16 bytes that do not start with padding, and where they are.
    fn next_header(
        &mut self,
        from: u64,
        section_start: u64,
        end: u64,
    ) -> io::Result<Option<(u64, [u8; 16])>> {
        let mut window = [0; 16];
        let mut filled = 0;
        let mut offset = from;
        while offset < end {
            let unread = offset + u64_of(filled);
            let room = end
                .saturating_sub(unread)
                .min(u64_of(window.len() - filled));
            let until = filled + usize_of(room);
            self.source
                .read_exact_at(unread, &mut window[filled..until])?;
            filled = until;
            let step = ALIGNMENT - (offset - section_start) % ALIGNMENT;
            let step = usize_of(step).min(filled);
            if window[..step].iter().any(|&byte| byte != 0) {
                if filled == window.len() {
                    return Ok(Some((offset, window)));
                }
                self.stop(offset, format!("{filled} bytes that are no container"));
                return Ok(None);
            }
            window.copy_within(step..filled, 0);
            filled -= step;
            offset += u64_of(step);
        }
        Ok(None)
    }

    /// Reads the container at `start` and gives where it ends.
    fn container(&mut self, start: u64, header: [u8; 16], section_end: u64) -> io::Result<u64> {
        let [m0, m1, m2, m3, v0, v1, h0, h1, size @ ..] = header;
        if [m0, m1, m2, m3] != MAGIC {
            self.stop(start, "neither a container nor padding");
            return Ok(section_end);
        }
        let mut container = Container {
            offset: start,
            images: Vec::new(),
            complete: false,
        };
        let version = u16::from_le_bytes([v0, v1]);
        let header_bytes = u64::from(u16::from_le_bytes([h0, h1]));
        let entries_start = start + header_bytes;
        let end = entries_start.checked_add(u64::from_le_bytes(size));
        let faults = self.section.faults.len();
        let Some(end) = end.filter(|_| header_bytes >= CONTAINER_HEADER_BYTES) else {
            self.stop(start, "the container's header is malformed");
            self.section.containers.push(container);
            return Ok(section_end);
        };
        if version == CONTAINER_VERSION {
            self.entries(entries_start..end.min(section_end), &mut container)?;
        } else {
            self.fault(start, format!("container version {version} is unknown"));
        }
        if let Some(over) = end.checked_sub(section_end).filter(|&over| over > 0) {
            let what = format!("the container is cut off: {over} bytes are missing");
            self.stop(start, what);
        }
        container.complete = self.section.faults.len() == faults;
        self.section.containers.push(container);
        Ok(end)
    }

    fn entries(&mut self, range: Range<u64>, container: &mut Container) -> io::Result<()> {
        let faults = self.section.faults.len();
        let mut looks_like_stub = true;
        let mut offset = range.start;
        while offset < range.end && self.state == State::Walking {
            let left = range.end - offset;
            if left < u64::from(HEADER_BYTES) {
                self.fault(
                    offset,
                    format!("{left} bytes are left over in the container"),
                );
                break;
            }
            let entry = Entry::parse(&self.read(offset)?);
            if entry.layout != LAYOUT {
                self.fault(
                    offset,
                    format!("entry layout {:#06x} is unknown", entry.layout),
                );
            }
            let header_bytes = u64::from(entry.header_bytes);
            if entry.header_bytes < HEADER_BYTES || header_bytes > left {
                self.fault(
                    offset,
                    format!("the entry's header cannot have {header_bytes} bytes"),
                );
                break;
            }
            let place = Place {
                offset,
                left: left - header_bytes,
            };
            self.entry(&entry, place, &mut looks_like_stub, container)?;
            offset = match place.end_of(&entry) {
                Some(end) => end,
                None => break,
            };
        }
        if self.depth == Depth::Headers && (!looks_like_stub || self.section.faults.len() > faults)
        {
            for image in &mut container.images {
                image.content = None;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &Entry,
        place: Place,
        looks_like_stub: &mut bool,
        container: &mut Container,
    ) -> io::Result<()> {
        let Place { offset, left } = place;
        let is_cut = entry.payload_bytes > left || entry.packed_bytes() > entry.payload_bytes;
        if is_cut {
            self.fault(
                offset,
                format!(
                    "the entry has {} bytes in {}, {left} are left in the container",
                    entry.packed_bytes(),
                    entry.payload_bytes,
                ),
            );
        }
        let mut members = self.members(entry, offset)?;
        if members.len() > self.images_left {
            self.stop(offset, "the section has too many images");
            return Ok(());
        }
        self.images_left -= members.len();
        *looks_like_stub &= !is_cut && members.iter().all(|member| can_be_stub(&member.image));
        let is_wanted = match self.depth {
            Depth::Headers => *looks_like_stub,
            Depth::Kernels => members.iter().any(|member| has_code(&member.image)),
        };
        if is_cut {
            for member in members.iter_mut().filter(|member| has_code(&member.image)) {
                member.image.content =
                    Some(Content::Unreadable("the payload is cut off".to_owned()));
            }
        } else if is_wanted {
            let payload = Payload {
                start: offset + u64::from(entry.header_bytes),
                packed_bytes: entry.packed_bytes(),
                compression: entry.compression(),
                size_bytes: entry.size_bytes(),
            };
            self.look_into(&payload, &mut members)?;
            *looks_like_stub &= members.iter().all(|member| member.image.is_bare());
        }
        container
            .images
            .extend(members.into_iter().map(|member| member.image));
        Ok(())
    }

    /// Inflates a payload once and reads the code of every member in it.
    fn look_into(&mut self, payload: &Payload, members: &mut [Member]) -> io::Result<()> {
        let cap_bytes = self.caps.payload_bytes.min(self.bytes_left);
        let inflated = self.inflater.inflate(self.source, payload, cap_bytes)?;
        // A claim that was refused cost nothing; it must not use up what honest images need.
        self.bytes_left -= match inflated {
            Err(PayloadError::TooLarge { .. } | PayloadError::Compression) => 0,
            Ok(_) | Err(PayloadError::Unsound { .. } | PayloadError::OtherSize { .. }) => {
                payload.size_bytes
            }
        };
        for Member { image, place } in members.iter_mut().filter(|member| has_code(&member.image)) {
            let code = match &inflated {
                Ok(bytes) => self.code_of(bytes, place.as_ref(), image),
                Err(error) => Err(error.to_string()),
            };
            image.content = Some(match code {
                Ok(Code { arch, kernels }) => Content::Read { arch, kernels },
                Err(why) => Content::Unreadable(why),
            });
        }
        Ok(())
    }

    fn code_of(
        &mut self,
        payload: &[u8],
        place: Option<&Range<u64>>,
        image: &Image,
    ) -> Result<Code, String> {
        let code = match place {
            None => payload,
            Some(place) => {
                // Records may overlap: each one pays for its own reading.
                let size_bytes = place.end - place.start;
                self.bytes_left = self
                    .bytes_left
                    .checked_sub(size_bytes)
                    .ok_or("the section has too much code")?;
                payload
                    .get(usize_of(place.start)..usize_of(place.end))
                    .ok_or("the record points outside of the payload")?
            }
        };
        let res = if image.kind == ImageKind::Ptx {
            ptx::read(code, &mut self.kernels)
        } else {
            cubin::read(code, image.arch, &mut self.kernels)
        };
        res.map_err(|error| error.to_string())
    }

    /// The images of an entry. Where the records of a concatenated one cannot be read, the entry
    /// itself stands for them, as an image of unknown kind.
    fn members(&mut self, entry: &Entry, offset: u64) -> io::Result<Vec<Member>> {
        if entry.kind == KIND_CONCATENATED {
            match read_records(self.source, entry, offset, self.caps.records) {
                Ok(records) => return Ok(records.into_iter().map(Member::from).collect()),
                Err(RecordsError::Source(error)) => return Err(error),
                Err(RecordsError::Malformed(what)) => self.fault(offset, what),
            }
        }
        Ok(vec![Member {
            image: entry.image(),
            place: None,
        }])
    }
}

/// One image of an entry; `place` is where it lies in a payload that it shares.
struct Member {
    image: Image,
    place: Option<Range<u64>>,
}

impl From<Record> for Member {
    fn from(record: Record) -> Self {
        Self {
            image: record.image,
            place: Some(record.place),
        }
    }
}

/// Where an entry is, and how much its container has left after its header.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    left: u64,
}

impl Place {
    fn end_of(self, entry: &Entry) -> Option<u64> {
        let payload_start = self.offset + u64::from(entry.header_bytes);
        (entry.payload_bytes <= self.left).then(|| payload_start + entry.payload_bytes)
    }
}

fn has_code(image: &Image) -> bool {
    match image.kind {
        ImageKind::Sass | ImageKind::Ptx => true,
        ImageKind::Lto | ImageKind::Unknown(_) => false,
    }
}

/// Whether an image is so small that a look at it may decide what its container is.
fn can_be_stub(image: &Image) -> bool {
    image.kind == ImageKind::Sass
        && image.compression != Compression::Unknown
        && image.size_bytes.max(image.stored_bytes) <= STUB_CAP_BYTES
}

fn u64_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn usize_of(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
