//! The types for one setting of misp2sentinel: its name, its value as a Python literal, and where it was
//! found.

use toml::Value;

/// A value, as it is written in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    None,
    List(Vec<Literal>),
    Table(Vec<(String, Literal)>),
    /// The value of the environment variable of this name.
    Environment(String),
    /// Code, whose value is known only when it runs.
    Code(String),
}

impl Literal {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// Returns the value in TOML; `None` if it holds anything that is known only when the file runs.
    pub(super) fn toml(&self) -> Option<Value> {
        match self {
            Self::Text(text) => Some(Value::String(text.clone())),
            Self::Integer(number) => Some(Value::Integer(*number)),
            Self::Float(number) => Some(Value::Float(*number)),
            Self::Flag(flag) => Some(Value::Boolean(*flag)),
            Self::List(list) => {
                list.iter().map(Self::toml).collect::<Option<_>>().map(Value::Array)
            }
            Self::Table(table) => {
                let pairs = table.iter().map(|(key, value)| Some((key.clone(), value.toml()?)));
                pairs.collect::<Option<_>>().map(Value::Table)
            }
            Self::None | Self::Environment(_) | Self::Code(_) => None,
        }
    }
}

/// An assignment: `name = value`, or `name['key'] = value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub name: String,
    pub key: Option<String>,
    pub value: Literal,
    /// The line in the file, counted from 1.
    pub line: usize,
    /// Whether it stands under an `if` or the like. Whether it counts is then known only when the file runs.
    pub conditional: bool,
}

impl Setting {
    /// Returns in words where the value comes from.
    pub(super) fn origin(&self) -> String {
        self.stands_at(&self.name)
    }

    /// Returns in words where the part of the value under this key comes from.
    pub(super) fn origin_of(&self, key: &str) -> String {
        self.stands_at(&format!("{}[{key:?}]", self.name))
    }

    fn stands_at(&self, name: &str) -> String {
        let doubt = "; it stands under a condition there: is it right?";
        format!("{name}, line {}{}", self.line, if self.conditional { doubt } else { "" })
    }
}
