//! TLS on both ports, seen by clients that check, and by a server that checks clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fuseboard::pb::{
    AcquireRequest, WatchEventsRequest, WatchEventsResponse, breaker_service_client::BreakerServiceClient,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    authority::{Authority, Certified, Folder, SERVER},
    process::Server,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a client knows of TLS: whom it trusts, and what it shows.
pub(crate) fn connector(trusts: &Authority, shows: Option<&Certified>, alpn: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusts.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some(certified) => {
            let chain = vec![CertificateDer::from_pem_slice(certified.certificate.as_bytes()).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(connector: &TlsConnector, address: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

/// A channel to a server that is called [`SERVER`].
pub(crate) async fn channel(address: SocketAddr, connector: TlsConnector) -> Result<Channel, tonic::transport::Error> {
    let service = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move { connect(&connector, address, SERVER).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://fuseboard.test").connect_with_connector(service).await
}

/// Whether a call comes through.
async fn acquires(address: SocketAddr, connector: TlsConnector) -> bool {
    let call = async {
        let mut client = BreakerServiceClient::new(channel(address, connector).await.ok()?);
        client.acquire(AcquireRequest { breaker: "payments".to_owned(), ..Default::default() }).await.ok()
    };
    timeout(PATIENCE, call).await.expect("an answer").is_some()
}

fn start(flags: &[String]) -> Server {
    Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_call_comes_through_to_a_client_that_trusts_the_authority_and_to_no_other() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let server = start(&folder.server(&authority.issue(SERVER)));
    assert!(acquires(server.address(), connector(&authority, None, b"h2")).await);
    assert!(!acquires(server.address(), connector(&Authority::new(), None, b"h2")).await, "another authority");
    let plain = Endpoint::from_shared(server.url()).unwrap().connect_lazy();
    let request = AcquireRequest { breaker: "payments".to_owned(), ..Default::default() };
    let answer = timeout(PATIENCE, BreakerServiceClient::new(plain).acquire(request)).await;
    assert!(answer.expect("an answer").is_err(), "without TLS");
}

#[tokio::test]
async fn a_client_that_checks_refuses_a_server_with_another_name_or_whose_time_is_over() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let other_name = start(&folder.server(&authority.issue("elsewhere.test")));
    assert!(!acquires(other_name.address(), connector(&authority, None, b"h2")).await);
    let expired = start(&folder.server(&authority.issue_expired(SERVER)));
    assert!(!acquires(expired.address(), connector(&authority, None, b"h2")).await);
}

#[tokio::test]
async fn with_an_authority_of_clients_only_they_come_through() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let mut flags = folder.server(&authority.issue(SERVER));
    flags.extend(["--tls-client-ca".to_owned(), folder.file("clients.pem", &authority.pem())]);
    let server = start(&flags);
    let address = server.address();
    assert!(acquires(address, connector(&authority, Some(&authority.issue("shop.test")), b"h2")).await);
    assert!(!acquires(address, connector(&authority, None, b"h2")).await, "no certificate");
    let strange = Authority::new().issue("shop.test");
    assert!(!acquires(address, connector(&authority, Some(&strange), b"h2")).await, "another authority's");
    let expired = authority.issue_expired("shop.test");
    assert!(!acquires(address, connector(&authority, Some(&expired), b"h2")).await, "an expired one");
    server.wait_for_log("TLS handshakes have failed");
}

#[tokio::test]
async fn where_a_certificate_is_optional_none_is_as_good_as_one_but_a_wrong_one_is_not() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let mut flags = folder.server(&authority.issue(SERVER));
    flags.extend(["--tls-client-ca".to_owned(), folder.file("clients.pem", &authority.pem())]);
    flags.push("--tls-client-auth=optional".to_owned());
    let server = start(&flags);
    assert!(acquires(server.address(), connector(&authority, None, b"h2")).await);
    assert!(acquires(server.address(), connector(&authority, Some(&authority.issue("shop.test")), b"h2")).await);
    let strange = Authority::new().issue("shop.test");
    assert!(!acquires(server.address(), connector(&authority, Some(&strange), b"h2")).await);
}

#[tokio::test]
async fn the_http_port_has_the_same_certificate() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let mut flags = folder.server(&authority.issue(SERVER));
    flags.push("--http-address=127.0.0.1:0".to_owned());
    let server = start(&flags);
    let connector = connector(&authority, None, b"http/1.1");
    let mut stream = connect(&connector, server.http_address(), SERVER).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_holds_for_new_connections_and_a_bad_one_changes_nothing() {
    let (folder, old, new) = (Folder::new(), Authority::new(), Authority::new());
    let flags = folder.server(&old.issue(SERVER));
    let mut server = start(&flags);
    let address = server.address();
    let kept = channel(address, connector(&old, None, b"h2")).await.unwrap();

    folder.file("server.key", "no key at all");
    server.hang_up();
    server.wait_for_log("the old one stays: tls_key: ");
    assert!(acquires(address, connector(&old, None, b"h2")).await);

    folder.server(&new.issue(SERVER));
    server.hang_up();
    server.wait_for_log("it holds for new connections");
    assert!(acquires(address, connector(&new, None, b"h2")).await);
    assert!(!acquires(address, connector(&old, None, b"h2")).await);
    let request = AcquireRequest { breaker: "payments".to_owned(), ..Default::default() };
    BreakerServiceClient::new(kept).acquire(request).await.expect("connections that there are go on");
}

#[test]
fn a_server_says_what_is_wrong_with_its_files() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let certified = authority.issue(SERVER);
    let told = |flags: &[String]| Server::refused(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let mut flags = folder.server(&certified);
    folder.file("server.key", &authority.issue(SERVER).key);
    assert!(told(&flags).contains("no TLS: tls_key: "), "the key of another certificate");
    folder.file("server.pem", "");
    assert!(told(&flags).contains("there is no certificate in it"));
    flags[1] = "/nowhere.pem".to_owned();
    assert!(told(&flags).contains("no TLS: tls_cert: /nowhere.pem: "));
}

/// Clients with a certificate, on connections of both ports that stay open.
struct Connected {
    watch: Streaming<WatchEventsResponse>,
    http: TlsStream<TcpStream>,
}

impl Connected {
    async fn new(server: &Server, authority: &Authority, shows: &Certified) -> Self {
        let grpc = channel(server.address(), connector(authority, Some(shows), b"h2")).await.unwrap();
        let watch = BreakerServiceClient::new(grpc).watch_events(WatchEventsRequest::default()).await.unwrap();
        let http = connector(authority, Some(shows), b"http/1.1");
        let mut http = connect(&http, server.http_address(), SERVER).await.unwrap();
        let request = "GET /api/v1/events/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
        http.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        http.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        Self { watch: watch.into_inner(), http }
    }

    /// Waits until both connections have ended.
    async fn end(mut self) {
        let both = async {
            while let Ok(Some(_)) = self.watch.message().await {}
            let mut rest = Vec::new();
            // Cut off, as its stream of events has no end.
            _ = self.http.read_to_end(&mut rest).await;
        };
        timeout(PATIENCE, both).await.expect("the connections end");
    }
}

fn mutual(folder: &Folder, authority: &Authority) -> Server {
    let mut flags = folder.server(&authority.issue(SERVER));
    flags.extend(["--tls-client-ca".to_owned(), folder.file("clients.pem", &authority.pem())]);
    flags.extend(["--drain-grace=1s".to_owned(), "--http-address=127.0.0.1:0".to_owned()]);
    start(&flags)
}

#[tokio::test]
async fn a_certificate_that_expires_ends_its_connections() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let server = mutual(&folder, &authority);
    let brief = authority.issue_for("shop.test", Duration::from_secs(3));
    Connected::new(&server, &authority, &brief).await.end().await;
    assert!(!acquires(server.address(), connector(&authority, Some(&brief), b"h2")).await, "nor does it open others");
}

#[tokio::test]
async fn an_authority_that_is_replaced_ends_the_connections_of_its_certificates() {
    let (folder, authority, next) = (Folder::new(), Authority::new(), Authority::new());
    let mut server = mutual(&folder, &authority);
    let old = Connected::new(&server, &authority, &authority.issue("shop.test")).await;
    // Both are trusted for a while: nobody is cut off.
    folder.file("clients.pem", &(authority.pem() + &next.pem()));
    server.hang_up();
    server.wait_for_log("certificate is read again");
    let new = next.issue("shop.test");
    assert!(acquires(server.address(), connector(&authority, Some(&new), b"h2")).await);
    let mut kept = Connected::new(&server, &authority, &new).await;
    folder.file("clients.pem", &next.pem());
    server.hang_up();
    server.wait_for_log("certificate is read again");
    old.end().await;
    kept.http.write_all(b" ").await.unwrap();
    assert!(acquires(server.address(), connector(&authority, Some(&new), b"h2")).await);
    let first = timeout(PATIENCE, kept.watch.message()).await.unwrap().unwrap();
    assert!(first.is_some(), "that of a certificate that is trusted goes on");
}
