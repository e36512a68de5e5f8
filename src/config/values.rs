//! Accessors of the reader for the common types: paths, addresses, times, sizes, numbers and lists.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::layers::{Raw, default_text};
use super::mistake::Problem;
use super::reader::{KEY_VAULT, Reader, shown, unresolved};
use super::unseen::as_meant;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const KIB: u64 = 1 << 10;
pub(super) const GIB: u64 = 1 << 30;

/// No wait is longer: beyond it clocks overflow.
const LONGEST: Duration = Duration::from_secs(36500 * 86_400);

impl Reader {
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.optional(key, "a path", |text| Ok(PathBuf::from(text)))
    }

    /// Notes that a file cannot be read. A relative path is looked for where the program was started, which
    /// under systemd or in a container is seldom where its configuration lies.
    pub(super) fn unreadable(&mut self, key: &str, file: &Path, problem: String) {
        let here = std::env::current_dir().unwrap_or_default();
        let hint = file.is_relative().then(|| {
            format!(
                "a relative path starts from {}, where the program was started: write the whole path",
                here.display()
            )
        });
        let problem = Problem { hint, ..Problem::new(problem) };
        self.fault(key, problem.value(&file.display().to_string()));
    }

    pub(super) fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.optional(key, "an IP address and a port, e.g. 127.0.0.1:9477", |text| {
            text.parse().map_err(|_| "no IP address with a port".into())
        })
    }

    /// A time of `least` or more.
    pub(super) fn duration(&mut self, key: &str, least: Duration) -> Duration {
        self.parsed(key, &times(least), |text| time(text, key, least))
    }

    /// As [`Reader::duration`]; `None` for `""`.
    pub(super) fn optional_duration(&mut self, key: &str, least: Duration) -> Option<Duration> {
        self.optional(key, &times(least), |text| time(text, key, least))
    }

    /// Times of `least` or more: a TOML array, or separated by commas in the environment.
    pub(super) fn durations(&mut self, key: &str, least: Duration) -> Vec<Duration> {
        self.list(key, &format!("a list; each {}", times(least)), |item| match item.as_str() {
            Some(text) => time(text, key, least),
            None => Err(format!("one is of type {}", item.type_str()).into()),
        })
    }

    /// A size in bytes.
    pub(super) fn bytes(&mut self, key: &str, range: RangeInclusive<u64>) -> usize {
        let [low, high] = [*range.start(), *range.end()].map(bytesize::ByteSize);
        let allowed = format!("a size with a unit, such as 512KiB or 64MiB, from {low} to {high}");
        self.parsed(key, &allowed, |text| {
            let size: bytesize::ByteSize = text.parse().map_err(|_| "no size with a known unit")?;
            let fits = range.contains(&size.0).then(|| usize::try_from(size.0).ok());
            fits.flatten().ok_or_else(|| "out of range".into())
        })
    }

    /// A whole number.
    pub(super) fn number<T>(&mut self, key: &str, range: RangeInclusive<T>) -> T
    where
        T: Copy + PartialOrd + TryFrom<i64> + std::fmt::Display,
    {
        let placeholder = *range.start();
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(leaf) = self.take(key) else { return placeholder };
        let (number, shown) = match &leaf.raw {
            Raw::Toml(toml::Value::Integer(number)) => (Some(*number), number.to_string()),
            Raw::Text(text) => (text.trim().parse().ok(), text.clone()),
            Raw::Toml(other) => {
                self.mistype(key, &allowed, other);
                return placeholder;
            }
        };
        let fits = number.and_then(|n| T::try_from(n).ok()).filter(|n| range.contains(n));
        fits.unwrap_or_else(|| {
            let problem = if number.is_some() { "out of range" } else { "no whole number" };
            self.refuse(key, &shown, &allowed, problem);
            placeholder
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        const ALLOWED: &str = "true or false";
        let Some(leaf) = self.take(key) else { return false };
        match &leaf.raw {
            Raw::Toml(toml::Value::Boolean(flag)) => *flag,
            Raw::Text(text) => text.trim().to_lowercase().parse().unwrap_or_else(|_| {
                self.refuse(key, text, ALLOWED, "neither true nor false");
                false
            }),
            Raw::Toml(other) => {
                self.mistype(key, ALLOWED, other);
                false
            }
        }
    }

    /// Strings: a TOML array, or separated by commas in the environment.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        self.names(key, "a list of strings", |_| Ok(()))
    }

    /// Strings of which `check` refuses some.
    pub(super) fn names(
        &mut self,
        key: &str,
        allowed: &str,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Vec<String> {
        self.list(key, allowed, |item| match item.as_str() {
            Some(text) if text.contains(KEY_VAULT) => Err(unresolved()),
            Some(text) if text.trim().is_empty() => Err("an empty string in the list".into()),
            Some(text) => {
                as_meant(text)?;
                check(text).map(|()| text.to_owned())
            }
            None => Err(format!("one is of type {}", item.type_str()).into()),
        })
    }

    /// Whole numbers: a TOML array, or separated by commas in the environment.
    pub(super) fn numbers(&mut self, key: &str, range: RangeInclusive<i64>) -> Vec<i64> {
        let allowed = format!("a list of numbers from {} to {}", range.start(), range.end());
        self.list(key, &allowed, |item| {
            let text = item.as_str().map(str::trim);
            let number = item.as_integer().or_else(|| text?.parse().ok());
            match number {
                None => Err(format!("{} is no number", shown(item)).into()),
                Some(number) if range.contains(&number) => Ok(number),
                Some(number) => Err(format!("{number} is out of range").into()),
            }
        })
    }

    /// A TOML array, or separated by commas in the environment.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl Fn(&toml::Value) -> Result<T, Problem>,
    ) -> Vec<T> {
        let Some(leaf) = self.take(key) else { return Vec::new() };
        let items = match &leaf.raw {
            Raw::Toml(toml::Value::Array(items)) => items.clone(),
            Raw::Text(text) => split(text),
            Raw::Toml(other) => {
                self.mistype(key, allowed, other);
                return Vec::new();
            }
        };
        items.iter().map(parse).collect::<Result<_, _>>().unwrap_or_else(|problem| {
            self.refuse(key, &shown(&toml::Value::Array(items)), allowed, problem);
            Vec::new()
        })
    }

    /// A table that is one value; in the environment a JSON object.
    pub(super) fn table(&mut self, key: &str, allowed: &str) -> Map<String, Value> {
        let Some(leaf) = self.take(key) else { return Map::new() };
        match leaf.raw {
            Raw::Toml(toml::Value::Table(table)) => object(table),
            Raw::Toml(other) => {
                self.mistype(key, allowed, &other);
                Map::new()
            }
            Raw::Text(text) if text.is_empty() => Map::new(),
            Raw::Text(text) => serde_json::from_str(&text).unwrap_or_else(|error| {
                self.refuse(key, &text, allowed, format!("no JSON object: {error}"));
                Map::new()
            }),
        }
    }

    /// The lines of a table as `parse` understands them. Each that it does not is a mistake of `key`.
    pub(super) fn lines<T>(
        &mut self,
        key: &str,
        allowed: &str,
        table: impl IntoIterator<Item = (String, Value)>,
        mut parse: impl FnMut(&str, &Value) -> Result<T, Problem>,
    ) -> BTreeMap<String, T> {
        let mut lines = BTreeMap::new();
        for (name, value) in table {
            match parse(&name, &value) {
                Ok(value) => drop(lines.insert(name, value)),
                Err(problem) => self.refuse(key, &name, allowed, problem),
            }
        }
        lines
    }
}

