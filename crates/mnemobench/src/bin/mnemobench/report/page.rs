//! The report as one page that needs nothing else: no script, no font, no network.

use askama::Template;

use super::model::Report;
use super::plot::Error;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
}

/// The page.
///
/// # Errors
/// None that are known: the template writes into memory.
pub(crate) fn page(report: &Report) -> Result<String, Error> {
    Ok(Page { report }.render()?)
}
