//! Secrets which a run has put into a snapshot.
//!
//! A program which is initialized or warmed up on a build machine may come across what should stay there: a token in a
//! file or in an answer, a password in a variable which it was given. In the snapshot it would be in a memory, or in a
//! custom section, for everybody who has the file. So these are searched before the file is written.
//!
//! Only what the run has *added* counts: a text which is anywhere in the input file is the
//! program's own and no finding, wherever the run has copied it to. Constants in code are not searched, and nothing is
//! decoded: a secret in base64, or in pieces, is not found.
//!
//! # Variables of the host
//!
//! The values of the host's environment variables are looked for in UTF-8 and in UTF-16, as the rule `env:NAME`. The
//! guest never sees these variables, but may be given the same value on purpose or by a file. Values which a program
//! could have by chance are left out:
//!
//! | Value, without spaces around it | Looked for |
//! |---|---|
//! | of fewer than 8 bytes, or without a letter (numbers, dates, addresses) | no |
//! | a URL with a password | yes |
//! | of a variable whose name has a word such as `TOKEN`, `SECRET`, `PASSWORD`, `KEY`, `AUTH`, `CREDENTIALS` or `DSN` | yes, except paths, and lower-case words of fewer than 12 letters |
//! | of a variable whose name ends with `SHA`, `COMMIT`, `REF`, `REVISION`, `HASH`, `DIGEST`, `CHECKSUM`, `VERSION`, `ID` or `HOSTNAME` | no |
//! | made of words, with numbers in front or behind (`/builds/app`, `C.UTF-8`, `xterm-256color`, `x86_64-unknown-linux-gnu`) | no |
//! | any other | yes |
//!
//! # Tokens
//!
//! | Rule | What |
//! |---|---|
//! | `age-secret-key` | `AGE-SECRET-KEY-1` and 58 characters |
//! | `anthropic-api-key` | `sk-ant-` and at least 80 characters |
//! | `aws-access-key` | `AKIA` or `ASIA` and 16 characters of base32 |
//! | `azure-connection-string` | `AccountKey=` or `SharedAccessKey=` and at least 43 characters of base64 |
//! | `digitalocean-token` | `dop_v1_`, `doo_v1_` or `dor_v1_` and 64 hexadecimal digits |
//! | `docker-token` | `dckr_pat_` or `dckr_oat_` and at least 27 characters |
//! | `github-token` | `ghp_`, `gho_`, `ghu_`, `ghs_`, `ghr_` or `github_pat_` and at least 36 characters |
//! | `gitlab-token` | `glpat-`, `gldt-`, `glrt-`, `glcbt-`, `glptt-`, `glft-`, `glimt-`, `glagent-`, `gloas-`, `glsoat-` or `glffct-` and at least 20 characters |
//! | `google-api-key` | `AIza` and 35 characters |
//! | `google-oauth-secret` | `GOCSPX-` and 28 characters |
//! | `grafana-token` | `glsa_` or `glc_eyJ` and at least 32 characters |
//! | `hugging-face-token` | `hf_` or `api_org_` and at least 34 letters or digits |
//! | `jwt` | `eyJ….eyJ….…`: a JSON Web Token with a signature |
//! | `linear-api-key` | `lin_api_` and 40 letters or digits |
//! | `npm-token` | `npm_` and 36 letters or digits |
//! | `openai-api-key` | `sk-proj-`, `sk-svcacct-` or `sk-admin-` and at least 40 characters, or `sk-` and 48 letters or digits |
//! | `private-key` | `-----BEGIN … PRIVATE KEY-----` and a line of it |
//! | `pypi-token` | `pypi-AgEI` and at least 50 characters |
//! | `sendgrid-api-key` | `SG.`, 22 characters, `.`, 43 characters |
//! | `shopify-token` | `shpat_`, `shpss_`, `shpca_` or `shppa_` and 32 hexadecimal digits |
//! | `slack-token` | `xoxa-`, `xoxb-`, `xoxe-`, `xoxp-`, `xoxr-`, `xoxs-` or `xapp-` and at least 24 characters |
//! | `slack-webhook` | `https://hooks.slack.com/services/T…` |
//! | `stripe-key` | `sk_live_` or `rk_live_` and at least 24 letters or digits |
//! | `vault-token` | `hvs.`, `hvb.` or `hvr.` and at least 90 characters |
//!
//! A token which is the value of a variable, or in it, is only reported as the variable's.

mod contents;
mod environment;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aho_corasick::AhoCorasick;
use prewasm_artifact::Artifact;
use serde::Serialize;

use crate::{program::Program, regions::Regions, state::modules};

use contents::{Piece, Place, pieces};
use environment::{Needle, needles};
use tokens::TOKENS;

/// Findings which are listed, of those refused and of those allowed; the others are counted.
const MAX_LISTED: usize = 100;
/// Different texts which are compared with the input. A snapshot with more is refused for what is in them, unread.
const MAX_TEXTS: usize = 1000;
/// Bytes of them all.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// A variable's value is searched by its start, and compared where that is found.
const MAX_START: usize = 256;

