//! Text with variables in it: `https://{{ host }}`.

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// Braces without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{{` has no `}}}}`")]
pub(super) struct Unclosed;

/// Takes a template apart.
pub(super) fn parts(template: &str) -> Result<Vec<Part<'_>>, Unclosed> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once("{{") {
        let (name, after) = behind.split_once("}}").ok_or(Unclosed)?;
        parts.extend([Part::Text(text), Part::Variable(name.trim())]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_in_double_braces() {
        use Part::{Text, Variable};
        for (template, expected) in [
            ("", vec![]),
            ("plain { text }", vec![Text("plain { text }")]),
            ("a {{ b }} c", vec![Text("a "), Variable("b"), Text(" c")]),
            ("{{a}}{{ b}}", vec![Variable("a"), Variable("b")]),
        ] {
            assert_eq!(parts(template), Ok(expected), "{template}");
        }
        assert_eq!(parts("{{ a }} {{ b"), Err(Unclosed));
    }
}
