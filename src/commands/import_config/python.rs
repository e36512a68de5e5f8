//! Finds the assignments in a Python file without executing it. A value that is known only when the file runs
//! is kept as source code.

use std::collections::HashMap;

use anyhow::{Context, bail};
use toml::Value;
use tree_sitter::{Node, Parser};

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

/// Returns the assignments, in the order of the file.
///
/// # Errors
/// The text is not Python; the error says in which line.
pub(super) fn settings(text: &str) -> anyhow::Result<Vec<Setting>> {
    let mut parser = Parser::new();
    let language = tree_sitter_python::LANGUAGE;
    parser.set_language(&language.into()).context("make a parser of Python")?;
    let tree = parser.parse(text, None).context("parse Python")?;
    if let Some(line) = first_error(tree.root_node()) {
        bail!("line {line} is no Python");
    }
    let mut file = Assignments { text, known: HashMap::new(), settings: Vec::new() };
    file.block(tree.root_node(), false);
    Ok(file.settings)
}

fn first_error(node: Node<'_>) -> Option<usize> {
    if !node.has_error() {
        return None;
    }
    if node.is_error() || node.is_missing() {
        return Some(line(node));
    }
    children(node).find_map(first_error)
}

fn line(node: Node<'_>) -> usize {
    node.start_position().row + 1
}

fn children(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    (0..node.named_child_count())
        .filter_map(move |index| node.named_child(u32::try_from(index).ok()?))
}

struct Assignments<'t> {
    text: &'t str,
    /// The values of the names so far, because a value may be another's name.
    known: HashMap<String, Literal>,
    settings: Vec<Setting>,
}

impl Assignments<'_> {
    fn block(&mut self, block: Node<'_>, conditional: bool) {
        for statement in children(block) {
            match statement.kind() {
                "expression_statement" => {
                    for assignment in children(statement).filter(|one| one.kind() == "assignment") {
                        self.assignment(assignment, conditional);
                    }
                }
                // The body of a function has an effect only when it is called.
                "function_definition" | "class_definition" | "decorated_definition" => {}
                // An `if`, a loop or a `try`: without running the file nobody knows whether its body counts.
                _ => self.block(statement, true),
            }
        }
    }

    fn assignment(&mut self, assignment: Node<'_>, conditional: bool) {
        let field = |name| assignment.child_by_field_name(name);
        let (Some(left), Some(right)) = (field("left"), field("right")) else { return };
        let Some((name, key)) = self.place(left) else { return };
        let value = self.literal(right);
        if key.is_none() {
            self.known.insert(name.clone(), value.clone());
        }
        self.settings.push(Setting { name, key, value, line: line(assignment), conditional });
    }

    fn place(&self, left: Node<'_>) -> Option<(String, Option<String>)> {
        if left.kind() == "identifier" {
            return Some((self.source(left).to_owned(), None));
        }
        let name = left.child_by_field_name("value").filter(|_| left.kind() == "subscript")?;
        let key = self.literal(left.child_by_field_name("subscript")?);
        Some((self.source(name).to_owned(), Some(key.text()?.to_owned())))
    }

    fn source(&self, node: Node<'_>) -> &str {
        node.utf8_text(self.text.as_bytes()).unwrap_or_default()
    }

    fn literal(&self, node: Node<'_>) -> Literal {
        let code = || Literal::Code(self.source(node).to_owned());
        match node.kind() {
            "string" => self.string(node).map_or_else(code, Literal::Text),
            "concatenated_string" => {
                let parts: Option<String> = children(node).map(|part| self.string(part)).collect();
                parts.map_or_else(code, Literal::Text)
            }
            "integer" => {
                self.source(node).replace('_', "").parse().map_or_else(|_| code(), Literal::Integer)
            }
            "float" => self.source(node).parse().map_or_else(|_| code(), Literal::Float),
            "true" => Literal::Flag(true),
            "false" => Literal::Flag(false),
            "none" => Literal::None,
            "list" | "tuple" | "set" => Literal::List(
                children(node).filter(is_value).map(|one| self.literal(one)).collect(),
            ),
            "dictionary" => self.table(node).map_or_else(code, Literal::Table),
            "parenthesized_expression" => {
                children(node).find(is_value).map_or_else(code, |inner| self.literal(inner))
            }
            "identifier" => self.known.get(self.source(node)).cloned().unwrap_or_else(code),
            "call" | "subscript" => self.environment(node).map_or_else(code, Literal::Environment),
            _ => code(),
        }
    }

    fn table(&self, node: Node<'_>) -> Option<Vec<(String, Literal)>> {
        let pairs = children(node).filter(is_value).map(|pair| {
            let field = |name| pair.child_by_field_name(name);
            let key = self.literal(field("key")?);
            let number = || key.integer().map(|number| number.to_string());
            let key = key.text().map(str::to_owned).or_else(number)?;
            Some((key, self.literal(field("value")?)))
        });
        pairs.collect()
    }

    /// Returns the name of a variable that is read by `os.getenv('NAME', …)`, `os.environ.get('NAME', …)` or
    /// `os.environ['NAME']`.
    fn environment(&self, node: Node<'_>) -> Option<String> {
        let (asked, name) = match node.kind() {
            "call" => {
                let arguments = node.child_by_field_name("arguments")?;
                (node.child_by_field_name("function")?, children(arguments).next()?)
            }
            _ => (node.child_by_field_name("value")?, node.child_by_field_name("subscript")?),
        };
        let asks = ["os.getenv", "os.environ.get", "os.environ"].contains(&self.source(asked));
        self.literal(name).text().filter(|_| asks).map(str::to_owned)
    }

    /// Returns the value of a string literal; `None` for bytes, and for a string that is made when the file
    /// runs.
    fn string(&self, node: Node<'_>) -> Option<String> {
        let mut text = String::new();
        let mut is_raw = false;
        for part in children(node) {
            match part.kind() {
                "string_start" => {
                    let start = self.source(part).to_ascii_lowercase();
                    if start.contains('b') {
                        return None;
                    }
                    is_raw = start.contains('r');
                }
                "string_content" if is_raw => text.push_str(self.source(part)),
                "string_content" => text.push_str(&unescaped(self.source(part))),
                "string_end" => {}
                _ => return None,
            }
        }
        Some(text)
    }
}

