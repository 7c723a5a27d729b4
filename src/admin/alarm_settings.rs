//! The part of the configuration that alarms and the heartbeat follow.

use crate::config::{AlarmConfig, Config, Families, HeartbeatConfig};

/// The part of the configuration that the alarms follow. A reload replaces it as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmSettings {
    /// `[[alarm]]`, and the usual alarms.
    pub alarms: Vec<AlarmConfig>,
    /// `[heartbeat]`.
    pub heartbeat: Option<HeartbeatConfig>,
    /// The name of this host.
    pub hostname: String,
    /// The addresses from which is posted.
    pub families: Families,
}

impl AlarmSettings {
    /// Returns the settings in `config`.
    pub fn of(config: &Config) -> Self {
        AlarmSettings {
            alarms: config.alarms.clone(),
            heartbeat: config.heartbeat.clone(),
            hostname: config.listen.hostname.clone(),
            families: config.relay.families,
        }
    }
}
