//! The rules of CONTRIBUTING.md that a machine can check.

#[cfg(test)]
mod tidy {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use misp_sentinel_relay::config::{EXAMPLE, FILE_VARIABLE, variable};

    const LONGEST_FILE: usize = 400;

    /// No I/O, no clock, no log: the same input gives the same output.
    const PURE: [&str; 17] = [
        "src/pure/",
        "src/azure/reply",
        "src/deliver/clock",
        "src/deliver/outcome",
        "src/deliver/pacer",
        "src/deliver/state/",
        "src/intake/frame",
        "src/intake/rest/plan",
        "src/intake/zmq/wire",
        "src/rest/elements",
        "src/rest/key",
        "src/rest/limit",
        "src/rest/listing",
        "src/rest/pace",
        "src/rest/page",
        "src/rest/refusal",
        "src/rest/search",
    ];

    /// What a pure room does not name.
    const IMPURE: [&str; 20] = [
        "tokio",
        "sqlx",
        "reqwest",
        "zeromq",
        "zmq::",
        "tracing",
        "metrics::",
        "std::fs",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::env",
        "std::thread",
        "std::process",
        "crate::ledger",
        "Instant::now",
        "SystemTime::now",
        "Utc::now",
        "new_v4",
    ];

    struct Source {
        path: String,
        text: String,
    }

    impl Source {
        /// What is compiled into the program: all before the tests.
        fn production(&self) -> &str {
            self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap()
        }

        /// Production lines that are no comment.
        fn code(&self) -> impl Iterator<Item = (usize, &str)> {
            let lines = self.production().lines().enumerate();
            lines
                .map(|(index, line)| (index + 1, line.trim()))
                .filter(|(_, l)| !l.starts_with("//"))
        }
    }

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    fn sources() -> Vec<Source> {
        let mut found = Vec::new();
        collect(&root().join("src"), &mut found);
        collect(&root().join("misp-stand-in/src"), &mut found);
        assert!(found.len() > 20, "only {} files in src", found.len());
        found
    }

