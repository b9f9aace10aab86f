//! CGI 1.1 (RFC 3875): what a command sees of a request, and what its output says.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, Version, header, request::Parts};
use percent_encoding::percent_decode_str;

use crate::{fields::remove_hop_by_hop, peer::Peer, router::Found};

/// At most this many headers in an answer.
const MAX_HEADERS: usize = 128;

/// What a command's output begins with.
#[derive(Debug)]
pub(crate) enum Answer {
    Response {
        response: Response<()>,
        /// Bytes of the head; the body follows.
        length: usize,
    },
    /// The server is to handle this path and query instead.
    LocalRedirect(String),
}

/// Where in an app's routes a request's path lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The part of the path that the route has matched, decoded.
    script_name: String,
    /// What follows it, decoded.
    path_info: String,
    /// The route, as it was written.
    route: Arc<str>,
}

impl Place {
    pub(crate) fn of<T>(found: &Found<'_, T>, route: &Arc<str>) -> Self {
        Self { script_name: decode(found.base), path_info: decode(found.rest), route: Arc::clone(route) }
    }
}

/// The meta-variables of a request (RFC 3875, 4.1).
pub(crate) fn environment(
    request: &Parts,
    content_length: Option<u64>,
    place: &Place,
    peer: &Peer,
) -> Vec<(String, String)> {
    let uri = &request.uri;
    let (name, port) = server_name(request, peer.local);
    let mut env: Vec<(String, String)> = [
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_SOFTWARE", concat!("prewasm/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("SERVER_PROTOCOL", protocol(request.version).to_owned()),
        ("SERVER_NAME", name),
        ("SERVER_PORT", port),
        ("REQUEST_METHOD", request.method.to_string()),
        ("SCRIPT_NAME", place.script_name.clone()),
        ("PATH_INFO", place.path_info.clone()),
        ("QUERY_STRING", uri.query().unwrap_or_default().to_owned()),
        ("REMOTE_ADDR", peer.client.ip().to_string()),
        ("REMOTE_HOST", peer.client.ip().to_string()),
        // WAGI's additions: the path not decoded, and the route that has matched.
        ("X_RAW_PATH_INFO", uri.path().to_owned()),
        ("X_MATCHED_ROUTE", place.route.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(length) = content_length {
        env.push(("CONTENT_LENGTH".to_owned(), length.to_string()));
    }
    if let Some(value) = request.headers.get(header::CONTENT_TYPE) {
        env.push(("CONTENT_TYPE".to_owned(), text(value)));
    }
    env.extend(protocol_variables(&request.headers));
    env
}

/// The program arguments of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Behind those of the app.
    Further(Vec<String>),
    /// Instead of them.
    All(Vec<String>),
}

impl Arguments {
    /// Those of CGI, or of WAGI where there is a template.
    pub(crate) fn of(template: Option<&str>, uri: &Uri) -> Self {
        match template {
            None => Self::Further(search_words(uri.query())),
            Some(template) => Self::All(fill(template, uri)),
        }
    }
}

/// Fills a template of WAGI. What is filled in is not looked at again, so that a client cannot name a variable.
fn fill(template: &str, uri: &Uri) -> Vec<String> {
    let query = uri.query().unwrap_or_default().replace('&', " ");
    let variables = [("${SCRIPT_NAME}", uri.path()), ("${ARGS}", query.as_str())];
    let mut text = String::new();
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        let (before, behind) = rest.split_at(start);
        text.push_str(before);
        let variable = variables.iter().find(|(name, _)| behind.starts_with(name));
        let (name, value) = variable.copied().unwrap_or(("${", "${"));
        text.push_str(value);
        rest = &behind[name.len()..];
    }
    text.push_str(rest);
    text.split_whitespace().map(str::to_owned).collect()
}

/// Program arguments from a query without `=` (RFC 3875, 4.4): an indexed search.
fn search_words(query: Option<&str>) -> Vec<String> {
    match query {
        Some(query) if !query.is_empty() && !query.contains('=') => query.split('+').map(decode).collect(),
        _ => Vec::new(),
    }
}

