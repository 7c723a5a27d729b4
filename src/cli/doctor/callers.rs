//! What programs call to send mail, and whether an ordinary user can.
//!
//! Promises: if root asks, the rights are those of the user `nobody`; else those of who asks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::super::service_user::ServiceUser;
use super::finding::Finding;
use crate::config::Config;

/// The names by which programs call us, and where they look for them.
const LINKS: [(&str, &str); 3] =
    [("sendmail", "/usr/sbin/sendmail"), ("mailq", "/usr/bin/mailq"), ("newaliases", "/usr/bin/newaliases")];

/// Returns what there is to be said of the links, and of the rights of an ordinary user.
pub(super) fn findings(path: &Path, config: Option<&Config>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        LINKS.into_iter().map(|(name, link)| about_link(name, Path::new(link))).collect();
    if let Some(config) = config {
        findings.push(about_rights(path, config));
    }
    findings
}

/// Returns what there is to be said of the program `name` at `link`.
fn about_link(name: &'static str, link: &Path) -> Finding {
    let shown = link.display();
    match fs::canonicalize(link) {
        Ok(target) if is_nullmta(&target) => Finding::ok(name, format!("{shown} is {}", target.display())),
        Ok(target) => Finding::look(
            name,
            format!(
                "{shown} is another program ({}): it does not hand its mail to nullmta",
                target.display()
            ),
            format!("move it aside, and make the name a link: ln -s /usr/bin/nullmta {shown}"),
        ),
        Err(error) => Finding::look(
            name,
            format!("{shown}: {error}; programs that call it cannot"),
            format!("ln -s /usr/bin/nullmta {shown}"),
        ),
    }
}

/// Returns whether the program at `target` is nullmta: by its name, or since it is the file that runs now.
fn is_nullmta(target: &Path) -> bool {
    let is_this = || {
        let (ours, its) = (fs::metadata("/proc/self/exe").ok()?, fs::metadata(target).ok()?);
        Some((ours.dev(), ours.ino()) == (its.dev(), its.ino()))
    };
    target.file_name().is_some_and(|name| name == "nullmta") || is_this().unwrap_or(false)
}

/// What an ordinary user must be able to do, with what to do where one cannot.
struct NeededRight {
    path: PathBuf,
    access: Access,
    /// What does not work without it.
    without: &'static str,
    to_do: String,
}

/// Returns the rights that an ordinary user needs to call `sendmail`.
fn needed(path: &Path, config: &Config) -> Vec<NeededRight> {
    let program = std::env::current_exe().unwrap_or_default();
    let right = |path: &Path, access, without, to_do: String| NeededRight {
        path: path.into(),
        access,
        without,
        to_do,
    };
    let mut needed = vec![
        right(
            &program,
            Access::EXEC_OK,
            "nobody but root can call it",
            format!("chmod 755 {}, and let users through its directories", program.display()),
        ),
        right(
            path,
            Access::READ_OK,
            "sendmail gives exit code 75 while the daemon is down",
            format!("chmod 644 {}: it holds no secret", path.display()),
        ),
        right(
            &config.spool.join("drop"),
            Access::WRITE_OK | Access::EXEC_OK,
            "sendmail can leave no mail there while the daemon is down",
            "systemd-tmpfiles --create /etc/tmpfiles.d/nullmta.conf".into(),
        ),
    ];
    if let Some(socket) = &config.listen.socket {
        needed.push(right(
            socket,
            Access::WRITE_OK,
            "sendmail leaves its mail in the drop directory",
            "start the daemon; if it runs, its log says why".into(),
        ));
    }
    needed
}

fn about_rights(path: &Path, config: &Config) -> Finding {
    const CHECK: &str = "users";
    let needed = needed(path, config);
    let missing = move || {
        let is_missing = |right: &NeededRight| access(&right.path, right.access).is_err();
        needed.into_iter().find(is_missing)
    };
    let missing = match ServiceUser::nobody() {
        Some(nobody) => nobody.see(missing),
        None => Ok(missing()),
    };
    match missing {
        Ok(None) => Finding::ok(CHECK, "every user can hand in mail, also while the daemon is down"),
        Ok(Some(NeededRight { path, without, to_do, .. })) => {
            Finding::look(CHECK, format!("an ordinary user cannot use {}: {without}", path.display()), to_do)
        }
        Err(error) => Finding::doubt(CHECK, format!("what the user nobody may do was not seen: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::finding::Health;
    use super::*;

    #[test]
    fn a_link_to_another_program_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("exim4"), "").unwrap();
        fs::write(at("nullmta"), "").unwrap();
        symlink(at("exim4"), at("other")).unwrap();
        symlink(at("nullmta"), at("ours")).unwrap();
        symlink("/proc/self/exe", at("this")).unwrap();
        let health = |name: &str| about_link("sendmail", &at(name)).result;
        assert_eq!([health("other"), health("missing")], [Health::Look; 2]);
        assert_eq!([health("ours"), health("this")], [Health::Ok; 2]);
    }
}
