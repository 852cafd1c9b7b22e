//! Which bytes of a file are there.

use std::collections::BTreeMap;
use std::ops::Range;

/// Spans that neither overlap nor touch.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Ends by starts.
    ends: BTreeMap<u64, u64>,
}

impl Spans {
    /// Adds a span, which may overlap others.
    pub(super) fn insert(&mut self, span: Range<u64>) {
        if span.is_empty() {
            return;
        }
        let (mut start, mut end) = (span.start, span.end);
        while let Some((&other_start, &other_end)) = self.ends.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            start = start.min(other_start);
            end = end.max(other_end);
            self.ends.remove(&other_start);
        }
        self.ends.insert(start, end);
    }

    /// Where what is there from `offset` on ends; nothing if that byte is missing.
    pub(super) fn end_from(&self, offset: u64) -> Option<u64> {
        let (_, &end) = self.ends.range(..=offset).next_back()?;
        (offset < end).then_some(end)
    }

    /// What is missing around `offset`, within `bounds`; nothing if that byte is there.
    pub(super) fn gap_at(&self, offset: u64, bounds: &Range<u64>) -> Option<Range<u64>> {
        if self.end_from(offset).is_some() || !bounds.contains(&offset) {
            return None;
        }
        let before = self.ends.range(..=offset).next_back();
        let after = self.ends.range(offset..).next();
        let start = before.map_or(0, |(_, &end)| end).max(bounds.start);
        let end = after.map_or(u64::MAX, |(&start, _)| start).min(bounds.end);
        Some(start..end)
    }

    /// The first thing in `span` that is missing.
    pub(super) fn first_gap(&self, span: &Range<u64>) -> Option<Range<u64>> {
        let start = self.end_from(span.start).unwrap_or(span.start);
        self.gap_at(start, &(start..span.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spans: &[Range<u64>], want: &[(u64, u64)]) {
        let mut held = Spans::default();
        for span in spans {
            held.insert(span.clone());
        }
        let found: Vec<_> = held.ends.into_iter().collect();
        assert_eq!(found, want);
    }

    #[test]
    fn spans_that_touch_become_one() {
        check(&[0..5, 10..15], &[(0, 5), (10, 15)]);
        check(&[0..5, 5..10], &[(0, 10)]);
        check(&[5..10, 0..5], &[(0, 10)]);
        check(&[0..5, 10..15, 20..25, 4..21], &[(0, 25)]);
        check(&[0..50, 10..15], &[(0, 50)]);
        check(&[10..15, 0..50], &[(0, 50)]);
        check(&[3..3, 4..4], &[]);
    }

    #[test]
    fn gaps_lie_between_spans() {
        let mut held = Spans::default();
        held.insert(10..20);
        held.insert(30..40);
        assert_eq!(held.end_from(10), Some(20));
        assert_eq!(held.end_from(20), None);
        assert_eq!(held.gap_at(25, &(0..100)), Some(20..30));
        assert_eq!(held.gap_at(25, &(22..28)), Some(22..28));
        assert_eq!(held.gap_at(15, &(0..100)), None);
        assert_eq!(held.gap_at(45, &(0..45)), None);
        assert_eq!(held.first_gap(&(0..100)), Some(0..10));
        assert_eq!(held.first_gap(&(12..100)), Some(20..30));
        assert_eq!(held.first_gap(&(12..20)), None);
        assert_eq!(held.first_gap(&(30..50)), Some(40..50));
        assert_eq!(held.first_gap(&(5..5)), None);
    }
}
