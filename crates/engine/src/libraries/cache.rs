//! Tables that were kept from an earlier run.

use std::io::Read;

use camino::Utf8Path;
use wheelfarm_core::gate::libraries::Libraries;

use crate::files::{self, FileError};

/// Ten times what the tables of torch 2.11 take as text.
const TEXT_CAP_BYTES: u64 = 512 << 20;

/// The tables of `environment` at `path`. What is damaged, or of another environment or program,
/// counts as absent: it is made again.
pub(super) fn load(path: &Utf8Path, environment: &str) -> Option<Libraries> {
    let kept = match fs_err::File::open(path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "symbol tables are made again");
            return None;
        }
    };
    let read = || -> Result<Libraries, Box<dyn std::error::Error>> {
        let mut text = Vec::new();
        zstd::Decoder::new(kept)?
            .take(TEXT_CAP_BYTES)
            .read_to_end(&mut text)?;
        Ok(Libraries::parse(&text)?)
    };
    match read() {
        Ok(libraries) if libraries.environment == environment => Some(libraries),
        Ok(libraries) => {
            let other = libraries.environment;
            tracing::warn!(%path, other, "symbol tables of another environment are made again");
            None
        }
        Err(error) => {
            tracing::warn!(%path, error, "damaged symbol tables are made again");
            None
        }
    }
}

/// Keeps `libraries` at `path`.
pub(super) fn store(path: &Utf8Path, libraries: &Libraries) -> Result<(), FileError> {
    let text = libraries.to_text();
    let kept = zstd::encode_all(text.as_slice(), zstd::DEFAULT_COMPRESSION_LEVEL)
        .map_err(|source| FileError::new("compress", path, source))?;
    files::write_atomic(path, &kept)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wheelfarm_core::gate::libraries::SCHEMA;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("x.zst");
        assert_eq!(load(&path, "image"), None);
        let libraries = Libraries {
            schema: SCHEMA,
            environment: "image".to_owned(),
            interpreter: None,
            libraries: BTreeMap::new(),
        };
        store(&path, &libraries).unwrap();
        assert_eq!(load(&path, "image"), Some(libraries));
        assert_eq!(load(&path, "another"), None);
        let kept = fs_err::read(&path).unwrap();
        for damaged in [&kept[..kept.len() / 2], b"", b"no zstd at all"] {
            files::write_atomic(&path, damaged).unwrap();
            assert_eq!(load(&path, "image"), None);
        }
        let other_schema = zstd::encode_all(&b"{\"schema\":0}"[..], 1).unwrap();
        files::write_atomic(&path, &other_schema).unwrap();
        assert_eq!(load(&path, "image"), None);
    }
}
