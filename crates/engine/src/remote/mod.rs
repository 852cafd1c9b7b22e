//! Files on web servers that are read in parts, without being downloaded whole.
//!
//! What is read once is kept in a file without a name, so that nothing is fetched twice and memory
//! stays small. Nothing is checked against a digest here: who needs that downloads the file.

mod error;
mod file;
mod spans;
#[cfg(test)]
mod tests;
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::fetch::FetchOptions;
use crate::fetch::http::Http;

pub use error::{RemoteError, RemoteErrorKind};
pub use file::RemoteFile;

/// The bounds of reading remote files.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// The limits on connections, silence and attempts; `download_cap_bytes` is the most that is
    /// fetched of one file.
    pub fetch: FetchOptions,
    /// The longest file that is taken whole from a server that cannot send parts.
    pub whole_cap_bytes: u64,
    /// Where fetched parts are kept while the file is read.
    pub temp_folder: PathBuf,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            fetch: FetchOptions::default(),
            whole_cap_bytes: 64 << 20,
            temp_folder: std::env::temp_dir(),
        }
    }
}

/// How far reading a remote file got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteProgress {
    /// Bytes came in.
    Received {
        /// All that has come of the file so far.
        fetched_bytes: u64,
        /// How often the server was asked so far.
        requests: u64,
        /// How long the file is, once that is known.
        size_bytes: Option<u64>,
    },
    /// An attempt failed for a cause that may pass.
    Retrying {
        /// What failed and why.
        reason: String,
        /// Which attempt comes next, from 2.
        attempt: u32,
        /// How long until then.
        wait: Duration,
    },
}

/// Opens remote files. Clones share their connections.
#[derive(Debug, Clone)]
pub struct RemoteClient {
    http: Http,
    options: Arc<RemoteOptions>,
}

impl RemoteClient {
    /// Certificates are the machine's, or those of `SSL_CERT_FILE`; proxies are those of the
    /// environment.
    pub fn new(options: RemoteOptions) -> Result<Self, RemoteError> {
        let http = Http::new(&options.fetch).map_err(|source| RemoteError::Setup { source })?;
        Ok(Self {
            http,
            options: Arc::new(options),
        })
    }
}
