//! A throw-away Postfix that takes mail on loopback for a relay on loopback.
//!
//! Its configuration, queue and log are under one directory. What would only slow it down is off: client
//! limits and the delay by which it lets its queue manager catch up (`in_flow_delay`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::load::Target;
use crate::server::{PASSWORD, ProcessTimes, USER, free_port, wait_for};

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
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
proxymap unix - - n - - proxymap
showq unix n - n - - showq
flush unix n - n 1000? 0 flush
postlog unix-dgram n - n - 1 postlogd
";

/// How long it may take to defer what it took.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps what is taken, without a try.
const HOLDING: &str = "defer_transports = smtp\n";

/// Returns what is better than the defaults for many messages to one relay: twenty connections at once from the first
/// moment, kept for many messages with their TLS, and a queue manager that sees all of the queue. The relay's certificate
/// is not verified, which costs nullmta time and not Postfix.
fn tuned(relay: u16) -> String {
    format!(
        "smtp_sasl_auth_enable = yes\nsmtp_sasl_security_options = noanonymous\nsmtp_sasl_mechanism_filter = plain\n\
         smtp_sasl_password_maps = inline:{{ {{ [127.0.0.1]:{relay} = {USER}:{PASSWORD} }} }}\n\
         smtp_tls_security_level = encrypt\nsmtp_tls_connection_reuse = yes\n\
         smtp_connection_cache_destinations = [127.0.0.1]:{relay}\nsmtp_connection_reuse_count_limit = 100\n\
         initial_destination_concurrency = 20\ndefault_destination_concurrency_limit = 20\n\
         qmgr_message_active_limit = 20000\nqmgr_message_recipient_limit = 20000\n\
         minimal_backoff_time = 3600s\nqueue_run_delay = 3600s\n"
    )
}

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
        Self::start_with(base, relay, "")
    }

    /// Starts one that keeps what it takes until [`Postfix::drain`], and is tuned for a relay that wants STARTTLS and
    /// AUTH.
    pub fn start_holding(base: &Path, relay: u16) -> Outcome<Postfix> {
        Self::start_with(base, relay, &format!("{}{HOLDING}", tuned(relay)))
    }

    /// Sends what was kept, and returns as soon as it has begun.
    pub fn drain(&self) -> Outcome<()> {
        run(Command::new("/usr/sbin/postqueue").arg("-c").arg(&self.configuration).arg("-f"))
    }

    /// Lets it use its relay from the next [`Postfix::drain`] on, when all that was taken is in its deferred queue.
    pub fn release(&self) -> Outcome<()> {
        let begin = Instant::now();
        while self.is_in_motion()? {
            if begin.elapsed() > PATIENCE {
                return Err("Postfix does not defer all that it took".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let main_cf = self.configuration.join("main.cf");
        fs::write(&main_cf, fs::read_to_string(&main_cf)?.replace(HOLDING, ""))?;
        run(Command::new("/usr/sbin/postfix").arg("-c").arg(&self.configuration).arg("reload"))?;
        // The queue manager ends and comes up again, which is no part of a drain.
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    }

    /// Returns whether something is in its incoming or active queue.
    fn is_in_motion(&self) -> Outcome<bool> {
        let queue = self.configuration.with_file_name("queue");
        for name in ["incoming", "active"] {
            if fs::read_dir(queue.join(name))?.next().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn start_with(base: &Path, relay: u16, more: &str) -> Outcome<Postfix> {
        let port = free_port()?;
        for name in ["etc", "queue", "data"] {
            fs::create_dir_all(base.join(name))?;
        }
        run(Command::new("chown").arg("postfix:").arg(base.join("data")))?;
        let configuration = base.join("etc");
        fs::write(configuration.join("main.cf"), main_cf(base, relay) + more)?;
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
