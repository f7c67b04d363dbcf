//! Numbers, tables and paragraphs as text.
//!
//! Owns how things look and nothing of what they mean. No width depends on the terminal, so that a
//! report is the same bytes everywhere.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

/// Columns of a paragraph.
const PARAGRAPH_COLUMNS: usize = 88;

/// A number with a comma between each three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `number` and the noun in the form that fits it.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        grouped(number),
        if number == 1 { one } else { many }
    )
}

/// How often, in words.
pub fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", grouped(number)),
    }
}

/// `part` of `whole` in percent with one decimal, rounded; `-` of nothing.
pub fn percent(part: u64, whole: u64) -> String {
    scaled(part, whole, 1000, 1)
}

/// `part / whole` with two decimals, rounded; `-` of nothing.
pub fn ratio(part: u64, whole: u64) -> String {
    scaled(part, whole, 100, 2)
}

fn scaled(part: u64, whole: u64, scale: u128, decimals: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let (part, whole) = (u128::from(part), u128::from(whole));
    let value = (part * scale + whole / 2) / whole;
    let unit = 10u128.pow(decimals as u32);
    format!("{}.{:0decimals$}", value / unit, value % unit)
}

/// Columns of text two spaces apart: a head with a rule below it, unless it is empty, then the rows.
/// `align` has one letter for each column, `l` or `r`; its last one holds for all further columns.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>, align: &str) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    if !head.is_empty() {
        table.set_header(head.iter().map(Cell::new));
    }
    table.add_rows(rows);
    let last = align.chars().next_back().unwrap_or('l');
    let letters = align.chars().chain(std::iter::repeat(last));
    for (column, letter) in table.column_iter_mut().zip(letters) {
        // The style puts one more space between columns.
        column.set_padding((0, 1));
        if letter == 'r' {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// `text` with two spaces before each line.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// `text` as a paragraph: `first` before its first line, `rest` before the others.
pub fn wrap(text: &str, first: &str, rest: &str) -> String {
    let mut wrapped = String::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > PARAGRAPH_COLUMNS {
            wrapped.push_str(line.trim_end());
            wrapped.push('\n');
            line = rest.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    wrapped.push_str(line.trim_end());
    wrapped.push('\n');
    wrapped
}

/// `text` without control characters but the newline: task names come from captures and must not
/// steer a terminal.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(percent(1, 3), "33.3");
        assert_eq!(percent(2, 3), "66.7");
        assert_eq!(percent(1, 0), "-");
        assert_eq!(ratio(3, 2), "1.50");
        assert_eq!(ratio(u64::MAX, u64::MAX), "1.00");
        assert_eq!([1, 2, 1000].map(times), ["once", "twice", "1,000 times"]);
    }

    #[test]
    fn tables_align_numbers_to_the_right_and_end_without_spaces() {
        let rows = [("a", "1"), ("bcd", "1,000")].map(|(a, b)| vec![a.to_owned(), b.to_owned()]);
        let text = table(&["name", "n"], rows, "lr");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            [lines[0], lines[2], lines[3]],
            ["name      n", "a         1", "bcd   1,000"]
        );
        assert!(lines[1].chars().all(|c| c == '─'));
    }

    #[test]
    fn paragraphs_keep_within_their_columns() {
        let text = "word ".repeat(60);
        let wrapped = wrap(&text, "- ", "  ");
        assert!(
            wrapped
                .lines()
                .all(|line| line.chars().count() <= PARAGRAPH_COLUMNS)
        );
        assert_eq!(
            wrapped
                .split_whitespace()
                .filter(|word| *word == "word")
                .count(),
            60
        );
        assert!(
            wrapped.starts_with("- word") && wrapped.lines().nth(1).unwrap().starts_with("  w")
        );
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(printable("a\u{1b}[1m\nb\r"), "a\\u{1b}[1m\nb\\u{d}");
    }
}
