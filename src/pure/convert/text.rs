//! Checks texts, numbers, registry keys and similar values and brings them into their canonical form. `None`
//! means that the value is not valid.

/// Any text without control characters.
pub(super) fn text(value: &str) -> Option<String> {
    (!value.is_empty() && !value.contains(char::is_control)).then(|| value.to_owned())
}

/// Letters and digits, where case counts.
pub(super) fn token(value: &str) -> Option<String> {
    let well_formed = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    well_formed.then(|| value.to_owned())
}

/// A message id without its angle brackets (RFC 5322, 3.6.4), as Defender's logs have it.
pub(super) fn message_id(value: &str) -> Option<String> {
    let bare = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(value);
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>');
    (!bare.is_empty() && !bare.contains(forbidden)).then(|| bare.to_owned())
}

/// A size in bytes, without leading zeros.
pub(super) fn size(value: &str) -> Option<String> {
    number(value).map(|size| size.to_string())
}

/// A port of TCP or UDP.
pub(super) fn port(value: &str) -> Option<String> {
    number(value).filter(|port| (1..=65_535).contains(port)).map(|port| port.to_string())
}

/// An autonomous system: `64500`, `AS64500`, `ASN 64500`, or in two halves `1.10` (RFC 5396).
pub(super) fn autonomous_system(value: &str) -> Option<String> {
    let digits = match value.get(..2) {
        Some(letters) if letters.eq_ignore_ascii_case("as") => {
            value.get(2..)?.trim_start_matches(['n', 'N']).trim_start()
        }
        _ => value,
    };
    let number = match digits.split_once('.') {
        Some((high, low)) => {
            let half = |half| number(half).filter(|half| *half <= 65_535);
            half(high)? * 65_536 + half(low)?
        }
        None => number(digits)?,
    };
    u32::try_from(number).ok().filter(|number| *number > 0).map(|number| number.to_string())
}

/// Digits only: no sign.
fn number(value: &str) -> Option<u64> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

/// A MAC-48 address in STIX's form: lower case, with colons (STIX 2.1, 6.9).
pub(super) fn mac(value: &str) -> Option<String> {
    let mut address = String::with_capacity(17);
    for digit in value.chars().filter(|character| !matches!(character, ':' | '-' | '.')) {
        if !digit.is_ascii_hexdigit() || address.len() >= 17 {
            return None;
        }
        if address.len() % 3 == 2 {
            address.push(':');
        }
        address.push(digit.to_ascii_lowercase());
    }
    (address.len() == 17).then_some(address)
}

/// Hives by their short names, and by the kernel's.
const HIVES: [(&str, &str); 14] = [
    ("HKLM", "HKEY_LOCAL_MACHINE"),
    ("HKCU", "HKEY_CURRENT_USER"),
    ("HKCR", "HKEY_CLASSES_ROOT"),
    ("HKU", "HKEY_USERS"),
    ("HKCC", "HKEY_CURRENT_CONFIG"),
    ("HKPD", "HKEY_PERFORMANCE_DATA"),
    ("HKEY_LOCAL_MACHINE", "HKEY_LOCAL_MACHINE"),
    ("HKEY_CURRENT_USER", "HKEY_CURRENT_USER"),
    ("HKEY_CLASSES_ROOT", "HKEY_CLASSES_ROOT"),
    ("HKEY_USERS", "HKEY_USERS"),
    ("HKEY_CURRENT_CONFIG", "HKEY_CURRENT_CONFIG"),
    ("HKEY_PERFORMANCE_DATA", "HKEY_PERFORMANCE_DATA"),
    (r"REGISTRY\MACHINE", "HKEY_LOCAL_MACHINE"),
    (r"REGISTRY\USER", "HKEY_USERS"),
];

/// A registry key with its hive in full (STIX 2.1, 6.17), the rest in its own case. What names no
/// hive could be anywhere, and equals nothing that logs show.
pub(super) fn registry_key(value: &str) -> Option<String> {
    let value = strip(value, r"Computer\").unwrap_or(value).trim_start_matches('\\');
    let (full, rest) = HIVES.iter().find_map(|(short, full)| {
        let rest = strip(value, short)?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        rest.starts_with('\\').then_some((*full, rest))
    })?;
    let mut key = full.to_owned();
    for part in rest.split('\\').filter(|part| !part.is_empty()) {
        key.push('\\');
        key.push_str(part);
    }
    let key = key.trim_end_matches(|end: char| end == '\\' || end.is_whitespace());
    (key.len() > full.len() && !key.contains(char::is_control)).then(|| key.to_owned())
}

/// What stands behind `start`, whatever its case.
fn strip<'v>(value: &'v str, start: &str) -> Option<&'v str> {
    let (head, rest) = value.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// A named pipe by its path on this machine.
pub(super) fn pipe(value: &str) -> Option<String> {
    const PLACES: [&str; 3] = [r"\\.\pipe\", r"\device\namedpipe\", r"\pipe\"];
    let name = PLACES.iter().find_map(|place| strip(value, place)).unwrap_or(value);
    let name = name.trim_start_matches('\\');
    text(name).map(|name| format!(r"\\.\pipe\{name}"))
}

/// A telephone number: its digits, with a plus in front where it is international.
pub(super) fn phone(value: &str) -> Option<String> {
    let is_separator = |c: &char| matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}');
    let bare: String = value.chars().filter(|character| !is_separator(character)).collect();
    let international = bare.strip_prefix('+').or_else(|| bare.strip_prefix("00"));
    let digits = international.unwrap_or(&bare);
    let well_formed = (5..=15).contains(&digits.len())
        && !(international.is_some() && digits.starts_with('0'))
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let plus = if international.is_some() { "+" } else { "" };
    well_formed.then(|| format!("{plus}{digits}"))
}

/// An IBAN with sound check digits (ISO 13616), in capitals.
pub(super) fn iban(value: &str) -> Option<String> {
    let iban = capitals(value);
    let (head, account) = iban.split_at_checked(4)?;
    let well_formed = (15..=34).contains(&iban.len())
        && head.bytes().take(2).all(|byte| byte.is_ascii_uppercase());
    let remainder = account.chars().chain(head.chars()).try_fold(0, |remainder, character| {
        let digit = character.to_digit(36)?;
        let shift = if digit < 10 { 10 } else { 100 };
        Some((remainder * shift + digit) % 97)
    });
    (well_formed && remainder == Some(1)).then_some(iban)
}

/// A BIC (ISO 9362): 8 or 11 letters and digits, in capitals.
pub(super) fn bic(value: &str) -> Option<String> {
    let bic = capitals(value);
    let well_formed =
        matches!(bic.len(), 8 | 11) && bic.bytes().all(|byte| byte.is_ascii_alphanumeric());
    well_formed.then_some(bic)
}

fn capitals(value: &str) -> String {
    let kept = value.chars().filter(|character| !matches!(character, ' ' | '-'));
    kept.map(|character| character.to_ascii_uppercase()).collect()
}
