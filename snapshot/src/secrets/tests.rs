//! Snapshots which are made up: what a run would have left is a data segment.

use prewasm_artifact::append_section;

use super::*;
use crate::{Options, build, silent};

const TOKEN: &str = "correct-horse-battery-staple-42";

/// A module with `data` as the last of its segments, at 4096.
fn module(data: &str) -> Artifact {
    let escaped: String = data.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let wat = format!(
        r#"(module (memory 1) (global (export "__heap_base") i32 (i32.const 2048))
            (data $.rodata (i32.const 1024) "constants") (data (i32.const 4096) "{escaped}"))"#
    );
    Artifact::from_bytes("test", wat.into()).expect("valid")
}

fn rules(environment: &[(&str, &str)], allowed: &[&str]) -> SecretRules {
    SecretRules {
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        allowed: allowed.iter().map(|rule| (*rule).to_owned()).collect(),
    }
}

fn find(input: &Artifact, output: &Artifact, rules: &SecretRules) -> Findings {
    scan(input, output, rules).expect("valid")
}

/// The rules which find something that was added to a module without any secret.
fn added(data: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let findings = find(&module(""), &module(data), &rules(environment, &[]));
    findings.listed.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn finds_a_value_of_the_environment_where_the_run_put_it() {
    let output = module(&format!("....{TOKEN}...."));
    let findings = find(&module(""), &output, &rules(&[("DEPLOY_TOKEN", TOKEN)], &[]));
    let finding = Finding {
        rule: "env:DEPLOY_TOKEN".into(),
        memory: Some(0),
        offset: 4100,
        length: 31,
        region: "heap+0x804".into(),
        allowed: false,
    };
    assert_eq!(findings, Findings { listed: vec![finding], refused: 1, allowed: 0 });
}

#[test]
fn finds_a_value_which_the_guest_was_given() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
        (memory (export "memory") 1) (data $.data (i32.const 0) "\01")
        (func (export "wizer-initialize") (drop (call $environ (i32.const 32) (i32.const 64)))))"#;
    let input = Artifact::from_bytes("test", wat.into()).expect("valid");
    let mut options = Options::default();
    options.inputs.env = vec![("NAME".into(), TOKEN.into())];
    let snapshot = build(&input, &options, &silent()).expect("initializes");
    let output = Artifact::from_bytes("test", snapshot.wasm).expect("valid");
    let findings = find(&input, &output, &rules(&[("DEPLOY_TOKEN", TOKEN)], &[]));
    assert_eq!(findings.refused, 1);
    assert_eq!(findings.listed[0].to_string(), "env:DEPLOY_TOKEN: 31 bytes at 0x45 in heap+0x44");
}

#[test]
fn what_the_input_has_already_is_no_finding() {
    let rules = rules(&[("DEPLOY_TOKEN", TOKEN)], &[]);
    let token = format!("ghp_{}", "x".repeat(36));
    let input = module(&format!("{TOKEN} and {token}, which are examples"));
    // Behind a copy there is what was there before.
    let output = module(&format!("text:{TOKEN};{token}xx"));
    assert_eq!(find(&input, &output, &rules), Findings::default());
    assert_eq!(find(&module(""), &output, &rules).refused, 2);
}

#[test]
fn finds_values_in_utf_16() {
    let wide: String = TOKEN.chars().flat_map(|c| [c, '\0']).collect();
    assert_eq!(added(&wide, &[("DEPLOY_TOKEN", TOKEN)]), ["env:DEPLOY_TOKEN"]);
}

#[test]
fn finds_long_values_only_whole() {
    let value = "0a1b2c3d".repeat(100);
    assert_eq!(added(&value, &[("BLOB", &value)])[0], "env:BLOB");
    assert_eq!(added(&value[..792], &[("BLOB", &value)]), [""; 0]);
}

#[test]
fn a_token_in_a_value_is_reported_once() {
    let token = format!("ghp_{}", "x".repeat(36));
    assert_eq!(added(&token, &[("DEPLOY_TOKEN", &token)]), ["env:DEPLOY_TOKEN"]);
    // Part of a value which is not there itself.
    let value = format!("ci:{token}");
    assert_eq!(added(&token, &[("DEPLOY_TOKEN", &value)]), ["github-token"]);
}

#[test]
fn what_is_allowed_is_listed_and_not_refused() {
    let output = module(&format!("{TOKEN} ghp_{}", "x".repeat(36)));
    let environment = [("DEPLOY_TOKEN", TOKEN)];
    let findings = find(&module(""), &output, &rules(&environment, &["env:DEPLOY_TOKEN"]));
    assert_eq!((findings.refused, findings.allowed, findings.listed.len()), (1, 1, 2));
    let refused = findings.judge().expect_err("one is left");
    assert_eq!(refused.findings.len(), 1);
    assert_eq!(refused.findings[0].rule, "github-token");
    let findings = find(&module(""), &output, &rules(&environment, &["env:DEPLOY_TOKEN", "github-token"]));
    assert_eq!(findings.judge(), Ok(()));
}

#[test]
fn finds_what_lies_in_two_segments_which_follow_on_each_other() {
    let wat = r#"(module (memory 1) (data (i32.const 40) "battery-staple-42") (data (i32.const 26) "correct-horse-"))"#;
    let output = Artifact::from_bytes("test", wat.into()).expect("valid");
    let findings = find(&module(""), &output, &rules(&[("DEPLOY_TOKEN", TOKEN)], &[]));
    assert_eq!(findings.listed[0].offset, 26);
}

