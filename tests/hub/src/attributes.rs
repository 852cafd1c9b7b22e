//! `.gitattributes` and `.gitignore`, as far as an upload asks for them: which paths are LFS, which are
//! left out. The rules are git's (gitattributes(5), gitignore(5)); the last line that fits counts.

use globset::{GlobBuilder, GlobMatcher};

/// What the real Hub puts into every new repo, from memory; `*.whl` is not among it.
pub(crate) const DEFAULT: &str = "\
*.7z filter=lfs diff=lfs merge=lfs -text
*.arrow filter=lfs diff=lfs merge=lfs -text
*.bin filter=lfs diff=lfs merge=lfs -text
*.bz2 filter=lfs diff=lfs merge=lfs -text
*.ckpt filter=lfs diff=lfs merge=lfs -text
*.ftz filter=lfs diff=lfs merge=lfs -text
*.gz filter=lfs diff=lfs merge=lfs -text
*.h5 filter=lfs diff=lfs merge=lfs -text
*.joblib filter=lfs diff=lfs merge=lfs -text
*.lfs.* filter=lfs diff=lfs merge=lfs -text
*.mlmodel filter=lfs diff=lfs merge=lfs -text
*.model filter=lfs diff=lfs merge=lfs -text
*.msgpack filter=lfs diff=lfs merge=lfs -text
*.npy filter=lfs diff=lfs merge=lfs -text
*.npz filter=lfs diff=lfs merge=lfs -text
*.onnx filter=lfs diff=lfs merge=lfs -text
*.parquet filter=lfs diff=lfs merge=lfs -text
*.pickle filter=lfs diff=lfs merge=lfs -text
*.pkl filter=lfs diff=lfs merge=lfs -text
*.pt filter=lfs diff=lfs merge=lfs -text
*.pth filter=lfs diff=lfs merge=lfs -text
*.safetensors filter=lfs diff=lfs merge=lfs -text
*.tar filter=lfs diff=lfs merge=lfs -text
*.tar.* filter=lfs diff=lfs merge=lfs -text
*.tgz filter=lfs diff=lfs merge=lfs -text
*.wasm filter=lfs diff=lfs merge=lfs -text
*.xz filter=lfs diff=lfs merge=lfs -text
*.zip filter=lfs diff=lfs merge=lfs -text
*.zst filter=lfs diff=lfs merge=lfs -text
*tfevents* filter=lfs diff=lfs merge=lfs -text
";

/// Whether the attributes make this path an LFS file.
pub(crate) fn is_lfs(attributes: &str, path: &str) -> bool {
    let mut lfs = false;
    for line in attributes.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let Some(pattern) = words.next().filter(|pattern| !pattern.starts_with('#')) else {
            continue;
        };
        let setting =
            words.rfind(|word| matches!(*word, "filter=lfs" | "-filter" | "!filter" | "filter"));
        if let Some(setting) = setting
            && fits(pattern, path)
        {
            lfs = setting == "filter=lfs";
        }
    }
    lfs
}

/// Whether the ignore file leaves this path, or a folder it is in, out.
pub(crate) fn is_ignored(ignore: &str, path: &str) -> bool {
    let mut ignored = false;
    for line in ignore.lines().map(str::trim_end) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (keeps, pattern) = line
            .strip_prefix('!')
            .map_or((false, line), |rest| (true, rest));
        let (folders_only, pattern) = pattern
            .strip_suffix('/')
            .map_or((false, pattern), |rest| (true, rest));
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        if folders.into_iter().any(|folder| fits(pattern, folder))
            || !folders_only && fits(pattern, path)
        {
            ignored = !keeps;
        }
    }
    ignored
}

/// A pattern without a slash is one for names in any folder, another one for the whole path.
fn fits(pattern: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (pattern, text) = if pattern.contains('/') {
        (pattern.strip_prefix('/').unwrap_or(pattern), path)
    } else {
        (pattern, name)
    };
    matcher(pattern).is_some_and(|matcher| matcher.is_match(text))
}

/// None for a pattern that is no glob; git takes such a line for one that fits nothing.
fn matcher(pattern: &str) -> Option<GlobMatcher> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .ok()?;
    Some(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attributes: &str, path: &str, want: bool) {
        assert_eq!(is_lfs(attributes, path), want, "{path} with {attributes:?}");
    }

    #[test]
    fn attributes_are_read_as_git_reads_them() {
        check(
            "*.whl filter=lfs diff=lfs merge=lfs -text",
            "a/b/x.whl",
            true,
        );
        check("*.whl filter=lfs -text", "x.whl.metadata", false);
        check("# *.whl filter=lfs", "x.whl", false);
        check("*.whl filter=lfs\nkeep/*.whl -filter", "keep/x.whl", false);
        check("whl/*.whl filter=lfs", "whl/cu128/x.whl", false);
        check("whl/**/*.whl filter=lfs", "whl/cu128/x.whl", true);
        check("*.whl text", "x.whl", false);
        check(DEFAULT, "x.whl", false);
        check(DEFAULT, "x.tar.gz", true);
    }

    #[test]
    fn ignored_folders_take_what_is_in_them() {
        assert!(is_ignored("out/\n", "out/x.whl"));
        assert!(!is_ignored("out/\n", "out"));
        assert!(!is_ignored("*.log\n!keep.log\n", "a/keep.log"));
        assert!(is_ignored("*.log", "a/b.log"));
    }
}
