//! What each form of a connection string means. `__test__/strings.test.mjs` compares the same with `pg`.

use crate::pg::connect::config::{
    AuthMethod, ChannelBinding, ConnectConfig, Description, Host, Password, Pem, Roots, Target, TlsFields, Trust,
};
use std::path::PathBuf;

fn read(text: &str, variables: &[(&str, &str)]) -> ConnectConfig {
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    ConnectConfig::parse(text, variable).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn parse(text: &str) -> ConnectConfig {
    read(text, &[])
}

/// The code and the message of a string that cannot be used.
fn failure(text: &str) -> (String, String) {
    let error = ConnectConfig::parse(text, |_| None).map(|config| panic!("{text} gives {config:?}")).unwrap_err();
    assert!(!error.message().contains("secret"), "{error}");
    (error.code().to_owned(), error.message().to_owned())
}

fn hosts(config: &ConnectConfig) -> Vec<(&str, u16)> {
    config.hosts.iter().map(|host| (host.name.as_str(), host.port)).collect()
}

#[test]
fn urls_give_every_part_decoded() {
    let config = parse("postgres://us%40er:p%3Ass@[::1]:6543/my%20db?application_name=a+b&unknown=%zz");
    assert_eq!(hosts(&config), [("::1", 6543)]);
    assert_eq!(config.user, "us@er");
    assert_eq!(config.password, Some(Password("p:ss".to_owned())));
    assert_eq!(config.database, "my db");
    assert_eq!(config.application_name, "a b");
}

#[test]
fn the_last_at_sign_ends_the_password() {
    let config = parse("postgres://u:p@ss@h/d");
    assert_eq!((hosts(&config), config.password.clone()), (vec![("h", 5432)], Some(Password("p@ss".to_owned()))));
}

#[test]
fn what_is_left_out_comes_from_the_environment() {
    let variables =
        [("PGHOST", "db.example"), ("PGPORT", "7"), ("PGUSER", "ann"), ("PGPASSWORD", "pw"), ("PGDATABASE", "shop")];
    for text in ["", " ", "postgres://", "pg://", "?unknown=1"] {
        let config = read(text, &variables);
        assert_eq!(hosts(&config), [("db.example", 7)]);
        assert_eq!((config.user.as_str(), config.database.as_str()), ("ann", "shop"));
        assert_eq!(config.password, Some(Password("pw".to_owned())));
    }
    assert_eq!(hosts(&parse("postgres:///db")), [("localhost", 5432)]);
    assert_eq!(read("", &[("USER", "ann")]).database, "ann", "the database has the user's name");
}

#[test]
fn unix_sockets_in_each_form() {
    for text in [
        "/run/pg shop",
        "socket:/run/pg?db=shop",
        "postgres:///shop?host=/run/pg",
        "postgres://%2Frun%2Fpg/shop",
        "postgres://example/shop?host=/run/pg",
        "postgres://@/shop?host=/run/pg",
        "host=/run/pg dbname=shop",
    ] {
        let config = parse(text);
        assert_eq!(config.hosts[0].socket(), Some(PathBuf::from("/run/pg/.s.PGSQL.5432")), "{text}");
        assert_eq!(config.database, "shop", "{text}");
    }
}

#[test]
fn keys_and_values_with_quotes_and_escapes() {
    let config =
        parse(r"  host=a  port = 5433 user='O\'Neil \\ co' password=p\ w options='-c geqo=off' keepalives=1 dbname=''");
    assert_eq!(hosts(&config), [("a", 5433)]);
    assert_eq!((config.user.as_str(), config.database.as_str()), (r"O'Neil \ co", r"O'Neil \ co"));
    assert_eq!(config.password, Some(Password("p w".to_owned())));
    assert_eq!(config.options.as_deref(), Some("-c geqo=off"));
}

#[test]
fn lists_of_hosts() {
    for text in
        ["postgres://u@a:1,b,[::1]:3/d", "postgres://u@h:9/d?host=a,b,::1&port=1,,3", "host=a,b,::1 port=1,,3 user=u"]
    {
        let config = parse(text);
        assert_eq!(hosts(&config), [("a", 1), ("b", 5432), ("::1", 3)], "{text}");
        assert_eq!(config.target, Target::ReadWrite, "{text}");
    }
    assert_eq!(hosts(&parse("host=a,b port=7")), [("a", 7), ("b", 7)]);
    assert_eq!(hosts(&read("postgres://a,b/d", &[("PGPORT", "7")])), [("a", 7), ("b", 7)]);
    assert_eq!(hosts(&parse("postgres://,:7/d")), [("localhost", 5432), ("localhost", 7)]);
    assert_eq!(parse("postgres://a/d").target, Target::Any);
    assert_eq!(parse("postgres://a,b/d?target_session_attrs=any").target, Target::Any);
    assert_eq!(read("postgres://a/d", &[("PGTARGETSESSIONATTRS", "primary")]).target, Target::Primary);
    let given = parse("host=a,b hostaddr=127.0.0.1,::1");
    let address = |text: &str| Some(text.parse().unwrap());
    assert_eq!(given.hosts[0], Host { name: "a".to_owned(), address: address("127.0.0.1"), port: 5432 });
    assert_eq!(
        parse("hostaddr=::1 user=u").hosts[0],
        Host { name: "::1".to_owned(), address: address("::1"), port: 5432 }
    );
}

#[test]
fn what_cannot_be_used_is_named_without_the_password() {
    const URL: &str = "ERR_INVALID_URL";
    const STRING: &str = "ERR_INVALID_CONNECTION_STRING";
    for (text, code, part) in [
        ("postgres://u:secret@h:99999/d", URL, "port"),
        ("postgres://u:secret@h:port/d", URL, "port"),
        ("postgres://u:secret@h,i:99999/d", URL, "port"),
        ("secret", URL, "postgres://"),
        ("secret", URL, "socket:/"),
        ("secret", URL, "/directory database"),
        ("secret", URL, "host="),
        ("secret", URL, "?name=value"),
        ("secret", URL, "PGHOST"),
        ("postgres://u:secret/x@h/d", URL, "%2F"),
        ("postgres://u:secret?x@h/d", URL, "%3F"),
        ("postgres://u:secret#x@h/d", URL, "%23"),
        ("postgres://u:1234/secret@h/d", URL, "a `/` has ended the host"),
        ("postgres://u:1234?secret@h/d", URL, "a `?` has ended the host"),
        ("postgres://u:1234#secret@h/d", URL, "a `#` begins a fragment"),
        ("postgres://u:p@secret/x@h/d", URL, "escape it"),
        ("postgres://u:p@secret?x@h/d", URL, "escape it"),
        ("postgres://u:p@secret#x@h/d", URL, "escape it"),
        ("postgres://h/d?user=u&password=sec&ret@x", URL, "escape it"),
        ("postgres://h/d?user=u&password=secret#x", URL, "escape it"),
        ("postgres://u%3Asecret@h/d", URL, "must not be escaped"),
        ("//u:secret@h/d", URL, "`postgres:` is missing"),
        ("/u:secret@h/d", URL, "`postgres:` is missing"),
        ("postgres:/u:secret@h/d", URL, "two slashes"),
        ("postgres:///u:secret", URL, "escape it"),
        ("socket://u:secret/run", URL, "a socket has no host"),
        ("https://u:secret@h/d", URL, "postgres://"),
        ("postgres:u:secret@h/d", URL, "a slash"),
        ("host=postgres://u:secret@h/d", STRING, "host"),
        ("host=u:secret@h", STRING, "host"),
        ("host=h:secret", STRING, "host"),
        ("host='h password=secret'", STRING, "host"),
        ("host=h dbname='d password=secret'", STRING, "database"),
        ("host=h,user=u,password=secret", STRING, "host"),
        ("postgres://h/d&password=secret", STRING, "database"),
        ("postgres://h/d?application_name=a?password=secret", STRING, "application_name"),
        ("host=h sslmode=require sslrootcert='/ca password=secret'", STRING, "sslrootcert"),
        ("mysql://u:secret@h/d", URL, "postgres://"),
        ("postgres:secret", URL, "slash"),
        ("postgres://u:secret%ff@h/d", URL, "password"),
        ("postgres://u:secret%zz@h/d", URL, "password"),
        ("postgres://u%:secret@h/d", URL, "user"),
        ("postgres://u:secret@h/d%f", URL, "database"),
        ("postgres://u:secret@h/d?application_name=100%", URL, "application_name"),
        ("postgres://u:secret@h/d?application_name=%ff", URL, "application_name"),
        ("postgres://u:secret@h h/d", URL, "host"),
        ("postgres://u:secret@[::1/d", URL, "host"),
        ("postgres://u:secret%00@h/d", STRING, "password"),
        ("postgres://u:secret@h/d?port=0", STRING, "port"),
        ("postgres://u:secret@h/d?port=5432secret", STRING, "port"),
        ("postgres://u:secret@a,b,c/d?port=1,2", STRING, "port"),
        ("postgres://u:secret@h/d?connect_timeout=soon", STRING, "connect_timeout"),
        ("postgres://u:secret@h/d?statement_timeout=5s", STRING, "statement_timeout"),
        ("postgres://u:secret@h/d?lock_timeout=-1", STRING, "lock_timeout"),
        ("postgres://u:secret@h/d?sslmode=secret", STRING, "sslmode"),
        ("postgres://u:secret@h/d?ssl=secret", STRING, "ssl"),
        ("postgres://u:secret@h/d?sslnegotiation=secret", STRING, "sslnegotiation"),
        ("postgres://u:secret@h/d?sslnegotiation=direct&sslmode=disable", STRING, "sslnegotiation"),
        ("postgres://u:secret@h/d?sslcert=a", STRING, "sslkey"),
        ("postgres://u:secret@h/d?sslmode=verify-full&sslkey=a", STRING, "sslcert"),
        ("postgres://u:secret@h/d?sslmode=verify-ca&uselibpqcompat=true", STRING, "sslrootcert"),
        ("postgres://u:secret@h/d?channel_binding=secret", STRING, "channel_binding"),
        ("postgres://u:secret@h/d?channel_binding=require", STRING, "channel_binding"),
        ("postgres://u:secret@h/d?target_session_attrs=secret", STRING, "target_session_attrs"),
        ("host=h password='secret", STRING, "password"),
        ("host=h password=secret\\", STRING, "password"),
        ("host=h password=my secret", STRING, "password"),
        ("host=h password=my secret=x y", STRING, "behind password is not known"),
        ("hostaddr=secret", STRING, "hostaddr"),
        ("host=a,b hostaddr=127.0.0.1", STRING, "hostaddr"),
        ("host=h password='it''secret'", STRING, "password"),
        ("secret=1", STRING, "first parameter is not known"),
        ("host=h secret=1 dbname=d", STRING, "behind host is not known"),
        ("host=h connect_timeout=1 secret='", STRING, "connect_timeout"),
    ] {
        let (found, message) = failure(text);
        assert_eq!(found, code, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
    for variable in [
        "PGSSLMODE",
        "PGPORT",
        "PGHOSTADDR",
        "PGCONNECT_TIMEOUT",
        "PGTARGETSESSIONATTRS",
        "PGCHANNELBINDING",
        "PGREQUIREAUTH",
        "PGSSLNEGOTIATION",
        "PGSSLCERTMODE",
        "PGSSLSNI",
        "PGSSLMINPROTOCOLVERSION",
        "PGSSLMAXPROTOCOLVERSION",
        "PGGSSENCMODE",
        "PGMINPROTOCOLVERSION",
    ] {
        let error = ConnectConfig::parse("", |name| (name == variable).then(|| "secret".to_owned())).unwrap_err();
        assert!(error.message().contains(variable) && !error.message().contains("secret"), "{variable}: {error}");
    }
}

#[test]
fn schemes_of_any_driver() {
    for scheme in ["postgis", "postgresql+asyncpg", "postgres+tls", "psql", "timescaledb", "PostgreSQL", "cockroachdb"]
    {
        let config = parse(&format!("{scheme}://u:p@h:1/d?application_name=a"));
        assert_eq!((hosts(&config), config.database.as_str()), (vec![("h", 1)], "d"), "{scheme}");
    }
    for scheme in ["mysql", "mysql+pymysql", "mongodb+srv", "redis", "https", "jdbc:postgresql", "1pg", "-", ""] {
        assert_eq!(failure(&format!("{scheme}://u:secret@h/d")).0, "ERR_INVALID_URL", "{scheme}");
    }
}

#[test]
fn keywords_that_libpq_does_not_know_are_refused_and_what_may_be_meant_is_named() {
    for (given, meant) in [
        ("sslmod=verify-full", "sslmode"),
        ("ssl_mode=verify-full", "sslmode"),
        ("SSLMODE=verify-full", "sslmode"),
        ("sslmodes=verify-full", "sslmode"),
        ("requireauth=md5", "require_auth"),
        ("requirepeers=postgres", "requirepeer"),
        ("channelbinding=require", "channel_binding"),
        ("sslrootcerts=/ca", "sslrootcert"),
        ("dbnam=d", "dbname"),
        ("usr=u", "user"),
        ("keepalive=1", "keepalives"),
    ] {
        for text in [format!("host=h {given}"), format!("{given} host=h"), format!("host=h password=my {given}")] {
            let (code, message) = failure(&text);
            assert_eq!(code, "ERR_INVALID_CONNECTION_STRING", "{text}: {message}");
            assert!(message.contains(&format!("`{meant}` may be meant")), "{text}: {message}");
        }
    }
    for given in ["schema=public", "query_timeout=1", "x=y", "a1b2c3d4e5f6=", "_=_"] {
        let (code, message) = failure(&format!("host=h {given}"));
        assert_eq!(code, "ERR_INVALID_CONNECTION_STRING", "{given}: {message}");
        assert!(!message.contains("may be meant"), "{given}: {message}");
    }
}

#[test]
fn keywords_of_libpq_that_change_nothing_here_are_taken() {
    // All that PostgreSQL 18 knows besides, and two that version 14 has dropped.
    for name in [
        "client_encoding",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "replication",
        "max_protocol_version",
        "sslcompression",
        "sslkeylogfile",
        "sslpassword",
        "krbsrvname",
        "gsslib",
        "gssdelegation",
        "scram_client_key",
        "scram_server_key",
        "servicefile",
        "load_balance_hosts",
        "oauth_issuer",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_scope",
        "authtype",
        "tty",
    ] {
        assert_eq!(parse(&format!("host=h {name}=1 dbname=d")), parse("host=h dbname=d"), "{name}");
        assert_eq!(parse(&format!("{name}='x y'")), parse("host=''"), "{name}");
    }
}

#[test]
fn what_asks_for_more_safety_is_honoured_or_refused_by_name() {
    const STRING: &str = "ERR_INVALID_CONNECTION_STRING";
    let refused = |text: &str, part: &str| {
        let (code, message) = failure(text);
        assert_eq!(code, STRING, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    };
    for (name, variable, value) in [
        ("sslcrl", "PGSSLCRL", "/crl"),
        ("sslcrldir", "PGSSLCRLDIR", "/crl"),
        ("gssencmode", "PGGSSENCMODE", "require"),
        ("min_protocol_version", "PGMINPROTOCOLVERSION", "3.2"),
        ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", "TLSv1.1"),
        ("sslcertmode", "PGSSLCERTMODE", "require"),
        ("sslnegotiation", "PGSSLNEGOTIATION", "direct"),
        ("channel_binding", "PGCHANNELBINDING", "require"),
        ("requirepeer", "PGREQUIREPEER", "postgres"),
    ] {
        // Parameters where there is no TLS and no unix socket.
        if name != "sslnegotiation" {
            refused(&format!("postgres://h/d?{name}={value}"), name);
        }
        let error = ConnectConfig::parse("postgres://h/d", |asked| (asked == variable).then(|| value.to_owned()));
        assert!(error.unwrap_err().message().contains(variable), "{variable}");
    }
    refused("postgres://h/d?service=secret", "service");
    refused("service=secret", "service");
    let by_service = |text: &str| ConnectConfig::parse(text, |name| (name == "PGSERVICE").then(|| "secret".to_owned()));
    for text in ["", "postgres://?sslmode=disable", "port=5433 dbname=d"] {
        let error = by_service(text).unwrap_err();
        assert!(error.message().contains("PGSERVICE") && !error.message().contains("secret"), "{text}: {error}");
    }
    for text in ["postgres://h/d", "host=h", "hostaddr=127.0.0.1", "/run/pg d"] {
        assert!(by_service(text).is_ok(), "{text}: as to pg");
    }
    refused("host=/run/pg,h requirepeer=postgres", "requirepeer");
    refused("postgres://h/d?sslmode=require&sslcertmode=require", "sslcertmode");
    refused("host=/run/pg sslmode=require sslcertmode=require", "sslcertmode");
    refused(
        "postgres://h/d?sslmode=require&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
        "ssl_max",
    );
    for mode in ["require", "prefer", "verify-ca"] {
        refused(&format!("postgres://h/d?uselibpqcompat=true&sslmode={mode}&sslrootcert=system"), "sslrootcert");
    }
    refused("postgres://h/d?sslmode=no-verify&sslrootcert=system", "sslrootcert");
    refused("postgres://h/d?sslmode=disable&requiressl=1", "requiressl");

    let tls = |query: &str| parse(&format!("postgres://h/d?sslmode=verify-full&{query}")).tls.unwrap();
    let versions = |query: &str| (tls(query).versions.tls12, tls(query).versions.tls13);
    assert_eq!(versions(""), (true, true));
    assert_eq!(versions("ssl_min_protocol_version=tlsv1"), (true, true));
    assert_eq!(versions("ssl_min_protocol_version=TLSv1.3"), (false, true));
    assert_eq!(versions("ssl_max_protocol_version=TLSv1.2"), (true, false));
    assert_eq!((tls("").sends_name, tls("sslsni=0").sends_name), (true, false));
    assert_eq!(
        (tls("").must_ask_identity, tls("sslcertmode=require&sslcert=/a&sslkey=/b").must_ask_identity),
        (false, true)
    );
    assert!(tls("sslcert=/a&sslkey=/b").identity.is_some());
    assert!(tls("sslcert=/a&sslkey=/b&sslcertmode=disable").identity.is_none());
    assert!(tls("channel_binding=require&gssencmode=prefer&min_protocol_version=3.0").trust == Trust::Name);

    // Parameters to be plain, or by a unix socket, there is nothing that it could be said of.
    for text in ["postgres://h/d?sslmode=disable", "postgres://h/d?ssl=0", "host=/run/pg"] {
        assert_eq!(read(text, &[("PGSSLMINPROTOCOLVERSION", "TLSv1.3")]).tls, None, "{text}");
    }
    assert_eq!(read("host=h", &[("PGSSLROOTCERT", "system")]).tls.unwrap().trust, Trust::Name);
    assert_eq!(read("host=h", &[("PGREQUIRESSL", "1")]).tls.unwrap().trust, Trust::Name);
    assert_eq!(parse("host=h requiressl=1").tls.unwrap().trust, Trust::Name);
    if cfg!(unix) {
        assert_eq!(parse("host=/run/pg requirepeer=postgres").required_peer.as_deref(), Some("postgres"));
    }
}

#[test]
fn parameters_that_the_server_is_started_with() {
    let text = "postgres://h/d?options=-c%20geqo%3Doff&statement_timeout=5000&lock_timeout=0&idle_in_transaction_session_timeout=7";
    assert_eq!(
        parse(text).options.as_deref(),
        Some("-c geqo=off -c statement_timeout=5000 -c lock_timeout=0 -c idle_in_transaction_session_timeout=7")
    );
    assert_eq!(read("postgres://h/d", &[("PGOPTIONS", "-c geqo=off")]).options.as_deref(), Some("-c geqo=off"));
    assert_eq!(parse("postgres://h/d?statement_timeout=").options, None);
}

#[test]
fn what_decides_on_tls() {
    let trust = |text: &str, variables: &[(&str, &str)]| read(text, variables).tls.map(|policy| policy.trust);
    let of = |query: &str| trust(&format!("postgres://h/d?{query}"), &[]);
    for query in [
        "",
        "sslmode=disable",
        "ssl=false",
        "ssl=0",
        "ssl=",
        "sslmode=disable&sslrootcert=/a",
        "sslmode=disable&ssl=true",
    ] {
        assert_eq!(of(query), None, "{query}");
    }
    for mode in ["allow", "prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(of(&format!("sslmode={mode}")), Some(Trust::Name), "{mode}");
        assert_eq!(trust(&format!("host=h sslmode={mode}"), &[]), Some(Trust::Name), "{mode}");
    }
    for query in [
        "ssl=true",
        "ssl=1",
        "sslnegotiation=direct",
        "ssl=false&sslrootcert=/a",
        "uselibpqcompat=true&sslmode=verify-full",
    ] {
        assert_eq!(of(query), Some(Trust::Name), "{query}");
    }
    for query in [
        "sslmode=no-verify",
        "ssl=no-verify",
        "uselibpqcompat=true&sslmode=require",
        "uselibpqcompat=true&sslmode=prefer",
    ] {
        assert_eq!(of(query), Some(Trust::Nothing), "{query}");
    }
    for mode in ["require", "verify-ca"] {
        let query = format!("uselibpqcompat=true&sslmode={mode}");
        assert_eq!(of(&format!("sslrootcert=/a&{query}")), Some(Trust::Issuer), "{mode}");
        let by_variable = read(&format!("postgres://h/d?{query}"), &[("PGSSLROOTCERT", "/ca")]).tls.unwrap();
        let roots = Roots::Named(Pem::File { parameter: "PGSSLROOTCERT", path: PathBuf::from("/ca") });
        assert_eq!((by_variable.trust, by_variable.roots), (Trust::Issuer, roots), "{mode}");
        let fields =
            [("sslmode", mode), ("uselibpqcompat", "true")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let tls = TlsFields { ca: Some("text".to_owned()), ..TlsFields::default() };
        let by_field = Description { fields: fields.to_vec(), tls, ..Description::default() };
        let policy =
            ConnectConfig::parse(by_field, |name| (name == "USER").then(|| "u".to_owned())).unwrap().tls.unwrap();
        assert_eq!(policy.trust, Trust::Issuer, "{mode}");
    }
    let variable = [("PGSSLMODE", "require"), ("PGSSLROOTCERT", "/ca")];
    assert_eq!(trust("postgres://h/d", &variable), Some(Trust::Name));
    assert_eq!(trust("postgres://h/d?sslmode=disable", &variable), None);
    assert_eq!(trust("postgres://h/d?ssl=", &variable), None, "said, be it in an odd way");
    assert_eq!(trust("", &[("PGSSLMODE", "allow")]), None);
    assert_eq!(
        read("", &variable).tls.unwrap().roots,
        Roots::Named(Pem::File { parameter: "PGSSLROOTCERT", path: PathBuf::from("/ca") })
    );
    let extra = [variable[0], variable[1], ("NODE_EXTRA_CA_CERTS", "/extra")];
    let platform = Roots::Platform { extra: Some(PathBuf::from("/extra")) };
    assert_eq!(read("postgres://h/d?sslrootcert=system", &extra).tls.unwrap().roots, platform);
    assert_eq!(parse("postgres://h/d").channel_binding, ChannelBinding::Prefer);
}

#[test]
fn the_password_file_is_the_last_resort() {
    let home = [("HOME", "/home/ann"), ("APPDATA", r"C:\ann")];
    let file = |text: &str, more: &[(&str, &str)]| read(text, &[&home[..], more].concat()).password_file;
    let own = if cfg!(windows) { r"C:\ann\postgresql\pgpass.conf" } else { "/home/ann/.pgpass" };
    assert_eq!(file("postgres://u@h/d", &[]), Some(PathBuf::from(own)));
    assert_eq!(file("postgres://u@h/d", &[("PGPASSFILE", "/f")]), Some(PathBuf::from("/f")));
    assert_eq!(file("postgres://u@h/d?passfile=/g", &[("PGPASSFILE", "/f")]), Some(PathBuf::from("/g")));
    assert_eq!(file("postgres://u:p@h/d", &[]), None);
    assert_eq!(file("postgres://u@h/d", &[("PGPASSWORD", "")]), None);
    assert_eq!(file("postgres://u:@h/d", &[("PGPASSWORD", "pw")]), None);
}

#[test]
fn debug_output_hides_the_password() {
    assert!(!format!("{:?}", parse("postgres://u:secret@h/d")).contains("secret"));
}

#[test]
fn ways_to_authenticate_that_will_do() {
    use AuthMethod::{Gss, Md5, None as Nothing, Oauth, Password, ScramSha256, Sspi};
    let allowed = |config: &ConnectConfig| {
        [Nothing, Password, Md5, Gss, Sspi, ScramSha256, Oauth].map(|method| config.require_auth.allows(method))
    };
    let of = |list: &str| allowed(&parse(&format!("postgres://h/d?require_auth={list}")));
    assert_eq!(of(""), [true; 7]);
    assert_eq!(of("scram-sha-256"), [false, false, false, false, false, true, false]);
    assert_eq!(of("none,%20md5"), [true, false, true, false, false, false, false]);
    assert_eq!(of("!password,!md5"), [true, false, false, true, true, true, true]);
    assert_eq!(of("!none"), [false, true, true, true, true, true, true]);
    assert_eq!(allowed(&read("", &[("PGREQUIREAUTH", "gss,sspi")])), [false, false, false, true, true, false, false]);
    for list in ["scram", "SCRAM-SHA-256", "md5,md5", "md5,!gss", "!md5,gss", "!", ",", "md5,", "!!md5", "creds"] {
        let (code, message) = failure(&format!("postgres://u:secret@h/d?require_auth={list}"));
        assert_eq!(code, "ERR_INVALID_CONNECTION_STRING", "{list}");
        assert!(message.contains("require_auth"), "{list}: {message}");
    }
}
