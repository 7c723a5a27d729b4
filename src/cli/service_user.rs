//! The user that the shipped unit runs the daemon as, `nullmta`: what they may read, and what their unit hides.
//!
//! Promises: [`ServiceUser::see`] does its work with the rights of that user, whoever called us; where that cannot be,
//! it says so and nothing was done.
//!
//! Not here: a host without that user, such as a container's: there everything is looked at as who we are.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::config::{Config, SecretSource, ServerCertificate, Trust};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
    groups: Vec<u32>,
}

impl ServiceUser {
    /// The user of this host, if we are root, who alone can look for another.
    pub(super) fn of_host() -> Option<ServiceUser> {
        if !geteuid().is_root() {
            return None;
        }
        let group = fs::read("/etc/group").unwrap_or_default();
        ServiceUser::of_files(&fs::read("/etc/passwd").ok()?, &group)
    }

    /// The same by the texts of passwd(5) and group(5).
    fn of_files(passwd: &[u8], group: &[u8]) -> Option<ServiceUser> {
        let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
        let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = lines.into_iter().find(|fields| fields.len() > 3 && fields[0] == NAME)?;
        let (uid, gid) = (fields[2].parse().ok()?, fields[3].parse().ok()?);
        let member_of = |line: &str| {
            let fields: Vec<_> = line.split(':').collect();
            let [_, _, number, members] = fields[..] else { return None };
            members.split(',').any(|member| member.trim() == NAME).then(|| number.parse().ok()).flatten()
        };
        Some(ServiceUser { uid, gid, groups: group.lines().filter_map(member_of).chain([gid]).collect() })
    }

    /// What `look` comes to with the rights of this user.
    pub(super) fn see<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let user = self.clone();
        // Rights are each thread's own (credentials(7)): this one takes on the user's, and ends.
        let looking = std::thread::spawn(move || user.take_rights().map(|()| look()));
        looking.join().unwrap_or_else(|_| Err(io::Error::other("the check failed")))
    }

    fn take_rights(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        // Last: without it there is no right to the others.
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }
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

    #[test]
    fn the_user_has_the_groups_that_the_files_give() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nnullmta:x:990:989:nullmta mail:/var/spool/nullmta:/x\n";
        let group =
            b"root:x:0:\nssl-cert:x:120:ann,nullmta\nmail:x:8:nullmtas\nnullmta:x:989:\nbad:nullmta\n";
        let user = ServiceUser::of_files(passwd, group).unwrap();
        assert_eq!(user, ServiceUser { uid: 990, gid: 989, groups: vec![120, 989] });
        for passwd in [&b""[..], b"nullmta", b"nullmta:x:a:b:", b"nullmtas:x:1:1:::\n"] {
            assert_eq!(ServiceUser::of_files(passwd, group), None);
        }
    }

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
