//! Encrypted connections, and the environment variables for the server.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mnemocore::{Engine, Query};
use rcgen::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::common::{note, tiny};
use super::server::{PASSWORD, QUICK, shared};

const FOLDER: &str = "MNEMO_TLS_FOLDER";

/// A server that speaks TLS as `localhost`, and forwards to one that does not, because the packaged
/// server is built without TLS. Returns its port, and the certificate as PEM.
fn encrypted(server: u16) -> (u16, String) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, acceptor.clone(), server));
            }
        });
    });
    (port, cert.pem())
}

/// Answers the request for TLS, and accepts nothing else.
async fn pass(mut client: TcpStream, acceptor: TlsAcceptor, server: u16) -> std::io::Result<()> {
    let mut request = [0; 8];
    client.read_exact(&mut request).await?;
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "a request for TLS");
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Returns the output of an engine that gets the server from the environment.
fn outcome(port: u16, host: &str, mode: &str, roots: Option<&Path>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "tls::engine_of_the_environment", "--nocapture"])
        .env(FOLDER, folder.path().join("store"))
        .env("MNEMO_WARM", "postgres")
        .env_remove("MNEMO_POSTGRES")
        .env("PGHOST", host)
        .env("PGPORT", port.to_string())
        .env("PGUSER", "mnemo")
        .env("PGPASSWORD", PASSWORD)
        .env("PGDATABASE", "postgres")
        .env("PGSSLMODE", mode)
        .env_remove("PGSSLROOTCERT");
    if let Some(roots) = roots {
        command.env("PGSSLROOTCERT", roots);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

#[test]
#[ignore = "the process that `who_is_to_be_verified_is` starts"]
fn engine_of_the_environment() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    match Engine::open(folder, tiny().hot_capacity(0).remote(QUICK)) {
        Ok(engine) => {
            engine.store(note("hidden")).unwrap();
            let recall = engine.recall(Query::text("hidden")).unwrap();
            println!("found {} in {}", recall.hits.len(), recall.hits[0].memory.tier);
        }
        Err(error) => println!("refused: {error} {error:?}"),
    }
}

#[test]
fn who_is_to_be_verified_is() {
    let Some(server) = shared() else { return };
    let (port, certificate) = encrypted(server.port);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, certificate).unwrap();
    for (host, mode, roots) in [
        ("localhost", "verify-full", Some(&*roots)),
        ("localhost", "require", None),
        ("127.0.0.1", "prefer", None),
    ] {
        let text = outcome(port, host, mode, roots);
        assert!(text.contains("found 1 in WARM"), "{host} {mode}: {text}");
    }
    for (host, mode, roots) in [
        // The certificate is not signed by an authority that the system trusts.
        ("localhost", "verify-full", None),
        ("localhost", "verify-ca", None),
        // The certificate is for another host.
        ("127.0.0.1", "verify-full", Some(&*roots)),
    ] {
        let text = outcome(port, host, mode, roots);
        assert!(text.contains("refused") && text.contains("certificate"), "{host} {mode}: {text}");
    }
    // A server without TLS is refused if TLS is required, and accepted otherwise.
    assert!(outcome(server.port, "localhost", "require", None).contains("refused"));
    assert!(outcome(server.port, "localhost", "prefer", None).contains("found 1 in WARM"));
    assert!(outcome(server.port, "localhost", "disable", None).contains("found 1 in WARM"));
}
