//! A table that can be formatted as text or as Markdown.

use comfy_table::{CellAlignment, ContentArrangement, presets};

/// A table. Every row has a cell for each column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// The cells, row by row.
    pub(crate) rows: Vec<Vec<String>>,
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// The heading.
    pub(crate) name: String,
    /// Whether the column holds numbers, which are right-aligned.
    pub(crate) is_numeric: bool,
}

impl Table {
    /// Creates a table without rows. A column whose name begins with `#` holds numbers.
    pub(crate) fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self::of_columns(columns)
    }

    /// As [`Table::new`], for a number of columns known at run time only.
    pub(crate) fn of_columns<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let column = |name: &str| match name.strip_prefix('#') {
            Some(name) => Column { name: name.to_owned(), is_numeric: true },
            None => Column { name: name.to_owned(), is_numeric: false },
        };
        Self { columns: columns.into_iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "cells of a row");
        self.rows.push(cells.into());
    }

    /// Removes the columns that are empty in all rows.
    pub(crate) fn without_empty_columns(mut self) -> Self {
        for column in (0..self.columns.len()).rev() {
            if self.rows.iter().all(|row| row.get(column).is_none_or(String::is_empty)) {
                self.columns.remove(column);
                self.rows
                    .iter_mut()
                    .filter(|row| column < row.len())
                    .for_each(|row| drop(row.remove(column)));
            }
        }
        self
    }

    /// Whether any column has a heading.
    pub(crate) fn has_head(&self) -> bool {
        self.columns.iter().any(|column| !column.name.is_empty())
    }

    /// Formats the table for a terminal.
    pub(crate) fn to_text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|column| &column.name));
        table.add_rows(&self.rows);
        for (column, about) in table.column_iter_mut().zip(&self.columns) {
            if about.is_numeric {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let text = table.to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// Formats the table as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| {
            cells.fold(String::from("|"), |line, cell| format!("{line} {cell} |")) + "\n"
        };
        let escaped = |cell: &String| cell.replace('|', "\\|").replace('\n', " ");
        let mut text = line(&mut self.columns.iter().map(|column| escaped(&column.name)));
        text += &line(
            &mut self.columns.iter().map(|column| if column.is_numeric { "---:" } else { "---" }.to_owned()),
        );
        self.rows.iter().for_each(|row| text += &line(&mut row.iter().map(escaped)));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_bar_or_a_new_line_keeps_the_table_whole() {
        let mut table = Table::new(["name", "#value"]);
        table.row(["a|b\nc".into(), "1".into()]);
        assert_eq!(table.to_markdown(), "| name | value |\n| --- | ---: |\n| a\\|b c | 1 |\n");
        assert!(table.to_text().contains("value"));
    }
}