fn is_value(node: &Node<'_>) -> bool {
    node.kind() != "comment"
}

/// Resolves the escapes of a string literal ("Escape sequences" of Python's reference). Unknown ones stay as
/// they are.
fn unescaped(content: &str) -> String {
    let mut text = String::with_capacity(content.len());
    let mut rest = content.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match rest.next() {
            Some('\n') | None => {}
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some(same @ ('\\' | '\'' | '"')) => text.push(same),
            Some(kind @ ('x' | 'u' | 'U')) => {
                let digits = match kind {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let hex: String = rest.by_ref().take(digits).collect();
                let number = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                text.push(number.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => text.extend(['\\', other]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Literal {
        settings(text).unwrap().pop().unwrap().value
    }

    fn text(words: &str) -> Literal {
        Literal::Text(words.to_owned())
    }

    #[test]
    fn literals_are_read_as_python_reads_them() {
        assert_eq!(value("a = 'it\\'s'"), text("it's"));
        assert_eq!(value("a = \"x\\ty\\x41\\u00e9\\d\""), text("x\tyAé\\d"));
        assert_eq!(value("a = r'\\n'"), text("\\n"));
        assert_eq!(value("a = 'one' \"two\""), text("onetwo"));
        assert_eq!(value("a = '''two\nlines'''"), text("two\nlines"));
        assert_eq!(value("a = (1_000)"), Literal::Integer(1_000));
        assert_eq!(value("a = 0.5 # half"), Literal::Float(0.5));
        assert_eq!(
            value("a = [True, None,\n # none\n]"),
            Literal::List(vec![Literal::Flag(true), Literal::None])
        );
        let table = vec![("k".to_owned(), text("v")), ("2".to_owned(), Literal::List(vec![]))];
        assert_eq!(value("a = {'k': 'v', 2: ()}"), Literal::Table(table));
    }

    #[test]
    fn what_would_have_to_run_is_kept_as_code() {
        for code in ["f'{x}'", "b'x'", "client.get_secret('MISP-Key').value", "1 + 1", "unknown"] {
            assert_eq!(value(&format!("a = {code}")), Literal::Code(code.to_owned()), "{code}");
        }
        for code in ["os.getenv('X', '')", "os.environ['X']", "os.environ.get('X')"] {
            assert_eq!(value(&format!("a = {code}")), Literal::Environment("X".to_owned()));
        }
    }

    #[test]
    fn names_stand_for_what_they_were_given_and_conditions_are_told() {
        let read = settings(
            "key = 'k'\nmisp_key = key\nif x:\n    a['b'] = 1\nelse:\n  pass\ndef f():\n    c = 1\n",
        );
        let read = read.unwrap();
        assert_eq!(read[1].value, text("k"));
        assert_eq!(
            (read[2].key.as_deref(), read[2].conditional, read[2].line),
            (Some("b"), true, 4)
        );
        assert_eq!(read.len(), 3);
        let error = settings("a = 1\nb = = 2\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
