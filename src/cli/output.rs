//! The only file that prints: data to stdout, talk and errors to stderr. Decides nothing.

use std::borrow::Cow;
use std::fmt::Display;
use std::fmt::Write as _;
use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Write;

use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// What a command was asked for, on stdout. A reader that went away is no fault of ours.
pub(super) fn data(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// The same as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|cause| Error::new(Kind::Internal, "the answer has no JSON").because(cause))?;
    data(text);
    Ok(())
}

/// What happens meanwhile, on stderr.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A failure: one sentence and one hint.
pub(super) fn failure(error: &Error) {
    say(rendered(error));
}

/// A panic, as the error it is.
pub(super) fn broken_promise(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = panic.payload_as_str().unwrap_or("no message");
    let sentence = format!("a promise of the program was broken at {place}: {text}");
    failure(&Error::new(Kind::Internal, sentence).hint("please report it, with what you did"));
}

/// What clap has to say, help included; whether that was help.
pub(super) fn usage(error: &clap::Error) -> bool {
    let _ = error.print();
    !error.use_stderr()
}

/// Asks the terminal; `None` when there is none.
pub(super) fn ask(question: &str) -> Option<String> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let _ = write!(io::stderr(), "{question} ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

/// Columns as wide as their widest cell; the first row is the head.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// A size as a person reads it, in three or four digits: `1.5 GiB`.
pub(super) fn bytes(count: u64) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| count >= *unit) {
        Some((name, unit)) => {
            let tenths = count / (unit / 10);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{count} B"),
    }
}

/// Text of anybody's on one line: what would move the cursor, or begin a line that looks like ours,
/// is spelt out.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    // Also what turns the direction of writing, and the line ends of Unicode.
    let moves = |c: char| {
        let unseen = '\u{2028}'..='\u{202e}';
        c.is_control() || unseen.contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    if !text.contains(moves) {
        return text.into();
    }
    let spelt =
        text.chars().map(|c| if moves(c) { c.escape_default().to_string() } else { c.into() });
    spelt.collect::<String>().into()
}

fn rendered(error: &Error) -> String {
    // An error may name an object of anybody's.
    let sentence = error.to_string();
    let sentence = printable(&sentence);
    match error.hint_text() {
        Some(hint) => format!("error: {sentence}\nhint: {hint}"),
        None => format!("error: {sentence}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_text_begins_a_line_or_moves_the_cursor() {
        assert_eq!(printable("blocks/ünï code"), "blocks/ünï code");
        let forged = "x\n\npassed: all\u{1b}[2K\r\u{9b}\u{202e}";
        let spelt = r"x\n\npassed: all\u{1b}[2K\r\u{9b}\u{202e}";
        assert_eq!(printable(forged), spelt);
    }

    #[test]
    fn an_error_is_one_sentence_and_one_hint() {
        let error = Error::new(Kind::Policy, "the server has no key service")
            .with("status", 501)
            .hint("give it a key")
            .while_doing("cannot start volume `lab`");
        assert_eq!(
            rendered(&error),
            "error: cannot start volume `lab`: the server has no key service (status 501)\n\
             hint: give it a key"
        );
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            (bytes(0), bytes(1023), bytes(1 << 20)),
            ("0 B".into(), "1023 B".into(), "1.0 MiB".into())
        );
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }

    #[test]
    fn a_table_lines_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["NAME", "AT"]), row(["photos", "/mnt"])]);
        assert_eq!(text, "NAME    AT\nphotos  /mnt");
    }
}