#[test]
fn finds_what_is_in_custom_sections() {
    let mut wasm = module("").into_bytes();
    append_section(&mut wasm, "prewasm.frozen", format!("{{\"env\":\"{TOKEN}\"}}").as_bytes());
    let output = Artifact::from_bytes("test", wasm).expect("valid");
    let findings = find(&module(""), &output, &rules(&[("DEPLOY_TOKEN", TOKEN)], &[]));
    let finding = &findings.listed[0];
    assert_eq!((finding.memory, finding.region.as_str()), (None, "section prewasm.frozen"));
    let at = usize::try_from(finding.offset).expect("small");
    assert_eq!(&output.bytes()[at..at + TOKEN.len()], TOKEN.as_bytes());
}

#[test]
fn finds_what_is_in_the_modules_of_a_component() {
    let component = |data: &str| {
        let wat = format!(
            r#"(component (core module (memory 1)) (component
                (core module (memory 1) (memory 1) (data (memory 1) (i32.const 8) "{data}"))))"#
        );
        Artifact::from_bytes("test", wat.into()).expect("valid")
    };
    let findings = find(&component(""), &component(TOKEN), &rules(&[("DEPLOY_TOKEN", TOKEN)], &[]));
    assert_eq!(findings.listed.len(), 1);
    assert_eq!((findings.listed[0].memory, findings.listed[0].offset), (Some(1), 8));
    assert_eq!(findings.listed[0].region, "memory 1+0x8 of module 1");
}

#[test]
fn data_at_an_address_which_depends_on_imports_is_searched() {
    let wat = format!(r#"(module (import "a" "b" (global i32)) (memory 1) (data (global.get 0) "..{TOKEN}"))"#);
    let output = Artifact::from_bytes("test", wat.into()).expect("valid");
    let findings = find(&module(""), &output, &rules(&[("DEPLOY_TOKEN", TOKEN)], &[]));
    assert_eq!(findings.listed[0].region, "data segment 0+0x2");
}

#[test]
fn many_findings_are_counted_and_some_are_listed() {
    let same = vec![TOKEN; 150].join(",");
    let findings = find(&module(""), &module(&same), &rules(&[("DEPLOY_TOKEN", TOKEN)], &[]));
    assert_eq!((findings.listed.len(), findings.refused), (MAX_LISTED, 150));
    let message = findings.judge().expect_err("refused").to_string();
    assert!(message.contains("150 secrets") && message.contains("and 50 more"), "{message}");

    let different: Vec<_> = (0..2000).map(|number| format!("ghp_{number:036}")).collect();
    let output = module(&different.join(","));
    let findings = find(&module(""), &output, &SecretRules::default());
    assert_eq!((findings.listed.len(), findings.refused), (MAX_LISTED, 2000));
}

#[test]
fn the_message_says_what_to_do_and_never_the_secret() {
    let environment = [("DEPLOY_TOKEN", TOKEN), ("OTHER_TOKEN", TOKEN)];
    let rules = rules(&environment, &[]);
    let output = module(&format!("{TOKEN} ghp_{}", "x".repeat(36)));
    let findings = find(&module(""), &output, &rules);
    let error = findings.judge().expect_err("refused");
    let message = error.to_string();
    assert!(message.contains("\n  env:DEPLOY_TOKEN: 31 bytes at 0x1000 in heap+0x800\n"), "{message}");
    assert!(message.contains("`--allow-secret env:DEPLOY_TOKEN` `--allow-secret env:OTHER_TOKEN`"), "{message}");
    for text in [message, format!("{error:?}"), format!("{findings:?}"), format!("{rules:?}")] {
        assert!(!text.contains("correct") && !text.contains("staple") && !text.contains("xx"), "{text}");
    }
}

#[test]
fn every_rule_is_documented() {
    let documented = include_str!("../secrets.rs");
    for rule in token_rules() {
        assert!(documented.contains(&format!("//! | `{rule}` | ")), "{rule}");
    }
}

#[test]
fn data_of_ordinary_programs_on_a_build_machine_is_no_finding() {
    let environment = [
        ("CARGO_HOME", "/usr/local/cargo"),
        ("CI", "true"),
        ("CI_API_V4_URL", "https://gitlab.example.org/api/v4"),
        ("CI_COMMIT_SHA", "3f786850e387550fdab836ed7e6dc881de23001b"),
        ("CI_PROJECT_DIR", "/builds/group/app"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REPOSITORY", "owner/app"),
        ("HOME", "/root"),
        ("HOSTNAME", "3f2a9c1b7d4e"),
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("PWD", "/builds/group/app"),
        ("RUNNER_OS", "Linux"),
        ("RUST_LOG", "info,hyper=debug"),
        ("SHELL", "/bin/bash"),
        ("TERM", "xterm-256color"),
        ("CI_JOB_TOKEN", "glcbt-64_abcdefghijklmnopqrst"),
    ];
    let rules = rules(&environment, &[]);
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/prebuilt");
    let entries = std::fs::read_dir(samples).expect("there are samples");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut count = 0;
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")) {
        let sample = Artifact::read(&path).expect("valid");
        // As if all of it had been added by a run.
        assert_eq!(find(&module(""), &sample, &rules), Findings::default(), "{}", path.display());
        count += 1;
    }
    assert!(count > 10);
    // As if the run had read it all.
    let values: Vec<_> = environment[..16].iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(added(&values.join("\0"), &environment), [""; 0]);
}
