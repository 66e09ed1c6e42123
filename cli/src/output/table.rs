//! Columns, as wide as their widest cell; the last one is left to run.

use super::{Style, safe};

/// A table. Cells are made safe when they are put in.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// A table with a heading.
    pub fn new(heading: &[&str]) -> Self {
        let mut table = Self::default();
        if !heading.is_empty() {
            table.rows.push(
                heading
                    .iter()
                    .map(|cell| ((*cell).to_owned(), Style::Bold))
                    .collect(),
            );
        }
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|(text, style)| (safe(&text), style))
                .collect(),
        );
    }

    /// Has it rows below its heading?
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// As text.
    pub fn text(&self, color: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|(text, _)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut pending = 0;
            for ((text, style), width) in row.iter().zip(&widths) {
                if !text.is_empty() {
                    line.extend(std::iter::repeat_n(' ', pending));
                    line.push_str(&style.paint(text, color));
                    pending = 0;
                }
                pending += width - text.chars().count() + 2;
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_spaces() {
        let mut table = Table::new(&["NAME", "HEALTH", "MESSAGE"]);
        table.row([
            ("cart".into(), Style::Plain),
            ("Healthy".into(), Style::Good),
            (String::new(), Style::Plain),
        ]);
        table.row([
            ("a\x1b[2J".into(), Style::Plain),
            (String::new(), Style::Plain),
            ("über".into(), Style::Dim),
        ]);
        assert_eq!(
            table.text(false),
            "NAME        HEALTH   MESSAGE\ncart        Healthy\na\\u{1b}[2J           über\n"
        );
        assert!(table.text(true).contains("\x1b[32mHealthy\x1b[0m"));
    }
}
