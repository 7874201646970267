//! Replaces the text between the markers of a file:
//!
//! ```text
//! <!-- results:latency -->
//! ...
//! <!-- /results -->
//! ```
//!
//! Each marker must be on a line of its own. All other text stays the same, byte for byte. The new
//! lines end as the line of the start marker does.

use super::markdown::{Details, block};
use super::section::{KEYS, Section};

const START: &str = "<!-- results:";
const END: &str = "<!-- /results -->";

/// The reasons why the markers of a file are invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpliceError {
    /// The file has no markers.
    #[error("expected lines `{START}NAME -->` and `{END}`, found none; NAME is one of {}", KEYS.join(", "))]
    NoMarkers,
    /// A block has the name of no section.
    #[error("line {line}: there are no results called {name:?}; expected one of {}", KEYS.join(", "))]
    Unknown {
        /// The line, from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// A block begins within another one, or does not end.
    #[error("line {line}: the results {name:?} have no `{END}` behind them")]
    Unclosed {
        /// The line of the start marker, from 1.
        line: usize,
        /// The name of the block.
        name: String,
    },
    /// An end marker has no start marker.
    #[error("line {line}: `{END}` without `{START}NAME -->` before it")]
    Unopened {
        /// The line, from 1.
        line: usize,
    },
}

/// Replaces the blocks of measured sections. Returns the text, and notes on the blocks that were
/// not replaced.
pub(crate) fn splice(text: &str, sections: &[Section]) -> Result<(String, Vec<String>), SpliceError> {
    let (mut spliced, mut notes) = (String::with_capacity(text.len()), Vec::new());
    let (mut open, mut any): (Option<Open<'_>>, bool) = (None, false);
    for (line, raw) in (1..).zip(text.split_inclusive('\n')) {
        match (marker(raw), open.take()) {
            (Marker::Start(_), Some(Open { line, name, .. })) => {
                return Err(SpliceError::Unclosed { line, name: name.to_owned() });
            }
            (Marker::Start(name), None) => {
                if !KEYS.contains(&name) {
                    return Err(SpliceError::Unknown { line, name: name.to_owned() });
                }
                spliced += raw;
                open = Some(Open { line, name, is_crlf: raw.ends_with("\r\n"), inner: String::new() });
                any = true;
            }
            (Marker::End, None) => return Err(SpliceError::Unopened { line }),
            (Marker::End, Some(Open { name, is_crlf, inner, .. })) => {
                match sections.iter().find(|section| section.key == name && section.is_measured()) {
                    Some(section) => {
                        let block = block(section, Details::Omitted);
                        spliced += &if is_crlf { block.replace('\n', "\r\n") } else { block };
                    }
                    None => {
                        notes.push(note(name, sections));
                        spliced += &inner;
                    }
                }
                spliced += raw;
            }
            (Marker::None, Some(mut inside)) => {
                inside.inner += raw;
                open = Some(inside);
            }
            (Marker::None, None) => spliced += raw,
        }
    }
    match open {
        Some(Open { line, name, .. }) => Err(SpliceError::Unclosed { line, name: name.to_owned() }),
        None if !any => Err(SpliceError::NoMarkers),
        None => Ok((spliced, notes)),
    }
}

struct Open<'t> {
    line: usize,
    name: &'t str,
    is_crlf: bool,
    inner: String,
}

enum Marker<'t> {
    Start(&'t str),
    End,
    None,
}

fn marker(line: &str) -> Marker<'_> {
    let line = line.trim();
    match line.strip_prefix(START).and_then(|rest| rest.strip_suffix("-->")) {
        Some(name) => Marker::Start(name.trim()),
        None if line == END => Marker::End,
        None => Marker::None,
    }
}

fn note(name: &str, sections: &[Section]) -> String {
    match sections.iter().find(|section| section.key == name) {
        Some(section) => {
            format!("the results {name:?} are left as they are: not measured; run `{}`", section.command)
        }
        None => format!("the results {name:?} are left as they are: run `mnemobench report` with --baseline"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::section::Part;
    use crate::table::Table;
    use proptest::prelude::*;

    fn section(key: &'static str, value: &str) -> Section {
        let mut table = Table::new(["value"]);
        table.row([value.to_owned()]);
        let part = Part { caption: "Values".into(), plot: None, table, is_detail: false };
        let parts = if value.is_empty() { Vec::new() } else { vec![part] };
        Section {
            key,
            title: "",
            about: "",
            command: "cargo bench".into(),
            parts,
            notes: Vec::new(),
            origin: "Here.".into(),
        }
    }

    #[test]
    fn what_is_between_the_markers_is_replaced_and_what_was_not_measured_stays() {
        let text = "a\r\n<!-- results:latency -->\nold\n<!-- /results -->\nb\n <!-- results:slo -->\nkept\n<!-- /results -->";
        let (spliced, notes) = splice(text, &[section("latency", "7"), section("slo", "")]).unwrap();
        assert_eq!(
            spliced,
            "a\r\n<!-- results:latency -->\nFrom `cargo bench`.\n\nValues:\n\n| value |\n| --- |\n| 7 |\n\nHere.\n\
             <!-- /results -->\nb\n <!-- results:slo -->\nkept\n<!-- /results -->"
        );
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("slo") && notes[0].contains("cargo bench"), "{notes:?}");
    }

    #[test]
    fn markers_that_make_no_sense_are_refused() {
        let refused = |text: &str| splice(text, &[section("latency", "7")]).unwrap_err();
        assert_eq!(refused("no markers, as in `<!-- results:latency -->`\n"), SpliceError::NoMarkers);
        assert_eq!(refused("a\n<!-- /results -->"), SpliceError::Unopened { line: 2 });
        let unclosed = SpliceError::Unclosed { line: 1, name: "latency".into() };
        assert_eq!(refused("<!-- results:latency -->\n"), unclosed);
        assert_eq!(refused("<!-- results:latency -->\n<!-- results:slo -->\n<!-- /results -->"), unclosed);
        let unknown = refused("<!-- results:latencies -->\n<!-- /results -->");
        assert_eq!(unknown, SpliceError::Unknown { line: 1, name: "latencies".into() });
        assert!(unknown.to_string().contains("latency, throughput"), "{unknown}");
    }

    /// Returns lines of arbitrary text, some of which resemble markers.
    fn outside() -> impl Strategy<Value = String> {
        prop::collection::vec("[ -~]{0,20}(\r)?\n|`<!-- results:slo -->`\n|é\n", 0..6)
            .prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn everything_else_stays_and_twice_is_once(
            before in outside(), old in outside(), between in outside(), after in outside(), value in "[a-z|]{1,9}",
        ) {
            let is_plain = |text: &String| text.lines().all(|line| matches!(marker(line), Marker::None));
            prop_assume!([&before, &old, &between, &after].into_iter().all(is_plain));
            let sections = [section("latency", &value), section("slo", "")];
            let file = |latency: &str| format!(
                "{before}<!-- results:latency -->\n{latency}<!-- /results -->\n{between}\
                 <!-- results:slo -->\n{old}<!-- /results -->\n{after}"
            );
            let (once, _) = splice(&file(&old), &sections).unwrap();
            prop_assert_eq!(&once, &file(&block(&sections[0], Details::Omitted)));
            prop_assert_eq!(splice(&once, &sections).unwrap().0, once);
        }
    }
}
