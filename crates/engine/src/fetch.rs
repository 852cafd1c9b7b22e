//! stub
use camino::Utf8Path;
use wheelfarm_core::source::{Source, SourceTree};
/// e
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct FetchError;
impl FetchError {
    pub fn hint(&self) -> Option<String> {
        None
    }
    pub fn is_unreachable(&self) -> bool {
        false
    }
}
/// f
#[derive(Debug)]
pub struct Fetcher;
impl Fetcher {
    pub fn new(_c: camino::Utf8PathBuf) -> Result<Self, FetchError> {
        Ok(Self)
    }
    pub async fn fetch(
        &self,
        _s: &Source,
        _p: impl Fn(()) + Send,
    ) -> Result<SourceTree, FetchError> {
        Err(FetchError)
    }
}
pub fn read_folder(_p: &Utf8Path) -> Result<SourceTree, FetchError> {
    Err(FetchError)
}
