//! `[package.metadata.prewasm]` of the packages, from `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// The target of programs which are to run everywhere.
const DEFAULT_TARGET: &str = "wasm32-wasip1";

/// The settings of a package.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    target: Option<String>,
    until: Option<String>,
    init: Option<String>,
    warm_up: Vec<String>,
    args: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The settings of the packages of a workspace, by identifier.
pub fn parse(metadata: &[u8]) -> anyhow::Result<BTreeMap<String, Settings>> {
    let metadata: Metadata =
        serde_json::from_slice(metadata).context("what `cargo metadata` says is not understood")?;
    metadata.packages.into_iter().map(|package| Ok((package.id.clone(), package.settings()?))).collect()
}

/// The target on which all packages agree.
pub fn target<'a>(settings: impl Iterator<Item = &'a Settings>) -> anyhow::Result<String> {
    let targets: BTreeSet<_> = settings.filter_map(|settings| settings.target.as_deref()).collect();
    match targets.into_iter().collect::<Vec<_>>()[..] {
        [] => Ok(DEFAULT_TARGET.to_owned()),
        [target] => Ok(target.to_owned()),
        [first, second, ..] => {
            bail!("packages of the workspace want different targets: `{first}`, `{second}`\n  hint: use `--target`")
        }
    }
}

impl Package {
    fn settings(self) -> anyhow::Result<Settings> {
        let Some(found) = self.metadata.and_then(|mut tables| tables.remove("prewasm")) else {
            return Ok(Settings::default());
        };
        let mut settings: Settings = serde_json::from_value(found)
            .with_context(|| format!("`[package.metadata.prewasm]` of `{}` is not understood", self.name))?;
        let folder = self.manifest_path.parent().unwrap_or(Path::new(""));
        settings.warm_up = settings.warm_up.iter().map(|request| relative_to(folder, request)).collect();
        Ok(settings)
    }
}

/// `METHOD PATH [@BODYFILE] [=> STATUS]`, with the file named from everywhere.
fn relative_to(folder: &Path, request: &str) -> String {
    match request.split_once(" @") {
        Some((head, file)) => format!("{head} @{}", folder.join(file.trim_start()).display()),
        None => request.to_owned(),
    }
}

impl Settings {
    /// As options of `prewasm snapshot`.
    pub fn args(&self) -> Vec<String> {
        let option = |name: &str, value: &String| format!("--{name}={value}");
        let single = [("until", &self.until), ("init", &self.init)];
        let single = single.into_iter().filter_map(|(name, value)| Some(option(name, value.as_ref()?)));
        let requests = self.warm_up.iter().map(|request| option("warm-up", request));
        single.chain(requests).chain(self.args.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(settings: &str) -> String {
        format!(
            r#"{{"packages":[
                {{"id":"a","name":"a","manifest_path":"/ws/a/Cargo.toml","metadata":{{"prewasm":{settings},"other":1}}}},
                {{"id":"b","name":"b","manifest_path":"/ws/b/Cargo.toml","metadata":null}}],"version":1}}"#
        )
    }

    #[test]
    fn settings_become_options() {
        let text = metadata(
            r#"{"target":"wasm32-wasip2","until":"accept","warm-up":["GET /","POST /x @b.txt => 201"],"args":["-q"]}"#,
        );
        let packages = parse(text.as_bytes()).expect("understood");
        let expected = ["--until=accept", "--warm-up=GET /", "--warm-up=POST /x @/ws/a/b.txt => 201", "-q"];
        assert_eq!(packages["a"].args(), expected);
        assert_eq!(packages["b"], Settings::default());
        assert_eq!(target(packages.values()).expect("one"), "wasm32-wasip2");
        assert_eq!(target([].into_iter()).expect("the default"), "wasm32-wasip1");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let error = parse(metadata(r#"{"warmup":[]}"#).as_bytes()).expect_err("a slip of the pen");
        assert!(format!("{error:#}").contains("`warmup`") && format!("{error:#}").contains("of `a`"), "{error:#}");
        assert!(parse(b"").is_err());
        let with = |target: &str| Settings { target: Some(target.into()), ..Settings::default() };
        assert!(target([with("x"), with("y")].iter()).is_err());
    }
}
