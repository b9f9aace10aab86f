//! Which of the host's environment variables are looked for, and how.

/// Shorter values are found everywhere.
const MIN_LENGTH: usize = 8;
/// Passwords made of fewer lower-case letters only are words: `postgres`, `changeme`.
const MIN_PLAIN: usize = 12;
/// Letters of the longest word, and digits of the longest number beside it, such as a date.
const MAX_LETTERS: usize = 20;
const MAX_DIGITS: usize = 8;

/// A word in the name of a variable says that its value is secret.
const SECRET_WORDS: [&str; 23] = [
    "APIKEY",
    "AUTH",
    "BEARER",
    "COOKIE",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "DSN",
    "JWT",
    "KEY",
    "KEYS",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PAT",
    "PRIVATE",
    "PWD",
    "SALT",
    "SECRET",
    "SIGNATURE",
    "TOKEN",
    "WEBHOOK",
];
/// The same for names which are written in one: `PGPASSWORD`, `NPMTOKEN`.
const SECRET_ENDINGS: [&str; 9] =
    ["ACCESSKEY", "PASSWD", "PASSWORD", "PASSWORDS", "PRIVATEKEY", "SECRET", "SECRETS", "TOKEN", "TOKENS"];
/// The current directory, which is no password.
const DIRECTORY: &str = "PWD";
/// Names which end so say what was built, where: programs are told these on purpose.
const PUBLIC_ENDINGS: [&str; 10] =
    ["CHECKSUM", "COMMIT", "DIGEST", "HASH", "HOSTNAME", "ID", "REF", "REVISION", "SHA", "VERSION"];

/// A value to look for.
pub(super) struct Needle {
    /// `env:` and the variable's name.
    pub(super) rule: String,
    /// The value in one of the encodings.
    pub(super) bytes: Vec<u8>,
}

/// What is looked for of these variables: each value which counts, in UTF-8 and in UTF-16.
pub(super) fn needles(environment: &[(String, String)]) -> Vec<Needle> {
    let counting = environment.iter().filter(|(name, value)| counts(name, value.trim()));
    let encoded = counting.flat_map(|(name, value)| {
        let value = value.trim();
        let wide = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [value.as_bytes().to_vec(), wide].map(|bytes| Needle { rule: format!("env:{name}"), bytes })
    });
    encoded.collect()
}

/// Whether a value would not be in a program by chance.
fn counts(name: &str, value: &str) -> bool {
    if value.len() < MIN_LENGTH || !value.chars().any(char::is_alphabetic) {
        return false;
    }
    match Sound::of(name) {
        Sound::Secret if value.starts_with(['/', '.', '~']) => !is_made_of_words(value),
        Sound::Secret => value.len() >= MIN_PLAIN || !value.bytes().all(|byte| byte.is_ascii_lowercase()),
        Sound::Public => has_credentials(value),
        Sound::Neutral => has_credentials(value) || !is_made_of_words(value),
    }
}

/// What a variable's name says about its value.
enum Sound {
    Secret,
    Public,
    Neutral,
}

impl Sound {
    fn of(name: &str) -> Self {
        let name = name.to_ascii_uppercase();
        let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
        let is_secret =
            |word: &str| SECRET_WORDS.contains(&word) || SECRET_ENDINGS.iter().any(|end| word.ends_with(end));
        if name != DIRECTORY && words.clone().any(is_secret) {
            Self::Secret
        } else if words.next_back().is_some_and(|word| PUBLIC_ENDINGS.contains(&word)) {
            Self::Public
        } else {
            Self::Neutral
        }
    }
}

/// Whether it is a URL with a password.
fn has_credentials(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// Whether words and numbers are all there is: paths, locales, versions, names of machines and branches.
fn is_made_of_words(value: &str) -> bool {
    value.split(|c: char| !c.is_alphanumeric()).all(is_word)
}

/// `wasm32`, `256color`, `release`, `20240131`; not `3f78b0`, nor letters without end.
fn is_word(part: &str) -> bool {
    let behind = part.trim_start_matches(char::is_numeric);
    let letters = behind.trim_end_matches(char::is_numeric);
    let digits = [part.len() - behind.len(), behind.len() - letters.len()];
    letters.chars().all(char::is_alphabetic)
        && letters.chars().count() <= MAX_LETTERS
        && (letters.is_empty() || digits.iter().all(|digits| *digits <= MAX_DIGITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_count_whatever_their_name() {
        for (name, value) in [
            ("DEPLOY_TOKEN", "correct-horse-battery"),
            ("PGPASSWORD", "hunter2!"),
            ("npm_config_//registry.npmjs.org/:_authToken", "abcdefgh1"),
            ("AWS_SECRET_ACCESS_KEY", "/JalrXUtnFEMI7K7MDENG8bPxRfiCYEXAMPLEKEY"),
            ("DB_PWD", "Changeme1"),
            ("SENTRY", "8f2a9c01bb7d4e6f8f2a9c01bb7d4e6f"),
            ("DATABASE_URL", "postgres://app:secret@db/app"),
            ("GITHUB_SHA", "https://ci:secret@example.org"),
            ("ACTIONS_CACHE_URL", "https://example.org/J0x3bV9q/"),
        ] {
            assert!(counts(name, value), "{name}={value}");
        }
    }

    #[test]
    fn what_is_commonplace_does_not_count() {
        for (name, value) in [
            ("DEPLOY_TOKEN", "short"),
            ("DEPLOY_TOKEN", "1234567890"),
            ("POSTGRES_PASSWORD", "postgres"),
            ("SSL_KEY", "/etc/ssl/private/server.key"),
            ("PWD", "/builds/group/app-2"),
            ("PATH", "/opt/cargo/bin:/usr/local/bin:/usr/bin"),
            ("LS_COLORS", "rs=0:di=01;34:ln=01;36:*.tar=01;31"),
            ("LANG", "C.UTF-8"),
            ("TERM", "xterm-256color"),
            ("TARGET", "x86_64-unknown-linux-gnu"),
            ("RUSTFLAGS", "-C target-cpu=x86-64-v3 -D warnings"),
            ("GITHUB_SHA", "3f786850e387550fdab836ed7e6dc881de23001b"),
            ("GITHUB_WORKFLOW_REF", "owner/repo/.github/workflows/ci.yml@refs/heads/main"),
            ("HOSTNAME", "3f2a9c1b7d4e"),
            ("NODE_ENV", "production"),
            ("UPSTREAM", "http://localhost:8080"),
            ("KUBERNETES_PORT", "tcp://10.96.0.1:443"),
        ] {
            assert!(!counts(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_value_is_looked_for_in_both_encodings() {
        let needles = needles(&[("A_TOKEN".into(), "Zweiundvierzig\n".into())]);
        assert_eq!(needles.len(), 2);
        assert_eq!(needles[0].bytes, b"Zweiundvierzig");
        assert!(needles[1].bytes.starts_with(b"Z\0w\0e\0"));
        assert!(needles.iter().all(|needle| needle.rule == "env:A_TOKEN"));
    }
}
