//! The parts that a connection string is taken apart into, whatever its form.

use std::collections::HashMap;

/// Every parameter that counts, by `pg`'s name or libpq's, and the variable that counts where the string does not say it.
/// Others are ignored behind the `?` of a URL, as `pg` does.
const PARAMETERS: [(&str, Option<&str>); 37] = [
    ("user", Some("PGUSER")),
    ("password", Some("PGPASSWORD")),
    ("passfile", Some("PGPASSFILE")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("port", Some("PGPORT")),
    ("database", Some("PGDATABASE")),
    ("application_name", Some("PGAPPNAME")),
    ("fallback_application_name", None),
    ("options", Some("PGOPTIONS")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("statement_timeout", None),
    ("lock_timeout", None),
    ("idle_in_transaction_session_timeout", None),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("scramMaxIterations", None),
    ("pgbouncer", None),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("service", None),
    ("ssl", None),
    ("sslmode", Some("PGSSLMODE")),
    ("requiressl", Some("PGREQUIRESSL")),
    ("uselibpqcompat", None),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslsni", Some("PGSSLSNI")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
];

/// The names of all that count.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PARAMETERS.into_iter().map(|(name, _)| name)
}

/// The name under which a parameter counts, if it does.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let name = if name == "dbname" { "database" } else { name };
    names().find(|known| *known == name)
}

/// The same for a field of an object. `pg` passes over more of them, and a program's own may have a `service` there.
pub(super) fn known_field(name: &str) -> Option<&'static str> {
    known(name).filter(|known| *known == name && name != "service")
}

/// The variable that counts where the string does not say the parameter.
pub(super) fn variable(name: &str) -> Option<&'static str> {
    PARAMETERS.into_iter().find(|(known, _)| *known == name).and_then(|(_, variable)| variable)
}

/// What a connection string says.
#[derive(Default)]
pub(super) struct Parts(HashMap<&'static str, String>);

impl Parts {
    /// A part; an empty one says nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the part is there, be it empty.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets a part, in place of what it was.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.0.insert(name, value);
    }

    /// Sets a part that says nothing yet.
    pub fn fill(&mut self, name: &'static str, value: String) {
        if self.get(name).is_none() && !value.is_empty() {
            self.set(name, value);
        }
    }
}
