//! Splits a URL into its scheme and the rest. The scheme may be missing, defanged (`hxxp://`) or mistyped (`htp://`).

use std::borrow::Cow;

/// A URL, split after its scheme.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split<'v> {
    /// In lower case.
    pub(super) scheme: Option<Cow<'v, str>>,
    pub(super) rest: Cow<'v, str>,
    /// Whether the scheme was mistyped and corrected. Then the next part counts as a host only if it looks like one.
    pub(super) is_mended: bool,
}

/// The spellings of `http` and `ftp`, each with its scheme and whether the spelling is a typing error. The other
/// spellings are ways to defang a URL. MISP's own import undoes some of them, such as `meow` and `h[tt]p`. An `s` may
/// follow each of them.
const WORDS: [(&str, &str, bool); 15] = [
    ("http", "http", false),
    ("hxxp", "http", false),
    ("h**p", "http", false),
    ("h[tt]p", "http", false),
    ("meow", "http", false),
    ("ftp", "ftp", false),
    ("fxp", "ftp", false),
    ("hxtp", "http", true),
    ("htxp", "http", true),
    ("htp", "http", true),
    ("ttp", "http", true),
    ("htpp", "http", true),
    ("httpp", "http", true),
    ("htttp", "http", true),
    ("hhttp", "http", true),
];

/// Splits `value` after its scheme. If there are several schemes in a row, only the last one counts: some tools put
/// `http://` before a URL that has a scheme already.
pub(super) fn split(value: &str) -> Split<'_> {
    let Some(mut head) = web(value) else { return other(value) };
    while let Some(inner) = web(head.rest) {
        let has_backslashes = head.has_backslashes || inner.has_backslashes;
        head = SchemeHead { is_mended: true, has_backslashes, ..inner };
    }
    let rest =
        if head.has_backslashes { with_slashes(head.rest) } else { Cow::Borrowed(head.rest) };
    Split { scheme: Some(Cow::Borrowed(head.scheme)), rest, is_mended: head.is_mended }
}

/// Whether a host name is really the scheme of a mistyped URL.
pub(super) fn is_scheme_word(name: &str) -> bool {
    let is_word = |word: &str| WORDS.iter().any(|(spelling, ..)| *spelling == word);
    is_word(name) || name.strip_suffix('s').is_some_and(is_word)
}

/// A scheme of the web in any spelling, with the separator before the host.
struct SchemeHead<'v> {
    scheme: &'static str,
    rest: &'v str,
    is_mended: bool,
    has_backslashes: bool,
}

fn web(value: &str) -> Option<SchemeHead<'_>> {
    let (name, is_secure, is_typo, behind) = word(value)?;
    let Separator { rest, is_sound, has_backslashes } = separator(behind)?;
    let scheme = match (name, is_secure) {
        ("ftp", false) => "ftp",
        ("ftp", true) => "ftps",
        (_, false) => "http",
        (_, true) => "https",
    };
    Some(SchemeHead { scheme, rest, is_mended: is_typo || !is_sound, has_backslashes })
}

/// The word that `value` begins with, whether an `s` follows, whether it is mistyped, and the rest.
fn word(value: &str) -> Option<(&'static str, bool, bool, &str)> {
    WORDS.iter().find_map(|(spelling, name, is_typo)| {
        let (head, behind) = value.split_at_checked(spelling.len())?;
        if !head.eq_ignore_ascii_case(spelling) {
            return None;
        }
        let secure = behind.strip_prefix(['s', 'S']);
        let behind = secure.unwrap_or(behind);
        let ends = !behind.starts_with(|next: char| next.is_ascii_alphanumeric());
        ends.then_some((*name, secure.is_some(), *is_typo, behind))
    })
}

struct Separator<'v> {
    rest: &'v str,
    /// `://`, perhaps in brackets.
    is_sound: bool,
    has_backslashes: bool,
}

/// Reads the separator between scheme and host: a colon and at least one slash, or two slashes without a colon.
fn separator(text: &str) -> Option<Separator<'_>> {
    let mut rest = text;
    let mut bracket = None;
    for (opening, closing) in [('[', ']'), ('(', ')'), ('{', '}')] {
        if let Some(inside) = rest.strip_prefix(opening) {
            (rest, bracket) = (inside, Some(closing));
        }
    }
    let (colons, behind) = split_run(rest, &[':', ';']);
    rest = behind;
    if let Some(outside) = bracket.and_then(|closing| rest.strip_prefix(closing)) {
        (rest, bracket) = (outside, None);
    }
    let (first, behind) = split_run(rest, &['/', '\\']);
    rest = behind;
    if let Some(closing) = bracket {
        rest = rest.strip_prefix(closing)?;
    }
    let (second, behind) = split_run(rest, &['/', '\\']);
    let slashes = first.len() + second.len();
    let is_one = slashes > 0 && if colons.is_empty() { slashes > 1 } else { colons.len() < 3 };
    let trimmed = behind.trim_start();
    let has_backslashes = [first, second].iter().any(|run| run.contains('\\'));
    let is_sound =
        colons == ":" && slashes == 2 && !has_backslashes && trimmed.len() == behind.len();
    is_one.then_some(Separator { rest: trimmed, is_sound, has_backslashes })
}

/// The run of these characters that `text` begins with, and the rest.
fn split_run<'t>(text: &'t str, characters: &[char]) -> (&'t str, &'t str) {
    let rest = text.trim_start_matches(characters);
    text.split_at_checked(text.len() - rest.len()).unwrap_or(("", text))
}

/// Backslashes up to the query become slashes, as in the separator before them (WHATWG URL, 4.4).
fn with_slashes(rest: &str) -> Cow<'_, str> {
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    match rest.split_at_checked(end) {
        Some((path, query)) => Cow::Owned(path.replace('\\', "/") + query),
        None => Cow::Borrowed(rest),
    }
}

/// A scheme that is none of the web's, in front of `://` or its defanged spellings.
fn other(value: &str) -> Split<'_> {
    for mark in ["://", "[:]//", "[://]"] {
        let Some((scheme, rest)) = value.split_once(mark) else { continue };
        if is_scheme(scheme) {
            let scheme = Some(Cow::Owned(scheme.to_ascii_lowercase()));
            return Split { scheme, rest: Cow::Borrowed(rest), is_mended: false };
        }
    }
    let rest = value.strip_prefix("//").unwrap_or(value);
    Split { scheme: None, rest: Cow::Borrowed(rest), is_mended: false }
}

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}
