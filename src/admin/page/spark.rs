//! Draws small charts of the last hour as SVG: a bar for each minute.

use maud::{Markup, html};

use crate::pure::count::Count;
use crate::recent::MINUTES;

/// The height of the drawing. Its width is one for each minute.
const HEIGHT: u64 = 20;

/// Draws a count of each minute, the oldest first. The newest is at the right, whatever is missing before. `when` says
/// which minutes they are.
pub(super) fn spark(name: &str, counts: &[u64], when: &str) -> Markup {
    let most = counts.iter().copied().max().unwrap_or_default();
    let empty = MINUTES.saturating_sub(counts.len());
    let mut bars = String::new();
    for (minute, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // The smallest count is still seen.
        let height = (count * HEIGHT).div_ceil(most.max(1)).max(1);
        bars.push_str(&format!("M{}.5 {HEIGHT}v-{height}", empty + minute));
    }
    let words = match most {
        0 => format!("{name}: none {when}"),
        _ => format!("{name} for each minute {when}, at most {}", Count(most, "time")),
    };
    html! {
        svg.spark viewBox={"0 0 " (MINUTES) " " (HEIGHT)} preserveAspectRatio="none" role="img" aria-label=(words) {
            line x1="0" x2=(MINUTES) y1=(HEIGHT) y2=(HEIGHT) {}
            path d=(bars) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_minute_is_at_the_right_and_the_most_is_full() {
        let drawn = spark("Accepted", &[1, 0, 40], "since 15:37 UTC (3 min)").into_string();
        assert!(drawn.contains(r#"d="M57.5 20v-1M59.5 20v-20""#), "{drawn}");
        assert!(drawn.contains("at most 40 times"), "{drawn}");
    }

    #[test]
    fn an_hour_without_anything_says_so() {
        let drawn = spark("Accepted", &[0; 60], "in the last hour").into_string();
        assert!(drawn.contains(r#"d="""#) && drawn.contains("none in the last hour"), "{drawn}");
    }
}
