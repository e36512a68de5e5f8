//! Decides which page of a listing by LIMIT and OFFSET to ask for next, while rows come and go. Pure. If a
//! row goes, all later rows move forward, and a page that begins where the last one ended misses some. So
//! pages overlap: if a page begins after the last id seen, the listing goes back until a page begins at or
//! before that id.

use super::refusal::RestError;

/// A page of a listing. It covers the rows from `start` to `start + limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The number of the page, from 1.
    pub(super) page: usize,
    pub(super) limit: usize,
    pub(super) start: usize,
}

/// The overlap of a wide page, in rows. A page that begins too late is believed only if it is wide: then that
/// many rows would have had to go, and as many to come.
const WIDE: usize = 16;

/// The most pages in a row without new rows. Rows that MISP counts but does not show come in runs, but not in
/// runs of so many pages. Each page has at least [`WIDE`] rows.
const MOST_BARREN: u32 = 100;

/// The same if MISP sends no count. Such a listing never counts as whole, and only looks a little further.
const MOST_BARREN_UNCOUNTED: u32 = 10;

/// The progress of a listing.
#[derive(Debug, Default)]
pub(super) struct RankedListing {
    /// The row before which all rows have been read.
    rank: usize,
    last: Option<i64>,
    /// `X-Result-Count` of the last page that was taken.
    total: Option<usize>,
    /// Whether a page came without a count.
    uncounted: bool,
    /// Whether the last page began after the last id, so that the next one has a wider overlap.
    wide: bool,
    /// The number of pages in a row that brought nothing because rows had moved.
    astray: u32,
    /// The number of pages in a row that brought nothing although MISP counts more rows.
    barren: u32,
    ended: bool,
}

impl RankedListing {
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the next page to ask for, with about `most` rows.
    pub(super) fn window(&self, most: usize) -> Window {
        if self.wide {
            window(self.rank, WIDE.max(most / 2), most.max(2 * WIDE))
        } else {
            window(self.rank, 1, most.max(2))
        }
    }

    /// Takes the ids of a page's rows, and returns how many rows at its beginning are already known.
    /// `total`: the number of all rows, as MISP says with the page.
    ///
    /// # Errors
    /// [`RestError::Unstable`] or [`RestError::Uncounted`]. The listing must not count as complete then.
    pub(super) fn take(
        &mut self,
        window: &Window,
        ids: &[i64],
        total: Option<usize>,
    ) -> Result<usize, RestError> {
        // The overlap of pages relies on the order of ids, which the request asks for.
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err(unstable("its rows are not in the order of their ids"));
        }
        self.uncounted |= total.is_none();
        if self.may_have_missed(window, ids) {
            // Without a count a missed row does no harm, because such a listing never ends as complete.
            let unmoved = self.wide && (self.uncounted || total == self.total);
            if !unmoved {
                self.go_back(window, total)?;
                return Ok(ids.len());
            }
            self.astray = self.astray.saturating_sub(1);
        }
        self.wide = false;
        self.total = total;
        let known = ids.partition_point(|id| self.last.is_some_and(|last| *id <= last));
        let new = ids.len() - known;
        if new > 0 {
            self.last = ids.last().copied();
            self.astray = 0;
            self.barren = 0;
        } else {
            self.barren += 1;
        }
        // MISP may hide rows that it counts, so a short page need not be the last one.
        self.rank = window.start + window.limit;
        self.ended = !self.uncounted && total.is_some_and(|total| total <= self.rank);
        if self.uncounted && self.barren > MOST_BARREN_UNCOUNTED {
            return Err(RestError::Uncounted);
        }
        if !self.ended && self.barren > MOST_BARREN {
            return Err(unstable("X-Result-Count promises more events than come"));
        }
        Ok(known)
    }

    fn may_have_missed(&self, window: &Window, ids: &[i64]) -> bool {
        let Some(last) = self.last else { return false };
        window.start > 0 && ids.first().is_none_or(|first| *first > last)
    }

    /// Goes back. The first step only widens the overlap, past rows that MISP counts but does not show.
    fn go_back(&mut self, window: &Window, total: Option<usize>) -> Result<(), RestError> {
        const PATIENCE: u32 = 12;
        self.astray += 1;
        if self.astray > PATIENCE {
            return Err(unstable("its rows move faster than they are listed"));
        }
        if self.wide {
            self.rank = window.start;
        }
        // Rows may have gone, so that the rank lies after the last row.
        self.rank = self.rank.min(total.unwrap_or(self.rank));
        self.wide = true;
        Ok(())
    }
}

