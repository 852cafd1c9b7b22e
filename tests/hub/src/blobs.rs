//! The plain LFS storage: contents by their sha256, in files, and uploads in parts.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::tokio as fs;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::answer::{Counted, Refusal};

/// Where contents of LFS files lie that are not in Xet.
#[derive(Debug)]
pub(crate) struct Blobs {
    folder: Utf8PathBuf,
}

impl Blobs {
    pub(crate) fn open(folder: Utf8PathBuf) -> io::Result<Self> {
        fs_err::create_dir_all(folder.join("partial"))?;
        Ok(Self { folder })
    }

    /// Where the content lies; only meant for digests, which hold no slash.
    pub(crate) fn path(&self, sha256: &str) -> Utf8PathBuf {
        self.folder.join(sha256)
    }

    /// How many bytes the content has; none where it is not here.
    pub(crate) async fn size(&self, sha256: &str) -> Option<u64> {
        if !is_sha256(sha256) {
            return None;
        }
        fs::metadata(self.path(sha256))
            .await
            .ok()
            .map(|facts| facts.len())
    }

    /// Bytes of a content.
    pub(crate) async fn read(&self, sha256: &str, from: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(self.path(sha256)).await?;
        file.seek(io::SeekFrom::Start(from)).await?;
        let mut read = vec![0; bytes];
        file.read_exact(&mut read).await?;
        Ok(read)
    }

    /// Takes a content. Like S3 it keeps nothing of a body that breaks off or is another one.
    pub(crate) async fn receive(
        &self,
        number: u64,
        sha256: &str,
        body: Counted,
    ) -> Result<(), Refusal> {
        let partial = self.partial(&number.to_string());
        let digest = write(&partial, body).await;
        match digest {
            Ok(digest) if digest == sha256 => Ok(fs::rename(&partial, self.path(sha256)).await?),
            Ok(digest) => {
                fs::remove_file(&partial).await?;
                let message = format!("BadDigest: expected {sha256}, computed {digest}");
                Err(Refusal::bad_request(message))
            }
            Err(refusal) => {
                fs::remove_file(&partial).await.ok();
                Err(refusal)
            }
        }
    }

    /// Takes a part of a content and gives its `ETag`.
    pub(crate) async fn receive_part(
        &self,
        number: u64,
        sha256: &str,
        part: u64,
        body: Counted,
    ) -> Result<String, Refusal> {
        let partial = self.partial(&number.to_string());
        match write(&partial, body).await {
            Ok(digest) => {
                fs::rename(&partial, self.part(sha256, part)).await?;
                Ok(format!("\"{}\"", &digest[..32]))
            }
            Err(refusal) => {
                fs::remove_file(&partial).await.ok();
                Err(refusal)
            }
        }
    }

    /// Puts the parts of a content together.
    pub(crate) async fn complete(
        &self,
        number: u64,
        sha256: &str,
        parts: &[u64],
    ) -> Result<(), Refusal> {
        let partial = self.partial(&number.to_string());
        let mut whole = fs::File::create(&partial).await?;
        let mut hash = Sha256::new();
        for part in parts {
            let path = self.part(sha256, *part);
            let bytes = fs::read(&path).await.map_err(|_| {
                Refusal::bad_request(format!("InvalidPart: part {part} was not uploaded"))
            })?;
            hash.update(&bytes);
            whole.write_all(&bytes).await?;
        }
        whole.flush().await?;
        if hex::encode(hash.finalize()) != sha256 {
            fs::remove_file(&partial).await?;
            return Err(Refusal::bad_request(
                "BadDigest: the parts are not the announced content",
            ));
        }
        fs::rename(&partial, self.path(sha256)).await?;
        for part in parts {
            fs::remove_file(self.part(sha256, *part)).await?;
        }
        Ok(())
    }

    fn partial(&self, name: &str) -> Utf8PathBuf {
        self.folder.join("partial").join(name)
    }

    fn part(&self, sha256: &str, part: u64) -> Utf8PathBuf {
        self.partial(&format!("{sha256}-{part}"))
    }
}

/// Writes a body into a file and gives its digest.
async fn write(path: &Utf8Path, mut body: Counted) -> Result<String, Refusal> {
    let mut file = fs::File::create(path).await?;
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("RequestTimeout: the body broke off: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, message)
        })?;
        if let Some(data) = frame.data_ref() {
            hash.update(data);
            file.write_all(data).await?;
        }
    }
    file.flush().await?;
    Ok(hex::encode(hash.finalize()))
}

/// Whether the text is a sha256 in small hex digits.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
