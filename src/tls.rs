//! TLS for both ports: the certificate that they show, whose certificates they take, and both read again when they change.
//!
//! Files are replaced while the server runs, by whatever renews them. They are looked at once in a while and on SIGHUP, and
//! hold for the handshakes from then on; a file that cannot be used changes nothing.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::ValueEnum;
use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tokio_util::either::Either;

/// A connection, with TLS or without.
pub type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Whether clients must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum ClientAuth {
    /// Yes.
    #[default]
    Required,
    /// No, but one that is shown must be good.
    Optional,
}

/// Which files make up TLS, all PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// The certificate that is shown, with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients' certificates; `None`: clients show none.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show one.
    pub client_auth: ClientAuth,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {path}: {why}")]
pub struct Error {
    /// The setting that names the file.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What a port speaks over TLS, as ALPN names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alpn {
    /// gRPC: HTTP/2 and nothing else.
    Grpc,
    /// The HTTP port: HTTP/1.1.
    Http,
}

/// TLS as it is now. Clones share it.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    now: Arc<RwLock<Now>>,
}

struct Now {
    /// What the files held.
    texts: Texts,
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, is not what it should be, or the key is not the certificate's.
    pub fn load(files: Files) -> Result<Self, Error> {
        let now = Now::of(&files, Texts::read(&files)?)?;
        Ok(Self { files: Arc::new(files), now: Arc::new(RwLock::new(now)) })
    }

    /// Reads the files again. True where they have changed, and are used from now on.
    ///
    /// # Errors
    /// As [`Tls::load`]; what was read before goes on being used.
    pub fn reload(&self) -> Result<bool, Error> {
        let texts = Texts::read(&self.files)?;
        if self.now.read().texts == texts {
            return Ok(false);
        }
        let now = Now::of(&self.files, texts)?;
        *self.now.write() = now;
        Ok(true)
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// The client has gone, speaks something else, or showed no certificate that is taken.
    pub async fn accept(&self, stream: TcpStream, speaks: Alpn) -> io::Result<Box<TlsStream<TcpStream>>> {
        let config = self.config(speaks);
        Ok(Box::new(TlsAcceptor::from(config).accept(stream).await?))
    }

    fn config(&self, speaks: Alpn) -> Arc<ServerConfig> {
        let now = self.now.read();
        match speaks {
            Alpn::Grpc => Arc::clone(&now.grpc),
            Alpn::Http => Arc::clone(&now.http),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Texts {
    fn read(files: &Files) -> Result<Self, Error> {
        Ok(Self {
            certificate: read("tls_cert", &files.certificate)?,
            key: read("tls_key", &files.key)?,
            client_ca: files.client_ca.as_ref().map(|path| read("tls_client_ca", path)).transpose()?,
        })
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| unusable(setting, path, error))
}

fn unusable(setting: &'static str, path: &Path, why: impl fmt::Display) -> Error {
    Error { setting, path: path.to_owned(), why: why.to_string() }
}

impl Now {
    fn of(files: &Files, texts: Texts) -> Result<Self, Error> {
        let chain = certificates("tls_cert", &files.certificate, &texts.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|error| unusable("tls_key", &files.key, error))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("tls_cert", &files.certificate, error))?;
        let builder = match (&files.client_ca, &texts.client_ca) {
            (Some(path), Some(text)) => {
                let wrong = |error: &dyn fmt::Display| unusable("tls_client_ca", path, error);
                let mut roots = RootCertStore::empty();
                for root in certificates("tls_client_ca", path, text)? {
                    roots.add(root).map_err(|error| wrong(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match files.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(&error))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut grpc = builder.with_single_cert(chain, key).map_err(|error| unusable("tls_key", &files.key, error))?;
        grpc.alpn_protocols = vec![b"h2".to_vec()];
        let mut http = grpc.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { texts, grpc: Arc::new(grpc), http: Arc::new(http) })
    }
}

fn certificates(setting: &'static str, path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(setting, path, "there is no certificate in it")),
        found => found.map_err(|error| unusable(setting, path, error)),
    }
}

/// The names that a peer's certificate gives it, DNS names and URIs. The handshake has checked who says so.
#[must_use]
pub fn names(wire: &Wire) -> Vec<String> {
    let Either::Right(stream) = wire else { return Vec::new() };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let Some(certificate) = shown.and_then(|shown| webpki::EndEntityCert::try_from(shown).ok()) else {
        return Vec::new();
    };
    certificate.valid_dns_names().chain(certificate.valid_uri_names()).map(str::to_owned).collect()
}
