//! What a request asks for: host and path.
use std::borrow::Cow;

use http::{header, request::Parts};

use crate::failure::Failure;

pub(crate) fn normalize(_head: &mut Parts) -> Result<(), Failure> {
    Ok(())
}
pub(crate) fn host(head: &Parts) -> Cow<'_, str> {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    Cow::Borrowed(host)
}
