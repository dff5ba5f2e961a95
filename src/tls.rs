//! TLS for both ports: the certificate that they show, whose certificates they take, and both read again when they change.
//!
//! Files are replaced while the server runs, by whatever renews them. They are looked at once in a while and on SIGHUP, and
//! hold for the handshakes from then on; a file that cannot be used changes nothing.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum;
use parking_lot::RwLock;
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
    server::TlsStream,
};
use tokio_util::either::Either;

/// How late a certificate's expiry may be noticed where the machine's clock was set.
const EXPIRY_LOOK_INTERVAL: Duration = Duration::from_secs(60);

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
/// From March of year 0 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

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
    /// Told when other authorities are trusted than before.
    trust: Arc<watch::Sender<()>>,
}

struct Now {
    /// What the files held.
    texts: Texts,
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// Who checks clients' certificates, where they are asked for.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
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
        Ok(Self { files: Arc::new(files), now: Arc::new(RwLock::new(now)), trust: Arc::default() })
    }

    /// Everything that is wrong with the files, of each as far as it can be looked at without the others.
    #[must_use]
    pub fn errors(files: &Files) -> Vec<Error> {
        let certificate = read("tls_cert", &files.certificate)
            .and_then(|text| certificates("tls_cert", &files.certificate, &text).map(drop));
        let key = read("tls_key", &files.key).and_then(|text| {
            let key = PrivateKeyDer::from_pem_slice(&text);
            key.map(drop).map_err(|error| unusable("tls_key", &files.key, error))
        });
        let client_ca = files.client_ca.as_ref().map_or(Ok(()), |path| {
            read("tls_client_ca", path).and_then(|text| certificates("tls_client_ca", path, &text).map(drop))
        });
        let errors: Vec<Error> = [certificate, key, client_ca].into_iter().filter_map(Result::err).collect();
        // What they are to each other can be judged only then.
        if errors.is_empty() { Self::load(files.clone()).err().into_iter().collect() } else { errors }
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
        let new = Now::of(&self.files, texts)?;
        let mut now = self.now.write();
        let trusts_others = now.texts.client_ca != new.texts.client_ca;
        *now = new;
        drop(now);
        if trusts_others {
            self.trust.send_replace(());
        }
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

    /// Comes when a connection whose client has shown this has to end: the certificate has expired, its authority is trusted no
    /// more, or it was shown longer ago than `max_age`, so that one that was replaced meanwhile is noticed.
    #[expect(clippy::disallowed_methods, reason = "certificates expire in real time, whatever clock the breakers have")]
    pub async fn outlived(&self, shown: &Shown, max_age: Duration) -> &'static str {
        let mut trust = self.trust.subscribe();
        let mut aged = pin!(tokio::time::sleep(max_age));
        loop {
            if !self.trusts(shown) {
                return "the authority of its certificate is trusted no more";
            }
            // Looked at again in a while, as the machine's clock may be set.
            loop {
                let left = shown.not_after.saturating_sub(UnixTime::now().as_secs());
                if left == 0 {
                    return "its certificate has expired";
                }
                tokio::select! {
                    () = &mut aged => return "its certificate was shown long ago",
                    () = tokio::time::sleep(Duration::from_secs(left).min(EXPIRY_LOOK_INTERVAL)) => {}
                    changed = trust.changed() => if changed.is_ok() { break },
                }
            }
        }
    }

    fn trusts(&self, shown: &Shown) -> bool {
        let verifier = self.now.read().verifier.clone();
        let Some((certificate, chain)) = shown.chain.split_first() else { return false };
        verifier.is_some_and(|verifier| verifier.verify_client_cert(certificate, chain, UnixTime::now()).is_ok())
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
        let mut checks = None;
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
                let verifier = verifier.build().map_err(|error| wrong(&error))?;
                checks = Some(Arc::clone(&verifier));
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut grpc = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let why = format!("not the private key of tls_cert {}", files.certificate.display());
                unusable("tls_key", &files.key, why)
            }
            error => unusable("tls_key", &files.key, error),
        })?;
        grpc.alpn_protocols = vec![b"h2".to_vec()];
        let mut http = grpc.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { texts, grpc: Arc::new(grpc), http: Arc::new(http), verifier: checks })
    }
}

fn certificates(setting: &'static str, path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(setting, path, "there is no certificate in it")),
        found => found.map_err(|error| unusable(setting, path, error)),
    }
}

/// The certificate that a client has shown, with its chain.
#[derive(Debug)]
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    /// When it expires, in seconds since 1970.
    not_after: u64,
}

/// What the client of a connection has shown; `None`: nothing.
#[must_use]
pub fn shown(wire: &Wire) -> Option<Shown> {
    let Either::Right(stream) = wire else { return None };
    let chain: Vec<_> =
        stream.get_ref().1.peer_certificates()?.iter().map(|shown| shown.clone().into_owned()).collect();
    // The handshake has read it, so that the field is there.
    let not_after = not_after(chain.first()?).unwrap_or(u64::MAX);
    Some(Shown { chain, not_after })
}

/// The end of a certificate's validity, in seconds since 1970: the second time of the fifth part of what is signed, or of the
/// fourth where the version is left out.
fn not_after(certificate: &[u8]) -> Option<u64> {
    let (signed, _) = der(certificate, SEQUENCE).and_then(|(whole, _)| der(whole, SEQUENCE))?;
    let rest = der(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_, rest) = der(rest, INTEGER)?;
    let (_, rest) = der(rest, SEQUENCE)?;
    let (_, rest) = der(rest, SEQUENCE)?;
    let (validity, _) = der(rest, SEQUENCE)?;
    let time = |input| {
        let short = der(input, UTC_TIME).map(|(text, rest)| (text, rest, true));
        short.or_else(|| der(input, GENERALIZED_TIME).map(|(text, rest)| (text, rest, false)))
    };
    let (_, rest, _) = time(validity)?;
    let (text, _, is_short) = time(rest)?;
    seconds(std::str::from_utf8(text).ok()?, is_short)
}

/// `YYYYMMDDhhmmssZ`, or with two digits of the year, which is 1950 to 2049.
fn seconds(text: &str, is_short: bool) -> Option<u64> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = digits.split_at_checked(if is_short { 2 } else { 4 })?;
    let year: u64 = year.parse().ok()?;
    let year = if is_short { year + if year < 50 { 2000 } else { 1900 } } else { year };
    let part = |index: usize| rest.get(2 * index..2 * index + 2).and_then(|part| part.parse::<u64>().ok());
    let (month, day) = (part(0)?, part(1)?);
    // Years that begin in March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day.checked_sub(1)?;
    // Before 1970 it has long expired.
    let days = days.saturating_sub(DAYS_TO_1970);
    Some(days * 86_400 + part(2)? * 3_600 + part(3)? * 60 + part(4)?)
}

/// The content of the first element, which has this tag, and what follows it.
fn der(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for (year, month, day, seconds) in [
            (1970, 1, 1, 0),
            (1969, 12, 31, 86_399 - 86_399),
            (2000, 2, 29, 951_782_400),
            (2026, 11, 28, 1_795_824_000),
            (2049, 12, 31, 2_524_521_600),
            // From here on the year has four digits.
            (2050, 1, 1, 2_524_608_000),
            (2100, 3, 1, 4_107_542_400),
        ] {
            let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, month, day);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(not_after(certificate.der()), Some(seconds), "{year}-{month}-{day}");
            for length in 0..certificate.der().len() {
                _ = not_after(&certificate.der()[..length]);
            }
        }
        assert_eq!(not_after(b"no certificate"), None);
    }
}
