//! Puts hunks into files, exactly: every unchanged and every removed line must be there as the
//! patch has it, at its place or at the only other place where that is so.
//!
//! A hunk that starts or ends without unchanged lines comes from the start or the end of a file
//! and must meet it there again. Without that rule a hunk that adds lines to the end of a file
//! would fit again right after it was applied.

use super::super::tree_path::TreePath;
use super::diff::{Hunk, HunkLine, LineKind};
use super::error::PatchError;
use super::failure::{HunkFailure, HunkNote};
use super::lines;
use super::session::AppliedHunk;

/// How many differing lines a failure quotes.
const QUOTED: usize = 3;

/// Applies `hunks` to the content of `file`.
pub(super) fn apply(
    patch: &str,
    file: &TreePath,
    bytes: &[u8],
    hunks: &[Hunk],
) -> Result<(Vec<u8>, Vec<AppliedHunk>), PatchError> {
    let fault = match fit(bytes, hunks) {
        Ok(fitted) => return Ok(fitted),
        Err(first) => first,
    };
    let reversed: Vec<_> = hunks.iter().map(reversed).collect();
    if fit(bytes, &reversed).is_ok() {
        return Err(PatchError::AlreadyApplied {
            patch: patch.to_owned(),
            file: file.clone(),
        });
    }
    Err(told(patch, file, &lines::split(bytes), fault))
}

/// Every one of `hunks` that does not fit the content of `file`, where [`apply`] tells the first.
pub(super) fn misfits(
    patch: &str,
    file: &TreePath,
    bytes: &[u8],
    hunks: &[Hunk],
) -> Vec<PatchError> {
    let image = lines::split(bytes);
    let mut faults = Vec::new();
    place_all(&image, hunks, |_, _| {}, |fault| faults.push(fault));
    let faults = faults.into_iter();
    faults
        .map(|fault| told(patch, file, &image, fault))
        .collect()
}

fn told(patch: &str, file: &TreePath, image: &[&[u8]], fault: Fault<'_>) -> PatchError {
    let hunk = fault.hunk;
    match fault.misfit {
        Misfit::Nowhere => {
            let failure = failure(patch, file, image, &fault);
            PatchError::HunkFailed(Box::new(failure))
        }
        Misfit::Ambiguous(places) => PatchError::Ambiguous {
            patch: patch.to_owned(),
            file: file.clone(),
            hunk: hunk.number,
            wanted_line: fault.expected + 1,
            lines: places.into_iter().map(|place| place + 1).collect(),
        },
        Misfit::NoContext => PatchError::NoContext {
            patch: patch.to_owned(),
            file: file.clone(),
            hunk: hunk.number,
        },
    }
}

/// A hunk that does not fit, and where it was looked for.
struct Fault<'a> {
    hunk: &'a Hunk,
    expected: usize,
    floor: usize,
    misfit: Misfit,
}

enum Misfit {
    Nowhere,
    Ambiguous(Vec<usize>),
    NoContext,
}

fn fit<'a>(bytes: &[u8], hunks: &'a [Hunk]) -> Result<(Vec<u8>, Vec<AppliedHunk>), Fault<'a>> {
    let image = lines::split(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    let mut applied = Vec::new();
    let mut done = 0;
    let mut first = None;
    place_all(
        &image,
        hunks,
        |hunk, place| {
            out.extend(image[done..place].iter().copied().flatten());
            out.extend(after(hunk).flatten());
            done = place + before(hunk).count();
            applied.push(AppliedHunk {
                hunk: hunk.number,
                line: place + 1,
                offset: distance(written_place(hunk), place),
            });
        },
        |fault| {
            first.get_or_insert(fault);
        },
    );
    if let Some(fault) = first {
        return Err(fault);
    }
    out.extend(image[done..].iter().copied().flatten());
    Ok((out, applied))
}

