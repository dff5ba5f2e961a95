//! Authorities and certificates, made for one test, in files of its own.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd, string::Ia5String};

/// The name that a server's certificate has here.
pub(crate) const SERVER: &str = "fuseboard.test";

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a DNS name, or for a URI.
    pub(crate) fn issue(&self, name: &str) -> Certified {
        self.sign(Self::params(name))
    }

    /// One whose time is over.
    pub(crate) fn issue_expired(&self, name: &str) -> Certified {
        let mut params = Self::params(name);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2001, 2, 1));
        self.sign(params)
    }

    /// One that expires so long from now.
    #[expect(clippy::disallowed_methods, reason = "certificates expire in real time")]
    pub(crate) fn issue_for(&self, name: &str, time: Duration) -> Certified {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut params = Self::params(name);
        params.not_after = date_time_ymd(1970, 1, 1) + (now + time);
        self.sign(params)
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let text = Ia5String::try_from(name).unwrap();
        params.subject_alt_names.push(if name.contains("://") {
            rcgen::SanType::URI(text)
        } else {
            rcgen::SanType::DnsName(text)
        });
        params
    }

    fn sign(&self, params: CertificateParams) -> Certified {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A folder that goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("security-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file, and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes what a server shows, and gives the flags that name it.
    pub(crate) fn server(&self, certified: &Certified) -> Vec<String> {
        let cert = self.file("server.pem", &certified.certificate);
        let key = self.file("server.key", &certified.key);
        vec!["--tls-cert".to_owned(), cert, "--tls-key".to_owned(), key]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
