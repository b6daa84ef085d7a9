//! The window through which `__test__/strings.test.mjs` looks at what the parser makes of a string. It is in the test program
//! alone: the addon has no way to give a parsed password away, nor had it to be built again.

use crate::pg::connect::config::{ConnectConfig, Description, PasswordSource, Pem, Roots, TlsFields, Trust};
use serde_json::{json, Value};

/// Reads the cases in the file of `ADVISORY_LOCK_CASES`, `[{ text, fields, tls, variables }]`, and writes what they mean to the same
/// file.
#[test]
#[ignore = "a tool of another test"]
fn tell_what_strings_mean() {
    let Ok(path) = std::env::var("ADVISORY_LOCK_CASES") else { return };
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let meanings: Vec<Value> = cases.iter().map(meaning).collect();
    std::fs::write(path, Value::from(meanings).to_string()).unwrap();
}

fn meaning(case: &Value) -> Value {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let variable = |name: &str| text(&case["variables"][name]);
    let fields = case["fields"].as_array().into_iter().flatten();
    let tls = &case["tls"];
    let description = Description {
        text: text(&case["text"]).unwrap_or_default(),
        fields: fields.map(|field| (text(&field[0]).unwrap(), text(&field[1]).unwrap())).collect(),
        tls: TlsFields {
            ca: text(&tls["ca"]),
            cert: text(&tls["cert"]),
            key: text(&tls["key"]),
            servername: text(&tls["servername"]),
        },
        password_source: case["passwordFunction"].as_u64().map(|number| PasswordSource::new(number, drop)),
    };
    match ConnectConfig::parse(description, variable) {
        Err(error) => json!({ "code": error.code(), "message": error.message() }),
        Ok(config) => json!({
            "hosts": config.hosts.iter().map(|host| json!([host.name, host.port])).collect::<Vec<_>>(),
            "user": config.user,
            "password": config.password.map(|password| password.0),
            "asksForPassword": config.password_source.is_some(),
            "database": config.database,
            "applicationName": config.application_name,
            "options": config.options,
            "tls": config.tls.map(|tls| json!({
                "trust": match tls.trust {
                    Trust::Name => "name",
                    Trust::Issuer => "issuer",
                    Trust::Nothing => "nothing",
                },
                "roots": match &tls.roots {
                    Roots::Named(pem) => place(pem),
                    Roots::Platform { .. } => Value::Null,
                },
                "certificate": tls.identity.as_ref().map(|identity| place(&identity.certificate)),
                "key": tls.identity.as_ref().map(|identity| place(&identity.key)),
                "servername": tls.name_of_address,
                "direct": tls.direct,
            })),
        }),
    }
}

/// The path of a file, or the text itself.
fn place(pem: &Pem) -> Value {
    match pem {
        Pem::File { path, .. } => json!({ "path": path }),
        Pem::Text { text, .. } => json!({ "text": text }),
    }
}
