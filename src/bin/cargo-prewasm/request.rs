//! What the command line asks for. By hand, since options that are not ours are cargo's.

use std::ffi::OsString;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    Help,
    Build(BuildRequest),
}

/// A build.
#[derive(Debug, PartialEq, Eq)]
pub struct BuildRequest {
    /// The target named on the command line.
    pub target: Option<String>,
    pub profile: String,
    /// Further arguments of `cargo build`.
    pub cargo: Vec<OsString>,
    /// Further arguments of `prewasm snapshot`.
    pub snapshot: Vec<OsString>,
}

/// Reads the arguments. Cargo calls `cargo-prewasm prewasm ARGS`; by its own name, the first is missing.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut args = args.into_iter().peekable();
    args.next_if(|arg| arg == "prewasm");
    match args.next() {
        Some(verb) if verb == "build" => {}
        Some(help) if is_help(&help) || help == "help" => return Ok(Request::Help),
        Some(verb) => return Err(format!("`{}` is none of the verbs: `build`", verb.to_string_lossy())),
        None => return Err("a verb is missing: `build`".to_owned()),
    }
    let mut build =
        BuildRequest { target: None, profile: "release".to_owned(), cargo: Vec::new(), snapshot: Vec::new() };
    while let Some(arg) = args.next() {
        let text = arg.to_str().unwrap_or_default();
        if text == "--" {
            build.snapshot = args.collect();
            break;
        } else if is_help(&arg) {
            return Ok(Request::Help);
        } else if text == "--release" {
            "release".clone_into(&mut build.profile);
        } else if let Some(value) = value("--target", text, &mut args)? {
            build.target = Some(value);
        } else if let Some(value) = value("--profile", text, &mut args)? {
            build.profile = value;
        } else if text.starts_with("--message-format") {
            return Err("`--message-format` is ours: the messages tell what was built".to_owned());
        } else {
            build.cargo.push(arg);
        }
    }
    Ok(Request::Build(build))
}

fn is_help(arg: &OsString) -> bool {
    arg == "--help" || arg == "-h"
}

/// The value of `name`, if this is it: behind `=`, or the next argument.
fn value(name: &str, arg: &str, args: &mut impl Iterator<Item = OsString>) -> Result<Option<String>, String> {
    let missing = || format!("`{name}` has no value");
    let Some(rest) = arg.strip_prefix(name) else { return Ok(None) };
    if let Some(value) = rest.strip_prefix('=') {
        return Ok(Some(value.to_owned()));
    }
    // The beginning of a longer name, such as `--target-dir`.
    if !rest.is_empty() {
        return Ok(None);
    }
    args.next().ok_or_else(missing)?.into_string().map(Some).map_err(|_| missing())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Request, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn what_is_not_ours_goes_to_cargo_and_the_rest_to_snapshot() {
        let args =
            ["prewasm", "build", "-p", "app", "--target=wasm32-wasip2", "--target-dir", "t", "--", "-q", "--", "x"];
        let Ok(Request::Build(build)) = parsed(&args) else { panic!("a build") };
        assert_eq!(build.target.as_deref(), Some("wasm32-wasip2"));
        assert_eq!(build.profile, "release");
        assert_eq!(build.cargo, ["-p", "app", "--target-dir", "t"]);
        assert_eq!(build.snapshot, ["-q", "--", "x"]);
        let Ok(Request::Build(build)) = parsed(&["build", "--profile", "dev"]) else { panic!("a build") };
        assert_eq!((build.profile.as_str(), build.target), ("dev", None));
    }

    #[test]
    fn help_is_given_wherever_it_is_asked_for() {
        for args in [&["prewasm", "--help"][..], &["-h"], &["prewasm", "build", "-p", "x", "--help"]] {
            assert_eq!(parsed(args), Ok(Request::Help));
        }
        let behind = parsed(&["build", "--", "--help"]);
        assert!(matches!(behind, Ok(Request::Build(_))), "it is for snapshot");
    }

    #[test]
    fn mistakes_are_named() {
        for (args, part) in [
            (&["prewasm"][..], "verb"),
            (&["test"], "`test`"),
            (&["build", "--target"], "--target"),
            (&["build", "--message-format=short"], "--message-format"),
        ] {
            let error = parsed(args).expect_err("a mistake");
            assert!(error.contains(part), "{error}");
        }
    }
}
