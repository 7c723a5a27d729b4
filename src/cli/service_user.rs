//! The user that the shipped unit runs the daemon as, `nullmta`: what they may read, and what their unit hides.
//!
//! Promises: [`ServiceUser::see`] does its work with the rights of that user, whoever called us; where that cannot be,
//! it says so and nothing was done.
//!
//! Not here: a host without that user, such as a container's: there everything is looked at as who we are.

use std::io;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::config::{Config, SecretSource, ServerCertificate, Trust};
use crate::users::{self, Account};

/// `User=` of the unit.
pub(super) const NAME: &str = "nullmta";

/// What `PrivateTmp=` and `ProtectHome=` of the unit hide from the daemon.
const HIDDEN: [(&str, &str); 5] = [
    ("/tmp", "PrivateTmp"),
    ("/var/tmp", "PrivateTmp"),
    ("/home", "ProtectHome"),
    ("/root", "ProtectHome"),
    ("/run/user", "ProtectHome"),
];

/// The unit's user.
pub(super) struct ServiceUser(Account);

impl ServiceUser {
    /// The user of this host, if we are root, who alone can look for another.
    pub(super) fn of_host() -> Option<ServiceUser> {
        if !geteuid().is_root() {
            return None;
        }
        users::by_login(NAME).ok().flatten().map(ServiceUser)
    }

    pub(super) fn uid(&self) -> u32 {
        self.0.uid
    }

    /// What `look` comes to with the rights of this user.
    pub(super) fn see<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (Account { uid, gid, .. }, groups) = (self.0.clone(), users::groups_of(&self.0)?);
        // Rights are each thread's own (credentials(7)): this one takes on the user's, and ends.
        let looking = std::thread::spawn(move || take_rights(uid, gid, &groups).map(|()| look()));
        looking.join().unwrap_or_else(|_| Err(io::Error::other("the check failed")))
    }
}

fn take_rights(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    // Last: without it there is no right to the others.
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// Which of the files that `config` names the unit hides from the daemon, in words.
pub(super) fn hidden(config: &Config) -> Vec<String> {
    let words = |path: &Path| {
        let (directory, setting) = HIDDEN.iter().find(|(directory, _)| path.starts_with(directory))?;
        Some(format!(
            "{} is hidden from the service: {setting}= of its unit has {directory} empty; move it, to /etc say",
            path.display()
        ))
    };
    named_files(config).into_iter().filter_map(words).collect()
}

fn named_files(config: &Config) -> Vec<&Path> {
    let mut files: Vec<&Path> = vec![&config.spool];
    if let Some(SecretSource::File(path)) = config.relay.auth.as_ref().map(|auth| &auth.secret) {
        files.push(path);
    }
    if let Some(settings) = config.relay.tls.settings() {
        if let Trust::CaFile(path) = &settings.trust {
            files.push(path);
        }
        files.extend(settings.client.iter().flat_map(|client| [&*client.certificate, &*client.key]));
    }
    if let Some(ServerCertificate::Files { chain, key }) = &config.listen.certificate {
        files.extend([&**chain, &**key]);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    /// A file under /tmp passed `check`, and the service, which has a /tmp of its own, did not start.
    #[test]
    fn what_the_unit_hides_is_named() {
        let text = "relayhost = \"smtp.example.com\"\nspool = \"/home/spool\"\ntls.ca-file = \"/tmp/ca.pem\"\n\
                    auth.username = \"u\"\nauth.password-file = \"/tmpfile/secret\"\n";
        let environment = Environment { hostname: "web1.example.com".into() };
        let config = Config::parse(text, Path::new("x.toml"), &environment).unwrap();
        let [spool, authorities] = &hidden(&config)[..] else { panic!("{:?}", hidden(&config)) };
        assert!(spool.starts_with("/home/spool is hidden from the service: ProtectHome="), "{spool}");
        assert!(
            authorities.starts_with("/tmp/ca.pem is hidden from the service: PrivateTmp="),
            "{authorities}"
        );
    }
}
