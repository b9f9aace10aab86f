//! Fields that Spin's HTTP trigger adds to requests, which its SDKs and routers read.

use http::{HeaderName, HeaderValue, header, request::Parts};

use crate::{peer::Peer, router::Found};

/// What all their names begin with. A client's own are removed: apps trust them.
const PREFIX: &str = "spin-";

/// Adds the fields for a request that was `found` by `route`.
pub(crate) fn spin<T>(head: &mut Parts, found: &Found<'_, T>, route: &str, peer: &Peer) {
    let sent: Vec<_> = head.headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    for name in sent {
        head.headers.remove(name);
    }
    // Methods are none of Spin's routes.
    let route = route.split_once(' ').map_or(route, |(_, path)| path);
    let component_route = match route.strip_suffix("/...") {
        Some("") => "/",
        Some(route) => route,
        None => route,
    };
    let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let url = format!("{}://{}{target}", peer.scheme, authority.or(host).unwrap_or_else(|| peer.local.to_string()));
    let fixed = [
        ("spin-full-url", url.as_str()),
        ("spin-path-info", found.rest),
        ("spin-matched-route", route),
        ("spin-raw-component-route", route),
        ("spin-component-route", component_route),
        ("spin-base-path", "/"),
        ("spin-client-addr", &peer.client.to_string()),
    ];
    for (name, value) in fixed {
        if let Ok(value) = HeaderValue::from_str(value) {
            head.headers.insert(HeaderName::from_static(name), value);
        }
    }
    for (name, value) in &found.params {
        // An underscore is legal in a route, but unusual in a field.
        let name = format!("spin-path-match-{}", name.to_ascii_lowercase().replace('_', "-"));
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            head.headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, uri::Scheme};

    use super::*;

    fn fields(route: &str, found: &Found<'_, ()>) -> Vec<(String, String)> {
        let request = Request::get("/base/path/end/rest?key=value").header("host", "example.com");
        let request = request.header("spin-client-addr", "10.0.0.1:1").header("spin-secret", "x").body(());
        let mut head = request.expect("valid").into_parts().0;
        let peer = Peer {
            client: "192.0.2.1:5".parse().expect("an address"),
            local: "127.0.0.1:80".parse().expect("an address"),
            scheme: Scheme::HTTP,
        };
        spin(&mut head, found, route, &peer);
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), value.to_str().expect("ASCII").to_owned())
        };
        let mut fields: Vec<_> = head.headers.iter().map(text).filter(|(name, _)| name != "host").collect();
        fields.sort();
        fields
    }

    #[test]
    fn the_fields_are_those_of_spin() {
        let params = vec![("path_segment", "path"), ("path_end", "end")];
        let found = Found { target: &(), base: "/base/path/end", rest: "/rest", params };
        let found = fields("/base/:path_segment/:path_end/...", &found);
        let expected = [
            ("spin-base-path", "/"),
            ("spin-client-addr", "192.0.2.1:5"),
            ("spin-component-route", "/base/:path_segment/:path_end"),
            ("spin-full-url", "http://example.com/base/path/end/rest?key=value"),
            ("spin-matched-route", "/base/:path_segment/:path_end/..."),
            ("spin-path-info", "/rest"),
            ("spin-path-match-path-end", "end"),
            ("spin-path-match-path-segment", "path"),
            ("spin-raw-component-route", "/base/:path_segment/:path_end/..."),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
