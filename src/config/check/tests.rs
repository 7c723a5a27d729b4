use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::config::Authorities;
use crate::listener::certificate::Certificate;
use crate::relay::Relay;

/// Returns a self-signed certificate and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["nullmta.example".into()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A directory with a configuration and the files that it names.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        Host(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.to_str().unwrap().into()
    }

    /// Loads `toml`, in which `DIR` stands for the directory, and builds from it what `check` and `run` build.
    fn load(&self, toml: &str) -> Result<Config, String> {
        let directory = self.0.path().to_str().unwrap();
        let path = self.0.path().join("nullmta.toml");
        fs::write(&path, toml.replace("DIR", directory)).unwrap();
        let plain = |error: String| error.replace(directory, "DIR");
        let config = Config::load(&path).map_err(|error| plain(error.to_string()))?;
        let built = Relay::new(config.relay.clone()).and_then(|_| Certificate::of(&config.listen));
        match built {
            Ok(_) => Ok(config),
            Err(error) => Err(plain(config.located(&error))),
        }
    }

    fn refuses(&self, toml: &str, expected: &str) {
        assert_eq!(self.load(toml).unwrap_err(), format!("DIR/nullmta.toml:{expected}"), "{toml}");
    }
}

const HEAD: &str = "relayhost = \"smtp.example.com\"\nlisten.hostname = \"host.example\"\n";

#[test]
fn a_configuration_whose_files_are_in_order_is_loaded() {
    let host = Host::new();
    let (certificate, key) = certificate();
    host.file("ca.pem", format!("# ours\n{certificate}{certificate}"), 0o644);
    host.file("own.pem", &certificate, 0o644);
    host.file("own.key", &key, 0o600);
    host.file("secret", "hunter2\n", 0o600);
    let toml = format!(
        "{HEAD}listen.certificate = \"DIR/own.pem\"\nlisten.key = \"DIR/own.key\"\n\
         [auth]\nusername = \"u\"\npassword-file = \"DIR/secret\"\n[tls]\nca-file = \"DIR/ca.pem\"\n\
         client-certificate = \"DIR/own.pem\"\nclient-key = \"DIR/own.key\"\n"
    );
    let config = host.load(&toml).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for untried in ["credential = \"relay\"", "password-command = [\"/bin/sh\", \"-c\", \"exit 1\"]"] {
        host.load(&format!("{HEAD}[auth]\nusername = \"u\"\n{untried}\n")).unwrap();
    }
}

