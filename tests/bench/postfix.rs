//! A throw-away Postfix that takes mail on loopback for a relay on loopback.
//!
//! Its configuration, queue and log are under one directory. What would only slow it down is off: client
//! limits and the delay by which it lets its queue manager catch up (`in_flow_delay`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::load::Target;
use crate::server::{ProcessTimes, free_port, wait_for};

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
    port: u16,
    /// The process that all others are children of.
    master: u32,
}

/// Returns whether there is a Postfix that we may run.
pub fn is_usable() -> bool {
    Path::new("/usr/sbin/postfix").exists() && rustix::process::geteuid().is_root()
}

impl Postfix {
    /// Starts one that has everything under `base`, which must not exist, with its relay at that port of 127.0.0.1.
    pub fn start(base: &Path, relay: u16) -> Outcome<Postfix> {
        let port = free_port()?;
        for name in ["etc", "queue", "data"] {
            fs::create_dir_all(base.join(name))?;
        }
        run(Command::new("chown").arg("postfix:").arg(base.join("data")))?;
        let configuration = base.join("etc");
        fs::write(configuration.join("main.cf"), main_cf(base, relay))?;
        let listener = format!("127.0.0.1:{port} inet n - n - 250 smtpd\n");
        fs::write(configuration.join("master.cf"), listener + SERVICES)?;
        run(Command::new("/usr/sbin/postfix").arg("-c").arg(&configuration).arg("start"))?;
        let mut postfix = Postfix { configuration, port, master: 0 };
        wait_for(port)?;
        postfix.master = fs::read_to_string(base.join("queue/pid/master.pid"))?.trim().parse()?;
        Ok(postfix)
    }
}

impl Target for Postfix {
    fn port(&self) -> u16 {
        self.port
    }

    fn processor_time(&self) -> Outcome<Duration> {
        let mut total = Duration::ZERO;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that has ended since is counted by its parent.
            let Ok(times) = ProcessTimes::of(process) else { continue };
            if process == self.master || times.parent == self.master {
                total += times.own + times.of_children;
            }
        }
        Ok(total)
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

fn main_cf(base: &Path, relay: u16) -> String {
    let base = base.display();
    format!(
        "compatibility_level = 3.6\nconfig_directory = {base}/etc\nqueue_directory = {base}/queue\n\
         data_directory = {base}/data\nmaillog_file = {base}/log\nmaillog_file_prefixes = {base}\n\
         myhostname = postfix.example\nmydestination =\nalias_maps =\nalias_database =\n\
         mynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         relayhost = [127.0.0.1]:{relay}\ndefault_process_limit = 250\nin_flow_delay = 0\n\
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
