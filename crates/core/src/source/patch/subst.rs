//! Text substitutions that say how often their text must be there.

use serde::Deserialize;

use super::super::tree_path::{TreePath, TreePathError};
use super::error::PatchError;
use super::failure::{CrlfNote, SubstFailure};
use super::header::PatchHeader;
use super::lines;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::yaml::{self, At};

/// One text that is replaced by another.
#[derive(Debug, Clone)]
pub(super) struct Substitution {
    pub(super) file: TreePath,
    find: String,
    replace: String,
    count: usize,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPatch {
    /// Why the patch is there.
    #[cfg_attr(test, schemars(with = "String"))]
    why: Option<String>,
    /// What upstream knows of it: an issue, a pull request, or `none known`.
    #[cfg_attr(test, schemars(with = "String"))]
    upstream: Option<String>,
    /// When it can go.
    #[cfg_attr(test, schemars(with = "String"))]
    drop_when: Option<String>,
    /// The texts that are replaced.
    #[cfg_attr(test, schemars(length(min = 1)))]
    substitutions: Vec<RawSubstitution>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSubstitution {
    /// The file of the source.
    #[cfg_attr(test, schemars(with = "TreePath"))]
    file: At<String>,
    /// The text to find.
    #[cfg_attr(test, schemars(length(min = 1)))]
    find: At<String>,
    /// The text in its place.
    replace: String,
    /// How often it must be there; any other number fails.
    #[cfg_attr(test, schemars(range(min = 1)))]
    count: At<usize>,
}

/// The schema of what is written.
#[cfg(test)]
pub(crate) fn schema(name: &str, title: &str) -> String {
    crate::schema::made::<RawPatch>(name, title)
}

pub(super) fn parse(
    patch: &str,
    text: &str,
) -> Result<(PatchHeader, Vec<Substitution>), PatchError> {
    let refused = |faults: Diagnostics| PatchError::Yaml {
        patch: patch.to_owned(),
        faults,
    };
    let raw: RawPatch = yaml::parse(patch, text).map_err(|fault| refused(fault.into()))?;
    let header = PatchHeader::checked(patch, [raw.why, raw.upstream, raw.drop_when])?;
    let mut faults = Vec::new();
    let mut substitutions = Vec::new();
    for raw in raw.substitutions {
        substitutions.extend(checked(patch, raw, &mut faults));
    }
    if substitutions.is_empty() && faults.is_empty() {
        let message = "there is no substitution in it";
        let fault = Diagnostic::new(yaml::start_of(patch), "empty-patch", message);
        faults.push(fault.with_hint("list one under `substitutions:`, or take the patch out"));
    }
    let substitutions = Diagnostics::check(substitutions, faults).map_err(refused)?;
    Ok((header, substitutions))
}

fn checked(
    patch: &str,
    raw: RawSubstitution,
    faults: &mut Vec<Diagnostic>,
) -> Option<Substitution> {
    let path_hint = |_: &TreePathError| {
        Some("name a file by its path from the source's top: `setup.py`".to_owned())
    };
    let file = match yaml::read(patch, &raw.file, "tree-path", path_hint) {
        Ok(file) => file.value,
        Err(fault) => {
            faults.push(*fault);
            return None;
        }
    };
    let mut refuse = |place, message: &str, hint: &str| {
        let fault = Diagnostic::new(place, "substitution", message);
        faults.push(fault.with_hint(hint));
        None
    };
    if raw.find.value.is_empty() {
        let hint = "copy the text out of the source's file, with its blanks";
        let place = yaml::place(patch, &raw.find);
        return refuse(place, "the text to find is empty", hint);
    }
    if raw.find.value == raw.replace {
        let place = yaml::place(patch, &raw.find);
        let hint = "write into `replace` what is to stand there instead";
        return refuse(place, "the text is replaced by itself", hint);
    }
    if raw.count.value == 0 {
        let place = yaml::place(patch, &raw.count);
        let hint =
            "write how often the text is there: `grep -c` on the source's file counts its lines";
        return refuse(place, "a substitution at no place changes nothing", hint);
    }
    Some(Substitution {
        file,
        find: raw.find.value,
        replace: raw.replace,
        count: raw.count.value,
    })
}

/// Applies the substitution that is number `number` in `patch` to the content of its file.
pub(super) fn apply(
    patch: &str,
    number: usize,
    substitution: &Substitution,
    bytes: &[u8],
) -> Result<Vec<u8>, PatchError> {
    let find = substitution.find.as_bytes();
    let places = places(bytes, find);
    if !places.is_empty() && is_made(substitution, bytes) {
        return Err(PatchError::AlreadyApplied {
            patch: patch.to_owned(),
            file: substitution.file.clone(),
        });
    }
    if places.len() != substitution.count {
        let failure = failure(patch, number, substitution, bytes, &places);
        return Err(PatchError::CountDiffers(Box::new(failure)));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for place in places {
        out.extend_from_slice(&bytes[done..place]);
        out.extend_from_slice(substitution.replace.as_bytes());
        done = place + find.len();
    }
    out.extend_from_slice(&bytes[done..]);
    Ok(out)
}

/// A text to find as it is shown: by lines, those that are too many left out.
pub(super) fn shown(find: &str) -> Vec<String> {
    const MOST: usize = 8;
    let lines = lines::split(find.as_bytes());
    let shown = lines.iter().take(MOST);
    let mut shown: Vec<_> = shown.map(|line| lines::shown(line)).collect();
    if lines.len() > MOST {
        shown.push("…".to_owned());
    }
    shown
}

/// Whether the file has what the substitution makes, as often as it makes it, and what it looks for
/// nowhere else. A replacement that holds the text it replaces, as one that adds lines does, would
/// go in a second time otherwise.
fn is_made(substitution: &Substitution, bytes: &[u8]) -> bool {
    let (find, replace) = (
        substitution.find.as_bytes(),
        substitution.replace.as_bytes(),
    );
    // What a removal leaves stands where nothing was removed too.
    if replace.is_empty() || !places(find, replace).is_empty() {
        return false;
    }
    let made = places(bytes, replace);
    let is_inside = |place: &usize| {
        let inside = |made: &usize| made <= place && place + find.len() <= made + replace.len();
        made.iter().any(inside)
    };
    made.len() == substitution.count && places(bytes, find).iter().all(is_inside)
}

/// Where `find` stands in `bytes`, from the left and without overlap.
fn places(bytes: &[u8], find: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut start = 0;
    while let Some(found) = bytes[start..].windows(find.len()).position(|w| w == find) {
        places.push(start + found);
        start += found + find.len();
    }
    places
}

/// Where a text of several lines comes nearest to being there.
struct BestFit<'a> {
    /// The first line of the file that differs, from 0.
    line: usize,
    /// What should be on it.
    wanted: &'a [u8],
}

/// The place where most lines of a text of several lines are; the first of equals. The text may
/// begin and end in the middle of a line.
fn best_fit<'a>(file: &[&[u8]], find: &'a [u8]) -> Option<BestFit<'a>> {
    let wanted = lines::split(find);
    let last = wanted.len().checked_sub(1).filter(|last| *last > 0)?;
    let is_there = |at: usize, line: Option<&&[u8]>| {
        let (wanted, Some(line)) = (wanted[at], line) else {
            return false;
        };
        // A blank line is everywhere and says nothing of the place.
        let is_blank = wanted.trim_ascii().is_empty();
        !is_blank
            && match at {
                0 => line.ends_with(wanted),
                at if at == last && !wanted.ends_with(b"\n") => line.starts_with(wanted),
                _ => *line == wanted,
            }
    };
    let score = |place: usize| {
        let there = (0..wanted.len()).filter(|at| is_there(*at, file.get(place + at)));
        there.count()
    };
    let best = (0..file.len()).max_by_key(|place| (score(*place), std::cmp::Reverse(*place)))?;
    if score(best) == 0 {
        return None;
    }
    let is_equal = |at: usize| file.get(best + at) == Some(&wanted[at]);
    let differs = |at: &usize| !is_there(*at, file.get(best + at)) && !is_equal(*at);
    let first = (0..wanted.len()).find(differs)?;
    Some(BestFit {
        line: best + first,
        wanted: wanted[first],
    })
}

