//! Tests the order of imports. src/lib.rs lists the rooms in their order: a file may import from its own room
//! and from those above it. No files may need each other in a circle. A name that is handed on with `pub use`
//! counts as imported from the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::source::{Source, none, product};

/// Where a file stands in the tree of modules: `["misp_api", "client"]`. The root is empty.
type Module = Vec<String>;

/// A path in the code from the crate's root: `["rest", "client", "Client"]`.
type Name = Vec<String>;

/// The files of a crate, and what they name.
struct Tree {
    /// With all that the file's code names, its own children included.
    names: BTreeMap<Module, BTreeSet<Name>>,
    /// With all that the file hands on.
    handed_on: BTreeMap<Module, BTreeMap<String, Name>>,
    /// The rooms, the uppermost floor first.
    rooms: Vec<String>,
}

/// One `use` declaration's path, and the name that it has from then on.
struct Import {
    path: String,
    name: String,
}

impl Import {
    fn new(written: &str) -> Self {
        let (path, other) = written.split_once(" as ").unwrap_or((written, ""));
        let path = path.trim().trim_end_matches("::self").to_owned();
        let last = path.rsplit("::").next().unwrap_or_default();
        let name = if other.is_empty() { last } else { other };
        Self { name: name.trim().to_owned(), path }
    }
}

/// The paths of `a::{b, c::{d, e}}`.
fn expand(written: &str) -> Vec<String> {
    let Some((before, inside)) = written.trim().split_once('{') else {
        return vec![written.trim().to_owned()];
    };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for sign in inside.chars().chain([',']) {
        match sign {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => part.push(sign),
        }
        depth += match sign {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
    }
    let filled = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    filled.flat_map(|part| expand(&format!("{before}{part}"))).collect()
}

/// `path` as it is seen in `module`, from the crate's root.
fn absolute(module: &Module, path: &str) -> Name {
    let mut base = module.clone();
    let mut segments = path.split("::").map(str::trim).peekable();
    match segments.peek() {
        Some(&"crate") => {
            base.clear();
            segments.next();
        }
        Some(&"self") => drop(segments.next()),
        _ => {
            while segments.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
    }
    base.extend(segments.map(str::to_owned));
    base
}

fn module_of(path: &str) -> Module {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Module = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || ["lib", "main"].contains(&path) {
        module.pop();
    }
    module
}

impl Tree {
    fn new(sources: &[Source]) -> Self {
        let declared = Regex::new(r"(?m)^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);").unwrap();
        let inline = Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
        let room = Regex::new(r"(?m)^pub mod (\w+);").unwrap();
        let mut tree =
            Self { names: BTreeMap::new(), handed_on: BTreeMap::new(), rooms: Vec::new() };
        for source in sources.iter().filter(|source| source.path != "src/main.rs") {
            let module = module_of(&source.path);
            let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
            if module.is_empty() {
                tree.rooms = room.captures_iter(&code).map(|found| found[1].to_owned()).collect();
            }
            let mut names: BTreeSet<Name> =
                inline.find_iter(&code).map(|path| absolute(&module, path.as_str())).collect();
            let mut handed_on = BTreeMap::new();
            for found in declared.captures_iter(&code) {
                let words = found[2].split_whitespace().collect::<Vec<_>>().join(" ");
                for import in expand(&words).iter().map(|path| Import::new(path)) {
                    let name = absolute(&module, &import.path);
                    if found.get(1).is_some() {
                        handed_on.insert(import.name, name.clone());
                    }
                    names.insert(name);
                }
            }
            tree.names.insert(module.clone(), names);
            tree.handed_on.insert(module, handed_on);
        }
        tree
    }

    /// The file that defines a name.
    fn origin(&self, name: &[String], hops: usize) -> Module {
        let known = (0..=name.len()).rev().find(|n| self.names.contains_key(&name[..*n]));
        let (module, rest) = name.split_at(known.unwrap_or_default());
        let handed = rest.first().and_then(|first| self.handed_on.get(module)?.get(first));
        match handed {
            Some(from) if hops > 0 => {
                let name = [from.as_slice(), &rest[1..]].concat();
                self.origin(&name, hops - 1)
            }
            _ => module.to_vec(),
        }
    }

    /// What each file imports from others. What lies in a file's own ancestors is no import.
    fn imports(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |(module, names): (_, &BTreeSet<Name>)| {
            let origins = names.iter().map(|name| self.origin(name, 8));
            let module: &Module = module;
            (module, origins.filter(|origin| !module.starts_with(origin)).collect())
        };
        self.names.iter().map(of).collect()
    }

    /// Imports of a room that stands below the importing file's.
    fn upwards(&self) -> Vec<String> {
        let floor = |module: &Module| {
            let room = module.first()?;
            self.rooms.iter().position(|known| known == room)
        };
        let mut found = Vec::new();
        for (module, origins) in self.imports() {
            let below = origins.iter().filter(|origin| floor(origin) > floor(module));
            let words = |origin| format!("{} imports {}", shown(module), shown(origin));
            found.extend(below.filter(|_| !module.is_empty()).map(words));
        }
        found
    }

    /// Groups of files that need each other in a circle.
    fn circles(&self) -> Vec<Vec<&Module>> {
        let imports = self.imports();
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            imports.keys().map(|module| (*module, reach(module, &imports))).collect();
        let mut circles: Vec<Vec<&Module>> = Vec::new();
        for module in imports.keys().filter(|module| reached[*module].contains(**module)) {
            let with = |circle: &&mut Vec<&Module>| {
                reached[module].contains(circle[0]) && reached[circle[0]].contains(*module)
            };
            match circles.iter_mut().find(with) {
                Some(circle) => circle.push(module),
                None => circles.push(vec![module]),
            }
        }
        circles
    }
}

/// All that a file needs, and what that needs.
fn reach<'t>(
    from: &Module,
    imports: &'t BTreeMap<&'t Module, BTreeSet<Module>>,
) -> BTreeSet<&'t Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = open.pop() {
        for next in imports.get(&module).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next.clone());
            }
        }
    }
    reached
}

