//! `mnemobench report`: writes the results as an HTML page, as Markdown and as JSON. It can also
//! splice their tables into a file such as `docs/results.md`.

mod export;
mod markdown;
mod model;
mod page;
mod plot;
mod section;
mod splice;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use criterion_gate::baseline_name::check_baseline_name;
use criterion_gate::results::NEW;
use mnemobench::compare::{Comparison, summary};

use self::model::Report;
use self::plot::Error;
use crate::cli::ReportArgs;
use crate::run_results::RunResults;
use crate::streams;
use crate::verdicts;

/// Writes all files and returns the exit code.
pub(crate) fn report(arguments: &ReportArgs) -> Result<u8, Error> {
    let ReportArgs { output, home: places, .. } = arguments;
    let home = places.criterion()?;
    let levels = places.thresholds(arguments.thresholds.as_deref())?.slo;
    let measured = RunResults::read(&home, NEW);
    let baseline = arguments.baseline.as_deref();
    baseline.map(check_baseline_name).transpose()?;
    let verdicts = baseline.map(|name| verdicts::read(&home, NEW, name)).transpose()?;
    let comparison = read_comparison(output, arguments.comparison.as_deref())?;
    let report = Report::new(&measured, verdicts.as_ref(), &levels, comparison.as_ref())?;
    report.unreadable.iter().for_each(|(what, reason)| streams::note(format!("warning: {what}: {reason}")));
    // Invalid markers are reported before any file is written.
    let readme = arguments.readme.as_deref().map(|path| Readme::splice(path, &report)).transpose()?;

    fs::create_dir_all(output).map_err(|error| format!("{}: {error}", output.display()))?;
    save(&output.join("report.html"), &page::page(&report)?)?;
    save(&output.join("report.md"), &markdown::report(&report))?;
    let exported = export::export(&measured);
    for (name, json) in &exported {
        save(&output.join(name), json)?;
    }
    streams::line(format!(
        "{}: report.html, report.md and {} results as JSON",
        output.display(),
        exported.len()
    ))?;
    readme.map(Readme::save).transpose()?;
    Ok(0)
}

/// Reads the results of `compare`, if there are any. A file named by the user must exist.
fn read_comparison(output: &Path, named: Option<&Path>) -> Result<Option<Comparison>, Error> {
    let usual = output.join("compare").join("compare.json");
    let path = named.unwrap_or(&usual);
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let error = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|e| error(&e))?;
    let comparison: Comparison = serde_json::from_str(&text)
        .map_err(|e| error(&format!("{e}; expected the output of mnemobench compare, run it again")))?;
    if comparison.format != summary::FORMAT {
        let reason = format!("expected format {}, found {}", summary::FORMAT, comparison.format);
        return Err(error(&format!("{reason}; run mnemobench compare again")).into());
    }
    Ok(Some(comparison))
}

/// The section of a comparison, for use outside a report.
pub(crate) struct Chapter(section::Section);

impl Chapter {
    /// Creates the chapter of `comparison`.
    pub(crate) fn of(comparison: &Comparison) -> Result<Self, Error> {
        section::of_comparison(comparison).map(Self)
    }

    /// Returns the chapter as a Markdown page.
    pub(crate) fn markdown(&self) -> String {
        let Self(section) = self;
        let block = markdown::block(section, markdown::Details::Folded);
        format!("# {}\n\n{}\n\n{block}", section.title, section.about)
    }

    /// Returns the tables as text for a terminal, without details.
    pub(crate) fn text(&self) -> String {
        let parts = self.0.parts.iter().filter(|part| !part.is_detail);
        parts.map(|part| format!("{}:\n\n{}\n\n", part.caption, part.table.to_text())).collect()
    }
}

/// A file whose blocks are replaced.
struct Readme<'a> {
    path: &'a Path,
    before: String,
    after: String,
    notes: Vec<String>,
}

impl<'a> Readme<'a> {
    fn splice(path: &'a Path, report: &Report) -> Result<Self, String> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let before = fs::read_to_string(path).map_err(|error| named(&error))?;
        let (after, notes) = splice::splice(&before, &report.sections).map_err(|error| named(&error))?;
        Ok(Self { path, before, after, notes })
    }

    fn save(self) -> Result<(), Error> {
        let path = self.path.display();
        self.notes.iter().try_for_each(|note| streams::line(format!("{path}: {note}")))?;
        if self.before == self.after {
            return Ok(streams::line(format!("{path}: unchanged"))?);
        }
        save(self.path, &self.after)?;
        Ok(streams::line(format!("{path}: written"))?)
    }
}

/// Writes a file atomically.
pub(crate) fn save(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        // Temporary files are private, but the result is as readable as any other output file.
        let permissions = fs::metadata(path).map(|about| about.permissions());
        if let Some(permissions) = permissions.ok().or_else(readable) {
            file.as_file().set_permissions(permissions)?;
        }
        file.persist(path)?;
        Ok(())
    });
    Ok(written.map_err(|error| format!("{}: {error}", path.display()))?)
}

#[cfg(unix)]
fn readable() -> Option<fs::Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable() -> Option<fs::Permissions> {
    None
}
