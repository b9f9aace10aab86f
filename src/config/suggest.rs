//! "Did you mean …?"

/// How alike two names must be (from 0 to 1): `rout` and `routes` are, `host` and `root` are not.
const ALIKE: f64 = 0.8;

/// The known name which is most like `name`, if any is.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Another spelling of the same words is as close as can be.
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(name);
    let likeness = |known: &str| strsim::jaro_winkler(&wanted, &plain(known));
    let rated = known.into_iter().map(|known| (likeness(known), known)).filter(|(rating, _)| *rating >= ALIKE);
    rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognized_and_other_words_are_not() {
        let known = ["name", "source", "routes", "hosts", "drain_delay", "outbound"];
        for (name, expected) in [
            ("route", Some("routes")),
            ("souce", Some("source")),
            ("drain-delay", Some("drain_delay")),
            ("outboud", Some("outbound")),
            ("fuel", None),
        ] {
            assert_eq!(closest(name, known), expected, "{name}");
        }
    }
}
