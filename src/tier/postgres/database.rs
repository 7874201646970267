//! Where the database is and how it is spoken to: by the environment, as with
//! all programs for PostgreSQL. Credentials go nowhere but to the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Error;
use crate::telemetry;

/// The variable with a connection string, which goes before all others.
const STRING: &str = "MNEMO_POSTGRES";

/// How long a connection rests before it is asked whether it is still there, unless the
/// string says something else than the client's default: firewalls in between forget those
/// that rest, and tell nobody.
const KEPT: Duration = Duration::from_secs(60);
const KEPT_BY_DEFAULT: Duration = Duration::from_secs(2 * 60 * 60);

/// A database, and how it is spoken to.
#[derive(Clone)]
pub struct Database {
    /// With the credentials.
    pub(super) config: Config,
    /// Encrypts, and says whether the server is who it should be.
    pub(super) tls: MakeRustlsConnect,
    /// Names the server, without credentials.
    pub(super) name: String,
}

impl fmt::Debug for Database {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Database {
    /// The database that the environment names: `MNEMO_POSTGRES`, a connection
    /// string, or what it leaves out, `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`,
    /// `PGDATABASE`, `PGSSLMODE` and `PGSSLROOTCERT`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a variable that cannot be read.
    pub fn from_environment() -> Result<Self, Error> {
        Self::read(|variable| std::env::var(variable).ok().filter(|value| !value.is_empty()))
    }

    /// The database that a connection string names, whatever the environment says.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if it cannot be read; the error does not repeat it.
    pub fn parse(connection: &str) -> Result<Self, Error> {
        Self::read(|variable| (variable == STRING).then(|| connection.to_owned()))
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let (mut config, given) = match variable(STRING) {
            Some(text) => parse(&text)?,
            None => (Config::new(), None),
        };
        if config.get_hosts().is_empty() {
            config.host(variable("PGHOST").as_deref().unwrap_or("localhost"));
        }
        if config.get_ports().is_empty() {
            let port =
                variable("PGPORT").map(|port| port.parse().map_err(|_| unreadable("PGPORT", "a port")));
            config.port(port.transpose()?.unwrap_or(5432));
        }
        if let (None, Some(user)) = (config.get_user(), variable("PGUSER")) {
            config.user(user);
        }
        if let (None, Some(password)) = (config.get_password(), variable("PGPASSWORD")) {
            config.password(password);
        }
        if let (None, Some(database)) = (config.get_dbname(), variable("PGDATABASE")) {
            config.dbname(database);
        }
        if config.get_application_name().is_none() {
            config.application_name("mnemocore");
        }
        if config.get_keepalives_idle() == KEPT_BY_DEFAULT {
            config.keepalives_idle(KEPT);
        }
        let mode = match given {
            Some(mode) => mode,
            None => variable("PGSSLMODE").map_or(Ok(Mode::Prefer), |mode| Mode::parse("PGSSLMODE", &mode))?,
        };
        config.ssl_mode(mode.ssl_mode());
        let name = format!("PostgreSQL at {}", places(&config));
        Ok(Self { config, tls: mode.tls(variable("PGSSLROOTCERT"))?, name })
    }
}

/// What the connection string says, and the `sslmode` in it. What cannot be read
/// of it is not repeated: it may be a part of the password. Nor is an `sslmode` guessed
/// at that is written in another way, or twice: it would be another one than was meant.
fn parse(text: &str) -> Result<(Config, Option<Mode>), Error> {
    // Those that verify are none of the client's own modes.
    let named = Mode::ALL.into_iter().find(|mode| text.contains(&format!("sslmode={}", mode.name())));
    let plain = match named {
        Some(Mode::VerifyCa | Mode::VerifyFull) => text
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require"),
        _ => text.to_owned(),
    };
    let config: Config =
        plain.parse().map_err(|_| unreadable(STRING, "a connection string of PostgreSQL"))?;
    let is_clear = match named {
        Some(mode) => mode.ssl_mode() == config.get_ssl_mode(),
        None => !text.contains("sslmode"),
    };
    let expected = "sslmode once, as in sslmode=require, without blanks and quotes";
    if is_clear { Ok((config, named)) } else { Err(unreadable(STRING, expected)) }
}

fn unreadable(name: &'static str, expected: &'static str) -> Error {
    Error::InvalidConfig { name, expected, received: "something else".into() }
}

/// Hosts and ports, for people.
fn places(config: &Config) -> String {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    };
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).map_or(String::new(), |port| format!(":{port}"));
    let places: Vec<String> =
        config.get_hosts().iter().enumerate().map(|(at, name)| host(name) + &port(at)).collect();
    places.join(",")
}