/// Returns the page that begins at least `overlap` rows before `rank` and reaches furthest beyond it. MISP's
/// pages begin at multiples of their length, so only the length can be chosen.
fn window(rank: usize, overlap: usize, most: usize) -> Window {
    let from = rank.saturating_sub(overlap);
    let of_length = |limit: usize| {
        let page = from / limit;
        Window { page: page + 1, limit, start: page * limit }
    };
    let reach = |window: &Window| (window.start + window.limit).saturating_sub(rank);
    let usual = (most.div_ceil(2)..=most).map(of_length).max_by_key(reach);
    // If no usual page reaches beyond `rank`, a longer one is taken. One of `rank + 1` rows always does.
    let longer = || (most..=rank).map(of_length).find(|window| reach(window) > 0);
    let found = usual.filter(|window| reach(window) > 0).or_else(longer);
    found.unwrap_or(Window { page: 1, limit: rank + 1, start: 0 })
}

fn unstable(why: &'static str) -> RestError {
    RestError::Unstable { why }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// MISP's rows: LIMIT and OFFSET over what matches, of which some are not shown.
    #[derive(Debug, Clone)]
    struct Rows {
        ids: Vec<i64>,
        hidden: Vec<i64>,
    }

    impl Rows {
        fn page(&self, window: &Window) -> Vec<i64> {
            let start = (window.page - 1) * window.limit;
            let page = self.ids.iter().skip(start).take(window.limit);
            page.copied().filter(|id| !self.hidden.contains(id)).collect()
        }
    }

    /// Lists everything. `change` runs between two pages.
    fn list(
        rows: &mut Rows,
        most: usize,
        counted: bool,
        mut change: impl FnMut(&mut Rows, usize),
    ) -> Result<Vec<i64>, RestError> {
        let mut listing = RankedListing::default();
        let mut listed = Vec::new();
        for number in 0.. {
            if listing.has_ended() {
                break;
            }
            assert!(number < 10_000, "no end: {listing:?}");
            let window = listing.window(most);
            assert_eq!(window.start, (window.page - 1) * window.limit);
            let ids = rows.page(&window);
            let total = counted.then_some(rows.ids.len());
            let known = listing.take(&window, &ids, total)?;
            listed.extend(&ids[known..]);
            change(rows, number);
        }
        Ok(listed)
    }

    #[test]
    fn a_still_listing_costs_few_pages_more_than_its_rows_need() {
        let mut rows = Rows { ids: (1..=10_000).collect(), hidden: Vec::new() };
        let mut pages = 0;
        let listed = list(&mut rows, 100, true, |_, _| pages += 1).unwrap();
        assert_eq!(listed, (1..=10_000).collect::<Vec<_>>());
        assert!(pages <= 120, "{pages} pages");
    }

    #[test]
    fn a_row_that_goes_hides_no_other() {
        let mut rows = Rows { ids: (1..=30).collect(), hidden: Vec::new() };
        // Gone after the first page, while as many come at the end: the total stays the same.
        let listed = list(&mut rows, 10, true, |rows, number| {
            if number == 0 {
                rows.ids.drain(2..5);
                rows.ids.extend([31, 32, 33]);
            }
        });
        assert_eq!(listed.unwrap(), (1..=33).collect::<Vec<_>>());
    }

    #[test]
    fn a_short_and_an_empty_page_are_not_the_end() {
        let hidden: Vec<i64> = (1..=10).chain(15..=18).chain(40..=75).collect();
        let mut rows = Rows { ids: (1..=90).collect(), hidden: hidden.clone() };
        let listed = list(&mut rows, 10, true, |_, _| {}).unwrap();
        let expected: Vec<i64> = (1..=90).filter(|id| !hidden.contains(id)).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn rows_that_never_rest_end_the_listing_with_an_error() {
        let mut listing = RankedListing { rank: 5000, last: Some(7), ..RankedListing::default() };
        let tries = (0..20).map(|number| {
            let window = listing.window(10);
            listing.take(&window, &[8, 9], Some(9000 + number))
        });
        let taken: Vec<_> = tries.collect();
        assert_eq!(taken[0], Ok(2), "nothing of it is new");
        assert_eq!(taken.iter().position(Result::is_err), Some(12), "{taken:?}");

        let mut listing = RankedListing::default();
        let window = listing.window(10);
        assert!(listing.take(&window, &[3, 2], Some(2)).is_err());
        assert!(listing.take(&window, &[2, 2], Some(2)).is_err());
    }

    #[test]
    fn a_count_that_promises_more_than_comes_ends_the_listing_with_an_error() {
        let mut listing = RankedListing::default();
        let mut pages = 0;
        let refused = loop {
            let window = listing.window(100);
            let ids: &[i64] = if window.start == 0 { &[1, 2, 3] } else { &[] };
            pages += 1;
            assert!(pages < 250, "no end");
            if let Err(refused) = listing.take(&window, ids, Some(1_000_000_000)) {
                break refused;
            }
        };
        assert_eq!(refused, unstable("X-Result-Count promises more events than come"));
    }

    #[test]
    fn a_hundred_pages_in_a_row_may_bring_nothing() {
        let mut listing = RankedListing { barren: MOST_BARREN - 1, ..RankedListing::default() };
        let window = listing.window(10);
        assert_eq!(listing.take(&window, &[], Some(1_000)), Ok(0));
        assert!(listing.take(&window, &[], Some(1_000)).is_err());
    }

    #[test]
    fn a_long_run_of_rows_that_are_not_shown_is_crossed_by_small_pages() {
        let mut rows = Rows { ids: (1..=1_000).collect(), hidden: (10..400).collect() };
        let listed = list(&mut rows, 1, true, |_, _| {}).unwrap();
        assert_eq!(listed, (1..10).chain(400..=1_000).collect::<Vec<_>>());
    }

    /// Every row that is shown is listed, but the listing does not count as whole.
    #[test]
    fn a_listing_without_a_count_crosses_hidden_rows_and_is_never_whole() {
        let hidings = [vec![], vec![29], (301..=500).collect(), (1..=100).collect()];
        for (most, hidden) in
            [7, 10, 100].into_iter().flat_map(|most| hidings.iter().map(move |one| (most, one)))
        {
            // Small pages reach only this far.
            if hidden.len() > 5 * most {
                continue;
            }
            let rows = Rows { ids: (1..=1_000).collect(), hidden: hidden.clone() };
            let (mut listing, mut listed) = (RankedListing::default(), Vec::<i64>::new());
            let broken = loop {
                let window = listing.window(most);
                let ids = rows.page(&window);
                match listing.take(&window, &ids, None) {
                    Ok(known) => listed.extend(&ids[known..]),
                    Err(broken) => break broken,
                }
                assert!(!listing.has_ended(), "{most} {hidden:?}: {} listed", listed.len());
            };
            assert_eq!(broken, RestError::Uncounted, "{most} {hidden:?}");
            let shown: Vec<i64> = (1..=1_000).filter(|id| !hidden.contains(id)).collect();
            assert_eq!(listed, shown, "{most} {hidden:?}");
        }
    }

    #[test]
    fn a_page_without_a_count_is_not_made_good_by_one_with_it() {
        let mut rows = Rows { ids: (1..=150).collect(), hidden: Vec::new() };
        let mut listing = RankedListing::default();
        let mut pages = 0;
        let broken = loop {
            let window = listing.window(100);
            let total = (pages > 0).then_some(rows.ids.len());
            if let Err(broken) = listing.take(&window, &rows.page(&window), total) {
                break broken;
            }
            pages += 1;
            assert!(!listing.has_ended());
        };
        assert_eq!(broken, RestError::Uncounted);
        // An empty page without a count is no end either.
        rows.ids.clear();
        assert_eq!(list(&mut rows, 10, false, |_, _| {}), Err(RestError::Uncounted));
    }

    #[test]
    fn the_first_page_misses_nothing() {
        let mut listing = RankedListing { rank: 3, last: Some(5), ..RankedListing::default() };
        let window = listing.window(10);
        assert_eq!(window.start, 0);
        assert_eq!(listing.take(&window, &[8, 9], Some(2)), Ok(0));
        assert!(listing.has_ended());
    }

    #[test]
    fn windows_overlap_and_go_on() {
        // 100 is the default of `misp.rest.page_events`.
        let lengths = || (1..40).chain([99, 100, 101]);
        for (rank, most) in (0..450).flat_map(|rank| lengths().map(move |most| (rank, most))) {
            for wide in [false, true] {
                let listing = RankedListing { rank, wide, ..RankedListing::default() };
                let Window { page, limit, start } = listing.window(most);
                let told = format!("{rank} {most} {wide}: page {page} of {limit}");
                assert_eq!(start, (page - 1) * limit, "{told}");
                assert!(start + limit > rank, "{told}");
                // A wide one goes back by sixteen rows at least, and by half of a page.
                let overlap = if wide { (most / 2).max(16) } else { 1 };
                assert!(start + overlap <= rank.max(overlap), "{told}");
                let usual = if wide { most.max(32) } else { most.max(2) };
                assert!(limit <= 4 * usual, "{told}");
            }
        }
    }

    fn changes() -> impl Strategy<Value = Vec<(usize, Vec<i64>, Vec<i64>)>> {
        let ids = || prop::collection::vec(1_i64..400, 0..4);
        prop::collection::vec((0_usize..20, ids(), ids()), 0..5)
    }

    proptest! {
        /// What matches all the time is listed once, whatever else comes and goes.
        #[test]
        fn what_stays_is_listed_once(
            ids in prop::collection::btree_set(1_i64..400, 0..150),
            most in 1_usize..40,
            changes in changes(),
        ) {
            let mut rows = Rows { ids: ids.iter().copied().collect(), hidden: Vec::new() };
            let staying: Vec<i64> = {
                let gone: Vec<i64> = changes.iter().flat_map(|(_, gone, _)| gone.clone()).collect();
                ids.iter().copied().filter(|id| !gone.contains(id)).collect()
            };
            let listed = list(&mut rows, most, true, |rows, number| {
                for (_, gone, come) in changes.iter().filter(|(at, _, _)| *at == number) {
                    rows.ids.retain(|id| !gone.contains(id));
                    rows.ids.extend(come);
                    rows.ids.sort_unstable();
                    rows.ids.dedup();
                }
            });
            if let Ok(listed) = listed {
                prop_assert!(listed.is_sorted_by(|a, b| a < b), "{listed:?}");
                let missed: Vec<&i64> = staying.iter().filter(|id| !listed.contains(id)).collect();
                prop_assert!(missed.is_empty(), "missed {missed:?}");
            }
        }

        #[test]
        fn rows_that_are_counted_and_not_shown_stop_nothing(
            ids in prop::collection::btree_set(1_i64..400, 0..200),
            hidden in prop::collection::vec(1_i64..400, 0..300),
            most in 1_usize..40,
        ) {
            let mut rows = Rows { ids: ids.iter().copied().collect(), hidden };
            let shown: Vec<i64> =
                ids.iter().copied().filter(|id| !rows.hidden.contains(id)).collect();
            prop_assert_eq!(list(&mut rows, most, true, |_, _| {}).unwrap(), shown);
        }
    }
}
