//! Connections which the host's HTTP client cannot make, and what the program's owner is told about them.

use prewasm_translation::Authority;

use crate::{complain::complain, errno::Errno};

/// Why a connection is not HTTP, or not for whom it seems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotHttp {
    Tls,
    Http2,
    /// `CONNECT`, or an upgrade.
    Upgrade,
    /// The program waits for the other side to speak first.
    SpeaksSecond,
    /// The request is for somebody else than whom the connection is to.
    OtherHost(String),
    /// Records of a codec where there should be none, or none where there should be.
    StrayRecord,
    Other,
}

impl NotHttp {
    pub(super) fn errno(&self) -> Errno {
        match self {
            Self::OtherHost(_) => Errno::Acces,
            _ => Errno::ProtoNoSupport,
        }
    }

    /// Whether the program's bytes mean something to the other side as they are.
    #[cfg(feature = "sockets")]
    pub(super) fn can_be_sent(&self) -> bool {
        !matches!(self, Self::StrayRecord)
    }

    pub(super) fn complain(&self, target: &Authority, is_encrypted: bool) {
        let target = target.spell(0);
        let what = match self {
            Self::Tls => "it encrypts by itself, and so",
            Self::Http2 => "it speaks HTTP/2 without having asked, and",
            Self::Upgrade => "it changes to another protocol, and",
            Self::SpeaksSecond => "it waits for the other side to speak first, which is not HTTP, and",
            Self::OtherHost(host) => {
                let remedy = if is_encrypted { "`--authority host-header`" } else { REMEDIES };
                return complain(&[
                    "the program was refused a request to `",
                    &target,
                    "` whose host is `",
                    host,
                    "`, since `wasi:http` sends a request only to whom it is for; hint: port it with ",
                    remedy,
                ]);
            }
            Self::StrayRecord => {
                return complain(&[
                    "the program was refused to send to `",
                    &target,
                    "`: what a TLS codec gave it belongs on a connection of its own, from the beginning",
                ]);
            }
            Self::Other => "it does not speak HTTP, and",
        };
        let hint = if is_encrypted { "" } else { "; hint: port it with `--with-sockets`" };
        complain(&[
            "the program's connection to `",
            &target,
            "` failed: ",
            what,
            " cannot be translated to `wasi:http`",
            hint,
        ]);
    }
}

const REMEDIES: &str = "`--authority host-header`, or with `--with-sockets`";
