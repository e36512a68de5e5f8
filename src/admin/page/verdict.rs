//! The head of the overview: what is degraded, each with its remedy, and what is worth doing next.

use maud::{Markup, html};

use super::Sight;
use super::words::sentence;
use crate::pure::count::Count;

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let degraded = &sight.status.degraded;
    let next = sight.status.next.as_deref().unwrap_or("Nothing needs to be done.");
    let class = if degraded.is_empty() { "verdict" } else { "verdict is-bad" };
    html! {
        section class=(class) aria-labelledby="verdict" {
            h2 #verdict {
                @if degraded.is_empty() {
                    span.good { "✓ All is well" }
                } @else {
                    span.bad { "! " (Count(degraded.len(), "thing")) " degraded" }
                }
            }
            p { "Next: " (sentence(next)) }
            @if !degraded.is_empty() {
                ul.trouble {
                    @for line in degraded {
                        li { (sentence(line)) }
                    }
                }
            }
        }
    }
}