#[test]
fn one_that_not_everybody_may_read_is_warned_of() {
    let host = Host::new();
    for (mode, expected) in
        [(0o644, None), (0o604, None), (0o640, Some("mode 0640")), (0o600, Some("mode 0600"))]
    {
        let warning = warning(Path::new(&host.file("nullmta.toml", HEAD, mode)));
        assert_eq!(warning.is_some(), expected.is_some(), "{mode:o}");
        assert!(warning.unwrap_or_default().contains(expected.unwrap_or_default()), "{mode:o}");
    }
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_so() {
    let missing = Config::load(Path::new("/nonexistent/nullmta.toml")).unwrap_err();
    let expected = "/nonexistent/nullmta.toml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(missing.to_string(), expected);
}

#[test]
fn a_file_that_is_not_text_is_refused_at_its_line() {
    let host = Host::new();
    let path = host.file("latin1.toml", b"# first\nrelayhost = \"h\xf4te\"\n", 0o644);
    let error = Config::load(Path::new(&path)).unwrap_err().to_string();
    assert_eq!(error, format!("{path}:2: expected UTF-8, found an octet that is not"));
}

#[test]
fn faults_of_the_secret_are_laid_to_the_key_that_names_it() {
    let host = Host::new();
    host.file("open", "hunter2", 0o644);
    host.file("empty", "\n", 0o600);
    for (key, value, expected) in [
        (
            "password-file",
            "\"DIR/no\"",
            "cannot read DIR/no: No such file or directory (os error 2); put the secret there, on one line, in a file \
             of mode 600 that belongs to nullmta's user",
        ),
        ("password-file", "\"DIR/empty\"", "DIR/empty holds no secret: expected one line"),
        (
            "password-file",
            "\"DIR/open\"",
            "DIR/open is open to others than its owner (mode 0644): chmod 600 DIR/open, or, where its mode is not \
             yours to change, hand a password over as a systemd credential (credential) or by a program \
             (password-command)",
        ),
        ("password-command", "[\"DIR/no\"]", "cannot run DIR/no: No such file or directory (os error 2)"),
        ("password-command", "[\"DIR/open\"]", "cannot run DIR/open: not an executable file"),
    ] {
        let toml = format!("{HEAD}[auth]\nusername = \"u\"\n{key} = {value}\n");
        host.refuses(&toml, &format!("5: key `auth.{key}`: {expected}"));
    }
}

/// `check` said "ok" of any `key-file`, and mail waited for the first token.
#[test]
fn faults_of_the_files_of_oauth_are_laid_to_the_key_that_names_them() {
    let host = Host::new();
    let own = include_str!("../../../tests/certificates/rsa-assertion.pem");
    let (other, elliptic) = certificate();
    host.file("own.pem", own, 0o600);
    host.file("other.pem", other, 0o644);
    host.file("elliptic.pem", elliptic, 0o600);
    host.file("open.pem", own, 0o644);
    host.file("empty", "", 0o600);
    host.file("garbage", "hunter2\n", 0o600);
    host.file("client.json", r#"{"installed":{"client_secret":"hunter2"}}"#, 0o600);
    let account = |more: &str| format!(r#"{{"private_key":"{}"{more}}}"#, own.replace('\n', "\\n"));
    host.file("account.json", account(r#","client_email":"svc@project.example""#), 0o600);
    host.file("nobody.json", account(""), 0o600);
    host.file("secret", "hunter2\n", 0o600);
    host.file("latin1", b"h\xfcnter2\n", 0o600);
    let head = |grant: &str| {
        format!(
            "{HEAD}auth.username = \"u\"\n[auth.oauth]\ngrant = \"{grant}\"\ntoken-url = \"https://login.example.com/token\"\n"
        )
    };
    let jwt = |file: &str| format!("{}key-file = \"DIR/{file}\"\n", head("jwt-bearer"));
    let app = format!("{}client-id = \"app\"\n", head("client-credentials"));
    let certified = |certificate: &str, key: &str| {
        format!("{app}client-certificate = \"DIR/{certificate}\"\nkey-file = \"DIR/{key}\"\n")
    };
    let secret = |file: &str| format!("{app}client-secret-file = \"DIR/{file}\"\n");
    let refresh = |file: &str| {
        format!("{}client-id = \"app\"\nrefresh-token-file = \"DIR/{file}\"\n", head("refresh-token"))
    };
    for good in [jwt("account.json"), certified("own.pem", "own.pem"), secret("secret"), refresh("secret")] {
        host.load(&good).unwrap();
    }
    let no_key =
        "holds neither a PEM private key without a passphrase nor the JSON key file of a service account";
    for (toml, expected) in [
        (jwt("no"), "7: key `auth.oauth.key-file`: cannot read DIR/no: No such file or directory (os error 2)".into()),
        (jwt("open.pem"), "7: key `auth.oauth.key-file`: DIR/open.pem is open to others than its owner (mode 0644): chmod 600 DIR/open.pem".into()),
        (jwt("empty"), format!("7: key `auth.oauth.key-file`: DIR/empty {no_key}")),
        (jwt("garbage"), format!("7: key `auth.oauth.key-file`: DIR/garbage {no_key}")),
        (jwt("client.json"), "7: key `auth.oauth.key-file`: DIR/client.json holds JSON without a private key: the key file of a service account is wanted, not that of an OAuth client".into()),
        (jwt("elliptic.pem"), "7: key `auth.oauth.key-file`: DIR/elliptic.pem holds no RSA key of 2048 to 8192 bits".into()),
        (jwt("nobody.json"), "7: key `auth.oauth.key-file`: DIR/nobody.json does not say who signs (client_email): set auth.oauth.client-id".into()),
        (certified("own.pem", "elliptic.pem"), "9: key `auth.oauth.key-file`: DIR/elliptic.pem holds no RSA key of 2048 to 8192 bits".into()),
        (certified("other.pem", "own.pem"), "9: key `auth.oauth.key-file`: expected the private key of DIR/other.pem in DIR/own.pem, found another".into()),
        (certified("garbage", "own.pem"), "8: key `auth.oauth.client-certificate`: expected PEM certificates in DIR/garbage, found none".into()),
        (secret("latin1"), "8: key `auth.oauth.client-secret-file`: DIR/latin1 is not UTF-8".into()),
        (secret("empty"), "8: key `auth.oauth.client-secret-file`: DIR/empty holds no secret: expected one line".into()),
        (refresh("empty"), "8: key `auth.oauth.refresh-token-file`: DIR/empty holds no secret: expected one line".into()),
    ] {
        let expected: String = expected;
        host.refuses(&toml, &expected);
    }
}

#[test]
fn a_ca_file_holds_a_certificate_that_can_be_used() {
    let host = Host::new();
    let (certificate, key) = certificate();
    host.file("key.pem", key, 0o644);
    host.file("cut.pem", &certificate[..certificate.len() / 2], 0o644);
    host.file("odd.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", 0o644);
    for (file, expected) in [
        ("no.pem", "cannot read DIR/no.pem: No such file or directory (os error 2)"),
        ("key.pem", "expected PEM certificates in DIR/key.pem, found none"),
        ("cut.pem", "expected PEM certificates in DIR/cut.pem, found damaged ones"),
        ("odd.pem", "expected a CA certificate in DIR/odd.pem, found none that can be used"),
    ] {
        let toml = format!("{HEAD}tls.ca-file = \"DIR/{file}\"\n");
        host.refuses(&toml, &format!("3: key `tls.ca-file`: {expected}"));
    }
}

/// One certificate that could not be used made `check` say that all was well, and the daemon refuse to start; one that
/// was cut off took the whole one behind it along.
#[test]
fn an_odd_certificate_among_authorities_is_passed_over_and_told() {
    let host = Host::new();
    let good = certificate().0;
    let odd = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let damaged = odd.replace("aGVsbG8=", "%%%%");
    let cut = &good[..good.len() / 2];
    let path = host.file("ca.pem", format!("{odd}{good}{damaged}{cut}\n{good}"), 0o644);
    let config = host.load(&format!("{HEAD}tls.ca-file = \"DIR/ca.pem\"\n")).unwrap();
    let relay = Relay::new(config.relay).unwrap();
    let told = |number, why| {
        format!(
            "tls.ca-file: certificate {number} in {path} cannot be used, and is passed over: it {why}; take it out of \
             the file, or put a whole one in its place"
        )
    };
    let unread = "is none that can be read: what its text stands for is no certificate";
    assert_eq!(relay.warnings(), [told(1, unread), told(3, "is damaged"), told(4, "is damaged")]);
    assert_eq!(Authorities::read("tls.ca-file", Path::new(&path)).unwrap().roots.len(), 2);
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let host = Host::new();
    let (own, key) = certificate();
    host.file("own.pem", &own, 0o644);
    host.file("own.key", &key, 0o600);
    host.file("open.key", &key, 0o644);
    host.file("other.key", certificate().1, 0o600);
    host.file("encrypted.key", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), 0o600);
    let cases = [
        ("own.key", "own.key", "3: key `CERTIFICATE`: expected PEM certificates in DIR/own.key, found none"),
        (
            "no.pem",
            "own.key",
            "3: key `CERTIFICATE`: cannot read DIR/no.pem: No such file or directory (os error 2)",
        ),
        ("own.pem", "no.key", "4: key `KEY`: cannot read DIR/no.key: No such file or directory (os error 2)"),
        (
            "own.pem",
            "open.key",
            "4: key `KEY`: DIR/open.key is open to others than its owner (mode 0644): chmod 600 DIR/open.key",
        ),
        (
            "own.pem",
            "encrypted.key",
            "4: key `KEY`: expected a PEM private key without a passphrase in DIR/encrypted.key, found none",
        ),
        (
            "own.pem",
            "other.key",
            "4: key `KEY`: expected the private key of DIR/own.pem in DIR/other.key, found another",
        ),
    ];
    for (certificate_key, key_key) in
        [("tls.client-certificate", "tls.client-key"), ("listen.certificate", "listen.key")]
    {
        for (certificate, key, expected) in cases {
            let toml =
                format!("{HEAD}{certificate_key} = \"DIR/{certificate}\"\n{key_key} = \"DIR/{key}\"\n");
            host.refuses(&toml, &expected.replace("CERTIFICATE", certificate_key).replace("KEY", key_key));
        }
    }
}

/// A file that was changed while the daemon started was compared with itself, and the reload said "changed: nothing".
#[test]
fn what_changed_is_told_of_the_texts_that_were_read() {
    let host = Host::new();
    let old = host.load(HEAD).unwrap();
    let new = host.load(&format!("{HEAD}[queue]\nretry-min = \"2m\"\n")).unwrap();
    assert_eq!(old.changed_keys(&new), ["queue.retry-min"]);
    assert_eq!(new.changed_keys(&new), [""; 0]);
}

/// A token that another program writes after the boot kept the whole daemon from starting, and port 25 was closed.
#[test]
fn a_secret_that_cannot_be_used_is_no_error_of_a_start() {
    let host = Host::new();
    host.file("open", "hunter2", 0o644);
    let toml = format!(
        "{HEAD}[auth]\nusername = \"u\"\npassword-file = \"DIR/open\"\n[[route]]\nname = \"a\"\nsenders = \"@a.example\"\n\
         relayhost = \"a.example\"\n[route.auth]\nusername = \"u\"\ntoken-file = \"DIR/no\"\n[[route]]\nname = \"b\"\n\
         senders = \"@b.example\"\nrelayhost = \"b.example\"\n"
    );
    let directory = host.0.path().to_str().unwrap();
    let path = host.file("nullmta.toml", toml.replace("DIR", directory), 0o644);
    let (config, faults) = Config::load_for_start(Path::new(&path)).unwrap();
    assert_eq!(config.routes.len(), 2);
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let expected = [(5, "auth.password-file", "is open to others"), (12, "auth.token-file", "cannot read")];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, (line, key, words)) in told.iter().zip(expected) {
        assert!(told.starts_with(&format!("{path}:{line}: key `")), "{told}");
        assert!(told.contains(&format!("{key}`: ")) && told.contains(words), "{told}");
    }
    assert_eq!(Config::load(Path::new(&path)).unwrap_err().to_string(), told[0]);
    // No relay is left.
    let none = host.file(
        "none.toml",
        toml.replace("DIR", directory).split("[[route]]\nname = \"b\"").next().unwrap(),
        0o644,
    );
    assert!(Config::load_for_start(Path::new(&none)).unwrap_err().to_string().contains("is open to others"));
    // What the file itself says is an error as before.
    let bad = host.file("bad.toml", toml.replace("password-file", "passwort-file"), 0o644);
    assert!(Config::load_for_start(Path::new(&bad)).is_err());
}
