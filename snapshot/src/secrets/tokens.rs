//! Tokens which tell what they are: their vendors gave them a prefix so that they are found.
//!
//! Formats are those which vendors publish; where a vendor promises no length, the shortest which was ever given out.

/// Where a token of this kind may be, and what it looks like.
pub(super) struct Token {
    /// The rule's name.
    pub(super) id: &'static str,
    /// What it starts with.
    pub(super) prefixes: &'static [&'static str],
    start: Start,
    rest: fn(&[u8]) -> Option<Rest>,
}

/// What may be in front of a token.
enum Start {
    /// Anything: in a memory, whatever was left there.
    Anywhere,
    /// Nothing which belongs to a word. For prefixes which words end with, or base64 contains.
    Word,
}

/// What follows a prefix.
#[derive(Clone, Copy)]
struct Rest {
    length: usize,
    /// Behind this many bytes there may be others which belong to something else.
    certain: usize,
}

/// A token in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// Bytes of the token, as far as it was followed.
    pub(super) length: usize,
    /// Bytes which are enough to tell it from all others.
    pub(super) certain: usize,
}

impl Token {
    /// The token whose prefix is `bytes[start..end]`, if what is around fits.
    pub(super) fn at(&self, bytes: &[u8], start: usize, end: usize) -> Option<Match> {
        let in_front = start.checked_sub(1).map(|before| bytes[before]);
        if matches!(self.start, Start::Word) && in_front.is_some_and(url_safe) {
            return None;
        }
        let rest = (self.rest)(&bytes[end..])?;
        let prefix = end - start;
        Some(Match { length: prefix + rest.length, certain: prefix + rest.certain })
    }
}

