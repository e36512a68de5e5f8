//! Draws the picture in the README: the demo's recorded screen as SVG.

use std::fmt::Write;

use regex::Regex;

use crate::page::root;

const RECORDING: &str = "tests/golden/demo.txt";
const PICTURE: &str = "docs/demo.svg";

/// The size of a character cell, and the room around them.
const CELL: (f64, f64) = (7.8, 17.0);
const MARGIN: f64 = 14.0;
const BAR: f64 = 30.0;

fn draw(screen: &str) -> String {
    let lines: Vec<&str> = screen.lines().collect();
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap();
    let width = columns as f64 * CELL.0 + 2.0 * MARGIN;
    let height = lines.len() as f64 * CELL.1 + BAR + 2.0 * MARGIN;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img">
<title>misp-sentinel-relay demo --once</title>
<style>text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328}}.bar{{fill:#59636e}}.ok{{fill:#1a7f37;font-weight:700}}</style>
<rect width="100%" height="100%" rx="8" fill="#ffffff" stroke="#d1d9e0"/>
<rect width="100%" height="{BAR}" rx="8" fill="#f1f3f5"/>
<circle cx="18" cy="15" r="5" fill="#ff5f57"/><circle cx="34" cy="15" r="5" fill="#febc2e"/><circle cx="50" cy="15" r="5" fill="#28c840"/>
<text class="bar" x="70" y="19">$ misp-sentinel-relay demo --once</text>
"##
    );
    let columns = Regex::new(r"\S+( \S+)*").unwrap();
    for (number, line) in lines.iter().enumerate() {
        let y = BAR + MARGIN + (number as f64 + 0.8) * CELL.1;
        // Each column has its own place, so that the table holds in any font.
        for column in columns.find_iter(line) {
            let before = line.split_at(column.start()).0.chars().count();
            let text = column.as_str();
            let (x, signs) = (MARGIN + before as f64 * CELL.0, text.chars().count());
            let length = signs as f64 * CELL.0;
            match text {
                "✓" => writeln!(svg, r#"<text class="ok" x="{x:.1}" y="{y:.1}">✓</text>"#),
                rule if rule.starts_with('─') => {
                    let y = y - 0.3 * CELL.1;
                    writeln!(svg, r##"<path d="M{x:.1} {y:.1}h{length:.1}" stroke="#d1d9e0"/>"##)
                }
                text => {
                    let text = escaped(text);
                    writeln!(
                        svg,
                        r#"<text x="{x:.1}" y="{y:.1}" textLength="{length:.1}">{text}</text>"#
                    )
                }
            }
            .unwrap();
        }
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn the_picture_is_the_recorded_demo() {
    let screen = std::fs::read_to_string(root().join(RECORDING)).unwrap();
    let drawn = draw(&screen);
    let file = root().join(PICTURE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &drawn).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        written == drawn,
        "{PICTURE} is behind {RECORDING}; `UPDATE_DOCS=1 cargo test --test docs` rewrites it"
    );
    assert!(written.len() < 60_000, "{} bytes", written.len());
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!("({PICTURE})")), "the README does not show it");
}

#[test]
fn every_line_of_the_screen_is_drawn() {
    let svg = draw("a <b> & c\n───\n  ✓\n");
    for part in [">a &lt;b&gt; &amp; c</text>", ">✓</text>", "h23.4\" stroke"] {
        assert_eq!(svg.matches(part).count(), 1, "{svg}");
    }
    // The title bar has a line of its own.
    assert_eq!(svg.matches("<text").count(), 3);
}