fn failure(
    patch: &str,
    number: usize,
    substitution: &Substitution,
    bytes: &[u8],
    places: &[usize],
) -> SubstFailure {
    let line_of = |place: &usize| bytes[..*place].split(|byte| *byte == b'\n').count();
    let find = substitution.find.as_bytes();
    let mut nearest = None;
    let mut wanted_there = None;
    let mut crlf = None;
    let mut made = Vec::new();
    if places.is_empty() {
        let with_crlf = substitution.find.replace('\n', "\r\n");
        let count = self::places(bytes, with_crlf.as_bytes()).len();
        crlf = (count > 0).then_some(CrlfNote { count });
        let file_lines = lines::split(bytes);
        if let Some(found) = best_fit(&file_lines, find) {
            let text = file_lines.get(found.line).map(|line| lines::shown(line));
            let text = text.unwrap_or_else(|| "(the end of the file)".to_owned());
            nearest = Some((found.line + 1, text));
            wanted_there = Some(lines::shown(found.wanted));
        } else {
            let mut wanted = substitution.find.lines();
            nearest = wanted
                .find(|line| !line.trim().is_empty())
                .and_then(|wanted| lines::nearest(&file_lines, wanted.as_bytes()))
                .map(|place| (place + 1, lines::shown(file_lines[place])));
        }
        if is_made(substitution, bytes) {
            let places = self::places(bytes, substitution.replace.as_bytes());
            made = places.iter().map(line_of).collect();
        }
    }
    SubstFailure {
        patch: patch.to_owned(),
        file: substitution.file.clone(),
        substitution: number,
        find: substitution.find.clone(),
        wanted: substitution.count,
        lines: places.iter().map(line_of).collect(),
        nearest,
        wanted_there,
        crlf,
        made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "why: a\nupstream: b\ndrop-when: c\n";

    #[test]
    fn what_a_removal_leaves_does_not_say_that_it_was_made() {
        let removal = substitution("\"-O3\", \"-std=c++17\", ", "\"-O3\", ", 1);
        assert!(!is_made(&removal, b"args = [\"-O3\", \"-std=c++20\", x]"));
        let change = substitution("c++17", "c++20", 1);
        assert!(is_made(&change, b"-std=c++20"));
    }

    fn substitution(find: &str, replace: &str, count: usize) -> Substitution {
        Substitution {
            file: "setup.py".parse().unwrap(),
            find: find.to_owned(),
            replace: replace.to_owned(),
            count,
        }
    }

    #[test]
    fn every_place_is_replaced() {
        let archs = substitution("8.0", "9.0a", 2);
        let bytes = apply("1.subst.yaml", 1, &archs, b"8.0 \xff 8.0\n").unwrap();
        assert_eq!(bytes, b"9.0a \xff 9.0a\n");
        let lines = substitution("a\nb", "c", 1);
        assert_eq!(apply("1.subst.yaml", 1, &lines, b"a\nb\n").unwrap(), b"c\n");
    }

    #[test]
    fn what_is_there_already_is_not_put_in_again() {
        let add = substitution("import os\n", "import os\nimport re\n", 1);
        let once = apply("1.subst.yaml", 1, &add, b"import os\n").unwrap();
        let twice = apply("1.subst.yaml", 1, &add, &once).unwrap_err();
        assert_eq!(
            twice.to_string(),
            "patch `1.subst.yaml` is already applied to `setup.py`: its reverse applies"
        );
        // The new text stands elsewhere too, and the old one where it belongs.
        let flag = substitution("-O2", "-O3", 1);
        let bytes = apply("1.subst.yaml", 1, &flag, b"-O2\n-O3\n").unwrap();
        assert_eq!(bytes, b"-O3\n-O3\n");
        // A shorter text that is part of the old one: there, it says nothing of whether it was made.
        let cut = substitution("-O3 -g", "-O3", 1);
        let bytes = apply("1.subst.yaml", 1, &cut, b"-O3 -g\n").unwrap();
        assert_eq!(bytes, b"-O3\n");
        let error = apply("1.subst.yaml", 1, &cut, &bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "substitution 1 of patch `1.subst.yaml` wants `-O3 -g` once in `setup.py` and finds it \
             nowhere; line 1 is like it: `-O3`"
        );
    }

    #[test]
    fn another_count_is_said_with_its_lines() {
        let file = b"import os\narchs = ['8.0']\nmore = ['8.0']\n";
        let refused = |find: &str, count: usize, file: &[u8]| {
            let substitution = substitution(find, "x", count);
            apply("1.subst.yaml", 2, &substitution, file)
                .unwrap_err()
                .report()
        };
        let crlf = b"import os\r\narchs = ['8.0']\r\n";
        insta::assert_snapshot!(
            [
                refused("'8.0'", 1, file),
                refused("archs = ['9.0']", 1, file),
                refused("nothing like it", 1, file),
                refused("import os\narchs", 1, crlf),
                refused("os\narchs = ['9.0']\nmore", 1, file),
                refused("archs = ['8.0']\nmore = ['8.0']\nlast", 1, file),
                refused("nothing\nlike it", 1, file),
            ]
            .join("\n"),
            @"
            substitution 2 of patch `1.subst.yaml` wants `'8.0'` once in `setup.py` and finds it twice, at lines 2, 3
            substitution 2 of patch `1.subst.yaml` wants `archs = ['9.0']` once in `setup.py` and finds it nowhere; line 2 is like it: `archs = ['8.0']`
            substitution 2 of patch `1.subst.yaml` wants `nothing like it` once in `setup.py` and finds it nowhere
            substitution 2 of patch `1.subst.yaml` wants `import os` once in `setup.py` and finds it nowhere; with CRLF line ends it is there once
            substitution 2 of patch `1.subst.yaml` wants `os` once in `setup.py` and finds it nowhere; nearest, line 2 should be `archs = ['9.0']` and is `archs = ['8.0']`
            substitution 2 of patch `1.subst.yaml` wants `archs = ['8.0']` once in `setup.py` and finds it nowhere; nearest, line 4 should be `last` and is `(the end of the file)`
            substitution 2 of patch `1.subst.yaml` wants `nothing` once in `setup.py` and finds it nowhere
            "
        );
    }

    #[test]
    fn files_that_say_something_else_are_refused() {
        let refused = |text: &str| parse("1.subst.yaml", text).unwrap_err().report();
        let entry = |text: &str| refused(&format!("{HEADER}substitutions:\n  - {text}\n"));
        insta::assert_snapshot!(
            [
                refused("why: a\nsubstitutions: []\n"),
                refused(&format!("{HEADER}substitutions: []\n")),
                refused(&format!("{HEADER}regex: a\n")),
                entry("{file: x, find: a, replace: b}"),
                entry("{file: ../x, find: a, replace: b, count: 1}"),
                entry("{file: x, find: '', replace: b, count: 1}"),
                entry("{file: x, find: a, replace: a, count: 1}"),
                entry("{file: x, find: a, replace: b, count: 0}"),
            ]
            .join("\n"),
            @"
            patch `1.subst.yaml` does not say `Upstream`, `Drop-when`
            hint: say it in the keys `why`, `upstream` and `drop-when`
            patch `1.subst.yaml` cannot be read
              caused by: 1.subst.yaml:1:1: there is no substitution in it [empty-patch]
              hint: list one under `substitutions:`, or take the patch out
            patch `1.subst.yaml` cannot be read
              caused by: 1.subst.yaml:4:1: `regex` is not a key here [unknown-key]
              hint: the keys are: why, upstream, drop-when, substitutions
            patch `1.subst.yaml` cannot be read
              caused by: 1.subst.yaml:5:24: `count` is missing here [missing-key]
              hint: write `count: …`
            patch `1.subst.yaml` cannot be read
              caused by: 1.subst.yaml:5:12: `../x` is not a path inside a source tree: relative, `/` between the names, no `..`, no control characters [tree-path]
              hint: name a file by its path from the source's top: `setup.py`
            patch `1.subst.yaml` cannot be read
              caused by: 1.subst.yaml:5:21: the text to find is empty [substitution]
              hint: copy the text out of the source's file, with its blanks
            patch `1.subst.yaml` cannot be read
              caused by: 1.subst.yaml:5:21: the text is replaced by itself [substitution]
              hint: write into `replace` what is to stand there instead
            patch `1.subst.yaml` cannot be read
              caused by: 1.subst.yaml:5:43: a substitution at no place changes nothing [substitution]
              hint: write how often the text is there: `grep -c` on the source's file counts its lines
            "
        );
    }
}
