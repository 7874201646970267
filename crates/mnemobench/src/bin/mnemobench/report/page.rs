//! The report as a self-contained HTML page without scripts, fonts or network access.

use askama::Template;

use super::model::Report;
use super::plot::Error;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
}

/// Renders the page.
///
/// # Errors
/// The template's, although rendering into memory is not known to fail.
pub(crate) fn page(report: &Report) -> Result<String, Error> {
    Ok(Page { report }.render()?)
}
