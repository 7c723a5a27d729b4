//! Writes log lines to standard error: as text for people and journald, or as JSON objects.
//!
//! Promises: one event is one line. Under journald (`JOURNAL_STREAM` names our standard error) a text
//! line starts with its priority, `<6>`, and has no time of its own; otherwise it starts with time and
//! level. In a JSON line every character is visible. With a [`Redactor`] no line leaves with a mail
//! address, whoever has logged it. The level can be changed while running ([`LevelHandle`]).
//!
//! Not here: what counts as an address (`log/redaction.rs`).

use std::fmt;
use std::io;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

use crate::config;
use crate::log::{Redactor, visible_json};

/// Changes the level of the running log.
#[derive(Clone)]
pub struct LevelHandle(reload::Handle<LevelFilter, Registry>);

impl LevelHandle {
    /// Sets the level: from now on, lines below `level` are not written.
    pub fn set(&self, level: config::LogLevel) {
        // The only error is that the subscriber is gone, and the log with it.
        let _ = self.0.modify(|filter| *filter = filter_of(level));
    }
}

/// Starts the log of this process; the `redactor` hides addresses in it. It may be called only once; a second call changes nothing.
pub fn start(log: &config::LogConfig, redactor: Option<Redactor>) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(filter_of(log.level));
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match log.format {
        config::LogFormat::Text => registry
            .with(layer.event_format(TextLine { start: LineStart::for_stderr(), redactor }))
            .try_init(),
        config::LogFormat::Json => {
            let writer = move || JsonLines { out: io::stderr(), redactor: redactor.clone() };
            registry.with(layer.json().flatten_event(true).with_target(false).with_writer(writer)).try_init()
        }
    };
    if let Err(error) = started {
        tracing::debug!("log already started: {error}");
    }
    LevelHandle(handle)
}

fn filter_of(level: config::LogLevel) -> LevelFilter {
    match level {
        config::LogLevel::Error => LevelFilter::ERROR,
        config::LogLevel::Warn => LevelFilter::WARN,
        config::LogLevel::Info => LevelFilter::INFO,
        config::LogLevel::Debug => LevelFilter::DEBUG,
    }
}

/// A writer of JSON lines that escapes invisible characters and hides addresses. Each line is written in one call.
struct JsonLines<W> {
    out: W,
    redactor: Option<Redactor>,
}

impl<W: io::Write> io::Write for JsonLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = self.redactor.as_ref().map_or(text.clone(), |redactor| redactor.json(&text).into());
        self.out.write_all(visible_json(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// How a text line is written.
struct TextLine {
    start: LineStart,
    redactor: Option<Redactor>,
}

/// The beginning of a text line.
#[derive(Clone, Copy)]
enum LineStart {
    /// `<6>`: journald and syslog know the time themselves (sd-daemon(3)).
    Priority,
    /// `2026-11-21T02:10:00.123Z INFO `.
    TimeAndLevel,
}

impl LineStart {
    fn for_stderr() -> Self {
        match std::env::var_os("JOURNAL_STREAM") {
            Some(_) => LineStart::Priority,
            None => LineStart::TimeAndLevel,
        }
    }
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        match self.start {
            LineStart::Priority => write!(writer, "<{}>", priority(level))?,
            LineStart::TimeAndLevel => write!(writer, "{:.3} {level:5} ", jiff::Timestamp::now())?,
        }
        let Some(redactor) = &self.redactor else {
            event.record(&mut MessageOnly(&mut writer));
            return writeln!(writer);
        };
        let mut text = String::new();
        event.record(&mut MessageOnly(&mut text));
        writeln!(writer, "{}", redactor.line(&text))
    }
}

/// Returns the priority of syslog(3) for `level`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Writes only the text of an event. The fields of the event appear only in the JSON format.
struct MessageOnly<'a, W>(&'a mut W);

impl<W: fmt::Write> Visit for MessageOnly<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A full standard error is nothing a log line could help with.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A journal from which tests read the log.

    use std::io;
    use std::sync::{Arc, LazyLock, Mutex};

    use tracing::Dispatch;

    /// A second journal, which no thread uses. Beside one alone, the thread that comes to a line first decides for
    /// all of them whether it is wanted, and a test that reads no log would take it from one that does.
    static SECOND: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish()));

    /// The lines that were logged.
    #[derive(Clone)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Default for Captured {
        fn default() -> Self {
            LazyLock::force(&SECOND);
            Captured(Arc::default())
        }
    }

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// Returns the lines that `say` logs.
    pub(crate) fn logged(say: impl FnOnce()) -> String {
        let captured = Captured::default();
        let sink = captured.clone();
        let journal = tracing_subscriber::fmt().with_writer(move || sink.clone()).finish();
        tracing::subscriber::with_default(journal, say);
        captured.text()
    }

    impl io::Write for Captured {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Captured;
    use super::*;

    fn text_of(start: LineStart, redactor: Option<Redactor>, write: impl FnOnce()) -> String {
        let captured = Captured::default();
        let sink = captured.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || sink.clone());
        let layer = layer.event_format(TextLine { start, redactor });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), write);
        captured.text()
    }

    fn json_of(redactor: Option<Redactor>, write: impl FnOnce()) -> String {
        let captured = Captured::default();
        let sink = captured.clone();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).without_time();
        let writer = move || JsonLines { out: sink.clone(), redactor: redactor.clone() };
        let registry = tracing_subscriber::registry().with(layer.with_target(false).with_writer(writer));
        tracing::subscriber::with_default(registry, write);
        captured.text()
    }

    #[test]
    fn journald_gets_priority_and_message_and_nothing_else() {
        let text = text_of(LineStart::Priority, None, || {
            tracing::info!(queue_id = "X", "X: removed");
            tracing::warn!("careful");
            tracing::error!("bad");
            tracing::debug!("detail");
        });
        assert_eq!(text, "<6>X: removed\n<4>careful\n<3>bad\n<7>detail\n");
    }

    #[test]
    fn addresses_are_hidden_in_each_form() {
        let redactor = Redactor::new(b"key");
        let token = redactor.token("ann@example.org");
        let say = || {
            tracing::info!(
                to = "ann@example.org",
                relay = "mx",
                "X: to=<ann@example.org> (550 no ANN@example.org)"
            )
        };
        let text = text_of(LineStart::Priority, Some(redactor.clone()), say);
        assert_eq!(text, format!("<6>X: to=<{token}> (550 no {token})\n"));
        let json = json_of(Some(redactor), say);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["to"], &value["relay"]), (&token.clone().into(), &"mx".into()));
        assert_eq!(value["message"], format!("X: to=<{token}> (550 no {token})"));
    }

    /// An address with U+202E turned the rest of its line around on a terminal: JSON does not escape it by itself.
    #[test]
    fn a_json_line_shows_what_turns_text_around() {
        let text = json_of(None, || tracing::info!(to = "é\u{202e}x", "hello"));
        assert_eq!(text, "{\"level\":\"INFO\",\"message\":\"hello\",\"to\":\"é\\u202ex\"}\n");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["to"], "é\u{202e}x");
    }

    #[test]
    fn people_get_time_and_level() {
        let text = text_of(LineStart::TimeAndLevel, None, || tracing::info!("hello"));
        assert!(text.ends_with("Z INFO  hello\n"), "{text}");
        assert!(text.starts_with("20"), "{text}");
    }
}