fn times(least: Duration) -> String {
    let (low, high) = (humantime::format_duration(least), humantime::format_duration(LONGEST));
    format!("a time with a unit, such as 200ms, 60s, 5m or 30d, from {low} to {high}")
}

fn time(text: &str, key: &str, least: Duration) -> Result<Duration, Problem> {
    let time = humantime::parse_duration(text).map_err(|error| {
        let problem = Problem::new(format!("no time: {error}"));
        if text.chars().all(|character| character.is_ascii_digit()) {
            problem.hint(format!("add the unit, e.g. \"{text}{}\"", unit(key)))
        } else {
            problem
        }
    })?;
    if (least..=LONGEST).contains(&time) { Ok(time) } else { Err("out of range".into()) }
}

/// The unit that the key's default has. Where that is empty the key bounds an age, which has days.
fn unit(key: &str) -> String {
    let default = default_text(key).unwrap_or_default();
    let unit = default.trim_start_matches(|character: char| character.is_ascii_digit());
    if unit.is_empty() { "d".to_owned() } else { unit.to_owned() }
}

/// A list as the environment spells it.
fn split(text: &str) -> Vec<toml::Value> {
    if text.trim_start().starts_with('[')
        && let Ok(mut table) = toml::from_str::<toml::Table>(&format!("list = {text}"))
        && let Some(toml::Value::Array(items)) = table.remove("list")
    {
        return items;
    }
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| toml::Value::String(part.to_owned())).collect()
}

pub(super) fn uuid(text: &str) -> Result<Uuid, Problem> {
    match Uuid::try_parse(text) {
        Ok(uuid) if !uuid.is_nil() => Ok(uuid),
        Ok(_) => Err("is the nil uuid".into()),
        Err(_) => Err("no uuid".into()),
    }
}

/// The text, where it `fits`.
pub(super) fn fitting(text: &str, fits: bool, problem: &str) -> Result<String, Problem> {
    if fits { Ok(text.to_owned()) } else { Err(problem.into()) }
}

fn object(table: toml::Table) -> Map<String, Value> {
    table.into_iter().map(|(key, value)| (key, json(value))).collect()
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(object(table)),
    }
}