    fn collect(folder: &Path, found: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.ends_with("tests.rs") {
                continue;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().display().to_string();
                found.push(Source { path, text });
            }
        }
    }

    /// All offences at once, each with its place.
    fn none(offences: &[String]) {
        assert!(offences.is_empty(), "\n{}", offences.join("\n"));
    }

    fn is_pure(path: &str) -> bool {
        PURE.iter().any(|room| path.starts_with(room))
    }

    #[test]
    fn every_file_says_what_it_is_for() {
        let bare = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
        none(
            &bare.map(|source| format!("{}: begins without //!", source.path)).collect::<Vec<_>>(),
        );
    }

    #[test]
    fn no_file_is_long() {
        let long = sources().into_iter().filter_map(|source| {
            let lines = source.production().lines().count();
            (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines", source.path))
        });
        none(&long.collect::<Vec<_>>());
    }

    /// Whether a call with these arguments has more than one.
    fn has_several(arguments: &str) -> bool {
        let mut depth = 0;
        for sign in arguments.chars() {
            match sign {
                '(' => depth += 1,
                ')' if depth == 0 => return false,
                ')' => depth -= 1,
                ',' if depth == 0 => return true,
                _ => {}
            }
        }
        false
    }

    #[test]
    fn sql_takes_the_least_of_two_values_by_case() {
        let mut offences = Vec::new();
        for source in sources().iter().filter(|source| source.path.starts_with("src/ledger/")) {
            for (number, line) in source.code() {
                let calls = ["MIN(", "MAX("].into_iter().flat_map(|call| line.split(call).skip(1));
                if calls.into_iter().any(has_several) {
                    offences
                        .push(format!("{}:{number}: PostgreSQL has no such function", source.path));
                }
            }
        }
        none(&offences);
    }

    /// What follows a sub-query that begins behind its opening parenthesis.
    fn behind(query: &str) -> &str {
        let mut depth = 1;
        let end = query.char_indices().find(|(_, sign)| {
            depth += match sign {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        });
        end.map_or("", |(place, _)| query.split_at(place + 1).1.trim_start())
    }

    #[test]
    fn sql_names_each_query_that_it_reads_from() {
        assert_eq!(behind("SELECT (1)) AS held"), "AS held");
        let mut offences = Vec::new();
        for source in sources().iter().filter(|source| source.path.starts_with("src/ledger/")) {
            let words: Vec<&str> = source.production().split_whitespace().collect();
            let text = words.join(" ");
            for begin in ["FROM (SELECT", "JOIN (SELECT", "FROM ( SELECT", "JOIN ( SELECT"] {
                let nameless = text
                    .split(begin)
                    .skip(1)
                    .filter(|query| !behind(query).starts_with("AS "))
                    .map(|query| query.chars().take(60).collect::<String>());
                offences.extend(nameless.map(|query| {
                    format!("{}: PostgreSQL before 16 wants a name for (SELECT{query}", source.path)
                }));
            }
        }
        none(&offences);
    }

    #[test]
    fn pure_rooms_touch_nothing_outside() {
        let mut offences = Vec::new();
        for source in sources().iter().filter(|source| is_pure(&source.path)) {
            for (number, line) in source.code() {
                let named = IMPURE.iter().filter(|word| line.contains(*word));
                offences.extend(named.map(|word| format!("{}:{number}: {word}", source.path)));
            }
        }
        none(&offences);
    }

    /// A program that loses the variables of faketime would live on another day than its test.
    #[test]
    fn tests_start_the_program_in_one_place() {
        let mut files = Vec::new();
        collect(&root().join("tests/it"), &mut files);
        assert!(files.len() > 40, "only {} files in tests/it", files.len());
        let place = "tests/it/support/program.rs";
        let elsewhere = files.iter().filter(|source| source.path != place);
        let offences = elsewhere.flat_map(|source| {
            let words = ["CARGO_BIN_EXE", "env_clear"].into_iter();
            let found = words.filter(|word| source.text.contains(word));
            found.map(|word| format!("{}: {word} belongs into {place}", source.path))
        });
        none(&offences.collect::<Vec<_>>());
    }

    #[test]
    fn only_the_application_starts_tasks() {
        let mut offences = Vec::new();
        for source in sources().iter().filter(|source| source.path != "src/app.rs") {
            let starts = source.code().filter(|(_, line)| line.contains("tokio::spawn"));
            offences.extend(starts.map(|(number, _)| format!("{}:{number}", source.path)));
        }
        none(&offences);
    }

    /// A rename must not switch a rule off. A folder with nothing but its `mod.rs` is still to be
    /// built.
    #[test]
    fn the_rules_name_rooms_that_exist() {
        let files: BTreeSet<String> = sources().into_iter().map(|source| source.path).collect();
        for room in PURE {
            let (folder, _) = room.rsplit_once('/').unwrap();
            let built = files.iter().filter(|file| file.starts_with(folder)).count() > 1;
            assert!(!built || files.iter().any(|file| file.starts_with(room)), "{room}");
        }
    }

    #[test]
    fn every_key_of_the_example_has_a_comment() {
        let mut offences = Vec::new();
        let mut before = "";
        for (index, line) in EXAMPLE.lines().enumerate() {
            // The rows of a table of tags explain themselves.
            let is_key = line.contains(" = ") && !line.starts_with(['#', '\'', '"']);
            if is_key && !before.starts_with('#') {
                offences.push(format!("config.toml.example:{}: {line}", index + 1));
            }
            before = line;
        }
        none(&offences);
    }

    /// Every key is read (a key that nobody reads would be an unknown one), and every key that the
    /// code reads is there (a missing one is a mistake by itself).
    #[test]
    fn the_example_and_the_code_know_the_same_keys() {
        let least = [
            ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
            ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
            ("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555"),
            ("MSR_TARGET__SOC__TENANT_ID", "t"),
            ("MSR_TARGET__SOC__CLIENT_ID", "c"),
            ("MSR_TARGET__SOC__CLIENT_SECRET", "s"),
        ];
        let empty = tempfile::NamedTempFile::new().unwrap();
        let environment = least.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        if let Err(mistakes) = misp_sentinel_relay::config::load(Some(empty.path()), environment) {
            panic!("{mistakes}");
        }
    }

    #[test]
    fn metrics_are_recorded_in_one_file_only() {
        let mut offences = Vec::new();
        for source in sources().iter().filter(|source| source.path != "src/metrics.rs") {
            for macros in ["counter!(", "gauge!(", "histogram!("] {
                let used = source.code().filter(|(_, line)| line.contains(macros));
                offences.extend(used.map(|(number, _)| format!("{}:{number}", source.path)));
            }
        }
        none(&offences);
    }

    /// The variables that operators read of are those of the configuration.
    #[test]
    fn every_variable_that_is_written_about_exists() {
        let files = ["README.md", "config.toml.example", "docker/Dockerfile"].map(PathBuf::from);
        let compose = ["docker/compose.yaml", "docker/compose.misp.yaml"].map(PathBuf::from);
        let folders = ["tutorial", "how-to", "reference", "explanation", "decisions"].into_iter();
        let pages = folders.flat_map(|folder| {
            let pages = std::fs::read_dir(root().join("docs").join(folder)).unwrap();
            pages.map(|page| page.unwrap().path())
        });
        for file in files.into_iter().chain(compose).chain(pages) {
            let text = std::fs::read_to_string(root().join(&file)).unwrap();
            check_variables(&file.display().to_string(), &text);
        }
    }

    fn check_variables(file: &str, text: &str) {
        let known = variables();
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("MSR_"));
        let strange = words
            .filter(|word| *word != "MSR_" && *word != FILE_VARIABLE && !is_known(word, &known));
        let offences: Vec<String> = strange.map(|word| format!("{file}: {word}")).collect();
        none(&offences);
    }

    /// The variables of the example; for targets, what comes after the target's name.
    fn variables() -> BTreeSet<String> {
        let table: toml::Table = EXAMPLE.parse().unwrap();
        let mut paths = Vec::new();
        walk("", &table, &mut paths);
        paths.iter().map(|path| variable(path).replace("MSR_TARGET__SENTINEL__", "")).collect()
    }

    fn walk(prefix: &str, table: &toml::Table, paths: &mut Vec<String>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            // An empty table is MISP's own: one variable.
            match value.as_table().filter(|inner| !inner.is_empty()) {
                Some(inner) => walk(&path, inner, paths),
                None => paths.push(path),
            }
        }
    }

    fn is_known(name: &str, known: &BTreeSet<String>) -> bool {
        if let Some(kind) = name.strip_prefix("MSR_CONVERT__TYPES__") {
            let types = misp_sentinel_relay::pure::convert::types().iter();
            return types.map(|row| variable(row.name)).any(|name| name == format!("MSR_{kind}"));
        }
        let target = name.strip_prefix("MSR_TARGET__").and_then(|rest| rest.split_once("__"));
        // A target lays its own policy over the common one.
        let own = target.filter(|(_, key)| key.starts_with("POLICY__"));
        match (own, target) {
            (Some((_, key)), _) => known.contains(&format!("MSR_{key}")),
            (None, Some((_, key))) => known.contains(key),
            (None, None) => known.contains(name),
        }
    }
}