/// What is looked for, and what is accepted.
#[derive(Clone, Default)]
pub struct SecretRules {
    /// Names and values of the host's environment variables.
    pub environment: Vec<(String, String)>,
    /// Rules whose findings do not matter: `env:NAME`, or the name of a kind of token.
    pub allowed: BTreeSet<String>,
}

/// Values are not shown.
impl fmt::Debug for SecretRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("SecretRules").field("environment", &names).field("allowed", &self.allowed).finish()
    }
}

/// The names of all rules about tokens.
pub fn token_rules() -> BTreeSet<&'static str> {
    TOKENS.iter().map(|token| token.id).collect()
}

/// A secret in a snapshot. The secret itself is not in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `env:NAME`, or the kind of token.
    pub rule: String,
    /// The memory it is in; none for a custom section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// Its address there; in the file for a custom section.
    pub offset: u64,
    /// Its length in bytes; of a long token at least this.
    pub length: u64,
    /// What that place belongs to.
    pub region: String,
    /// Whether it was said that it does not matter.
    pub allowed: bool,
}

/// `env:DEPLOY_TOKEN: 40 bytes at 0x10f20 in heap+0x20`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, offset, length, region, .. } = self;
        write!(f, "{rule}: {length} bytes at {offset:#x} in {region}")
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// The first of them, by place: those which are not allowed, then those which are.
    pub listed: Vec<Finding>,
    /// How many are not allowed.
    pub refused: u64,
    /// How many are allowed.
    pub allowed: u64,
}

/// A snapshot must not be written, for it has secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it would carry {count} of the build machine:{list}\n  hint: do not give them to the program while it is snapshotted; if it may keep them, say {options}",
    count = counted(*total),
    list = list(findings, *total),
    options = options(findings)
)]
pub struct SecretsFound {
    /// The first of them.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub total: u64,
}

fn counted(total: u64) -> String {
    if total == 1 { "a secret".to_owned() } else { format!("{total} secrets") }
}

fn list(findings: &[Finding], total: u64) -> String {
    let lines: String = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    match total.saturating_sub(findings.len() as u64) {
        0 => lines,
        more => format!("{lines}\n  and {more} more"),
    }
}

fn options(findings: &[Finding]) -> String {
    let rules: BTreeSet<_> = findings.iter().map(|finding| format!("`--allow-secret {}`", finding.rule)).collect();
    rules.into_iter().collect::<Vec<_>>().join(" ")
}

impl Findings {
    /// Refuses what is not allowed.
    ///
    /// # Errors
    /// [`SecretsFound`], if there is any.
    pub fn judge(&self) -> Result<(), SecretsFound> {
        if self.refused == 0 {
            return Ok(());
        }
        let findings = self.listed.iter().filter(|finding| !finding.allowed).cloned().collect();
        Err(SecretsFound { findings, total: self.refused })
    }
}

/// Looks for secrets which are in `output`, a snapshot, and not in `input`, the program that it was made from.
///
/// Takes time in proportion to their sizes, whatever they contain.
///
/// # Errors
/// If one of them cannot be parsed, although both were validated.
pub fn scan(input: &Artifact, output: &Artifact, rules: &SecretRules) -> wasmparser::Result<Findings> {
    let after = modules(output.bytes())?;
    let pieces = pieces(output.bytes(), &after)?;
    let search = Search::new(&rules.environment);
    let mut texts = Texts::default();
    for piece in &pieces {
        search.piece(piece, &mut texts);
    }
    texts.forget_known(input.bytes());
    texts.forget_parts();
    if texts.is_empty() {
        return Ok(Findings::default());
    }
    // The program knows its own regions best before its run: afterwards, all memory is data.
    let before = modules(input.bytes())?;
    let programs = if before.len() == after.len() { before } else { after };
    Ok(texts.findings(&search, rules, &mut Namer::new(&programs, output.kind().is_component())))
}

/// Which rule found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// By index among the needles.
    Variable(usize),
    /// By index in the table.
    Token(usize),
}

/// All rules as one automaton.
struct Search {
    needles: Vec<Needle>,
    starts: AhoCorasick,
    /// What each of its patterns is the start of.
    rules: Vec<Rule>,
}

impl Search {
    fn new(environment: &[(String, String)]) -> Self {
        let needles = needles(environment);
        let mut patterns: Vec<&[u8]> = Vec::new();
        let mut rules = Vec::new();
        for (index, needle) in needles.iter().enumerate() {
            patterns.push(&needle.bytes[..needle.bytes.len().min(MAX_START)]);
            rules.push(Rule::Variable(index));
        }
        for (index, token) in TOKENS.iter().enumerate() {
            patterns.extend(token.prefixes.iter().map(|prefix| prefix.as_bytes()));
            rules.extend(token.prefixes.iter().map(|_| Rule::Token(index)));
        }
        let starts = AhoCorasick::new(patterns).expect("short patterns, as many as there are variables");
        Self { needles, starts, rules }
    }

