//! A reload: the configuration is read again, and put into force if it has no error.
//!
//! Promises: a configuration with an error changes nothing, and the log gives the reason. A secret that cannot be used, or
//! a file for TLS that cannot be read, is as little an error as at a start, if another relay can be used. What only a restart can
//! change (`fixed_keys`) stays as it was at the start, and each reload says so. The certificate stays as long as there is an open
//! socket whose clients begin with TLS. The file with the users is not waited for.

use std::sync::Arc;

use super::host::{notify, within};
use super::start::{
    BegunRelays, overruled, refuse_ourselves, refuse_without_certificate, relays, session_desk, warn_of,
};
use super::{Daemon, read_now};
use crate::admin::alarm_settings::AlarmSettings;
use crate::admin::protocol::{Configuration, RefusedConfiguration, Reloaded};
use crate::admin::standing;
use crate::config::{Config, ConfigError, ServerCertificate};
use crate::listener::certificate::Certificate;
use crate::log;
use crate::queue::Settings;
use crate::relay::{is_refresh_token_of_ours, refresh_tokens_retried};
use crate::systemd;

impl Daemon {
    /// Reads the configuration again, and puts it into force if it has no error.
    pub(super) async fn reload(&mut self) -> Reloaded {
        notify(systemd::reloading());
        refresh_tokens_retried();
        let (path, contents) = (self.path.clone(), self.contents.clone());
        let load = move || {
            let (config, faults) = Config::load_for_start(&path)?;
            let unusable = faults.iter().map(ToString::to_string).collect();
            warn_of(&config, &path);
            let newer = contents.again(&config);
            let rewritten = contents.changed(&newer, is_refresh_token_of_ours);
            Ok::<_, ConfigError>((config, newer, rewritten, unusable))
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let outcome = match loaded {
            Ok(Ok((config, contents, rewritten, unusable))) => {
                let mut changed = self.config.changed_keys(&config);
                changed.extend(rewritten);
                let followed = self.follow(config);
                followed.map(|(followed, faults)| {
                    self.contents = contents;
                    (changed, [unusable, faults].concat(), followed)
                })
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic.to_string()),
        };
        let reloaded = match outcome {
            Ok((changed, unusable, followed)) => self.reloaded(changed, unusable, followed),
            Err(why) => self.not_reloaded(why),
        };
        notify(systemd::ready());
        reloaded
    }

    /// Notes and logs that the file is in force now, with what has `changed`: keys, and files that they name; and with the
    /// files that are `unusable`, of secrets and for TLS.
    fn reloaded(
        &mut self,
        changed: Vec<String>,
        unusable: Vec<String>,
        configuration: Configuration,
    ) -> Reloaded {
        log::reloaded(&self.path.display(), &changed);
        unusable.iter().for_each(|fault| log::relay_not_usable_now(fault));
        self.configuration.send_replace(configuration.clone());
        Reloaded { configuration, changed, unusable }
    }

    /// Notes and logs that the file has an error.
    fn not_reloaded(&mut self, why: String) -> Reloaded {
        log::not_reloaded(&why);
        let at = read_now(&self.path).since;
        self.configuration
            .send_modify(|configuration| configuration.refused = Some(RefusedConfiguration { at, why }));
        let configuration = self.configuration.borrow().clone();
        Reloaded { configuration, changed: Vec::new(), unusable: Vec::new() }
    }

    /// Puts `config` into force. Returns the new state, with the keys that need a restart, and what is wrong with files without
    /// which one of the relays cannot be used yet.
    fn follow(&mut self, config: Config) -> Result<(Configuration, Vec<String>), String> {
        refuse_ourselves(&config, &self.listened)?;
        refuse_without_certificate(&config, self.needs_certificate)?;
        let BegunRelays { relays, faults } = relays(&config)?;
        let certificate = self.certificate(&config)?;
        let overruled = overruled(&self.passed, &config);
        let is_passed = |key: &str| !self.passed.is_empty() && key.starts_with("listen.");
        let fixed = fixed_keys(&self.started, &config).into_iter();
        let fixed = fixed.filter(|(key, is_changed)| *is_changed && !is_passed(key)).map(|(key, _)| key);
        let needs_restart: Vec<_> = fixed.collect();
        needs_restart.iter().for_each(|key| log::needs_restart(key));
        overruled.iter().for_each(|key| log::overruled(key, &self.addresses));
        self.queue.reconfigure(Settings::new(&config, relays));
        standing::tell_without_route(&self.spool, config.routes.iter().map(|route| &*route.rule.name));
        self.logins.change(&config.listen);
        let (users, logins) = (self.users.clone(), Arc::clone(&self.logins));
        let desk = session_desk(&config, &self.spool, &self.queue, users, certificate.clone(), logins);
        self.service.reload(&within(&config.listen, self.descriptors), desk);
        let alarms = AlarmSettings::of(&config);
        self.alarm_settings
            .send_if_modified(|followed| std::mem::replace(followed, alarms.clone()) != alarms);
        self.level.set(config.log.level);
        self.certificate = certificate;
        self.config = config;
        let words = |keys: Vec<&str>| keys.into_iter().map(String::from).collect();
        let (needs_restart, overruled) = (words(needs_restart), words(overruled));
        Ok((Configuration { needs_restart, overruled, ..read_now(&self.path) }, faults))
    }

    /// Returns the certificate of the listener by `config`. A self-made one is kept until the daemon ends, since some
    /// client may have come to trust it.
    fn certificate(&self, config: &Config) -> Result<Option<Certificate>, String> {
        let (old, new) = (&self.config.listen, &config.listen);
        let is_kept = new.certificate == Some(ServerCertificate::SelfMade)
            && (&old.certificate, &old.hostname) == (&new.certificate, &new.hostname);
        if is_kept {
            return Ok(self.certificate.clone());
        }
        Certificate::of(new).map_err(|error| config.located(&error))
    }
}

/// Returns the keys that only a restart can change, each with whether it was changed.
fn fixed_keys(old: &Config, new: &Config) -> [(&'static str, bool); 9] {
    [
        ("spool", old.spool != new.spool),
        ("listen.addresses", old.listen.addresses != new.listen.addresses),
        ("listen.tls-addresses", old.listen.tls_addresses != new.listen.tls_addresses),
        ("listen.socket", old.listen.socket != new.listen.socket),
        ("admin.control", old.control != new.control),
        ("admin.http", old.http != new.http),
        ("log.format", old.log.format != new.log.format),
        ("log.redact", old.log.redact != new.log.redact),
        (
            "queue.min-free-space, queue.max-messages",
            (old.queue.min_free_space, old.queue.max_messages)
                != (new.queue.min_free_space, new.queue.max_messages),
        ),
    ]
}
