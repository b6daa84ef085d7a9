//! The window through which `__test__/strings.test.mjs` looks at what the parser makes of a string. It is in the test program
//! alone: the addon has no way to give a parsed password away, nor had it to be built again.

use crate::pg::connect::config::{ConnectConfig, Roots, Trust};
use serde_json::{json, Value};

/// Reads the cases in the file of `ADVISORY_LOCK_CASES`, `[{ text, variables }]`, and writes what they mean to the same file.
#[test]
#[ignore = "a tool of another test"]
fn tell_what_strings_mean() {
    let Ok(path) = std::env::var("ADVISORY_LOCK_CASES") else { return };
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let meanings: Vec<Value> = cases.iter().map(meaning).collect();
    std::fs::write(path, Value::from(meanings).to_string()).unwrap();
}

fn meaning(case: &Value) -> Value {
    let variable = |name: &str| case["variables"][name].as_str().map(str::to_owned);
    match ConnectConfig::parse(case["text"].as_str().unwrap(), variable) {
        Err(error) => json!({ "code": error.code(), "message": error.message() }),
        Ok(config) => json!({
            "hosts": config.hosts.iter().map(|host| json!([host.name, host.port])).collect::<Vec<_>>(),
            "user": config.user,
            "password": config.password.map(|password| password.0),
            "database": config.database,
            "applicationName": config.application_name,
            "options": config.options,
            "tls": config.tls.map(|tls| json!({
                "trust": match tls.trust {
                    Trust::Name => "name",
                    Trust::Issuer => "issuer",
                    Trust::Nothing => "nothing",
                },
                "roots": match tls.roots {
                    Roots::File(path) => Some(path),
                    Roots::Platform { .. } => None,
                },
                "certificate": tls.identity.as_ref().map(|identity| &identity.certificate),
                "key": tls.identity.as_ref().map(|identity| &identity.key),
                "direct": tls.direct,
            })),
        }),
    }
}