fn server_name(request: &Parts, local: SocketAddr) -> (String, String) {
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri.authority().cloned().or_else(|| host?.parse().ok());
    match authority {
        Some(authority) => {
            let port = authority.port_u16().unwrap_or(local.port());
            (authority.host().to_owned(), port.to_string())
        }
        None => (local.ip().to_string(), local.port().to_string()),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// `HTTP_*`: the request's headers (RFC 3875, 4.1.18).
fn protocol_variables(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .keys()
        .filter(|name| is_passed_on(name))
        .map(|name| {
            let separator = if name == header::COOKIE { "; " } else { ", " };
            let values: Vec<_> = headers.get_all(name).iter().map(text).collect();
            let variable = format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"));
            (variable, values.join(separator))
        })
        .collect()
}

fn is_passed_on(name: &HeaderName) -> bool {
    // `Proxy` would become HTTP_PROXY, which clients take for their proxy (httpoxy, CVE-2016-5385). Names with an
    // underscore would pass for the same variable as another header's.
    let is_dangerous = name == "proxy" || name.as_str().contains('_');
    let has_own_variable = name == header::CONTENT_TYPE || name == header::CONTENT_LENGTH;
    let is_credential = name == header::AUTHORIZATION || name == header::PROXY_AUTHORIZATION;
    let is_about_connection =
        [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::UPGRADE].contains(name);
    !(is_dangerous || has_own_variable || is_about_connection || (is_credential && name != header::AUTHORIZATION))
}

/// A value as an environment variable: NUL cannot occur in a header.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Resolves `%XX`. What does not decode to UTF-8 without NUL stays as it is.
fn decode(path: &str) -> String {
    match percent_decode_str(path).decode_utf8() {
        Ok(decoded) if !decoded.contains('\0') => decoded.into_owned(),
        _ => path.to_owned(),
    }
}

/// Parses the head of a command's output; `None` while it is not complete.
///
/// A head which begins with a status line is taken as it is: a non-parsed-header script.
pub(crate) fn parse(output: &[u8]) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    if output.starts_with(b"HTTP/") {
        let mut head = httparse::Response::new(&mut headers);
        return match head.parse(output) {
            Ok(httparse::Status::Complete(length)) => {
                let status = StatusCode::from_u16(head.code.unwrap_or_default()).map_err(|error| error.to_string())?;
                let mut response = Response::new(());
                *response.status_mut() = status;
                copy_headers(head.headers, response.headers_mut())?;
                Ok(Some(Answer::Response { response, length }))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
    }
    match httparse::parse_headers(output, &mut headers) {
        Ok(httparse::Status::Complete((length, headers))) => interpret(headers, length).map(Some),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn copy_headers(from: &[httparse::Header<'_>], to: &mut HeaderMap) -> Result<(), String> {
    for header in from {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| error.to_string())?;
        to.append(name, HeaderValue::from_bytes(header.value).map_err(|error| error.to_string())?);
    }
    remove_hop_by_hop(to);
    declared_length(to).map(drop)
}

/// The length which an answer declares for its body; several or malformed ones are an error, for they would be passed
/// on to a client who may read them otherwise than we do.
pub(crate) fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err("its Content-Length is not one number".to_owned()),
    }
}

/// `Status`, `Location` and the rest (RFC 3875, 6.3).
fn interpret(headers: &[httparse::Header<'_>], length: usize) -> Result<Answer, String> {
    let mut response = Response::new(());
    copy_headers(headers, response.headers_mut())?;
    let status = response.headers_mut().remove("status").map(|status| parse_status(&status)).transpose()?;
    let location = response.headers().get(header::LOCATION).map(text);
    match (status, location) {
        (None, Some(location)) if location.starts_with('/') && !location.starts_with("//") => {
            return Ok(Answer::LocalRedirect(location));
        }
        (None, Some(_)) => *response.status_mut() = StatusCode::FOUND,
        (Some(status), _) => *response.status_mut() = status,
        (None, None) => {}
    }
    if response.headers().is_empty() && status.is_none() {
        return Err("its head has no header; at least Content-Type, Location or Status is required".to_owned());
    }
    Ok(Answer::Response { response, length })
}

/// `404 Not Found`: the code; the text is the server's.
fn parse_status(value: &HeaderValue) -> Result<StatusCode, String> {
    let value = text(value);
    let code = value.split_ascii_whitespace().next().and_then(|code| code.parse::<u16>().ok());
    match code.map(StatusCode::from_u16) {
        Some(Ok(status)) if status.as_u16() >= 200 => Ok(status),
        _ => {
            let mut message = String::new();
            let _ = write!(message, "`Status: {}` is not a final status", value.escape_debug());
            Err(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).expect("valid").into_parts().0
    }

    fn env_of(request: http::request::Builder) -> std::collections::HashMap<String, String> {
        let place = Place { script_name: "/app".into(), path_info: "/a b".into(), route: Arc::from("/app/...") };
        let peer = Peer {
            client: "10.0.0.1:5".parse().expect("valid"),
            local: "127.0.0.1:8080".parse().expect("valid"),
            scheme: http::uri::Scheme::HTTP,
        };
        environment(&parts(request), Some(3), &place, &peer).into_iter().collect()
    }

    #[test]
    fn a_template_replaces_the_arguments_and_is_filled_once() {
        let uri: Uri = "/a/$%7BARGS%7D/b?x=1&y=${SCRIPT_NAME}".parse().expect("a URI");
        let filled = |template| Arguments::of(Some(template), &uri);
        let all = |words: &[&str]| Arguments::All(words.iter().map(ToString::to_string).collect());
        let expected = ["ruby", "index.rb", "/a/$%7BARGS%7D/b", "x=1", "y=${SCRIPT_NAME}"];
        assert_eq!(filled("ruby index.rb ${SCRIPT_NAME} ${ARGS}"), all(&expected));
        assert_eq!(filled("--q=${ARGS} ${OTHER"), all(&["--q=x=1", "y=${SCRIPT_NAME}", "${OTHER"]));
        assert_eq!(Arguments::of(None, &uri), Arguments::Further(Vec::new()));
    }

    #[test]
    fn meta_variables_follow_the_rfc() {
        let env = env_of(
            Request::get("/app/a%20b?q=1")
                .header("host", "example.com:81")
                .header("x-a", "1")
                .header("x-a", "2")
                .header("content-type", "t/x"),
        );
        assert_eq!((env["SCRIPT_NAME"].as_str(), env["PATH_INFO"].as_str()), ("/app", "/a b"));
        assert_eq!(env["QUERY_STRING"], "q=1");
        assert_eq!((env["SERVER_NAME"].as_str(), env["SERVER_PORT"].as_str()), ("example.com", "81"));
        assert_eq!(env["HTTP_X_A"], "1, 2");
        assert_eq!((env["CONTENT_TYPE"].as_str(), env["CONTENT_LENGTH"].as_str()), ("t/x", "3"));
        assert!(!env.contains_key("HTTP_CONTENT_TYPE"));
    }

    #[test]
    fn dangerous_headers_stay_outside() {
        let env = env_of(Request::get("/").header("proxy", "http://evil").header("x_forwarded_for", "1"));
        assert!(!env.contains_key("HTTP_PROXY"));
        assert!(!env.contains_key("HTTP_X_FORWARDED_FOR"));
    }

    #[test]
    fn an_answers_head_may_use_either_line_end() {
        for output in [
            "Status: 404 Nope\nContent-Type: text/plain\n\nbody",
            "Status: 404\r\nContent-Type: text/plain\r\n\r\nbody",
        ] {
            let Ok(Some(Answer::Response { response, length })) = parse(output.as_bytes()) else { panic!("{output}") };
            assert_eq!(response.status(), 404);
            assert_eq!(&output[length..], "body");
            assert!(!response.headers().contains_key("status"));
        }
        assert!(matches!(parse(b"Content-Type: text/plain\n"), Ok(None)));
        assert!(parse(b"this is not a header\n\n").is_err());
        assert!(parse(b"\n").is_err());
    }

    #[test]
    fn a_length_is_one_number() {
        for head in ["Content-Length: 1\nContent-Length: 2\n\n", "Content-Length: +1\n\n", "Content-Length: x\n\n"] {
            assert!(parse(head.as_bytes()).is_err(), "{head}");
        }
        assert!(parse(b"Content-Length: 1\n\n").is_ok());
    }

    #[test]
    fn redirects_are_local_or_for_the_client() {
        assert!(
            matches!(parse(b"Location: /there?x=1\n\n"), Ok(Some(Answer::LocalRedirect(path))) if path == "/there?x=1")
        );
        let Ok(Some(Answer::Response { response, .. })) = parse(b"Location: https://example.com/\n\n") else {
            panic!()
        };
        assert_eq!(response.status(), 302);
        assert!(parse(b"Status: 100 Continue\n\n").is_err());
    }

    #[test]
    fn a_query_without_an_equals_sign_becomes_arguments() {
        assert_eq!(search_words(Some("red+gr%65en")), ["red", "green"]);
        assert!(search_words(Some("a=b")).is_empty());
    }
}