    fn piece<'p>(&self, piece: &'p Piece<'p>, texts: &mut Texts<'p>) {
        for found in self.starts.find_overlapping_iter(&*piece.bytes) {
            let (start, rest) = (found.start(), &piece.bytes[found.start()..]);
            let rule = self.rules[found.pattern().as_usize()];
            let (certain, length) = match rule {
                Rule::Variable(index) => {
                    let value = &self.needles[index].bytes;
                    if !rest.starts_with(value) {
                        continue;
                    }
                    (value.len(), value.len())
                }
                Rule::Token(index) => match TOKENS[index].at(&piece.bytes, start, found.end()) {
                    Some(token) => (token.certain, token.length),
                    None => continue,
                },
            };
            texts.add(rule, &rest[..certain], piece.place.behind(start as u64), length as u64);
        }
    }

    fn name(&self, rule: Rule) -> &str {
        match rule {
            Rule::Variable(index) => &self.needles[index].rule,
            Rule::Token(index) => TOKENS[index].id,
        }
    }
}

/// Different texts which were found, and where.
#[derive(Default)]
struct Texts<'p> {
    by_text: BTreeMap<(Rule, &'p [u8]), Places<'p>>,
    /// How many bytes they have.
    bytes: usize,
    /// Those beyond the limits.
    others: BTreeMap<Rule, Places<'p>>,
}

/// Where a text is.
#[derive(Default)]
struct Places<'p> {
    /// The first of them, and how long the text is there.
    first: Vec<(Place<'p>, u64)>,
    total: u64,
}

impl<'p> Texts<'p> {
    fn add(&mut self, rule: Rule, text: &'p [u8], place: Place<'p>, length: u64) {
        let is_known = self.by_text.contains_key(&(rule, text));
        let places = if is_known || self.by_text.len() < MAX_TEXTS && self.bytes + text.len() <= MAX_TEXT_BYTES {
            self.bytes += if is_known { 0 } else { text.len() };
            self.by_text.entry((rule, text)).or_default()
        } else {
            self.others.entry(rule).or_default()
        };
        places.total += 1;
        if places.first.len() < MAX_LISTED {
            places.first.push((place, length));
        }
    }

    fn is_empty(&self) -> bool {
        self.by_text.is_empty() && self.others.is_empty()
    }

    /// Forgets texts which are somewhere in `input`.
    fn forget_known(&mut self, input: &[u8]) {
        let texts: Vec<_> = self.by_text.keys().copied().collect();
        let automaton = AhoCorasick::new(texts.iter().map(|(_, text)| text)).expect("their size is limited");
        let mut known = vec![false; texts.len()];
        for found in automaton.find_overlapping_iter(input) {
            known[found.pattern().as_usize()] = true;
        }
        for (key, _) in texts.iter().zip(known).filter(|(_, known)| *known) {
            self.by_text.remove(key);
        }
    }

    /// Forgets tokens which are in the value of a variable that was found itself.
    fn forget_parts(&mut self) {
        let texts = self.by_text.keys();
        let values: Vec<&[u8]> =
            texts.filter_map(|(rule, text)| matches!(rule, Rule::Variable(_)).then_some(*text)).collect();
        let is_part = |text: &[u8]| values.iter().any(|value| value.windows(text.len()).any(|part| part == text));
        self.by_text.retain(|(rule, text), _| matches!(rule, Rule::Variable(_)) || !is_part(text));
    }

    fn findings(&self, search: &Search, rules: &SecretRules, namer: &mut Namer<'_>) -> Findings {
        let mut findings = Findings::default();
        let mut hits = Vec::new();
        let texts = self.by_text.iter().map(|((rule, _), places)| (rule, places));
        for (rule, places) in texts.chain(&self.others) {
            let name = search.name(*rule);
            let is_allowed = rules.allowed.contains(name);
            *(if is_allowed { &mut findings.allowed } else { &mut findings.refused }) += places.total;
            hits.extend(places.first.iter().map(|(place, length)| (is_allowed, *place, *length, name)));
        }
        hits.sort_unstable();
        for allowed in [false, true] {
            let of_kind = hits.iter().filter(|hit| hit.0 == allowed).take(MAX_LISTED);
            findings.listed.extend(of_kind.map(|(_, place, length, name)| Finding {
                rule: (*name).to_owned(),
                memory: place.memory(),
                offset: place.offset(),
                length: *length,
                region: namer.region(*place),
                allowed,
            }));
        }
        findings
    }
}

/// Names places; what it has to know of a module is read when it is asked.
struct Namer<'a> {
    programs: &'a [Program<'a>],
    regions: BTreeMap<usize, Regions<'a>>,
    is_component: bool,
}

impl<'a> Namer<'a> {
    fn new(programs: &'a [Program<'a>], is_component: bool) -> Self {
        Self { programs, regions: BTreeMap::new(), is_component }
    }

    fn region(&mut self, place: Place<'_>) -> String {
        let Some(module) = place.module() else { return place.region(None) };
        if let Some(program) = self.programs.get(module) {
            self.regions.entry(module).or_insert_with(|| Regions::of(program));
        }
        let region = place.region(self.regions.get(&module));
        if self.is_component { format!("{region} of module {module}") } else { region }
    }
}

#[cfg(test)]
mod tests;
