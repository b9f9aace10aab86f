//! Which pages of a memory most requests write to.
//!
//! A hot page is left without protection and restored after each request: that costs a copy of 4 KiB, where a write to a
//! protected page costs a fault, a copy, and a new protection, some twenty times as much.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Numbers of pages, in ascending order, none adjacent to the next.
pub(super) type Runs = Arc<[Range<u32>]>;

/// Requests that are watched before pages are called hot.
const LESSON: u32 = 32;
/// Pages written in so many of them are hot: at one request in sixteen, copying each time costs as much as protecting.
const HOT_FROM: u32 = 2;
/// The most pages that are hot. Beyond 8 MiB per request, a copy of each costs as much as giving them back.
const HOT_PAGES: usize = 2048;
/// What was learned is forgotten after so many requests, since programs change their ways...
const REVIEW: u32 = 1 << 16;
/// ...or earlier, if so many of other pages have been written in at least so many requests.
const EARLY_REVIEW_PAGES: u32 = 512;
const EARLY_REVIEW: u32 = 1024;

/// What is known about the pages of one slot.
pub(super) struct Heat {
    hot: Runs,
    requests: u32,
    phase: Phase,
}

enum Phase {
    /// No page is hot. Counts how often each is written.
    Learning(BTreeMap<u32, u32>),
    /// Counts writes to pages that are not hot.
    Known(u32),
}

/// What changes after a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// These pages are hot from now on. They need not be protected any more.
    Learned(Runs),
    /// These pages are not hot any more: they must be protected.
    Forgotten(Runs),
}

impl Heat {
    /// Begins with what another slot has learned, or with learning.
    pub(super) fn new(learned: Option<Runs>) -> Self {
        match learned {
            Some(hot) => Self { hot, requests: 0, phase: Phase::Known(0) },
            None => Self { hot: Runs::default(), requests: 0, phase: Phase::Learning(BTreeMap::new()) },
        }
    }

    /// The hot pages.
    pub(super) fn hot(&self) -> &Runs {
        &self.hot
    }

    /// The parts of a run of written pages that are not hot.
    pub(super) fn cold(&self, run: Range<u32>) -> impl Iterator<Item = Range<u32>> + use<> {
        let hot = Arc::clone(&self.hot);
        let mut next = hot.partition_point(|pages| pages.end <= run.start);
        let mut start = run.start;
        std::iter::from_fn(move || {
            while start < run.end {
                let pages = hot.get(next).filter(|pages| pages.start < run.end);
                let part = start..pages.map_or(run.end, |pages| pages.start);
                start = pages.map_or(run.end, |pages| pages.end);
                next += 1;
                if !part.is_empty() {
                    return Some(part);
                }
            }
            None
        })
    }

    /// Notes that pages which are not hot have been written.
    pub(super) fn count(&mut self, pages: Range<u32>) {
        match &mut self.phase {
            Phase::Learning(counts) => pages.for_each(|page| *counts.entry(page).or_default() += 1),
            Phase::Known(writes) => *writes = writes.saturating_add(pages.end - pages.start),
        }
    }

    /// Ends a request.
    pub(super) fn end_request(&mut self) -> Change {
        self.requests += 1;
        match &self.phase {
            Phase::Learning(counts) if self.requests >= LESSON => {
                let hot = hottest(counts);
                *self = Self::new(Some(Arc::clone(&hot)));
                Change::Learned(hot)
            }
            Phase::Known(writes)
                if self.requests >= REVIEW || (self.requests >= EARLY_REVIEW && *writes >= EARLY_REVIEW_PAGES) =>
            {
                let hot = Arc::clone(&self.hot);
                *self = Self::new(None);
                Change::Forgotten(hot)
            }
            _ => Change::None,
        }
    }
}

/// The pages that are written most often, joined to runs.
fn hottest(counts: &BTreeMap<u32, u32>) -> Runs {
    let mut pages: Vec<_> = counts.iter().filter(|(_, count)| **count >= HOT_FROM).collect();
    if pages.len() > HOT_PAGES {
        pages.sort_by_key(|(page, count)| (std::cmp::Reverse(**count), **page));
        pages.truncate(HOT_PAGES);
        pages.sort_unstable();
    }
    let mut runs: Vec<Range<u32>> = Vec::new();
    for (&page, _) in pages {
        match runs.last_mut() {
            Some(run) if run.end == page => run.end += 1,
            _ => runs.push(page..page + 1),
        }
    }
    runs.into()
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "runs of pages, and sometimes there is one")]
mod tests {
    use super::*;

    fn cold(heat: &mut Heat, run: Range<u32>) -> Vec<Range<u32>> {
        heat.cold(run).inspect(|part| heat.count(part.clone())).collect()
    }

    fn after_a_lesson(writes: impl Fn(u32) -> Vec<Range<u32>>) -> Heat {
        let mut heat = Heat::new(None);
        for request in 1..=LESSON {
            for run in writes(request) {
                cold(&mut heat, run);
            }
            let change = heat.end_request();
            assert_eq!(matches!(change, Change::Learned(_)), request == LESSON, "{change:?}");
        }
        heat
    }

    #[test]
    fn pages_which_few_requests_write_stay_cold() {
        let mut heat = after_a_lesson(|request| if request == 1 { vec![3..5, 9..10] } else { vec![4..5, 20..22] });
        assert_eq!(**heat.hot(), [4..5, 20..22]);
        assert_eq!(cold(&mut heat, 3..23), [3..4, 5..20, 22..23]);
        assert_eq!(cold(&mut heat, 20..21), []);
        assert_eq!(cold(&mut heat, 4..20), [5..20]);
    }

    #[test]
    fn what_was_learned_is_reviewed() {
        let mut heat = after_a_lesson(|_| vec![4..5, 6..7]);
        let changes = |heat: &mut Heat, cold_pages: u32| {
            let mut requests = 0;
            loop {
                requests += 1;
                cold(heat, 100..100 + cold_pages);
                match heat.end_request() {
                    Change::None => {}
                    change => break (requests, change),
                }
            }
        };
        let hot: Runs = [4..5, 6..7].into();
        assert_eq!(changes(&mut heat, 0), (REVIEW, Change::Forgotten(hot)));
        assert_eq!(changes(&mut heat, 1), (LESSON, Change::Learned([100..101].into())));
        let (requests, change) = changes(&mut heat, 4);
        assert_eq!((requests, change), (EARLY_REVIEW, Change::Forgotten([100..101].into())));
    }

    #[test]
    fn no_more_than_so_many_are_hot() {
        let writes = |request| if request < 8 { vec![0..u32::MAX / 1_000_000] } else { vec![100..200] };
        let heat = after_a_lesson(writes);
        let pages: usize = heat.hot().iter().map(|run| run.len()).sum();
        assert_eq!(pages, HOT_PAGES);
        assert!(heat.hot().iter().any(|run| run.contains(&150)));
    }
}
