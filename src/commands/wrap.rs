//! Breaks lines between words, so that a terminal does not break them within. Pure.

/// Returns the text with no line wider than `width`, unless a word is. What continues a line is indented by
/// two more than the line.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    text.split_inclusive('\n').map(|line| wrapped_line(line, width)).collect()
}

fn wrapped_line(line: &str, width: usize) -> String {
    if columns(line.trim_end()) <= width {
        return line.to_owned();
    }
    let indent = columns(line) - columns(line.trim_start_matches(' '));
    let mut text = String::new();
    // The spaces within a line may align it, so they stay as they are where it is not broken.
    let mut column = 0;
    for word in line.split_inclusive(' ') {
        let is_first = text.trim_start().is_empty();
        if !is_first && column + columns(word.trim_end()) > width {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(&" ".repeat(indent + 2));
            column = indent + 2;
        }
        text.push_str(word);
        column += columns(word);
    }
    text
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three\n", 13), "one two three\n");
        assert_eq!(wrapped("one two three\n", 12), "one two\n  three\n");
        assert_eq!(wrapped("  - one two three", 10), "  - one\n    two\n    three");
        assert_eq!(wrapped("a\nb c d\n", 3), "a\nb c\n  d\n");
    }

    #[test]
    fn a_long_word_stays_whole_and_alignment_stays() {
        let url = "https://misp.example.org/events/view/12";
        assert_eq!(wrapped(&format!("see {url}\n"), 20), format!("see\n  {url}\n"));
        assert_eq!(wrapped(url, 20), url);
        assert_eq!(wrapped("ok       host: a\n", 20), "ok       host: a\n");
        assert_eq!(wrapped("ok       host: a b c\n", 18), "ok       host: a b\n  c\n");
    }
}
