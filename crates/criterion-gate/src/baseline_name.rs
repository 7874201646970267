//! Names of saved baselines.

use std::path::{Component, Path};

/// Names that Criterion gives to its own folders beside those of the baselines: the last run, the
/// run before it, their difference, and the plots.
const RESERVED: [&str; 4] = ["new", "base", "change", "report"];

/// A name that no baseline can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaselineNameError {
    /// The name leads out of the folder of the results, or is another spelling of a name.
    #[error("the name `{0}` leads elsewhere; expected one such as `main` or `feature/login`")]
    Elsewhere(String),
    /// Criterion uses the name itself.
    #[error(
        "the name `{name}` is taken: Criterion uses the folder `{folder}`; expected another, such as `main`"
    )]
    Reserved {
        /// The name.
        name: String,
        /// The first folder of the name.
        folder: &'static str,
    },
}

/// Checks the name of a saved baseline. A name with a slash, such as `feature/login`, is a folder
/// within a folder.
///
/// # Errors
/// [`BaselineNameError`] if Criterion would write elsewhere, or over its own files.
///
/// ```
/// use criterion_gate::baseline_name::check_baseline_name;
///
/// assert!(check_baseline_name("feature/login").is_ok());
/// for name in ["../main", "/main", "main/", "", "new"] {
///     assert!(check_baseline_name(name).is_err(), "{name}");
/// }
/// ```
pub fn check_baseline_name(name: &str) -> Result<(), BaselineNameError> {
    let is_plain = |part: &str| {
        let mut components = Path::new(part).components();
        matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == part)
    };
    if !name.split('/').all(is_plain) || name.contains('\0') {
        return Err(BaselineNameError::Elsewhere(name.to_owned()));
    }
    let first = name.split('/').next().unwrap_or_default();
    match RESERVED.into_iter().find(|reserved| *reserved == first) {
        Some(folder) => Err(BaselineNameError::Reserved { name: name.to_owned(), folder }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_or_are_criterions_are_refused() {
        for name in ["main", "feature/login", "v1.2", "a b", "..a", "news", "feature/new", "-x"] {
            assert_eq!(check_baseline_name(name), Ok(()), "{name}");
        }
        for name in ["", "/", "/abs", "../evil", "a/../b", "a//b", "a/", "./a", ".", "..", "a/.", "a\0b"] {
            let refused = check_baseline_name(name).unwrap_err();
            assert_eq!(refused, BaselineNameError::Elsewhere(name.into()));
            assert!(refused.to_string().contains("leads elsewhere"), "{refused}");
        }
        for name in ["new", "base", "change", "report", "new/x"] {
            let refused = check_baseline_name(name).unwrap_err();
            assert!(matches!(refused, BaselineNameError::Reserved { .. }), "{refused}");
        }
    }
}