fn shown(module: &Module) -> String {
    module.join("::")
}

#[test]
fn rooms_import_only_from_the_floors_above_them() {
    let tree = Tree::new(&product());
    assert!(tree.rooms.len() > 10, "only {} rooms in src/lib.rs", tree.rooms.len());
    none(&tree.upwards());
}

#[test]
fn no_files_need_each_other_in_a_circle() {
    let tree = Tree::new(&product());
    let circles = tree.circles();
    let words = |circle: &Vec<&Module>| {
        circle.iter().map(|module| shown(module)).collect::<Vec<_>>().join(", ")
    };
    none(&circles.iter().map(words).collect::<Vec<_>>());
}

fn made_up(files: &[(&str, &str)]) -> Tree {
    let source = |(path, text): &(&str, &str)| Source {
        path: format!("src/{path}"),
        text: (*text).to_owned(),
    };
    Tree::new(&files.iter().map(source).collect::<Vec<_>>())
}

#[test]
fn an_import_upwards_is_found_however_it_is_written() {
    let lib = ("lib.rs", "pub mod low;\npub mod high;\n");
    for import in [
        "use crate::high::Thing;",
        "use crate::{\n    high::{self, other::Thing},\n};",
        "use super::super::high as elsewhere;",
        "fn f() -> crate::high::Thing { todo!() }",
        "pub use crate::high::Thing;",
    ] {
        let tree = made_up(&[lib, ("high.rs", ""), ("low/mod.rs", ""), ("low/inner.rs", import)]);
        assert_eq!(tree.upwards(), ["low::inner imports high"], "{import}");
    }
    let downwards = made_up(&[lib, ("high.rs", "use crate::low::Thing;"), ("low.rs", "")]);
    assert_eq!(downwards.upwards(), [""; 0]);
}

#[test]
fn what_a_room_hands_on_is_imported_from_its_origin() {
    let tree = made_up(&[
        ("lib.rs", "pub mod low;\npub mod middle;\npub mod high;\n"),
        ("low.rs", "use crate::Handed;"),
        ("middle.rs", ""),
        ("high.rs", ""),
    ]);
    assert_eq!(tree.upwards(), [""; 0]);
    let tree = made_up(&[
        (
            "lib.rs",
            "pub mod low;\npub mod middle;\npub mod high;\npub use high::Thing as Handed;\n",
        ),
        ("low.rs", "use crate::Handed;"),
        ("middle.rs", "use crate::Handed::Variant;"),
        ("high.rs", ""),
    ]);
    assert_eq!(tree.upwards(), ["low imports high", "middle imports high"]);
}

#[test]
fn a_circle_is_found_also_behind_a_parent() {
    let circle = |one: &str, two: &str| {
        let parent = "mod one;\nmod two;\npub use one::One;\nuse two::Two;\n";
        let tree = made_up(&[
            ("lib.rs", "pub mod room;\n"),
            ("room/mod.rs", parent),
            ("room/one.rs", one),
            ("room/two.rs", two),
        ]);
        tree.circles().iter().map(|circle| circle.len()).collect::<Vec<_>>()
    };
    assert_eq!(circle("use super::two::Two;", "use super::one::One;"), [2]);
    assert_eq!(circle("use super::two::Two;", "use super::One;"), [2]);
    assert_eq!(circle("use super::two::Two;", "// use super::One;"), [0; 0]);
    assert_eq!(circle("", "use super::One;"), [0; 0]);
}
