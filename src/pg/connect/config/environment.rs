//! What the process's environment says where the connection string is silent.

use std::path::PathBuf;

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

    /// What the string says, else the variable.
    pub fn unless(&self, said: Option<&str>, name: &str) -> Option<String> {
        said.map(str::to_owned).or_else(|| self.get(name))
    }

    /// Who runs the process.
    pub fn user(&self) -> Option<String> {
        let names = if cfg!(windows) { ["USERNAME", "USER"] } else { ["USER", "USERNAME"] };
        names.into_iter().find_map(|name| self.get(name)).or_else(|| whoami::username().ok())
    }

    /// The file that may hold the password: `given`, else the one of the variables, else the user's own.
    ///
    /// `PGPASSWORD`, even an empty one, keeps `pg` from looking into the file.
    pub fn password_file(&self, given: Option<&str>) -> Option<PathBuf> {
        if (self.variables)("PGPASSWORD").is_some() {
            return None;
        }
        self.unless(given, "PGPASSFILE").map(PathBuf::from).or_else(|| {
            if cfg!(windows) {
                self.get("APPDATA").map(|folder| PathBuf::from(folder).join("postgresql").join("pgpass.conf"))
            } else {
                self.get("HOME").map(|folder| PathBuf::from(folder).join(".pgpass"))
            }
        })
    }
}
