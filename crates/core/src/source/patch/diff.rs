//! Reads unified diffs, plain or as git writes them.
//!
//! Own code rather than a library's, for two reasons: nothing in the file may be passed over in
//! silence (a reader for git's form skips a plain section between two others, and lines after a
//! hunk whose header counts too few), and a fault is told by its line.

use super::super::tree::FileMode;
use super::super::tree_path::TreePath;
use super::error::{PatchError, UnsupportedChange};
use super::names::{git_path, one_path, unquoted};

/// What a diff does to one file.
#[derive(Debug, Clone)]
pub(super) struct FileDiff {
    pub(super) path: TreePath,
    pub(super) action: Action,
    /// The mode to give it, where the diff names one.
    pub(super) mode: Option<FileMode>,
    pub(super) hunks: Vec<Hunk>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Modify,
    Create,
    Delete,
}

#[derive(Debug, Clone)]
pub(super) struct Hunk {
    /// In the file's part of the patch, from 1.
    pub(super) number: usize,
    /// The line of the patch where it begins.
    pub(super) patch_line: usize,
    pub(super) old_start: usize,
    pub(super) new_start: usize,
    pub(super) lines: Vec<HunkLine>,
}

#[derive(Debug, Clone)]
pub(super) struct HunkLine {
    pub(super) kind: LineKind,
    /// With its line end, unless the file ends without one here.
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    Context,
    Remove,
    Add,
}

pub(super) fn parse(patch: &str, text: &str) -> Result<Vec<FileDiff>, PatchError> {
    let mut reader = Reader {
        patch,
        lines: text.split_inclusive('\n').collect(),
        at: 0,
    };
    let mut files = Vec::new();
    while let Some(line) = reader.peek() {
        if line.starts_with("diff --git ") {
            files.push(reader.git_section()?);
        } else if reader.at_names() {
            files.push(reader.plain_section()?);
        } else if line.starts_with("@@ -") {
            return Err(reader.fault("a hunk stands here without `---` and `+++` lines above it"));
        } else if line.starts_with("Binary files ") || line.starts_with("GIT binary patch") {
            return Err(reader.unsupported(UnsupportedChange::Binary));
        } else {
            reader.at += 1;
        }
    }
    if files.is_empty() {
        reader.at = 0;
        return Err(reader.fault("there is no diff in it"));
    }
    Ok(files)
}

struct Reader<'a> {
    patch: &'a str,
    lines: Vec<&'a str>,
    at: usize,
}

/// What stands between a `diff --git` line and the `---` line.
#[derive(Default)]
struct GitHeader {
    action: Option<Action>,
    mode: Option<FileMode>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    /// Whether a `---` and a `+++` line come next; prose may hold either alone.
    fn at_names(&self) -> bool {
        let starts = |ahead: usize, with: &str| {
            let line = self.lines.get(self.at + ahead);
            line.is_some_and(|line| line.starts_with(with))
        };
        starts(0, "--- ") && starts(1, "+++ ")
    }

    fn fault(&self, reason: impl Into<String>) -> PatchError {
        PatchError::Malformed {
            patch: self.patch.to_owned(),
            line: self.at + 1,
            reason: reason.into(),
        }
    }

    fn unsupported(&self, what: UnsupportedChange) -> PatchError {
        PatchError::Unsupported {
            patch: self.patch.to_owned(),
            line: self.at + 1,
            what,
        }
    }

