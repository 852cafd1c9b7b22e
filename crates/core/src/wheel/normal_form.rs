//! Writes a wheel in the one form that the farm hands on: same files in, same bytes out.
//!
//! What differs between packers is fixed here: no folder entries, files sorted by path with
//! `.dist-info` last and RECORD at the very end, one time stamp, mode 0644 or 0755, Unix as the
//! creating system, no extra fields, one deflate implementation at one level, zip64 only for
//! members that need it.

use std::io::{self, Read, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

use crate::wheel::archive::Mode;

/// Level 6 of `miniz_oxide`; 9 makes CUDA wheels less than 1 % smaller in twice the time.
const DEFLATE_LEVEL: i64 = 6;

/// Above this a member gets a zip64 header. Deflate can add to what it cannot compress, so there
/// is room below the format's own limit.
const ZIP64_FROM_BYTES: u64 = 0xF000_0000;

/// The deflate stream must not depend on how the source hands out its bytes, so the writer is
/// fed in chunks of this size whatever the reads give.
const CHUNK_BYTES: usize = 64 << 10;

/// A zip file in the making.
#[derive(Debug)]
pub(super) struct NormalForm<W: Write + Seek> {
    zip: ZipWriter<W>,
    time: DateTime,
}

/// Where a path stands in the normal order: sort by this.
pub(super) fn place<'a>(path: &'a str, dist_info: &str) -> (u8, &'a str) {
    let in_dist_info = path
        .strip_prefix(dist_info)
        .and_then(|rest| rest.strip_prefix('/'));
    match in_dist_info {
        None => (0, path),
        Some("RECORD") => (2, path),
        Some(_) => (1, path),
    }
}

impl<W: Write + Seek> NormalForm<W> {
    /// Starts a wheel whose files all have one time.
    pub(super) fn new(output: W, time: DateTime) -> Self {
        Self {
            zip: ZipWriter::new(output),
            time,
        }
    }

    /// Adds a file; the caller keeps the order of [`place`].
    pub(super) fn add(
        &mut self,
        path: &str,
        mode: Mode,
        size_bytes: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(DEFLATE_LEVEL))
            .last_modified_time(self.time)
            .unix_permissions(match mode {
                Mode::Plain => 0o644,
                Mode::Executable => 0o755,
            })
            .system(System::Unix)
            .large_file(size_bytes >= ZIP64_FROM_BYTES);
        self.zip.start_file(path, options)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = fill(content, &mut chunk)?;
            self.zip.write_all(&chunk[..length])?;
            if length < chunk.len() {
                return Ok(());
            }
        }
    }

    /// Writes the directory and hands the output back.
    pub(super) fn finish(self) -> io::Result<W> {
        Ok(self.zip.finish()?)
    }
}

/// Reads until the chunk is full or the content ends.
fn fill(content: &mut dyn Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match content.read(&mut chunk[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Seconds since 1970 as a zip file has them: from 1980 to 2107, in UTC.
pub(super) fn dos_time(seconds: u64) -> DateTime {
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let part = |number: u64| u8::try_from(number).unwrap_or(0);
    let year = u16::try_from(year).unwrap_or(u16::MAX);
    let (hour, minute) = (part(of_day / 3600), part(of_day / 60 % 60));
    // What lies outside the format's years becomes its first moment, which is the default.
    DateTime::from_date_and_time(
        year,
        part(month),
        part(day),
        hour,
        minute,
        part(of_day % 60),
    )
    .unwrap_or_default()
}

/// The date of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years start in March, so that the
/// leap day comes last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::digest::Sha256Digest;

    /// Hands out one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let length = buf.len().min(1);
            self.0.read(&mut buf[..length])
        }
    }

    fn content() -> Vec<u8> {
        (0..200_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect()
    }

    fn write(content: &mut dyn Read) -> Vec<u8> {
        let mut form = NormalForm::new(Cursor::new(Vec::new()), dos_time(1_700_000_001));
        form.add("a/é.py", Mode::Plain, 800_000, content).unwrap();
        form.add("b.so", Mode::Executable, 0, &mut io::empty())
            .unwrap();
        form.finish().unwrap().into_inner()
    }

    /// Pins the bytes: another deflate implementation, pulled in by a feature of a far
    /// dependency, would silently change every wheel's digest.
    #[test]
    fn the_bytes_are_what_they_were() {
        let digest = Sha256Digest::of(&write(&mut content().as_slice()));
        insta::assert_snapshot!(digest, @"f5a9b1b88a09b3f7bbdbd64edc36ff40a2812cf81f4aec81ba0e63710fb127c8");
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_the_source_reads() {
        let content = content();
        assert_eq!(write(&mut Slow(&content)), write(&mut content.as_slice()));
    }

    #[test]
    fn headers_hold_nothing_that_varies() {
        let bytes = write(&mut &b"x"[..]);
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut lines = Vec::new();
        for index in 0..zip.len() {
            let file = zip.by_index(index).unwrap();
            lines.push(format!(
                "{} {:o} {:?} {:?} {:?} extra={:?} flags={:#x}",
                file.name().unwrap(),
                file.unix_mode().unwrap(),
                file.system(),
                file.compression(),
                file.last_modified().unwrap().to_string(),
                file.extra_data(),
                file.flags().as_u16(),
            ));
        }
        insta::assert_snapshot!(lines.join("\n"), @r#"
a/é.py 100644 Unix Deflated "2023-11-14 22:13:20" extra=None flags=0x800
b.so 100755 Unix Deflated "2023-11-14 22:13:20" extra=None flags=0x0
"#);
    }

    #[track_caller]
    fn check_time(seconds: u64, want: &str) {
        assert_eq!(dos_time(seconds).to_string(), want);
    }

    #[test]
    fn times_are_between_1980_and_2107() {
        check_time(0, "1980-01-01 00:00:00");
        check_time(315_532_799, "1980-01-01 00:00:00");
        check_time(315_532_800, "1980-01-01 00:00:00");
        check_time(1_709_164_800, "2024-02-29 00:00:00");
        // Zip files count in steps of two seconds.
        check_time(1_735_689_599, "2024-12-31 23:59:58");
        check_time(u64::MAX, "1980-01-01 00:00:00");
    }

    #[test]
    fn dist_info_and_record_come_last() {
        let mut paths = [
            "x-1.dist-info/RECORD",
            "x-1.dist-info/WHEEL",
            "x-1.dist-infox",
            "z",
            "a",
        ];
        paths.sort_by_key(|path| place(path, "x-1.dist-info"));
        assert_eq!(
            paths,
            [
                "a",
                "x-1.dist-infox",
                "z",
                "x-1.dist-info/WHEEL",
                "x-1.dist-info/RECORD"
            ]
        );
    }
}
