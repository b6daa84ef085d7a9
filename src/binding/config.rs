//! Where and how an owner connects, as JavaScript says it.

use super::passwords::{Passwords, Questions};
use crate::error::Error;
use crate::manager::Settings;
use crate::pg::{ConnectConfig, Description, Timing, TlsFields};
use napi::bindgen_prelude::Function;
use napi_derive::napi;
use std::sync::Arc;
use std::time::Duration;

/// Options of `advisoryLock(connectionString, options)`, checked by JavaScript; times in milliseconds.
#[napi(object)]
pub struct Options {
    /// Most sessions in the server's queue.
    pub max_wait_connections: u32,
    /// Whether to work through a transaction pooler; absent: as the connection string says.
    pub transaction_pooling: Option<bool>,
    /// The way past it by which locks are held.
    pub direct_connection_string: Option<String>,
    /// Most locks that are held through one at a time.
    pub max_pinned_connections: u32,
    /// Until an unused session is closed.
    pub idle_timeout: u32,
    /// For one attempt to connect.
    pub connect_timeout: Option<u32>,
    /// Shown in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Between signs of life.
    pub heartbeat: u32,
    /// Within which the server has to answer.
    pub answer_timeout: u32,
    /// Whether sessions say in the database what they hold.
    pub publish_names: bool,
}

/// Where to connect, as [`Description`] has it, checked by JavaScript.
#[napi(object)]
pub struct Connection {
    /// May be empty.
    pub connection_string: String,
    /// Names and values of a configuration object.
    pub fields: Vec<(String, String)>,
    /// Who is trusted, as PEM.
    pub ca: Option<String>,
    /// The client's certificate, as PEM.
    pub cert: Option<String>,
    /// The key that belongs to it, as PEM.
    pub key: Option<String>,
    /// What the server is called where its host is an address.
    pub servername: Option<String>,
    /// The number of the function that gives the password.
    pub password_function: Option<f64>,
}

/// Where to connect, and options, read.
#[napi]
pub struct Config {
    /// A description that cannot be used is reported by each call of an owner.
    pub(super) read: Result<(ConnectConfig, Settings), Error>,
    /// What does not go together, to be read.
    conflict: Option<&'static str>,
    /// Where a function that gives the password is asked.
    pub(super) questions: Option<Arc<Questions>>,
}

#[napi]
impl Config {
    /// Reads the description, and by `variable` what it leaves out. `passwords`: where its function is asked.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        connection: Connection,
        options: Options,
        variable: Function<'_, String, Option<String>>,
        passwords: Option<&Passwords>,
    ) -> Config {
        let milliseconds = |number: u32| Duration::from_millis(u64::from(number));
        let mut settings = Settings {
            max_pinned_connections: None,
            looks_through: None,
            max_wait_connections: options.max_wait_connections as usize,
            idle_timeout: milliseconds(options.idle_timeout),
            timing: Timing::new(milliseconds(options.heartbeat), milliseconds(options.answer_timeout)),
            publish_names: options.publish_names,
        };
        let variable = |name: &str| variable.call(name.to_owned()).ok().flatten();
        let Connection { connection_string, fields, ca, cert, key, servername, password_function } = connection;
        let questions = passwords.map(|passwords| Arc::clone(&passwords.0));
        let description = Description {
            text: connection_string,
            fields,
            tls: TlsFields { ca, cert, key, servername },
            password_source: questions
                .as_ref()
                .zip(password_function)
                .map(|(questions, function)| questions.source(function)),
        };
        let parse = |description: Description| {
            ConnectConfig::parse(description, variable).map(|mut config| {
                if let Some(limit) = options.connect_timeout {
                    config = config.with_connect_timeout(milliseconds(limit));
                }
                if let Some(name) = &options.application_name {
                    config = config.with_application_name(name.clone());
                }
                config
            })
        };
        let direct = options
            .direct_connection_string
            .as_deref()
            .map(|text| parse(Description::from(text)).map_err(|error| error.about("directConnectionString")));
        let mut conflict = None;
        let read = parse(description).and_then(|config| {
            let is_pooled = options.transaction_pooling.unwrap_or_else(|| config.is_pooled());
            let Some(direct) = direct else {
                settings.max_pinned_connections = is_pooled.then_some(options.max_pinned_connections as usize);
                return Ok((config, settings));
            };
            let direct = direct?;
            if !is_pooled {
                conflict = Some("options.directConnectionString goes with transactionPooling (or pgbouncer=true) only");
            } else if direct.is_pooled() {
                conflict = Some("options.directConnectionString must lead past the pooler: it has pgbouncer=true");
            }
            settings.looks_through = Some(config);
            Ok((direct, settings))
        });
        Config { read, conflict, questions }
    }

    /// What does not go together, if anything does not.
    #[napi(getter, catch_unwind)]
    pub fn conflict(&self) -> Option<String> {
        self.conflict.map(str::to_owned)
    }

    /// Most locks that are held at a time through a transaction pooler, where one is worked through.
    #[napi(getter, catch_unwind)]
    pub fn max_pinned_connections(&self) -> Option<u32> {
        let (_, settings) = self.read.as_ref().ok()?;
        settings.max_pinned_connections.and_then(|most| u32::try_from(most).ok())
    }
}