    /// The rest of a header line; one that ends in CRLF shows that the patch was converted, for
    /// git and diff end these lines in LF even where the files have CRLF.
    fn header_rest(&self, prefix: &str) -> Result<&'a str, PatchError> {
        let line = self.peek().unwrap_or_default();
        let rest = line.strip_prefix(prefix).unwrap_or_default();
        let rest = rest.strip_suffix('\n').unwrap_or(rest);
        if rest.ends_with('\r') {
            let patch = self.patch.to_owned();
            return Err(PatchError::CrlfPatch { patch });
        }
        Ok(rest)
    }

    fn plain_section(&mut self) -> Result<FileDiff, PatchError> {
        let (path, action) = self.names(None)?;
        Ok(FileDiff {
            path,
            action,
            mode: None,
            hunks: self.hunks()?,
        })
    }

    fn git_section(&mut self) -> Result<FileDiff, PatchError> {
        let names = self.header_rest("diff --git ")?;
        let git_path = git_path(names);
        let start = self.at;
        self.at += 1;
        let header = self.git_header()?;
        if self.at_names() {
            let (path, action) = self.names(git_path.as_deref())?;
            return Ok(FileDiff {
                path,
                action,
                mode: header.mode,
                hunks: self.hunks()?,
            });
        }
        // An empty file comes or goes, or only the mode changes.
        let after = std::mem::replace(&mut self.at, start);
        let Some(path) = git_path else {
            return Err(self.fault("the two names are not one path"));
        };
        let path = self.path(&path)?;
        self.at = after;
        Ok(FileDiff {
            path,
            action: header.action.unwrap_or(Action::Modify),
            mode: header.mode,
            hunks: Vec::new(),
        })
    }

    fn git_header(&mut self) -> Result<GitHeader, PatchError> {
        let mut header = GitHeader::default();
        while let Some(line) = self.peek() {
            let line = line.trim_end();
            if let Some(mode) = line.strip_prefix("new file mode ") {
                header.action = Some(Action::Create);
                header.mode = Some(self.mode(mode)?);
            } else if let Some(mode) = line.strip_prefix("deleted file mode ") {
                header.action = Some(Action::Delete);
                self.mode(mode)?;
            } else if let Some(mode) = line.strip_prefix("new mode ") {
                header.mode = Some(self.mode(mode)?);
            } else if line.starts_with("rename ") {
                return Err(self.unsupported(UnsupportedChange::Rename));
            } else if line.starts_with("copy ") {
                return Err(self.unsupported(UnsupportedChange::Copy));
            } else if line.starts_with("Binary files ") || line == "GIT binary patch" {
                return Err(self.unsupported(UnsupportedChange::Binary));
            } else if let Some((_, mode)) = index_mode(line) {
                self.mode(mode)?;
            } else if !["old mode ", "index ", "similarity ", "dissimilarity "]
                .iter()
                .any(|known| line.starts_with(known))
            {
                break;
            }
            self.at += 1;
        }
        Ok(header)
    }

    fn mode(&self, text: &str) -> Result<FileMode, PatchError> {
        match text {
            "100644" | "100664" => Ok(FileMode::Plain),
            "100755" => Ok(FileMode::Executable),
            "120000" => Err(self.unsupported(UnsupportedChange::Symlink)),
            "160000" => Err(self.unsupported(UnsupportedChange::Submodule)),
            other => Err(self.fault(format!("`{other}` is not a file mode"))),
        }
    }

    /// Reads the `---` and `+++` lines, which must mean what a `diff --git` line above them means.
    fn names(&mut self, git_path: Option<&str>) -> Result<(TreePath, Action), PatchError> {
        let old = self.name("--- ")?;
        self.at += 1;
        let new = self.name("+++ ")?;
        let (name, side, action) = match (old.as_str(), new.as_str()) {
            ("/dev/null", "/dev/null") => return Err(self.fault("both names are `/dev/null`")),
            ("/dev/null", new) => (new, "b/", Action::Create),
            (old, "/dev/null") => (old, "a/", Action::Delete),
            (old, new) => {
                let reason = || format!("`{old}` and `{new}` are not one path below `a/` and `b/`");
                let path = one_path(old, new).ok_or_else(|| self.fault(reason()))?;
                (path, "", Action::Modify)
            }
        };
        let inner = name.strip_prefix(side).unwrap_or(name);
        let path = match git_path {
            None => inner,
            // Without prefixes, `b/` is a folder of the tree.
            Some(path) if path == name || path == inner => path,
            Some(path) => {
                let reason = format!("the `diff --git` line above is for `{path}`");
                return Err(self.fault(reason));
            }
        };
        let path = self.path(path)?;
        self.at += 1;
        Ok((path, action))
    }

    fn name(&self, prefix: &str) -> Result<String, PatchError> {
        let rest = self.header_rest(prefix)?;
        if rest.starts_with('"') {
            let unquoted = unquoted(rest).map(|(name, _)| name);
            return unquoted.ok_or_else(|| self.fault("the quoted name cannot be read"));
        }
        // After a tab stands the time.
        Ok(rest.split('\t').next().unwrap_or(rest).to_owned())
    }

    fn path(&self, text: &str) -> Result<TreePath, PatchError> {
        text.parse()
            .map_err(|error: super::super::TreePathError| self.fault(error.to_string()))
    }

    fn hunks(&mut self) -> Result<Vec<Hunk>, PatchError> {
        let mut hunks = Vec::new();
        while self.peek().is_some_and(|line| line.starts_with("@@ -")) {
            hunks.push(self.hunk(hunks.len() + 1)?);
        }
        let stray = |line: &str| {
            let is_blank = line.trim().is_empty();
            // `-- ` and a version end a mail of git's.
            let is_signature = line.trim_end() == "--";
            line.starts_with([' ', '+', '-', '\\']) && !is_blank && !is_signature
        };
        if hunks.is_empty() {
            return Err(self.fault("a `@@` line should be here"));
        }
        if !self.at_names() && self.peek().is_some_and(stray) {
            return Err(self.fault("the `@@` line above counts fewer lines than stand below it"));
        }
        Ok(hunks)
    }

    fn hunk(&mut self, number: usize) -> Result<Hunk, PatchError> {
        let header = self.peek().unwrap_or_default();
        let Some([old, new]) = ranges(header) else {
            return Err(self.fault("the `@@` line cannot be read"));
        };
        let patch_line = self.at + 1;
        self.at += 1;
        let (mut old_left, mut new_left) = (old.length, new.length);
        let mut lines: Vec<HunkLine> = Vec::new();
        while old_left > 0 || new_left > 0 {
            let Some(line) = self.peek() else {
                return Err(self.fault("the patch ends inside a hunk"));
            };
            if line.starts_with('\\') {
                self.no_newline(&mut lines)?;
                continue;
            }
            let (kind, bytes) = self.hunk_line(line)?;
            let (takes_old, takes_new) = match kind {
                LineKind::Context => (1, 1),
                LineKind::Remove => (1, 0),
                LineKind::Add => (0, 1),
            };
            let left = old_left
                .checked_sub(takes_old)
                .zip(new_left.checked_sub(takes_new));
            let Some(left) = left else {
                return Err(self.fault("the hunk has other lines than its `@@` line counts"));
            };
            (old_left, new_left) = left;
            lines.push(HunkLine { kind, bytes });
            self.at += 1;
        }
        if self.peek().is_some_and(|line| line.starts_with('\\')) {
            self.no_newline(&mut lines)?;
        }
        Ok(Hunk {
            number,
            patch_line,
            old_start: old.start,
            new_start: new.start,
            lines,
        })
    }

    fn hunk_line(&self, line: &str) -> Result<(LineKind, Vec<u8>), PatchError> {
        let kind = match line.as_bytes().first() {
            Some(b' ') => LineKind::Context,
            Some(b'-') => LineKind::Remove,
            Some(b'+') => LineKind::Add,
            // Editors take the space off an empty line.
            Some(b'\n' | b'\r') => {
                return Ok((LineKind::Context, line.as_bytes().to_vec()));
            }
            _ => return Err(self.fault("a line of a hunk starts with ` `, `-`, `+` or `\\`")),
        };
        let mut bytes = line.as_bytes()[1..].to_vec();
        // Only a `\` line takes a newline away, not an editor at the end of the patch.
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        Ok((kind, bytes))
    }

    /// `\ No newline at end of file` speaks of the line above it.
    fn no_newline(&mut self, lines: &mut [HunkLine]) -> Result<(), PatchError> {
        match lines.last_mut() {
            Some(line) if line.bytes.last() == Some(&b'\n') => drop(line.bytes.pop()),
            _ => return Err(self.fault("this `\\` line follows no line of the file")),
        }
        self.at += 1;
        Ok(())
    }
}

