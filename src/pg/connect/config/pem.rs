//! Where certificates and keys are written, in the form of PEM.

use super::parameters::Value;
use std::fmt;
use std::path::PathBuf;

/// A text in the form of PEM, or the file in which it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::pg) enum Pem {
    /// Read for each connection, as it may have changed since.
    File {
        /// The parameter or variable that names it.
        parameter: &'static str,
        path: PathBuf,
    },
    /// Never in a file, and never printed, as it may be a key.
    Text {
        /// The field of the configuration object that has it.
        field: &'static str,
        text: String,
    },
}

impl Pem {
    pub(super) fn in_file(path: Value) -> Pem {
        Pem::File { parameter: path.name(), path: path.text.into() }
    }
}

/// For an error: what it is about.
impl fmt::Display for Pem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File { parameter, path } => write!(formatter, "{parameter} {}", path.display()),
            Pem::Text { field, .. } => formatter.write_str(field),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