/// The values of `sslmode`, with the meaning that PostgreSQL's own client gives
/// them, but that `allow` is none and `verify-ca` looks at the name too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    fn parse(variable: &'static str, name: &str) -> Result<Self, Error> {
        let expected = "disable, prefer, require, verify-ca or verify-full";
        let found = Self::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| Error::InvalidConfig { name: variable, expected, received: name.to_owned() })
    }

    fn ssl_mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }

    /// A connector that trusts whom it should: the authorities in the file
    /// `roots` or else the system's, or anyone where nobody is to be verified.
    fn tls(self, roots: Option<String>) -> Result<MakeRustlsConnect, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|_| unreadable("PGSSLMODE", "a version of TLS that is known here"))?;
        let verified = matches!(self, Self::VerifyCa | Self::VerifyFull) || roots.is_some();
        let config = if verified {
            builder.with_root_certificates(trusted(roots)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        };
        Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
    }
}

fn trusted(roots: Option<String>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) => {
            let wrong = || unreadable("PGSSLROOTCERT", "a file of PEM certificates");
            let certificates: Result<Vec<CertificateDer<'static>>, _> =
                CertificateDer::pem_file_iter(path).map_err(|_| wrong())?.collect();
            store.add_parsable_certificates(certificates.map_err(|_| wrong())?);
            if store.is_empty() {
                return Err(wrong());
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let failed = found.errors.iter();
            failed.for_each(|error| telemetry::unreported("read a certificate of the system", error));
            store.add_parsable_certificates(found.certs);
        }
    }
    Ok(store)
}

/// Takes any certificate, as `prefer` and `require` do: the connection is
/// encrypted, but nobody is told who is at its other end.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Database, Error> {
        Database::read(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_fill_in_what_the_connection_string_leaves_out() {
        let text = "postgres://anna@db.example/notes?sslmode=verify-full";
        let database =
            read(&[(STRING, text), ("PGUSER", "ben"), ("PGPASSWORD", "hush"), ("PGPORT", "6000")]).unwrap();
        assert_eq!(database.config.get_user(), Some("anna"));
        assert_eq!(database.config.get_password(), Some(&b"hush"[..]));
        assert_eq!(database.config.get_dbname(), Some("notes"));
        assert_eq!(database.config.get_ssl_mode(), SslMode::Require);
        assert!(database.name.starts_with("PostgreSQL at db.example"), "{}", database.name);
    }

    #[test]
    fn a_mode_that_would_be_taken_for_another_one_is_refused() {
        for text in [
            "host=db sslmode = require",
            "host=db sslmode='require'",
            "host=db password=sslmode=disable sslmode=require",
            "host=db sslmode=disable sslmode=require",
        ] {
            assert!(
                matches!(read(&[(STRING, text)]), Err(Error::InvalidConfig { name: STRING, .. })),
                "{text}"
            );
        }
        for (text, mode) in [
            ("host=db sslmode=require", SslMode::Require),
            ("host=db sslmode=verify-ca", SslMode::Require),
            ("host=db sslmode=disable", SslMode::Disable),
            ("host=db", SslMode::Prefer),
        ] {
            assert_eq!(read(&[(STRING, text)]).unwrap().config.get_ssl_mode(), mode, "{text}");
        }
    }

    #[test]
    fn connections_that_rest_are_kept_unless_the_string_says_how_long() {
        for (text, seconds) in [("host=db", 60), ("host=db keepalives_idle=7", 7)] {
            let kept = read(&[(STRING, text)]).unwrap().config.get_keepalives_idle();
            assert_eq!(kept, Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn without_variables_it_is_the_local_server() {
        let database = read(&[]).unwrap();
        assert_eq!(
            (database.name.as_str(), database.config.get_ssl_mode()),
            ("PostgreSQL at localhost:5432", SslMode::Prefer)
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_but_a_password_is_not_repeated() {
        for variables in [
            [(STRING, "host=db password=my hush=1")],
            [(STRING, "postgres://anna:hush@db:port/notes")],
            [(STRING, "postgres://anna:hush@db/notes?sslmode=hush")],
            [("PGPORT", "hush")],
            [("PGSSLROOTCERT", "/nowhere/hush")],
        ] {
            let Err(error) = read(&variables) else { panic!("{variables:?} was read") };
            let text = format!("{error} {error:?}");
            assert!(text.contains(variables[0].0) && !text.contains("hush"), "{text}");
        }
        assert!(matches!(
            read(&[("PGSSLMODE", "allow")]),
            Err(Error::InvalidConfig { name: "PGSSLMODE", .. })
        ));
    }
}
