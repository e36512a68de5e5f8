//! The page on which people show the token.

use maud::{Markup, html};

use super::frame::{Page, frame};

/// Writes the form. `is_refused`: a wrong token was shown.
pub(in crate::admin) fn sign_in(is_refused: bool) -> Markup {
    let content = html! {
        form action="sign-in" method="post" {
            label {
                "The token (admin.token)"
                input type="password" name="token" required autofocus autocomplete="current-password"
                    aria-invalid=[is_refused.then_some("true")] aria-describedby=[is_refused.then_some("refused")];
            }
            button type="submit" { "Sign in" }
        }
        @if is_refused {
            p.bad #refused role="alert" { "! That is not the token." }
        }
    };
    frame(Page::SignIn, "sign in", "Whoever looks here must show a token", &content)
}
