//! The only place that prints. Standard output carries results, standard error everything else.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use super::error::CliError;

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// When to use colour. `NO_COLOR` and `CLICOLOR_FORCE` are obeyed by `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// What a word of output means, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Good,
    Warning,
    Bad,
    Faint,
}

pub(super) struct Output {
    color_stdout: bool,
    color_stderr: bool,
    quiet: bool,
}

impl Output {
    pub(super) fn new(color: Color, quiet: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let wanted = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") => false,
            Color::Auto if set("CLICOLOR_FORCE") => true,
            Color::Auto => terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        };
        Self {
            color_stdout: wanted(io::stdout().is_terminal()),
            color_stderr: wanted(io::stderr().is_terminal()),
            quiet,
        }
    }

    /// Whether a person watches: progress bars make sense.
    pub(super) fn attended(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Whether results go to a terminal that what is drawn can be drawn over on.
    pub(super) fn draws(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        io::stdout().is_terminal() && !dumb
    }

    /// How long a line of a result may be before it wraps.
    pub(super) fn width(&self) -> usize {
        let size = console::Term::stdout().size_checked();
        size.map_or(120, |(_, width)| width.into())
    }

    /// A result. `table` makes the form for people.
    pub(super) fn data<T: Serialize>(
        &self,
        format: Format,
        data: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        let unprintable = |error: &dyn std::fmt::Display| {
            CliError::failed(format!("cannot print the result: {error}"))
        };
        match format {
            Format::Table => self.text(&table(data)),
            Format::Json => {
                let mut text =
                    serde_json::to_string_pretty(data).map_err(|error| unprintable(&error))?;
                text.push('\n');
                self.text(&text)
            }
            Format::Yaml => {
                let text = serde_saphyr::to_string(data).map_err(|error| unprintable(&error))?;
                self.text(&text)
            }
        }
    }

    /// Text on standard output. A reader that went away (`| head`) is no error.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A line on standard error about what is going on.
    pub(super) fn note(&self, line: &str) {
        if !self.quiet {
            self.stderr(line);
        }
    }

    /// An error, on standard error.
    pub(super) fn error(&self, error: &CliError) {
        let word = paint(self.color_stderr, Style::Bad, "error");
        let mut text = format!("{word}: {}", error.what);
        if let Some(fix) = &error.fix {
            let _ = write!(text, "\n  fix   {fix}");
        }
        self.stderr(&text);
    }

    /// A word on standard output.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        paint(self.color_stdout, style, text)
    }

    fn stderr(&self, text: &str) {
        // There is nobody left to tell if standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn paint(color: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Good => "32",
        Style::Warning => "33",
        Style::Bad => "31",
        Style::Faint => "2",
    };
    match color {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

/// Columns, as wide as they have to be, two spaces apart. No borders: they are noise to a screen
/// reader and to `awk`.
pub(super) fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Disabled)
        .set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String = table
        .lines()
        .flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()])
        .collect();
    if rows.is_empty() {
        text.clear();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_space() {
        let rows = vec![vec!["a".to_owned(), "b".to_owned()]];
        assert_eq!(columns(&["LONG", "X"], &rows), "LONG  X\na     b\n");
        assert_eq!(columns(&["LONG", "X"], &[]), "");
    }
}
