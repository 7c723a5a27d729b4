//! `nullmta queue shape`: how many messages of which age there are of each reason, domain, submitter, sender or route.
//!
//! ```text
//! MESSAGES     5    10    20    40    80   160   320   640  1280 1280+ REASON
//!       12     0     3     9     0     0     0     0     0     0     0 all messages
//!       12     0     3     9     0     0     0     0     0     0     0 450 4.2.1 mailbox busy
//! ```
//! In a terminal each row has a bar for each age instead, so that there is room for the reason:
//! ```text
//! MESSAGES 5 to 1280+ REASON
//!       12  ▃█        all messages
//! ```
//! Promises: text from outside cannot forge a line; no line is wider than the terminal.
//!
//! Not here: counting (`admin/shape_tally.rs`).

use std::io::{self, Write};

use clap::Args;

use super::super::ConfigFile;
use super::super::control_client::AnswerRest;
use super::super::exit::{Exit, Failure};
use super::super::output::printed;
use super::super::terminal::{cut, width};
use super::filter_options::FilterOptions;
use super::{AT_A_TIME, QueueAnswered, ask_or_read, of_yours, offline, write_json};
use crate::admin::protocol::ControlRequest;
use crate::admin::shape::{AGES, COLUMNS, ShapeBy, ShapeRow, ShapeRowKind};
use crate::admin::shape_tally::ShapeTally;
use crate::filter::QueueFilter;
use crate::log::Foreign;

/// Show how many messages of which age there are.
#[derive(Args)]
pub(in crate::cli) struct QueueShape {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    which: FilterOptions,
    /// What the rows are: reason, domain (of a recipient), submitter, sender (as it was handed in) or route
    #[arg(long, value_name = "WHAT", default_value = "reason")]
    by: ShapeBy,
    /// Show so many rows at most, the greatest
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    top: u16,
    /// Print numbers also in a terminal, and not bars
    #[arg(long)]
    table: bool,
    /// Print one JSON object a line, for each row
    #[arg(long, conflicts_with = "table")]
    json: bool,
}

impl QueueShape {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let mut rows = Vec::new();
        let filter = self.which.checked_filter()?;
        if filter.ids.len() > AT_A_TIME {
            let why =
                format!("a shape is of {AT_A_TIME} queue ids at most; without ids it is of the whole queue");
            return Err(Failure::new(Exit::Usage, why));
        }
        let rest = self.read(&filter, &mut rows)?;
        let mut out = io::stdout();
        if self.json {
            printed(rows.iter().try_for_each(|row| write_json(&mut out, row)))?;
        } else {
            let width = width();
            let look = if width.is_none() || self.table { ShapeLook::Table } else { ShapeLook::Bars(ramp()) };
            printed(out.write_all(text(self.by, &rows, look, width).as_bytes()))?;
        }
        if rest.hidden > 0 {
            let own = rows.first().map_or(0, |total| total.messages);
            eprintln!("nullmta: {}", of_yours(own, rest.hidden));
        }
        Ok(())
    }

    /// Gets the rows from the daemon, or counts the messages on the spool while none runs.
    fn read(&self, filter: &QueueFilter, rows: &mut Vec<ShapeRow>) -> Result<AnswerRest, Failure> {
        let request = ControlRequest::QueueShape { filter: filter.clone(), by: self.by, top: self.top };
        let answered = ask_or_read(&self.config, &request, &mut |row: ShapeRow| {
            rows.push(row);
            Ok(())
        })?;
        match answered {
            QueueAnswered::ByDaemon(rest) => Ok(rest),
            QueueAnswered::OnSpool(queue) => {
                offline::check(filter, self.by == ShapeBy::Route)?;
                let mut tally = ShapeTally::new(self.by);
                let counted = queue.list(filter, None, |message| {
                    tally.count(&message);
                    Ok(())
                });
                counted.map_err(|error| Failure::new(Exit::IoError, error))?;
                *rows = tally.rows(self.top.into());
                Ok(AnswerRest::default())
            }
        }
    }
}

/// How the ages of a row are shown.
#[derive(Clone, Copy)]
enum ShapeLook {
    /// As numbers.
    Table,
    /// As bars of these heights, from nothing to the highest.
    Bars([char; 9]),
}