/// Every kind.
pub(super) const TOKENS: &[Token] = &[
    // A bech32 string of 32 bytes in capitals (age specification, "The X25519 recipient type").
    Token {
        id: "age-secret-key",
        prefixes: &["AGE-SECRET-KEY-1"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, |byte| b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".contains(&byte), 58, 58),
    },
    // `sk-ant-api03-`, `sk-ant-admin01-`, `sk-ant-oat01-`, each with 93 characters and `AA` or more.
    Token {
        id: "anthropic-api-key",
        prefixes: &["sk-ant-"],
        start: Start::Word,
        rest: |rest| chars(rest, url_safe, 80, 120),
    },
    // Identifiers of access keys, long-term and of STS: base32 (IAM user guide, "Unique identifiers").
    Token {
        id: "aws-access-key",
        prefixes: &["AKIA", "ASIA"],
        start: Start::Word,
        rest: |rest| chars(rest, |byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'), 16, 16),
    },
    // Connection strings: the base64 of 64 bytes for storage, of 32 for shared access.
    Token {
        id: "azure-connection-string",
        prefixes: &["AccountKey=", "SharedAccessKey="],
        start: Start::Anywhere,
        rest: |rest| chars(rest, base64, 43, 88),
    },
    Token {
        id: "digitalocean-token",
        prefixes: &["dop_v1_", "doo_v1_", "dor_v1_"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, lower_hex, 64, 64),
    },
    Token {
        id: "docker-token",
        prefixes: &["dckr_pat_", "dckr_oat_"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, url_safe, 27, 64),
    },
    // "Authentication token format updates": letters, digits and `_`, today 36, up to 255; fine-grained ones have 82.
    Token {
        id: "github-token",
        prefixes: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, word, 36, 82),
    },
    // "Token overview", "Token prefixes": personal, deploy, runner, job, trigger, feed, mail, agent, OAuth, SCIM, flags.
    Token {
        id: "gitlab-token",
        prefixes: &[
            "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-",
            "glffct-",
        ],
        start: Start::Anywhere,
        rest: |rest| chars(rest, url_safe, 20, 64),
    },
    Token { id: "google-api-key", prefixes: &["AIza"], start: Start::Word, rest: |rest| chars(rest, url_safe, 35, 35) },
    Token {
        id: "google-oauth-secret",
        prefixes: &["GOCSPX-"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, url_safe, 28, 28),
    },
    // Service accounts, with a checksum of eight hexadecimal digits behind; access policies.
    Token {
        id: "grafana-token",
        prefixes: &["glsa_", "glc_eyJ"],
        start: Start::Word,
        rest: |rest| chars(rest, |byte| word(byte) || base64(byte), 32, 80),
    },
    Token {
        id: "hugging-face-token",
        prefixes: &["hf_", "api_org_"],
        start: Start::Word,
        rest: |rest| chars(rest, |byte| byte.is_ascii_alphanumeric(), 34, 40),
    },
    // RFC 7519 in compact form: a header and claims, which are JSON objects, and a signature, all base64url.
    Token { id: "jwt", prefixes: &["eyJ"], start: Start::Word, rest: json_web_token },
    Token {
        id: "linear-api-key",
        prefixes: &["lin_api_"],
        start: Start::Word,
        rest: |rest| chars(rest, |byte| byte.is_ascii_alphanumeric(), 40, 40),
    },
    Token {
        id: "npm-token",
        prefixes: &["npm_"],
        start: Start::Word,
        rest: |rest| chars(rest, |byte| byte.is_ascii_alphanumeric(), 36, 36),
    },
    // Of projects, service accounts and administrators, and the older ones, which have 48 letters and digits.
    Token {
        id: "openai-api-key",
        prefixes: &["sk-proj-", "sk-svcacct-", "sk-admin-"],
        start: Start::Word,
        rest: |rest| chars(rest, url_safe, 40, 164),
    },
    Token {
        id: "openai-api-key",
        prefixes: &["sk-"],
        start: Start::Word,
        rest: |rest| chars(rest, |byte| byte.is_ascii_alphanumeric(), 48, 48),
    },
    // RFC 7468 and its forerunners, OpenSSH's and OpenPGP's. The header alone is in every library which reads such keys.
    Token { id: "private-key", prefixes: &["-----BEGIN "], start: Start::Anywhere, rest: private_key },
    // A macaroon: the start says version 2 and a location.
    Token {
        id: "pypi-token",
        prefixes: &["pypi-AgEI"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, url_safe, 50, 180),
    },
    Token { id: "sendgrid-api-key", prefixes: &["SG."], start: Start::Word, rest: |rest| dotted(rest, 22, 43) },
    // "Authentication": admin API, Shared secrets, custom and private apps.
    Token {
        id: "shopify-token",
        prefixes: &["shpat_", "shpss_", "shpca_", "shppa_"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, |byte| byte.is_ascii_hexdigit(), 32, 32),
    },
    // "Token types": bot, user, workspace, legacy, refresh and app-level tokens are numbers and letters between dashes.
    Token {
        id: "slack-token",
        prefixes: &["xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-"],
        start: Start::Word,
        rest: |rest| chars(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'-', 24, 80),
    },
    Token {
        id: "slack-webhook",
        prefixes: &["https://hooks.slack.com/services/T", "https://hooks.slack.com/workflows/T"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'/', 40, 80),
    },
    // "API keys": secret and restricted keys of live mode.
    Token {
        id: "stripe-key",
        prefixes: &["sk_live_", "rk_live_"],
        start: Start::Anywhere,
        rest: |rest| chars(rest, |byte| byte.is_ascii_alphanumeric(), 24, 107),
    },
    // "Tokens", "Token prefixes": service, batch and recovery tokens.
    Token {
        id: "vault-token",
        prefixes: &["hvs.", "hvb.", "hvr."],
        start: Start::Word,
        rest: |rest| chars(rest, url_safe, 90, 120),
    },
];

/// Longest part of a JSON Web Token.
const MAX_PART: usize = 4096;
/// The smallest header is `{"alg":"none"}`; the prefix has four of its characters less one.
const MIN_HEADER: usize = 16;
/// Claims of a few bytes.
const MIN_CLAIMS: usize = 8;
/// A checksum of 128 bits; there are none shorter.
const MIN_SIGNATURE: usize = 22;
/// Labels are short: `OPENSSH PRIVATE KEY`, `PGP PRIVATE KEY BLOCK`.
const MAX_LABEL: usize = 40;
/// One line of base64.
const MIN_KEY: usize = 48;
/// Enough to tell keys apart: their first lines are about algorithms.
const MAX_KEY: usize = 256;

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The alphabet of base64url.
fn url_safe(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// From `least` to `most` bytes of a kind. Tokens may be longer: as each place where a prefix is costs as much, only what
/// is usual is counted.
fn chars(rest: &[u8], is: impl Fn(u8) -> bool, least: usize, most: usize) -> Option<Rest> {
    let length = run(rest, is, most);
    (length >= least).then_some(Rest { length, certain: least })
}

fn run(bytes: &[u8], is: impl Fn(u8) -> bool, most: usize) -> usize {
    bytes.iter().take(most).take_while(|byte| is(**byte)).count()
}

/// Two parts of base64url with a dot in between.
fn dotted(rest: &[u8], first: usize, second: usize) -> Option<Rest> {
    if run(rest, url_safe, first + 1) != first || rest.get(first) != Some(&b'.') {
        return None;
    }
    let length = first + 1 + second;
    (run(&rest[first + 1..], url_safe, second) == second).then_some(Rest { length, certain: length })
}

fn json_web_token(rest: &[u8]) -> Option<Rest> {
    let header = run(rest, url_safe, MAX_PART);
    let claims = rest[header..].strip_prefix(b".eyJ")?;
    let length = run(claims, url_safe, MAX_PART);
    let signature = claims[length..].strip_prefix(b".")?;
    let signed = run(signature, url_safe, MAX_PART);
    if header < MIN_HEADER || length < MIN_CLAIMS || signed < MIN_SIGNATURE {
        return None;
    }
    let unsigned = header + b".eyJ".len() + length + b".".len();
    Some(Rest { length: unsigned + signed, certain: unsigned + MIN_SIGNATURE })
}

fn private_key(rest: &[u8]) -> Option<Rest> {
    let label = run(rest, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ', MAX_LABEL);
    if !rest[..label].ends_with(b"PRIVATE KEY") && !rest[..label].ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    let body = rest[label..].strip_prefix(b"-----")?;
    // As it is, or as it is written in JSON and in environment variables.
    let body = [&b"\n"[..], b"\r\n", b"\\n"].iter().find_map(|end| body.strip_prefix(*end))?;
    let key = run(body, |byte| matches!(byte, b'\n' | b'\r' | b' '..=b'~'), MAX_KEY);
    // Base64 alone, unless headers come first.
    let line = run(body, base64, MIN_KEY);
    if key < MIN_KEY || (line < MIN_KEY && !body[..key].contains(&b':')) {
        return None;
    }
    let length = rest.len() - body.len() + key;
    Some(Rest { length, certain: length })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules which find something in `text`.
    fn found(text: &str) -> Vec<&'static str> {
        let bytes = text.as_bytes();
        let at = |token: &&Token| {
            token.prefixes.iter().any(|prefix| {
                let starts = text.match_indices(prefix).map(|(start, _)| start);
                starts.into_iter().any(|start| token.at(bytes, start, start + prefix.len()).is_some())
            })
        };
        TOKENS.iter().filter(at).map(|token| token.id).collect()
    }

    /// Each kind: prefix, a character to repeat, how often at least, and a character which cannot be in it.
    const REPEATED: &[(&str, &str, char, usize, char)] = &[
        ("age-secret-key", "AGE-SECRET-KEY-1", 'Q', 58, 'B'),
        ("anthropic-api-key", "sk-ant-api03-", 'x', 74, '.'),
        ("aws-access-key", "AKIA", 'B', 16, '1'),
        ("aws-access-key", "ASIA", '7', 16, 'a'),
        ("azure-connection-string", "AccountKey=", 'B', 43, '-'),
        ("azure-connection-string", "SharedAccessKey=", '/', 43, ';'),
        ("digitalocean-token", "dop_v1_", 'f', 64, 'g'),
        ("docker-token", "dckr_pat_", 'x', 27, '.'),
        ("github-token", "ghp_", 'x', 36, '-'),
        ("github-token", "gho_", 'x', 36, '.'),
        ("github-token", "ghu_", '0', 36, '-'),
        ("github-token", "ghs_", 'Z', 36, '+'),
        ("github-token", "ghr_", 'x', 36, '-'),
        ("github-token", "github_pat_", 'x', 36, '-'),
        ("gitlab-token", "glpat-", 'x', 20, '.'),
        ("gitlab-token", "glrt-", '-', 20, '.'),
        ("google-api-key", "AIza", 'x', 35, '.'),
        ("google-oauth-secret", "GOCSPX-", 'x', 28, '.'),
        ("grafana-token", "glsa_", 'x', 32, '.'),
        ("hugging-face-token", "hf_", 'x', 34, '_'),
        ("linear-api-key", "lin_api_", 'x', 40, '_'),
        ("npm-token", "npm_", 'x', 36, '_'),
        ("openai-api-key", "sk-proj-", 'x', 40, '.'),
        ("openai-api-key", "sk-", 'x', 48, '-'),
        ("pypi-token", "pypi-AgEI", 'x', 50, '.'),
        ("shopify-token", "shpat_", 'a', 32, 'g'),
        ("slack-token", "xoxb-", '1', 24, '_'),
        ("slack-webhook", "https://hooks.slack.com/services/T", 'B', 40, '-'),
        ("stripe-key", "sk_live_", 'x', 24, '_'),
        ("stripe-key", "rk_live_", 'x', 24, '-'),
        ("vault-token", "hvs.", 'x', 90, '.'),
    ];

    #[test]
    fn every_kind_is_found_and_what_is_nearly_one_is_not() {
        for (id, prefix, filler, least, foreign) in REPEATED {
            let body = filler.to_string().repeat(*least);
            assert_eq!(found(&format!(" {prefix}{body}\0")), [*id]);
            assert_eq!(found(&format!("{prefix}{body}")), [*id], "at both ends");
            assert_eq!(found(&format!(" {prefix}{}", &body[1..])), [""; 0], "one short");
            assert_eq!(found(&format!(" {prefix}{foreign}{}", &body[1..])), [""; 0], "a foreign character");
        }
    }

    #[test]
    fn a_prefix_within_a_word_is_not_the_start_of_a_token() {
        assert_eq!(found(&format!("task-{}", "x".repeat(60))), [""; 0]);
        assert_eq!(found(&format!("MALAYSIAKIA{}", "B".repeat(20))), [""; 0]);
        assert_eq!(found(&format!("0AIza{}", "x".repeat(40))), [""; 0]);
    }

    #[test]
    fn a_json_web_token_has_three_parts() {
        let (header, claims, signature) = ("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxIn0", "x".repeat(43));
        assert_eq!(found(&format!("Bearer {header}.{claims}.{signature}")), ["jwt"]);
        assert_eq!(found(&format!("Bearer {header}.{claims}")), [""; 0]);
        assert_eq!(found(&format!("Bearer {header}.{claims}.{}", &signature[..20])), [""; 0]);
        assert_eq!(found(&format!("Bearer {header}.x{claims}.{signature}")), [""; 0]);
        assert_eq!(found(&format!("Bearer eyJhbGciOiJ.{claims}.{signature}")), [""; 0]);
    }

    #[test]
    fn a_private_key_is_more_than_its_header() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
        for label in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "] {
            assert_eq!(found(&format!("-----BEGIN {label}PRIVATE KEY-----\n{line}\n")), ["private-key"]);
        }
        assert_eq!(found(&format!("-----BEGIN PRIVATE KEY-----\\n{line}")), ["private-key"]);
        let headers = "Version: 2\nComment: none\n\n";
        assert_eq!(found(&format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\r\n{headers}{line}\n")), ["private-key"]);
        assert_eq!(found(&format!("-----BEGIN CERTIFICATE-----\n{line}\n")), [""; 0]);
        assert_eq!(found(&format!("-----BEGIN PUBLIC KEY-----\n{line}\n")), [""; 0]);
        assert_eq!(found("-----BEGIN RSA PRIVATE KEY----------END RSA PRIVATE KEY-----"), [""; 0]);
        assert_eq!(
            found("-----BEGIN PRIVATE KEY-----\nnot a key, but the text of an error message of a library"),
            [""; 0]
        );
    }

    #[test]
    fn a_sendgrid_key_has_two_parts() {
        let (first, second) = ("x".repeat(22), "y".repeat(43));
        assert_eq!(found(&format!("SG.{first}.{second}")), ["sendgrid-api-key"]);
        assert_eq!(found(&format!("SG.{first}.{}", &second[1..])), [""; 0]);
        assert_eq!(found(&format!("SG.x{first}.{second}")), [""; 0]);
    }

    #[test]
    fn the_length_is_that_of_the_token() {
        let token = TOKENS.iter().find(|token| token.id == "github-token").expect("there is one");
        let text = format!("ghp_{}--", "x".repeat(40));
        assert_eq!(token.at(text.as_bytes(), 0, 4), Some(Match { length: 44, certain: 40 }));
    }
}
