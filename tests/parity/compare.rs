//! Two observations, line by line, and what explains their differences.

use crate::{
    cases::Case,
    deviations::{DEVIATIONS, What},
    observation::Observation,
};

pub enum Verdict {
    Same,
    /// The numbers of the deviations which explain every difference.
    Deviates(Vec<usize>),
    /// Some difference is not explained.
    Differs(String),
}

impl Verdict {
    pub fn summary(&self) -> String {
        match self {
            Self::Same => "same".to_owned(),
            Self::Deviates(explained) => {
                let mut reasons: Vec<_> = explained.iter().map(|&index| DEVIATIONS[index].reason).collect();
                reasons.dedup();
                format!("deviation ({})", reasons.join("; "))
            }
            Self::Differs(_) => "DIFFERENT".to_owned(),
        }
    }
}

/// Lines which one of the two has instead of the other's.
#[derive(Default)]
struct Hunk {
    wasmedge: Vec<String>,
    prewasm: Vec<String>,
}

pub fn judge(case: &Case, wasmedge: &Observation, prewasm: &Observation) -> Verdict {
    let known = || DEVIATIONS.iter().enumerate().filter(|(_, known)| known.is_of(case));
    for (index, deviation) in known() {
        if let What::WasmEdgeAborts = deviation.what {
            let aborts = wasmedge.status == Some(134) && prewasm.status == Some(0);
            // What it printed before that is the same.
            let printed = wasmedge.lines.len() - 1;
            if aborts && prewasm.lines.starts_with(&wasmedge.lines[..printed]) {
                return Verdict::Deviates(vec![index]);
            }
        }
    }
    let mut explained = Vec::new();
    let mut differences = String::new();
    for hunk in hunks(&wasmedge.lines, &prewasm.lines) {
        match known().find(|(_, deviation)| deviation.explains(&hunk.wasmedge, &hunk.prewasm)) {
            Some((index, _)) => explained.push(index),
            None => differences.push_str(&hunk.to_string()),
        }
    }
    match (differences.is_empty(), explained.is_empty()) {
        (false, _) => Verdict::Differs(differences),
        (true, true) => Verdict::Same,
        (true, false) => Verdict::Deviates(explained),
    }
}

impl std::fmt::Display for Hunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.wasmedge {
            writeln!(f, "  wasmedge | {line}")?;
        }
        for line in &self.prewasm {
            writeln!(f, "  prewasm  | {line}")?;
        }
        writeln!(f)
    }
}

/// The differences between two lists of lines, by their longest common subsequence.
fn hunks(left: &[String], right: &[String]) -> Vec<Hunk> {
    // common[i][j]: how long it is between left[i..] and right[j..].
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i][j] = match left[i] == right[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut hunks = Vec::new();
    let mut hunk = Hunk::default();
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            hunks.push(std::mem::take(&mut hunk));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && common[i + 1][j] >= common[i][j + 1]) {
            hunk.wasmedge.push(left[i].clone());
            i += 1;
        } else {
            hunk.prewasm.push(right[j].clone());
            j += 1;
        }
    }
    hunks.push(hunk);
    hunks.retain(|hunk| !hunk.wasmedge.is_empty() || !hunk.prewasm.is_empty());
    hunks
}
