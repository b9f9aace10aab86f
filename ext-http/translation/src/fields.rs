//! Fields of a head.

use crate::MessageError;

/// Fields which are about one connection, or about how a message is framed on it (RFC 9110, 7.6.1, and what
/// `wasi:http` hosts forbid). `expect` is among them since it is answered where the connection ends.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a field, its name in lower case, does not go beyond one connection.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Fields in their order, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn parsed(headers: &[httparse::Header<'_>]) -> Self {
        Self(headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec())).collect())
    }

    /// Adds a field. One that could not be spelled in one line is left out: it would become others.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let is_name = !name.is_empty() && name.bytes().all(is_token);
        if is_name && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            self.0.push((name.to_ascii_lowercase(), value.to_vec()));
        }
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The values of the fields with this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// The first value of this name.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The fields which go beyond this connection: none that is hop-by-hop, nor that `connection` names.
    pub fn end_to_end(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().filter(|(name, _)| !is_hop_by_hop(name) && !self.lists("connection", name))
    }

    /// Whether one of the comma-separated elements of these fields is `element`, in whatever case.
    pub fn lists(&self, name: &str, element: &str) -> bool {
        self.elements(name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }

    fn elements(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.values(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// The body's length, if it is given: as often as one likes, but always the same (RFC 9110, 8.6).
    pub(crate) fn content_length(&self) -> Result<Option<u64>, MessageError> {
        let mut length = None;
        for element in self.elements("content-length") {
            let found = decimal(element).ok_or(MessageError::Framing)?;
            if length.is_some_and(|known| known != found) {
                return Err(MessageError::Framing);
            }
            length = Some(found);
        }
        Ok(length)
    }

    /// Whether the body comes in chunks. Any other coding is not understood.
    pub(crate) fn is_chunked(&self) -> Result<bool, MessageError> {
        let mut codings = self.elements("transfer-encoding").filter(|coding| !coding.is_empty());
        match (codings.next(), codings.next()) {
            (None, _) => Ok(false),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
            _ => Err(MessageError::Framing),
        }
    }

    pub(crate) fn spell(&self, into: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            into.extend_from_slice(name.as_bytes());
            into.extend_from_slice(b": ");
            into.extend_from_slice(value);
            into.extend_from_slice(b"\r\n");
        }
    }
}

/// `tchar` of RFC 9110, 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.push(name, value.as_bytes());
        }
        fields
    }

    #[test]
    fn what_connection_names_stays_behind() {
        let fields = fields(&[("Connection", "close, X-Own"), ("x-own", "1"), ("TE", "trailers"), ("x-other", "2")]);
        let left: Vec<_> = fields.end_to_end().collect();
        assert_eq!(left, [("x-other", b"2".as_slice())]);
    }

    #[test]
    fn lengths_must_agree() {
        assert_eq!(fields(&[("content-length", "5, 5"), ("content-length", "5")]).content_length(), Ok(Some(5)));
        assert_eq!(fields(&[]).content_length(), Ok(None));
        for wrong in ["", "-1", "+1", "1 2", "5, 6", "0x5", "18446744073709551616"] {
            assert_eq!(fields(&[("content-length", wrong)]).content_length(), Err(MessageError::Framing), "{wrong}");
        }
    }

    #[test]
    fn a_field_which_would_become_two_is_left_out() {
        assert_eq!(fields(&[("a", "b\r\nc: d"), ("e f", "g"), ("h", "i")]).iter().count(), 1);
    }
}
