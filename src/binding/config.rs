//! Where and how an owner connects, as JavaScript says it.

use crate::error::Error;
use crate::manager::Settings;
use crate::pg::{ConnectConfig, Timing};
use napi::bindgen_prelude::Function;
use napi_derive::napi;
use std::time::Duration;

/// Options of `advisoryLock(connectionString, options)`, checked by JavaScript; times in milliseconds.
#[napi(object)]
pub struct Options {
    /// Most sessions in the server's queue.
    pub max_wait_connections: u32,
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
}

/// A connection string and options, read.
#[napi]
pub struct Config {
    /// An unusable connection string is reported by each call of an owner.
    pub(super) read: Result<(ConnectConfig, Settings), Error>,
}

#[napi]
impl Config {
    /// Reads the connection string, and by `variable` what it leaves out.
    #[napi(constructor)]
    pub fn new(connection_string: String, options: Options, variable: Function<'_, String, Option<String>>) -> Config {
        let milliseconds = |number: u32| Duration::from_millis(u64::from(number));
        let settings = Settings {
            max_wait_connections: options.max_wait_connections as usize,
            idle_timeout: milliseconds(options.idle_timeout),
            timing: Timing::new(milliseconds(options.heartbeat), milliseconds(options.answer_timeout)),
        };
        let variable = |name: &str| variable.call(name.to_owned()).ok().flatten();
        let read = ConnectConfig::parse(&connection_string, variable).map(|mut config| {
            if let Some(limit) = options.connect_timeout {
                config = config.with_connect_timeout(milliseconds(limit));
            }
            if let Some(name) = options.application_name {
                config = config.with_application_name(name);
            }
            (config, settings)
        });
        Config { read }
    }
}
