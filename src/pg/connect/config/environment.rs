//! The variables of the process's environment.

pub(super) struct Environment<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Environment<'a> {
    pub fn new(variables: &'a dyn Fn(&str) -> Option<String>) -> Environment<'a> {
        Environment { variables }
    }

    /// A variable; an empty one says nothing.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    /// Whether the variable is there, be it empty.
    pub fn has(&self, name: &str) -> bool {
        (self.variables)(name).is_some()
    }

    /// Who runs the process.
    pub fn user(&self) -> Option<String> {
        let names = if cfg!(windows) { ["USERNAME", "USER"] } else { ["USER", "USERNAME"] };
        names.into_iter().find_map(|name| self.get(name)).or_else(|| whoami::username().ok())
    }
}