/// Returns the bars that this terminal can show, from nothing to the highest.
pub(super) fn ramp() -> [char; 9] {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale =
        names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        [' ', '.', ':', '-', '=', '+', '*', '#', '@']
    }
}

fn text(by: ShapeBy, rows: &[ShapeRow], look: ShapeLook, width: Option<usize>) -> String {
    if rows.first().is_none_or(|total| total.messages == 0) {
        return "No message that you may see is as asked for.\n".into();
    }
    let what = match by {
        ShapeBy::Reason => "REASON",
        ShapeBy::Domain => "DOMAIN",
        ShapeBy::Submitter => "SUBMITTER",
        ShapeBy::Sender => "SENDER",
        ShapeBy::Route => "ROUTE",
    };
    let ages = match look {
        ShapeLook::Table => AGES
            .map(|minutes| minutes.to_string())
            .into_iter()
            .chain([format!("{}+", AGES[AGES.len() - 1])])
            .map(|age| format!("{age:>6}"))
            .collect(),
        ShapeLook::Bars(_) => format!(" {:COLUMNS$}", "5 to 1280+"),
    };
    let mut text = format!("{}\n", cut(&format!("MESSAGES{ages} {what}"), width));
    for row in rows {
        let key = match row.kind {
            ShapeRowKind::Total => "all messages".to_owned(),
            ShapeRowKind::Key => Foreign(&row.key).to_string(),
            ShapeRowKind::Others => "others".to_owned(),
        };
        let line = format!("{:>8}{} {key}", row.messages, shown(&row.ages, look));
        text += &format!("{}\n", cut(&line, width));
    }
    text
}

/// Returns the ages of a row; the bar of the one with most messages is the highest.
fn shown(ages: &[u64; COLUMNS], look: ShapeLook) -> String {
    match look {
        ShapeLook::Table => ages.iter().map(|count| format!("{count:>6}")).collect(),
        ShapeLook::Bars(ramp) => {
            let most = ages.iter().max().copied().unwrap_or(0).max(1);
            let highest = ramp.len() as u64 - 1;
            let bars = ages.iter().map(|count| ramp[(count * highest).div_ceil(most) as usize]);
            format!(" {}", bars.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<ShapeRow> {
        let row = |kind, key: &str, ages: [u64; COLUMNS]| ShapeRow {
            kind,
            key: key.into(),
            messages: ages.iter().sum(),
            ages,
        };
        vec![
            row(ShapeRowKind::Total, "", [1, 0, 90, 0, 0, 0, 0, 0, 0, 9]),
            row(ShapeRowKind::Key, "450 4.2.1 busy\u{1b}", [0, 0, 90, 0, 0, 0, 0, 0, 0, 0]),
            row(ShapeRowKind::Others, "", [1, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        ]
    }

    #[test]
    fn a_table_has_a_column_for_each_age() {
        assert_eq!(
            text(ShapeBy::Reason, &rows(), ShapeLook::Table, None),
            "MESSAGES     5    10    20    40    80   160   320   640  1280 1280+ REASON\n\
             \u{20}    100     1     0    90     0     0     0     0     0     0     9 all messages\n\
             \u{20}     90     0     0    90     0     0     0     0     0     0     0 450 4.2.1 busy\\u{1b}\n\
             \u{20}     10     1     0     0     0     0     0     0     0     0     9 others\n"
        );
    }

    #[test]
    fn in_a_terminal_each_age_is_a_bar() {
        let shown = text(
            ShapeBy::Reason,
            &rows(),
            ShapeLook::Bars([' ', '.', ':', '-', '=', '+', '*', '#', '@']),
            Some(32),
        );
        assert_eq!(
            shown,
            "MESSAGES 5 to 1280+ REASON\n\
             \u{20}    100 . @      . all messages\n\
             \u{20}     90   @        450 4.2.1...\n\
             \u{20}     10 .        @ others\n"
        );
    }

    #[test]
    fn a_queue_without_messages_says_so() {
        let none = "No message that you may see is as asked for.\n";
        assert_eq!(text(ShapeBy::Domain, &[], ShapeLook::Table, None), none);
        assert_eq!(
            text(ShapeBy::Domain, &ShapeTally::new(ShapeBy::Domain).rows(1), ShapeLook::Table, None),
            none
        );
    }
}
