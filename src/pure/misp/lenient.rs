//! Parses JSON values in all the spellings that MISP uses: numbers as strings, booleans as digits, lists as
//! objects. `null` counts as a missing key.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

/// A text. Numbers and booleans count as text; borrowed where the JSON holds no escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(if value { "1" } else { "0" }))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }
}

/// A whole number, also as a string of digits or a boolean. An empty string and `null` are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WholeNumber(pub(super) Option<i64>);

impl WholeNumber {
    pub(super) fn or_zero(self) -> i64 {
        self.0.unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor).map(WholeNumber)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Option<i64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number, or a string that holds one")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.trim() {
            "" => Ok(None),
            digits => digits
                .parse()
                .map(Some)
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(i64::from(value)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        i64::try_from(number)
            .map(Some)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A boolean, also as `"0"`, `"1"`, `0`, `1`, `"true"`, `"false"`; empty and `null` are `false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor).map(Flag)
    }
}

struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a boolean, 0 or 1")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.trim() {
            "1" | "true" => Ok(true),
            "0" | "false" | "" => Ok(false),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(number != 0)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(false)
    }
}

/// A list. PHP writes one with holes as an object with numbers for keys; an object with other keys
/// is refused, since it is a single thing and no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TolerantList<T>(pub(super) Vec<T>);

impl<T> Default for TolerantList<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TolerantList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData)).map(TolerantList)
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list, or an object with numbers for keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Text(key)) = entries.next_key()? {
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(A::Error::custom(format_args!(
                    "expected a list, found an object with the key {key:?}"
                )));
            }
            list.push(entries.next_value()?);
        }
        Ok(list)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
}

/// A thing that is an object, where PHP writes `[]`, `null` or `false` for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeVisitor(PhantomData)).map(Maybe)
    }
}

struct MaybeVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MaybeVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        T::deserialize(serde::de::value::MapAccessDeserializer::new(entries)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        match elements.next_element::<IgnoredAny>()? {
            None => Ok(None),
            Some(_) => Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        if value {
            return Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self));
        }
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A uuid in its usual form, 8-4-4-4-12 digits.
pub(super) fn uuid(text: &str) -> Option<Uuid> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return None;
    }
    Uuid::try_parse(text).ok()
}

pub(super) fn uuid_or_nil<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    Ok(uuid(&text).unwrap_or_default())
}

pub(super) fn borrowed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'de, str>, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

pub(super) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(ListVisitor(PhantomData))
}

pub(super) fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    maybe(deserializer).map(Option::unwrap_or_default)
}

/// For fields that are plain numbers: what says none is 0.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    WholeNumber::deserialize(deserializer).map(WholeNumber::or_zero)
}

pub(super) fn optional_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    WholeNumber::deserialize(deserializer).map(|number| number.0)
}

pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Flag::deserialize(deserializer).map(|flag| flag.0)
}

pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0.into_owned())
}

pub(super) fn maybe<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Maybe::deserialize(deserializer).map(|maybe| maybe.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_flags_come_in_every_spelling() {
        for (json, number, flag) in [
            ("1", Some(1), true),
            ("\"1\"", Some(1), true),
            ("true", Some(1), true),
            ("0", Some(0), false),
            ("\"0\"", Some(0), false),
            ("false", Some(0), false),
            ("null", None, false),
            ("\"\"", None, false),
        ] {
            assert_eq!(
                serde_json::from_str::<WholeNumber>(json).unwrap(),
                WholeNumber(number),
                "{json}"
            );
            assert_eq!(serde_json::from_str::<Flag>(json).unwrap(), Flag(flag), "{json}");
        }
        for json in ["-7", "\"-7\""] {
            assert_eq!(
                serde_json::from_str::<WholeNumber>(json).unwrap(),
                WholeNumber(Some(-7)),
                "{json}"
            );
        }
    }

    #[test]
    fn a_text_may_be_a_number_or_a_boolean() {
        for (json, text) in [
            (r#""a|b""#, "a|b"),
            (r#""a\n\u0062""#, "a\nb"),
            ("64500", "64500"),
            ("-7", "-7"),
            ("1.5", "1.5"),
            ("true", "1"),
            ("false", "0"),
            ("null", ""),
        ] {
            let Text(read) = serde_json::from_str(json).unwrap();
            assert_eq!(read, text, "{json}");
        }
    }

    #[test]
    fn an_object_may_be_missing_in_every_spelling_of_php() {
        for json in ["null", "[]", "false"] {
            assert_eq!(
                serde_json::from_str::<Maybe<WholeNumber>>(json).unwrap(),
                Maybe(None),
                "{json}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_was_expected() {
        fn refusal<'j, T: Deserialize<'j> + fmt::Debug>(json: &'j str) -> String {
            serde_json::from_str::<T>(json).unwrap_err().to_string()
        }
        let number = "expected a whole number, or a string that holds one";
        for (refusal, expected) in [
            (refusal::<Text<'_>>("[]"), "expected a text"),
            (refusal::<WholeNumber>(r#""seven""#), number),
            (refusal::<WholeNumber>("18446744073709551615"), number),
            (refusal::<WholeNumber>("1.5"), number),
            (refusal::<Flag>(r#""perhaps""#), "expected a boolean, 0 or 1"),
            (refusal::<Flag>("[]"), "expected a boolean, 0 or 1"),
            (
                refusal::<TolerantList<WholeNumber>>("7"),
                "expected a list, or an object with numbers for keys",
            ),
            (refusal::<Maybe<WholeNumber>>("7"), "expected an object"),
            (refusal::<Maybe<WholeNumber>>("[1]"), "expected an object"),
            (refusal::<Maybe<WholeNumber>>("true"), "expected an object"),
        ] {
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}
