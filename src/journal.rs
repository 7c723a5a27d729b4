//! Writes log lines to standard error: as text for people and journald, or as JSON objects.
//!
//! Promises: one event is one line. Under journald (`JOURNAL_STREAM` names our standard error) a text
//! line starts with its priority, `<6>`, and has no time of its own; otherwise it starts with time and
//! level. In a JSON line every character is visible. The level can be changed while running
//! ([`LevelHandle`]).

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
use crate::log::visible_json;

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

/// Starts the log of this process. It may be called only once; a second call changes nothing.
pub fn start(log: &config::LogConfig) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(filter_of(log.level));
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match log.format {
        config::LogFormat::Text => registry.with(layer.event_format(TextLine::for_stderr())).try_init(),
        config::LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_target(false).with_writer(|| Visible(io::stderr())))
            .try_init(),
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

/// A writer of JSON lines that escapes invisible characters. Each line is written in one call.
struct Visible<W>(W);

impl<W: io::Write> io::Write for Visible<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match str::from_utf8(line) {
            Ok(text) => self.0.write_all(visible_json(text).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The beginning of a text line.
#[derive(Clone, Copy)]
enum TextLine {
    /// `<6>`: journald and syslog know the time themselves (sd-daemon(3)).
    Priority,
    /// `2026-11-21T02:10:00.123Z INFO `.
    TimeAndLevel,
}

impl TextLine {
    fn for_stderr() -> Self {
        if std::env::var_os("JOURNAL_STREAM").is_some() { TextLine::Priority } else { TextLine::TimeAndLevel }
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
        match self {
            TextLine::Priority => write!(writer, "<{}>", priority(level))?,
            TextLine::TimeAndLevel => write!(writer, "{:.3} {level:5} ", jiff::Timestamp::now())?,
        }
        event.record(&mut MessageOnly(&mut writer));
        writeln!(writer)
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
struct MessageOnly<'a, 'w>(&'a mut Writer<'w>);

impl Visit for MessageOnly<'_, '_> {
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

    fn text_of(style: TextLine, write: impl FnOnce()) -> String {
        let captured = Captured::default();
        let sink = captured.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || sink.clone()).event_format(style);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), write);
        captured.text()
    }

    #[test]
    fn journald_gets_priority_and_message_and_nothing_else() {
        let text = text_of(TextLine::Priority, || {
            tracing::info!(queue_id = "X", "X: removed");
            tracing::warn!("careful");
            tracing::error!("bad");
            tracing::debug!("detail");
        });
        assert_eq!(text, "<6>X: removed\n<4>careful\n<3>bad\n<7>detail\n");
    }

    /// An address with U+202E turned the rest of its line around on a terminal: JSON does not escape it by itself.
    #[test]
    fn a_json_line_shows_what_turns_text_around() {
        let captured = Captured::default();
        let sink = captured.clone();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).without_time();
        let layer = layer.with_target(false).with_writer(move || Visible(sink.clone()));
        let registry = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(registry, || tracing::info!(to = "é\u{202e}x", "hello"));
        let text = captured.text();
        assert_eq!(text, "{\"level\":\"INFO\",\"message\":\"hello\",\"to\":\"é\\u202ex\"}\n");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["to"], "é\u{202e}x");
    }

    #[test]
    fn people_get_time_and_level() {
        let text = text_of(TextLine::TimeAndLevel, || tracing::info!("hello"));
        assert!(text.ends_with("Z INFO  hello\n"), "{text}");
        assert!(text.starts_with("20"), "{text}");
    }
}
