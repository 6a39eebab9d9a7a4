//! The heartbeat of an Alertmanager, from `[source.alertmanager]`: an alert that always fires, so that its absence means
//! that somebody on its way is gone. The listener hears it, and the source waits for it.

use std::time::Duration;

use super::section::Section;
use super::settings::{BadSettings, Settings};
use crate::model::limits::{HEARTBEAT_WITHIN, MIN_HEARTBEAT_WITHIN};

/// The source, and with it the section.
pub const SOURCE: &str = "alertmanager";

/// Which alert it is, and how soon it has to come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The label `alertname`.
    pub alert: String,
    /// How long it may stay away.
    pub within: Duration,
}

impl Default for Heartbeat {
    /// What the alerting rules that many clusters come with call it.
    fn default() -> Heartbeat {
        Heartbeat { alert: "Watchdog".to_owned(), within: HEARTBEAT_WITHIN }
    }
}

impl Heartbeat {
    /// What a section says.
    pub fn of(section: &Section) -> Result<Heartbeat, BadSettings> {
        section.only(&["heartbeat", "within"])?;
        let usual = Heartbeat::default();
        let alert = section.text("heartbeat")?.map_or(usual.alert, str::to_owned);
        let within = section.duration("within")?.unwrap_or(usual.within);
        if alert.is_empty() {
            return Err(section.bad("heartbeat", "name the alert that always fires"));
        }
        if within < MIN_HEARTBEAT_WITHIN {
            return Err(section.bad("within", format!("it must be {} s or more", MIN_HEARTBEAT_WITHIN.as_secs())));
        }
        Ok(Heartbeat { alert, within })
    }

    /// What the configuration says.
    pub fn in_settings(settings: &Settings) -> Result<Heartbeat, BadSettings> {
        settings.sources.get(SOURCE).map_or_else(|| Ok(Heartbeat::default()), Heartbeat::of)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::sections;
    use super::*;

    #[test]
    fn what_is_not_set_is_usual_and_what_makes_no_sense_is_named() {
        let of = |text: &str| Heartbeat::of(&sections(text)["alertmanager"]).map_err(|bad| bad.to_string());
        assert_eq!(of("[source.alertmanager]"), Ok(Heartbeat::default()));
        let set = Heartbeat { alert: "Alive".into(), within: Duration::from_secs(90) };
        assert_eq!(of("[source.alertmanager]\nheartbeat = 'Alive'\nwithin = '90s'"), Ok(set));
        for (text, words) in
            [("heartbeat = ''", "always fires"), ("within = '0s'", "1 s or more"), ("whitin = '5m'", "\"within\"")]
        {
            let said = of(&format!("[source.alertmanager]\n{text}")).unwrap_err();
            assert!(said.contains("line 2") && said.contains(words), "{said}");
        }
    }
}