/// The mode at the end of `index 1234567..89abcde 100644`.
fn index_mode(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("index ")?.split_once(' ')
}

#[derive(Clone, Copy)]
struct Range {
    start: usize,
    length: usize,
}

/// The ranges of `@@ -1,2 +3,4 @@ anything`.
fn ranges(line: &str) -> Option<[Range; 2]> {
    let (ranges, _) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| {
        let (start, length) = text.split_once(',').unwrap_or((text, "1"));
        Some(Range {
            start: start.parse().ok()?,
            length: length.parse().ok()?,
        })
    };
    Some([range(old)?, range(new)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNK: &str = "@@ -1 +1 @@\n-1\n+2\n";

    /// `path action mode hunks` of every file.
    fn summary(text: &str) -> Vec<String> {
        let files = parse("1.patch", text).unwrap();
        files
            .iter()
            .map(|file| {
                let FileDiff {
                    path,
                    action,
                    mode,
                    hunks,
                } = file;
                let mode = mode.map_or_else(|| "-".to_owned(), |mode| format!("{mode:?}"));
                format!("{path} {action:?} {mode} {}", hunks.len())
            })
            .collect()
    }

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        assert_eq!(summary(text), want, "{text}");
    }

    #[test]
    fn names_of_every_writer_are_understood() {
        check(
            &format!("--- a/x.py\n+++ b/x.py\n{HUNK}"),
            &["x.py Modify - 1"],
        );
        check(
            &format!("--- x.py\t2024-01-01\n+++ x.py\t2024\n{HUNK}"),
            &["x.py Modify - 1"],
        );
        check(&format!("--- a/x\n+++ a/x\n{HUNK}"), &["a/x Modify - 1"]);
        check(
            &format!("--- i/x y\t\n+++ w/x y\t\n{HUNK}"),
            &["x y Modify - 1"],
        );
        check(
            &format!("--- \"a/\\303\\274.py\"\n+++ \"b/\\303\\274.py\"\n{HUNK}"),
            &["ü.py Modify - 1"],
        );
        check(
            "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+1\n",
            &["x Create - 1"],
        );
        check(
            "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n",
            &["x Delete - 1"],
        );
    }

    #[test]
    fn sections_of_git_and_plain_ones_stand_side_by_side() {
        let text = format!(
            "From 1\nSubject: x\n\nWhy: x\n---\n x | 2 +-\n\n\
             diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n{HUNK}\
             --- a/plain\n+++ b/plain\n{HUNK}{HUNK}\
             diff --git a/empty b/empty\nnew file mode 100644\nindex 0..e69\n\
             diff --git a/run b/run\nold mode 100644\nnew mode 100755\n\
             diff --git a/gone b/gone\ndeleted file mode 100644\nindex e69..0\n\
             diff --git b/n b/n\nnew file mode 100755\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+1\n\
             -- \n2.47.3\n"
        );
        check(
            &text,
            &[
                "x Modify - 1",
                "plain Modify - 2",
                "empty Create Plain 0",
                "run Modify Executable 0",
                "gone Delete - 0",
                "b/n Create Executable 1",
            ],
        );
    }

    #[test]
    fn newlines_at_the_end_are_what_the_backslash_lines_say() {
        let text = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n\n-1\n\\ No newline at end of file\n+2";
        let files = parse("1.patch", text).unwrap();
        let lines: Vec<_> = files[0].hunks[0]
            .lines
            .iter()
            .map(|l| &l.bytes[..])
            .collect();
        assert_eq!(lines, [&b"\n"[..], b"1", b"2\n"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line() {
        let names = "--- a/x\n+++ b/x\n";
        let refused = |text: &str| parse("1.patch", text).unwrap_err().report();
        insta::assert_snapshot!(
            [
                refused("Why: x\n"),
                refused(HUNK),
                refused(names),
                refused(&format!("{names}@@ -1,2 +1 @@\n-1\n+2\n")),
                refused(&format!("{names}@@ -1 +1 @@\n-1\n-2\n+2\n")),
                refused(&format!("{names}{HUNK}+3\n")),
                refused(&format!("{names}@@ -1,2 +1,2 @@\n-1\nx\n+2\n")),
                refused(&format!("{names}@@ 1 @@\n-1\n+2\n")),
                refused(&format!("{names}@@ -x +1 @@\n-1\n+2\n")),
                refused(&format!("--- x.orig\n+++ x\n{HUNK}")),
                refused(&format!("diff --git a/y b/y\nnew mode 100755\n{names}{HUNK}")),
                refused(&format!("--- a/../x\n+++ b/../x\n{HUNK}")),
                refused(&format!("--- /dev/null\n+++ /dev/null\n{HUNK}")),
                refused("diff --git a/x b/y\nrename from x\nrename to y\n"),
                refused("diff --git a/x b/x\nindex 1..2\nBinary files a/x and b/x differ\n"),
                refused("diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n"),
                refused(&format!("{names}{HUNK}").replace('\n', "\r\n")),
            ]
            .join("\n"),
            @r"
            patch `1.patch`, line 1: there is no diff in it
            patch `1.patch`, line 1: a hunk stands here without `---` and `+++` lines above it
            patch `1.patch`, line 3: a `@@` line should be here
            patch `1.patch`, line 6: the patch ends inside a hunk
            patch `1.patch`, line 5: the hunk has other lines than its `@@` line counts
            patch `1.patch`, line 6: the `@@` line above counts fewer lines than stand below it
            patch `1.patch`, line 5: a line of a hunk starts with ` `, `-`, `+` or `\`
            patch `1.patch`, line 3: a `@@` line should be here
            patch `1.patch`, line 3: the `@@` line cannot be read
            patch `1.patch`, line 2: `x.orig` and `x` are not one path below `a/` and `b/`
            patch `1.patch`, line 4: the `diff --git` line above is for `y`
            patch `1.patch`, line 2: `../x` is not a path inside a source tree: relative, `/` between the names, no `..`, no control characters
            patch `1.patch`, line 2: both names are `/dev/null`
            patch `1.patch`, line 2: a rename cannot be patched here
            hint: make the diff anew with `--no-renames`
            patch `1.patch`, line 3: a binary file cannot be patched here
            hint: do it in a `*.sh` patch
            patch `1.patch`, line 2: a symbolic link cannot be patched here
            hint: do it in a `*.sh` patch
            patch `1.patch` has been converted to CRLF line ends
            hint: convert it back with `dos2unix`, and put `patches/** -text` into `.gitattributes`
            "
        );
    }
}
