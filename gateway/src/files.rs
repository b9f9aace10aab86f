//! Static files.
use crate::body::ResponseBody;
/// Files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSpec {
    /// Folder.
    pub root: std::path::PathBuf,
    /// Index.
    pub index: String,
    /// Cache.
    pub cache_control: Option<String>,
    /// Fallback.
    pub fallback: Option<String>,
}
/// Error
#[derive(Debug, thiserror::Error)]
#[error("files")]
pub struct FilesError;
pub(crate) struct StaticFiles(FilesSpec);
impl StaticFiles {
    pub(crate) fn open(spec: FilesSpec) -> Result<Self, FilesError> {
        Ok(Self(spec))
    }
    pub(crate) async fn respond(&self, _: &http::request::Parts, _: &str) -> http::Response<ResponseBody> {
        http::Response::new(crate::body::whole(self.0.root.display().to_string()))
    }
}
