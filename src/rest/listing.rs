//! A listing in the order of ids by LIMIT and OFFSET, of rows that come and go meanwhile. Pure.
//!
//! A row that goes moves all later ones forward, and a page that begins where the last one ended
//! then misses some. So each page overlaps the one before it: one that begins behind the last id
//! seen may have missed something, and it is gone back until a page begins at or before that id.

/// A page of MISP: it covers the rows from `start` to `start + limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// From 1.
    pub(super) page: usize,
    pub(super) limit: usize,
    pub(super) start: usize,
}

/// How far the listing is.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Rows before this one are seen.
    rank: usize,
    last: Option<i64>,
    /// `X-Result-Count` of the last page that was taken.
    total: Option<usize>,
    /// The last page began behind the last id: a wider overlap is tried.
    wide: bool,
    /// Pages in a row that brought nothing because rows had moved.
    astray: u32,
    ended: bool,
}

/// Rows move faster than they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unstable(pub(super) &'static str);

impl Listing {
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next page to ask for, of `most` rows.
    pub(super) fn window(&self, most: usize) -> Window {
        let most = most.max(2);
        let overlap = if self.wide { most / 2 } else { 1 };
        window(self.rank, overlap, most)
    }

    /// Takes the ids of a page's rows; gives the number of rows at its beginning that are known.
    /// `total`: rows in all, as MISP says with the page.
    ///
    /// # Errors
    /// [`Unstable`] when rows keep moving, or are not in the order of their ids.
    pub(super) fn take(
        &mut self,
        window: &Window,
        ids: &[i64],
        total: Option<usize>,
    ) -> Result<usize, Unstable> {
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err(Unstable("its rows are not in the order of their ids"));
        }
        if self.may_have_missed(window, ids) {
            let unmoved = self.wide && total.is_some() && total == self.total;
            if !unmoved {
                self.go_back(window, total)?;
                return Ok(ids.len());
            }
        }
        self.wide = false;
        self.total = total;
        let known = ids.partition_point(|id| self.last.is_some_and(|last| *id <= last));
        let new = ids.len() - known;
        if new > 0 {
            self.last = ids.last().copied();
            self.astray = 0;
        }
        let end = window.start + window.limit;
        self.ended = match total {
            Some(total) => total <= end,
            None => new == 0,
        };
        // MISP may hide rows that it counts: a short page is not the last one.
        let short = ids.len() < window.limit && new > 0;
        self.rank = if short { (window.start + ids.len()).max(1) } else { end };
        Ok(known)
    }

    fn may_have_missed(&self, window: &Window, ids: &[i64]) -> bool {
        let Some(last) = self.last else { return false };
        window.start > 0 && ids.first().is_none_or(|first| *first > last)
    }

    /// First with a wider overlap, which steps over rows that MISP counts and does not show.
    fn go_back(&mut self, window: &Window, total: Option<usize>) -> Result<(), Unstable> {
        const PATIENCE: u32 = 12;
        self.astray += 1;
        if self.astray > PATIENCE {
            return Err(Unstable("its rows move faster than they are listed"));
        }
        if self.wide {
            self.rank = window.start;
        }
        self.rank = self.rank.min(total.unwrap_or(self.rank));
        self.wide = true;
        Ok(())
    }
}

/// The page that begins at least `overlap` rows before `rank` and brings most beyond it. Pages
/// begin at multiples of their length, so the length is what there is to choose.
fn window(rank: usize, overlap: usize, most: usize) -> Window {
    let from = rank.saturating_sub(overlap);
    let of_length = |limit: usize| {
        let page = from / limit;
        Window { page: page + 1, limit, start: page * limit }
    };
    let reach = |window: &Window| (window.start + window.limit).saturating_sub(rank);
    let usual = (most.div_ceil(2)..=most).map(of_length).max_by_key(reach);
    // A longer page than usual where no usual one gets any further; one of `rank + 1` always does.
    let longer = || (most + 1..=rank + 1).map(of_length).find(|window| reach(window) > 0);
    let found = usual.filter(|window| reach(window) > 0).or_else(longer);
    found.unwrap_or(Window { page: 1, limit: rank + 1, start: 0 })
}
