//! A throw-away Postfix that takes mail on loopback for a relay that is down.
//!
//! Its configuration, queue and log are under one directory. What would only slow it down is off: client
//! limits and the delay by which it lets its queue manager catch up (`in_flow_delay`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::server::{free_port, wait_for};

const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
showq unix n - n - - showq
flush unix n - n 1000? 0 flush
postlog unix-dgram n - n - 1 postlogd
";

/// A running instance; its drop ends it.
pub struct Postfix {
    configuration: PathBuf,
    pub port: u16,
}

/// Whether there is one to run, and we may.
pub fn is_usable() -> bool {
    Path::new("/usr/sbin/postfix").exists() && rustix::process::geteuid().is_root()
}

impl Postfix {
    /// Starts one that has everything under `base`, which must not exist.
    pub fn start(base: &Path) -> Outcome<Postfix> {
        let (port, nobody) = (free_port()?, free_port()?);
        for name in ["etc", "queue", "data"] {
            fs::create_dir_all(base.join(name))?;
        }
        run(Command::new("chown").arg("postfix:").arg(base.join("data")))?;
        let configuration = base.join("etc");
        fs::write(configuration.join("main.cf"), main_cf(base, nobody))?;
        let listener = format!("127.0.0.1:{port} inet n - n - 250 smtpd\n");
        fs::write(configuration.join("master.cf"), listener + SERVICES)?;
        run(Command::new("/usr/sbin/postfix").arg("-c").arg(&configuration).arg("start"))?;
        let postfix = Postfix { configuration, port };
        wait_for(port)?;
        Ok(postfix)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let stop = run(Command::new("/usr/sbin/postfix").arg("-c").arg(&self.configuration).arg("stop"));
        if let Err(error) = stop {
            eprintln!("accept: {error}");
        }
    }
}

fn main_cf(base: &Path, nobody: u16) -> String {
    let base = base.display();
    format!(
        "compatibility_level = 3.6\nconfig_directory = {base}/etc\nqueue_directory = {base}/queue\n\
         data_directory = {base}/data\nmaillog_file = {base}/log\nmaillog_file_prefixes = {base}\n\
         myhostname = postfix.example\nmydestination =\nalias_maps =\nalias_database =\n\
         mynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         relayhost = [127.0.0.1]:{nobody}\ndefault_process_limit = 250\nin_flow_delay = 0\n\
         smtpd_client_connection_count_limit = 0\nsmtpd_client_connection_rate_limit = 0\n"
    )
}

fn run(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {} {said}", output.status).into())
}
