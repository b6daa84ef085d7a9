//! What kind of server will do (manual, section 32.1.2, "target_session_attrs").

use super::parameters::Parameters;
use crate::error::Error;

/// What a session finds out about its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pg) struct Server {
    /// It follows another one.
    pub is_standby: bool,
    /// Transactions can write nothing, be it for that reason or by a setting.
    pub is_read_only: bool,
}

/// Which servers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) enum Target {
    /// The only one there is.
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Target {
    /// Whom to look for among all hosts, one after the other.
    pub fn rounds(self) -> Vec<Target> {
        match self {
            Target::PreferStandby => vec![Target::Standby, Target::Any],
            target => vec![target],
        }
    }

    /// Whether a standby is asked for, and not only put up with.
    pub fn wants_standby(self) -> bool {
        matches!(self, Target::ReadOnly | Target::Standby | Target::PreferStandby)
    }

    /// Whether every server will do.
    pub fn is_any(self) -> bool {
        matches!(self, Target::Any | Target::PreferStandby)
    }

    /// Whether the server will do.
    ///
    /// # Errors
    /// `25006`, as PostgreSQL calls what cannot be written to.
    pub fn accept(self, server: Server) -> Result<(), Error> {
        let (will_do, name) = match self {
            Target::Any | Target::PreferStandby => (true, "any"),
            Target::ReadWrite => (!server.is_read_only, "read-write"),
            Target::ReadOnly => (server.is_read_only, "read-only"),
            Target::Primary => (!server.is_standby, "primary"),
            Target::Standby => (server.is_standby, "standby"),
        };
        if will_do {
            return Ok(());
        }
        let kind = match server {
            Server { is_standby: true, .. } => "a standby",
            Server { is_read_only: true, .. } => "read-only",
            _ => "a primary that can be written to",
        };
        Err(Error::new("25006", format!("the server is {kind}, and target_session_attrs={name} asks for another")))
    }
}

/// Reads the parameter. Several hosts without it are one primary and its standbys, on which a lock would exclude nobody.
pub(super) fn read(parameters: &Parameters, hosts: usize) -> Result<Target, Error> {
    let Some(value) = parameters.get("target_session_attrs")? else {
        return Ok(if hosts > 1 { Target::ReadWrite } else { Target::Any });
    };
    match value.text.as_str() {
        "any" => Ok(Target::Any),
        "read-write" => Ok(Target::ReadWrite),
        "read-only" => Ok(Target::ReadOnly),
        "primary" => Ok(Target::Primary),
        "standby" => Ok(Target::Standby),
        "prefer-standby" => Ok(Target::PreferStandby),
        _ => Err(value.invalid("any, read-write, read-only, primary, standby or prefer-standby")),
    }
}
