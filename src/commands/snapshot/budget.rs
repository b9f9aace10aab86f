//! How large a snapshot may become: what start-up leaves in memory grows unnoticed otherwise.

use std::str::FromStr;

use clap::Args;

use crate::{
    cli::parse_size,
    exit::{Class, Failure},
};

/// Limits of the output's size.
#[derive(Args, Clone, Debug)]
pub struct Budget {
    /// Refuse an output which is larger than this (exit code 6).
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = parse_size,
        env = "PREWASM_MAX_SIZE",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    max_size: Option<u64>,
    /// Refuse an output which is so many times as large as the input (`1.5x`), or larger by a size (`2MiB`).
    #[arg(
        long,
        value_name = "RATIO|SIZE",
        env = "PREWASM_MAX_GROWTH",
        hide_env_values = true,
        help_heading = "Limits"
    )]
    max_growth: Option<Growth>,
}

/// How much larger than the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// In thousandths of the input's size.
    Ratio(u64),
    /// In bytes, besides the input's size.
    By(u64),
}

impl Budget {
    /// Refuses an output that is too large.
    pub(super) fn check(&self, input: u64, output: u64) -> Result<(), Failure> {
        if let Some(limit) = self.max_size.filter(|limit| output > *limit) {
            return Err(refused(output, &format!("`--max-size` allows {limit}"), "--max-size"));
        }
        if let Some(limit) = self.max_growth.map(|growth| growth.limit(input)).filter(|limit| output > *limit) {
            let what = format!("`--max-growth` allows {limit} for an input of {input} bytes");
            return Err(refused(output, &what, "--max-growth"));
        }
        Ok(())
    }
}

fn refused(output: u64, what: &str, option: &str) -> Failure {
    Failure::new(
        Class::Policy,
        anyhow::anyhow!(
            "the snapshot has {output} bytes, and {what}\n  hint: stop the program earlier with `--until`, have it keep less in memory, or raise `{option}`"
        ),
    )
}

impl Growth {
    fn limit(self, input: u64) -> u64 {
        match self {
            Self::Ratio(thousandths) => {
                let limit = u128::from(input) * u128::from(thousandths) / 1000;
                u64::try_from(limit).unwrap_or(u64::MAX)
            }
            Self::By(bytes) => input.saturating_add(bytes),
        }
    }
}

impl FromStr for Growth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let growth = match text.strip_suffix('x') {
            Some(ratio) => thousandths(ratio).map(Self::Ratio),
            None => parse_size(text).ok().map(Self::By),
        };
        growth.ok_or_else(|| {
            "neither a ratio nor a size\n  hint: write for example `1.5x`, or a size such as `2MiB`".to_owned()
        })
    }
}

/// A decimal number with up to three places; by hand, since a floating-point one would not be exact.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(places) || places.len() > 3 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(format!("{places:0<3}").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_ratio_or_a_size() {
        assert_eq!("1.5x".parse(), Ok(Growth::Ratio(1500)));
        assert_eq!("2x".parse(), Ok(Growth::Ratio(2000)));
        assert_eq!("1.025x".parse(), Ok(Growth::Ratio(1025)));
        assert_eq!("2MiB".parse(), Ok(Growth::By(2 << 20)));
        for wrong in ["x", ".5x", "1.x", "1.0001x", "-1x", "1e3x", "99999999999999999999x", "much"] {
            assert!(wrong.parse::<Growth>().is_err(), "{wrong}");
        }
        assert_eq!(Growth::Ratio(1500).limit(3), 4);
        assert_eq!(Growth::Ratio(u64::MAX).limit(u64::MAX), u64::MAX);
        assert_eq!(Growth::By(u64::MAX).limit(1), u64::MAX);
    }
}