/// Looks for the place of each hunk, in order; one without a place is passed over.
///
/// All places are of the file as it was, so a hunk never lands in what another one wrote.
fn place_all<'a>(
    image: &[&[u8]],
    hunks: &'a [Hunk],
    mut placed: impl FnMut(&'a Hunk, usize),
    mut misplaced: impl FnMut(Fault<'a>),
) {
    let mut floor = 0;
    let mut offset: isize = 0;
    for hunk in hunks {
        let written = written_place(hunk);
        let expected = written.saturating_add_signed(offset);
        match place(image, hunk, floor, expected) {
            Ok(place) => {
                offset = distance(written, place);
                placed(hunk, place);
                floor = place + before(hunk).count();
            }
            Err(misfit) => misplaced(Fault {
                hunk,
                expected,
                floor,
                misfit,
            }),
        }
    }
}

/// The place that the hunk's header names, from 0. An empty range is named by the line before it.
fn written_place(hunk: &Hunk) -> usize {
    if before(hunk).next().is_none() {
        hunk.old_start
    } else {
        hunk.old_start.saturating_sub(1)
    }
}

fn distance(from: usize, to: usize) -> isize {
    let size = isize::try_from(from.abs_diff(to)).unwrap_or(isize::MAX);
    if to < from { -size } else { size }
}

fn place(image: &[&[u8]], hunk: &Hunk, floor: usize, expected: usize) -> Result<usize, Misfit> {
    let fits =
        |place: usize| has_lines(image, hunk, place) && anchor_note(image, hunk, place).is_none();
    if expected >= floor && fits(expected) {
        return Ok(expected);
    }
    let places: Vec<_> = (floor..=image.len()).filter(|place| fits(*place)).collect();
    match places.as_slice() {
        [place] => Ok(*place),
        [] => {
            let is_there = (floor..=image.len()).any(|place| has_lines(image, hunk, place));
            let has_context = hunk.lines.iter().any(|line| line.kind == LineKind::Context);
            if is_there && !has_context {
                Err(Misfit::NoContext)
            } else {
                Err(Misfit::Nowhere)
            }
        }
        _ => Err(Misfit::Ambiguous(places)),
    }
}

/// Whether the lines that the hunk starts from stand at `place`.
fn has_lines(image: &[&[u8]], hunk: &Hunk, place: usize) -> bool {
    let Some(rest) = image.get(place..) else {
        return false;
    };
    let mut rest = rest.iter();
    before(hunk).all(|line| rest.next().is_some_and(|found| *found == line))
}

/// Which end of the file the hunk is for and does not meet at `place`.
fn anchor_note(image: &[&[u8]], hunk: &Hunk, place: usize) -> Option<HunkNote> {
    let is_context = |line: Option<&HunkLine>| line.is_some_and(|l| l.kind == LineKind::Context);
    if !is_context(hunk.lines.first()) && place != 0 {
        return Some(HunkNote::NotAtStart);
    }
    let end = place + before(hunk).count();
    if !is_context(hunk.lines.last()) && end != image.len() {
        return Some(HunkNote::NotAtEnd);
    }
    None
}

/// The lines that the hunk starts from.
fn before(hunk: &Hunk) -> impl Iterator<Item = &[u8]> {
    let kept = hunk.lines.iter().filter(|line| line.kind != LineKind::Add);
    kept.map(|line| &line.bytes[..])
}

/// The lines that the hunk makes.
fn after(hunk: &Hunk) -> impl Iterator<Item = &[u8]> {
    let kept = hunk
        .lines
        .iter()
        .filter(|line| line.kind != LineKind::Remove);
    kept.map(|line| &line.bytes[..])
}

fn reversed(hunk: &Hunk) -> Hunk {
    let lines = hunk.lines.iter().map(|line| HunkLine {
        kind: match line.kind {
            LineKind::Context => LineKind::Context,
            LineKind::Remove => LineKind::Add,
            LineKind::Add => LineKind::Remove,
        },
        bytes: line.bytes.clone(),
    });
    Hunk {
        number: hunk.number,
        patch_line: hunk.patch_line,
        old_start: hunk.new_start,
        new_start: hunk.old_start,
        lines: lines.collect(),
    }
}

fn failure(patch: &str, file: &TreePath, image: &[&[u8]], fault: &Fault<'_>) -> HunkFailure {
    let hunk = fault.hunk;
    let place = best_place(image, fault);
    let wanted: Vec<_> = before(hunk).collect();
    let found = image.get(place..).unwrap_or_default();
    let differs = |at: &usize| found.get(*at) != Some(&wanted[*at]);
    let first = (0..wanted.len()).find(differs);
    let quote = first.unwrap_or(0)..wanted.len();
    let quote = quote
        .take_while(|at| first.is_some() && differs(at))
        .take(QUOTED);
    let (mut expected_lines, mut found_lines) = (Vec::new(), Vec::new());
    for at in quote {
        expected_lines.push(lines::shown(wanted[at]));
        found_lines.extend(found.get(at).map(|line| lines::shown(line)));
    }
    let comparison = wanted.iter().enumerate().map(|(at, line)| {
        let found = found.get(at).map(|line| lines::shown(line));
        (place + at + 1, lines::shown(line), found)
    });
    HunkFailure {
        patch: patch.to_owned(),
        file: file.clone(),
        hunk: hunk.number,
        patch_line: hunk.patch_line,
        line: place + first.unwrap_or(0) + 1,
        expected: expected_lines,
        found: found_lines,
        note: note(image, hunk, place, first),
        comparison: comparison.collect(),
    }
}

/// Where most of the hunk's lines are; among equals, nearest to where it should be.
fn best_place(image: &[&[u8]], fault: &Fault<'_>) -> usize {
    let score = |place: &usize| {
        let same = std::iter::zip(before(fault.hunk), &image[*place..]);
        let same = same.filter(|(wanted, found)| wanted == *found).count();
        (same, std::cmp::Reverse(place.abs_diff(fault.expected)))
    };
    (fault.floor..=image.len()).max_by_key(score).unwrap_or(0)
}

fn note(image: &[&[u8]], hunk: &Hunk, place: usize, first: Option<usize>) -> Option<HunkNote> {
    let Some(first) = first else {
        return anchor_note(image, hunk, place);
    };
    let made = Hunk {
        lines: reversed(hunk).lines,
        ..hunk.clone()
    };
    let is_made = |place: &usize| has_lines(image, &made, *place);
    if let Some(there) = (0..image.len()).find(is_made) {
        return Some(HunkNote::AlreadyThere { line: there + 1 });
    }
    let wanted = before(hunk).nth(first)?;
    let found = image.get(place + first)?;
    let ends_in_crlf = |line: &[u8]| line.ends_with(b"\r\n");
    let spaceless = |line: &[u8]| -> Vec<u8> {
        let bytes = line.iter().filter(|byte| !byte.is_ascii_whitespace());
        bytes.copied().collect()
    };
    if lines::content(wanted) == lines::content(found) {
        return Some(match (ends_in_crlf(wanted), ends_in_crlf(found)) {
            (false, true) => HunkNote::FileHasCrlf,
            (true, false) => HunkNote::PatchHasCrlf,
            (true, true) | (false, false) => HunkNote::NewlineAtEnd,
        });
    }
    (spaceless(wanted) == spaceless(found)).then_some(HunkNote::WhiteSpace)
}

#[cfg(test)]
mod tests {
    use super::super::diff;
    use super::*;

    const FILE: &str = "import os\n\nARCHS = ['8.0']\nFLAGS = []\n\n\
                        def build():\n    pass\n\n\
                        def test():\n    pass\n";

    fn apply_to(file: &[u8], hunks: &str) -> Result<(String, Vec<isize>), PatchError> {
        let diff = format!("--- a/setup.py\n+++ b/setup.py\n{hunks}");
        let parsed = diff::parse("1.patch", &diff)?.remove(0);
        let (bytes, applied) = apply("1.patch", &parsed.path, file, &parsed.hunks)?;
        let offsets = applied.iter().map(|hunk| hunk.offset).collect();
        Ok((String::from_utf8(bytes).unwrap(), offsets))
    }

    #[track_caller]
    fn check(file: &str, hunks: &str, want: &str, want_offsets: &[isize]) {
        let (found, offsets) = apply_to(file.as_bytes(), hunks).unwrap();
        assert_eq!((found.as_str(), offsets.as_slice()), (want, want_offsets));
    }

    fn refused(file: &str, hunks: &str) -> String {
        apply_to(file.as_bytes(), hunks).unwrap_err().report()
    }

    const ARCHS: &str = "@@ -2,3 +2,3 @@\n \n-ARCHS = ['8.0']\n+ARCHS = ['9.0a']\n FLAGS = []\n";

    #[test]
    fn a_hunk_goes_to_its_line_or_to_the_only_other_place() {
        let want = FILE.replace("8.0", "9.0a");
        check(FILE, ARCHS, &want, &[0]);
        let moved = format!("# one\n# two\n{FILE}");
        check(&moved, ARCHS, &moved.replace("8.0", "9.0a"), &[2]);
        let earlier = ARCHS.replace("-2,3", "-9,3");
        check(FILE, &earlier, &want, &[-7]);
    }

    #[test]
    fn the_offset_of_a_hunk_counts_for_the_next() {
        let two = "@@ -1,2 +1,3 @@\n a\n+new\n b\n@@ -5,2 +6,2 @@\n-x\n+y\n c\n";
        let two = two
            .replace("-x\n+y\n c\n", " x\n-x\n+y\n c\n")
            .replace("-5,2", "-4,3");
        let two = two.replace("+6,2", "+5,3");
        // `x x c` is there twice; with the offset of the first hunk it is at its line.
        let file = "0\na\nb\n-\nx\nx\nc\nx\nx\nc\n";
        let want = "0\na\nnew\nb\n-\nx\ny\nc\nx\nx\nc\n";
        check(file, &two, want, &[1, 1]);
    }

    #[test]
    fn files_without_a_newline_at_the_end_are_exact() {
        let add = "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n";
        check("a", add, "a\n", &[0]);
        let take = "@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n";
        check("a\n", take, "a", &[0]);
        check("", "@@ -0,0 +1,2 @@\n+a\n+b\n", "a\nb\n", &[0]);
        check("a\nb\n", "@@ -1,2 +0,0 @@\n-a\n-b\n", "", &[0]);
        insta::assert_snapshot!(refused("a", take), @"
        patch `1.patch` is already applied to `setup.py`: its reverse applies
        hint: upstream has the change now, or the patch is listed twice: take it out
        ");
    }

    #[test]
    fn a_hunk_for_an_end_of_the_file_fits_nowhere_else() {
        let append = "@@ -1,2 +1,3 @@\n a\n b\n+c\n";
        check("a\nb\n", append, "a\nb\nc\n", &[0]);
        let prepend = "@@ -1,2 +1,3 @@\n+0\n a\n b\n";
        check("a\nb\n", prepend, "0\na\nb\n", &[0]);
        insta::assert_snapshot!(
            [
                refused("a\nb\nmore\n", append),
                refused("more\na\nb\n", prepend),
                refused("a\nb\nc\n", append),
                refused("0\na\nb\n", prepend),
            ]
            .join("\n\n"),
            @"
            hunk 1 of patch `1.patch` does not fit `setup.py` at line 1
            hunk 1 (line 3 of the patch) against `setup.py`:
                 1         a
                 2         b
            note: the lines are there, but the hunk is for the end of the file and there is more after them
            hint: make the diff anew against this version of the source

            hunk 1 of patch `1.patch` does not fit `setup.py` at line 2
            hunk 1 (line 3 of the patch) against `setup.py`:
                 2         a
                 3         b
            note: the lines are there, but the hunk is for the start of the file and there is more before them
            hint: make the diff anew against this version of the source

            patch `1.patch` is already applied to `setup.py`: its reverse applies
            hint: upstream has the change now, or the patch is listed twice: take it out

            patch `1.patch` is already applied to `setup.py`: its reverse applies
            hint: upstream has the change now, or the patch is listed twice: take it out
            "
        );
    }

    #[test]
    fn a_failed_hunk_shows_what_is_there_instead() {
        let second = "@@ -6,2 +6,2 @@\n def build():\n-    pass\n+    return 1\n";
        let second = format!(
            "{ARCHS}{}",
            second.replace("-6,2 +6,2", "-6,3 +6,3") + " \n"
        );
        let other = FILE.replace("def build():\n    pass", "def build(x):\n\traise");
        insta::assert_snapshot!(
            [
                refused(&FILE.replace("8.0", "8.6"), ARCHS),
                refused(&other, &second),
                refused("import os\n\n", ARCHS),
                refused("", ARCHS),
                refused("one\ntwo\n", "@@ -1,2 +1,2 @@\n-three\n+four\n five\n"),
            ]
            .join("\n\n"),
            @"
            hunk 1 of patch `1.patch` does not fit `setup.py`: line 3 should be `ARCHS = ['8.0']` and is `ARCHS = ['8.6']`
            hunk 1 (line 3 of the patch) against `setup.py`:
                 2         
                 3 wanted  ARCHS = ['8.0']
                   found   ARCHS = ['8.6']
                 4         FLAGS = []
            hint: make the diff anew against this version of the source

            hunk 2 of patch `1.patch` does not fit `setup.py`: line 6 should be `def build():` and is `def build(x):`
            hunk 2 (line 8 of the patch) against `setup.py`:
                 6 wanted  def build():
                   found   def build(x):
                 7 wanted      pass
                   found   	raise
                 8
            hint: make the diff anew against this version of the source

            hunk 1 of patch `1.patch` does not fit `setup.py`: line 3 should be `ARCHS = ['8.0']` and the file ends before it
            hunk 1 (line 3 of the patch) against `setup.py`:
                 2         
                 3 wanted  ARCHS = ['8.0']
                   found   (end)
                 4 wanted  FLAGS = []
                   found   (end)
            hint: make the diff anew against this version of the source

            hunk 1 of patch `1.patch` does not fit `setup.py`: line 1 should be empty and the file ends before it
            hunk 1 (line 3 of the patch) against `setup.py`:
                 1 wanted  
                   found   (end)
                 2 wanted  ARCHS = ['8.0']
                   found   (end)
                 3 wanted  FLAGS = []
                   found   (end)
            hint: make the diff anew against this version of the source

            hunk 1 of patch `1.patch` does not fit `setup.py`: line 1 should be `three` and is `one`
            hunk 1 (line 3 of the patch) against `setup.py`:
                 1 wanted  three
                   found   one
                 2 wanted  five
                   found   two
            hint: make the diff anew against this version of the source
            "
        );
    }

    #[test]
    fn the_cause_of_a_failure_is_named() {
        let indented = FILE.replace("FLAGS = []", "FLAGS=[]");
        let half_done = format!("{}X\n", FILE.replace("8.0", "9.0a"));
        let both = format!("{ARCHS}@@ -9,2 +9,2 @@\n def test():\n-    fail\n+    pass\n");
        insta::assert_snapshot!(
            [
                refused(&FILE.replace('\n', "\r\n"), ARCHS),
                refused(FILE, &ARCHS.replace("']\n", "']\r\n")),
                refused(&indented, ARCHS),
                refused(&half_done, &both),
                refused(&FILE.replace("8.0", "9.0a"), ARCHS),
            ]
            .join("\n\n"),
            @r"
            hunk 1 of patch `1.patch` does not fit `setup.py`: line 2 should be empty and is `\r`
            hunk 1 (line 3 of the patch) against `setup.py`:
                 2 wanted  
                   found   \r
                 3 wanted  ARCHS = ['8.0']
                   found   ARCHS = ['8.0']\r
                 4 wanted  FLAGS = []
                   found   FLAGS = []\r
            note: the file has CRLF line ends, the patch LF
            hint: make the diff from the released files, without converting line ends: `git -c core.autocrlf=false diff`

            hunk 1 of patch `1.patch` does not fit `setup.py`: line 3 should be `ARCHS = ['8.0']\r` and is `ARCHS = ['8.0']`
            hunk 1 (line 3 of the patch) against `setup.py`:
                 2         
                 3 wanted  ARCHS = ['8.0']\r
                   found   ARCHS = ['8.0']
                 4         FLAGS = []
            note: the patch has CRLF line ends, the file LF
            hint: make the diff from the released files

            hunk 1 of patch `1.patch` does not fit `setup.py`: line 4 should be `FLAGS = []` and is `FLAGS=[]`
            hunk 1 (line 3 of the patch) against `setup.py`:
                 2         
                 3         ARCHS = ['8.0']
                 4 wanted  FLAGS = []
                   found   FLAGS=[]
            note: only white space differs
            hint: make the diff anew against this version of the source

            hunk 1 of patch `1.patch` does not fit `setup.py`: line 3 should be `ARCHS = ['8.0']` and is `ARCHS = ['9.0a']`
            hunk 1 (line 3 of the patch) against `setup.py`:
                 2         
                 3 wanted  ARCHS = ['8.0']
                   found   ARCHS = ['9.0a']
                 4         FLAGS = []
            note: what the hunk makes is already there, at line 2
            hint: make the diff anew against this version of the source

            patch `1.patch` is already applied to `setup.py`: its reverse applies
            hint: upstream has the change now, or the patch is listed twice: take it out
            "
        );
    }

    #[test]
    fn a_place_that_is_not_certain_is_refused() {
        let pass = "@@ -20,2 +20,2 @@\n-    pass\n+    fail\n \n";
        let pass = pass
            .replace("-    pass", " \n-    pass")
            .replace("20,2", "20,3");
        let file = "\n    pass\n\n\n    pass\n\n";
        let bare = "@@ -3 +3 @@\n-ARCHS = ['8.0']\n+ARCHS = []\n";
        insta::assert_snapshot!(
            [
                refused(file, &pass),
                refused(FILE, bare),
                refused(FILE, "@@ -3,0 +4 @@\n+x\n"),
            ]
            .join("\n\n"),
            @"
            hunk 1 of patch `1.patch` is not at line 20 of `setup.py`, and fits at lines 1, 4
            hint: make the diff anew with more context: `git diff -U10`

            hunk 1 of patch `1.patch` for `setup.py` has no unchanged line to place it by
            hint: make the diff with context: `git diff -U3`

            hunk 1 of patch `1.patch` for `setup.py` has no unchanged line to place it by
            hint: make the diff with context: `git diff -U3`
            "
        );
    }
}
