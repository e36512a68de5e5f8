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
use super::reader::{KEY_VAULT, Reader, of_type, shown, unresolved};
use super::unseen::as_meant;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const KIB: u64 = 1 << 10;
pub(super) const GIB: u64 = 1 << 30;

/// The longest time that is allowed. Longer ones overflow clocks.
const LONGEST: Duration = Duration::from_secs(LONGEST_DAYS * 86_400);
const LONGEST_DAYS: u64 = 36_500;

impl Reader {
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.optional(key, "a path", |text| Ok(PathBuf::from(text)))
    }

    /// Notes that a file cannot be read. A relative path starts from the directory in which the program was
    /// started. Under systemd or in a container that is seldom the directory of its configuration.
    pub(super) fn unreadable(&mut self, key: &str, file: &Path, problem: String) {
        let here = std::env::current_dir().unwrap_or_default();
        let here = here.display();
        let hint = file.is_relative().then(|| format!("a relative path starts from {here}, where the program was started: write the whole path"));
        let problem = Problem { hint, ..Problem::new(problem) };
        self.fault(key, problem.value(&file.display().to_string()));
    }

    pub(super) fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.optional(key, "an IP address and a port, e.g. 127.0.0.1:9477", |text| {
            text.parse().map_err(|_| "no IP address with a port".into())
        })
    }

    /// Reads a time that is not zero.
    pub(super) fn time(&mut self, key: &str) -> Duration {
        self.duration(key, MILLISECOND)
    }

    pub(super) fn time_or_zero(&mut self, key: &str) -> Duration {
        self.duration(key, Duration::ZERO)
    }

    fn duration(&mut self, key: &str, least: Duration) -> Duration {
        self.parsed(key, &times(least), |text| time(text, key, least))
    }

    /// Reads a time of `least` or more. `None`: the key is empty.
    pub(super) fn optional_duration(&mut self, key: &str, least: Duration) -> Option<Duration> {
        self.optional(key, &times(least), |text| time(text, key, least))
    }

    /// Reads times of `least` or more: a TOML array, or separated by commas in the environment.
    pub(super) fn durations(&mut self, key: &str, least: Duration) -> Vec<Duration> {
        self.list(key, &format!("a list; each {}", times(least)), |item| match item.as_str() {
            Some(text) => time(text, key, least),
            None => Err(format!("one is of type {}", item.type_str()).into()),
        })
    }

    /// Reads a size in bytes.
    pub(super) fn bytes(&mut self, key: &str, range: RangeInclusive<u64>) -> usize {
        let [low, high] = [*range.start(), *range.end()].map(bytesize::ByteSize);
        let allowed = format!("a size with a unit, such as 512KiB or 64MiB, from {low} to {high}");
        self.parsed(key, &allowed, |text| {
            let size: bytesize::ByteSize = text.parse().map_err(|_| "no size with a known unit")?;
            let fits = range.contains(&size.0).then(|| usize::try_from(size.0).ok());
            fits.flatten().ok_or_else(|| "out of range".into())
        })
    }

    /// Reads a whole number. Returns the lowest allowed one after a mistake.
    pub(super) fn number<T>(&mut self, key: &str, range: RangeInclusive<T>) -> T
    where
        T: Copy + PartialOrd + TryFrom<i64> + std::fmt::Display,
    {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let number = self.value(key, &allowed, |raw| {
            let number: i64 = match raw {
                Raw::Toml(toml::Value::Integer(number)) => *number,
                Raw::Text(text) => text.trim().parse().map_err(|_| "no whole number")?,
                Raw::Toml(other) => return Err(of_type(other)),
            };
            let fits = T::try_from(number).ok().filter(|number| range.contains(number));
            fits.ok_or_else(|| "out of range".into())
        });
        // Any value will do after a mistake, because the configuration is not used then.
        number.unwrap_or(*range.start())
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        let flag = self.value(key, "true or false", |raw| match raw {
            Raw::Toml(toml::Value::Boolean(flag)) => Ok(*flag),
            Raw::Text(text) => match text.trim().to_lowercase().parse() {
                Ok(flag) => Ok(flag),
                Err(_) => Err("neither true nor false".into()),
            },
            Raw::Toml(other) => Err(of_type(other)),
        });
        flag.unwrap_or_default()
    }

    /// Reads strings: a TOML array, or separated by commas in the environment.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        self.names(key, "a list of strings", |_| Ok(()))
    }

    /// Reads strings, of which `check` refuses some.
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

    /// Reads whole numbers: a TOML array, or separated by commas in the environment.
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

    /// Reads a list: a TOML array, or separated by commas in the environment.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl Fn(&toml::Value) -> Result<T, Problem>,
    ) -> Vec<T> {
        let items = self.value(key, allowed, |raw| match raw {
            Raw::Toml(toml::Value::Array(items)) => Ok(items.clone()),
            Raw::Text(text) => Ok(split(text)),
            Raw::Toml(other) => Err(of_type(other)),
        });
        let items = items.unwrap_or_default();
        items.iter().map(parse).collect::<Result<_, _>>().unwrap_or_else(|problem| {
            self.refuse(key, &shown(&toml::Value::Array(items)), allowed, problem);
            Vec::new()
        })
    }

    /// Reads a table that counts as one value. In the environment it is a JSON object.
    pub(super) fn table(&mut self, key: &str, allowed: &str) -> Map<String, Value> {
        let table = self.value(key, allowed, |raw| match raw {
            Raw::Toml(toml::Value::Table(table)) => {
                Ok(table.clone().try_into().unwrap_or_default())
            }
            Raw::Text(text) if text.is_empty() => Ok(Map::new()),
            Raw::Text(text) => serde_json::from_str(text)
                .map_err(|error| Problem::new(format!("no JSON object: {error}"))),
            Raw::Toml(other) => Err(of_type(other)),
        });
        table.unwrap_or_default()
    }

    /// Parses the lines of a table. Each line that `parse` refuses is a mistake of `key`.
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
    let low = humantime::format_duration(least);
    format!("a time with a unit, such as 200ms, 60s, 5m or 30d, from {low} to {LONGEST_DAYS}d")
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

/// Returns the unit of the key's default. A key without a default bounds an age, in days.
fn unit(key: &str) -> String {
    let default = default_text(key).unwrap_or_default();
    let unit = default.trim_start_matches(|character: char| character.is_ascii_digit());
    if unit.is_empty() { "d".to_owned() } else { unit.to_owned() }
}

/// Splits a list as the environment spells it.
fn split(text: &str) -> Vec<toml::Value> {
    if let Ok(toml::Value::Array(items)) = text.trim().parse() {
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

/// Returns the text if it `fits`, or else the problem.
pub(super) fn fitting(text: &str, fits: bool, problem: &str) -> Result<String, Problem> {
    if fits { Ok(text.to_owned()) } else { Err(problem.into()) }
}

/// Reads the scope of tokens, e.g. `https://management.azure.com/.default`.
pub(super) fn scope(text: &str) -> Result<String, Problem> {
    match text.strip_suffix("/.default") {
        Some(resource) if resource.contains("://") => Ok(text.to_owned()),
        _ => Err(Problem::new("no scope of an application").hint("it ends with /.default")),
    }
}
