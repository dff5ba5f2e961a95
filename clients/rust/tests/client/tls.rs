//! TLS and the token on the wire.

use std::sync::Arc;

use fuseboard_client::{BreakerOptions, Client, Options, Source, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

use crate::server::{PATIENCE, Server};

/// An authority that is made for a test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("is signed"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.0).expect("is signed"), key)
    }
}

/// Ends TLS before a server, and asks clients for a certificate of the authority. It gives the address.
async fn terminate(server: &Server, authority: &Authority) -> String {
    let (certificate, key) = authority.issue("fuseboard.test");
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).expect("a certificate");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().expect("roots");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate and its key");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("is bound").to_string();
    let upstream = server.address.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
            tokio::spawn(async move {
                let Ok(mut down) = acceptor.accept(stream).await else { return };
                let mut up = TcpStream::connect(upstream).await.expect("the server listens");
                let _ = tokio::io::copy_bidirectional(&mut down, &mut up).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_client_shows_its_certificate_and_trusts_the_named_server_only() {
    let server = Server::start(&[]);
    let authority = Authority::new();
    let address = terminate(&server, &authority).await;
    let (certificate, key) = authority.issue("web");
    let right = Tls {
        roots: Some(authority.pem()),
        identity: Some((certificate.pem(), key.serialize_pem())),
        server_name: Some("fuseboard.test".into()),
    };
    let ask = async |tls: Tls| {
        let address = format!("https://{address}");
        let client = server.client_with(|options| (options.address, options.tls) = (address, Some(tls)));
        let db = client.breaker("db", BreakerOptions::default()).expect("a breaker");
        db.acquire().await.expect("permitted, by whoever decides").source()
    };
    assert_eq!(ask(right.clone()).await, Source::Server);
    let other = Authority::new();
    assert_eq!(ask(Tls { roots: Some(other.pem()), ..right.clone() }).await, Source::Local, "another authority");
    let elsewhere = Some("elsewhere.test".into());
    assert_eq!(ask(Tls { server_name: elsewhere, ..right.clone() }).await, Source::Local, "another name");
    assert_eq!(ask(Tls { identity: None, ..right }).await, Source::Local, "no certificate of its own");
}

#[tokio::test]
async fn the_token_goes_with_each_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("is bound").to_string();
    let options = Options { token: Some("secret".into()), ..Options::new(address) };
    let client = Client::new(options).expect("valid");
    let _db = client.breaker("db", BreakerOptions::default()).expect("a breaker");
    let requests = async {
        let (stream, _) = listener.accept().await.expect("the client connects");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        for _ in 0..2 {
            let (request, _answer) = connection.accept().await.expect("a request").expect("is whole");
            assert_eq!(request.headers()[http::header::AUTHORIZATION], "Bearer secret", "{}", request.uri().path());
        }
    };
    tokio::time::timeout(PATIENCE, requests).await.expect("a watch and a session");
}
