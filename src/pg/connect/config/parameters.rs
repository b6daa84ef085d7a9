//! What the caller says, in a connection string or by the fields of an object, and the variables of the environment where both
//! are silent.

use super::description::{Merged, TlsFields};
use super::environment::Environment;
use super::parts::{self, Parts};
use super::password::PasswordSource;
use super::{escape, refusal};
use crate::error::Error;

/// One value, and the name of the parameter or variable that it comes from.
pub(super) struct Value {
    name: &'static str,
    pub text: String,
}

impl Value {
    /// What to call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The error that the value is none of those that there are.
    pub fn invalid(&self, expected: &str) -> Error {
        refusal::invalid(self.name, expected)
    }

    /// The error that the value asks for what is not done.
    pub fn unmet(&self, why: &str) -> Error {
        refusal::unmet(self.name, why)
    }
}

/// What was said, by the caller or by variables.
pub(super) struct Parameters<'a> {
    parts: Parts,
    pub tls: TlsFields,
    pub password_source: Option<PasswordSource>,
    pub environment: Environment<'a>,
}

impl<'a> Parameters<'a> {
    pub fn new(merged: Merged, environment: Environment<'a>) -> Parameters<'a> {
        let Merged { parts, tls, password_source } = merged;
        Parameters { parts, tls, password_source, environment }
    }

    /// What the caller says, else the variable; what is empty says nothing.
    ///
    /// # Errors
    /// `ERR_INVALID_CONNECTION_STRING`: the value cannot be meant.
    pub fn get(&self, name: &'static str) -> Result<Option<Value>, Error> {
        match self.by_caller(name)? {
            Some(value) => Ok(Some(value)),
            None => self.by_variable(name),
        }
    }

    /// The same as a text.
    ///
    /// # Errors
    /// As [`Parameters::get`].
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        Ok(self.get(name)?.map(|value| value.text))
    }

    /// What the caller says.
    ///
    /// # Errors
    /// As [`Parameters::get`].
    pub fn by_caller(&self, name: &'static str) -> Result<Option<Value>, Error> {
        checked(name, name, self.parts.get(name).map(str::to_owned))
    }

    /// What the variable says, whatever the caller does.
    ///
    /// # Errors
    /// As [`Parameters::get`].
    pub fn by_variable(&self, name: &'static str) -> Result<Option<Value>, Error> {
        let Some(variable) = parts::variable(name) else { return Ok(None) };
        checked(name, variable, self.environment.get(variable))
    }

    /// Whether the caller has the parameter, be it empty.
    pub fn has_by_caller(&self, name: &str) -> bool {
        self.parts.has(name)
    }
}

fn checked(parameter: &str, name: &'static str, text: Option<String>) -> Result<Option<Value>, Error> {
    let Some(text) = text else { return Ok(None) };
    escape::check(parameter, name, &text)?;
    Ok(Some(Value { name, text }))
}
