//! Certificate authorities and the certificates that they sign, made by `openssl`, valid for two days.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The extensions of authorities (`authority`) and of servers (`server`).
const CONFIGURATION: &str = "\
[req]
distinguished_name = nothing
[nothing]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = ";

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    folder: TempDir,
    /// Supabase's servers present the certificate of an intermediate authority with their own.
    intermediate: bool,
}

/// What a server presents: its certificate chain, and the private key; both PEM text.
pub(crate) struct Identity {
    pub(crate) certificates: String,
    pub(crate) key: String,
}

impl Authority {
    /// An authority that signs servers directly.
    pub(crate) fn new() -> Self {
        Self::named("Test Root")
    }

    /// An authority with another name.
    pub(crate) fn named(name: &str) -> Self {
        let subject = format!("/CN={name}");
        let folder = tempfile::tempdir().unwrap();
        make_key(folder.path(), "root");
        let root = ["req", "-x509", "-new", "-key", "root.key", "-out", "root.pem", "-subj", &subject];
        openssl(folder.path(), "DNS:unused", &[&root[..], &["-extensions", "authority", "-days", "2"]].concat());
        Self { folder, intermediate: false }
    }

    /// An authority that signs servers through an intermediate one.
    pub(crate) fn with_an_intermediate() -> Self {
        let authority = Self { intermediate: true, ..Self::new() };
        authority.sign("root", "intermediate", "authority", "DNS:unused");
        authority
    }

    /// The file to trust, as PEM.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// The text of that file.
    pub(crate) fn pem(&self) -> String {
        self.read("root.pem")
    }

    /// A certificate for a server of these names (`DNS:localhost,IP:127.0.0.1`).
    pub(crate) fn identity(&self, names: &str) -> Identity {
        self.sign(if self.intermediate { "intermediate" } else { "root" }, "server", "server", names);
        let above = if self.intermediate { self.read("intermediate.pem") } else { String::new() };
        Identity { certificates: self.read("server.pem") + &above, key: self.read("server.key") }
    }

    fn sign(&self, by: &str, name: &str, extensions: &str, names: &str) {
        let folder = self.folder.path();
        make_key(folder, name);
        let file = |ending: &str| format!("{name}.{ending}");
        let subject = format!("/CN=Test {name}");
        openssl(folder, names, &["req", "-new", "-key", &file("key"), "-out", &file("csr"), "-subj", &subject]);
        let (above, its_key) = (format!("{by}.pem"), format!("{by}.key"));
        let signing = ["-CA", &above, "-CAkey", &its_key, "-CAcreateserial", "-days", "2"];
        let given = ["x509", "-req", "-in", &file("csr"), "-out", &file("pem")];
        let extended = ["-extfile", "configuration", "-extensions", extensions];
        openssl(folder, names, &[&given[..], &signing, &extended].concat());
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

fn make_key(folder: &Path, name: &str) {
    let file = format!("{name}.key");
    let kind = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    openssl(folder, "DNS:unused", &[&["genpkey", "-out", &file][..], &kind].concat());
}

fn openssl(folder: &Path, names: &str, arguments: &[&str]) {
    std::fs::write(folder.join("configuration"), format!("{CONFIGURATION}{names}\n")).unwrap();
    let mut command = Command::new("openssl");
    command.current_dir(folder).env("OPENSSL_CONF", folder.join("configuration")).args(arguments);
    let output = command.output().unwrap_or_else(|error| {
        panic!("openssl can't be run ({error}); these tests need it (Debian: `apt-get install openssl`)")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
