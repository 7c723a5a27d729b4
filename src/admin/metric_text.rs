//! The text of metrics: its order, and the older text format.
//!
//! Promises: the same state gives the same text, octet by octet. The plain format (`text/plain; version=0.0.4`) has the same
//! series with the same values; it is for programs that do not read OpenMetrics, such as the textfile collector of node_exporter.
//!
//! Pure. Not here: the metrics (`exposition.rs`).

use std::collections::BTreeMap;

/// Returns the text with the series of each metric in the order of their labels. The buckets of a histogram stay in theirs.
pub(super) fn in_order(text: &str) -> String {
    let mut ordered = String::with_capacity(text.len());
    let mut series: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            put_down(&mut series, &mut ordered);
            put_down(&mut vec![line], &mut ordered);
        } else {
            series.push(line);
        }
    }
    put_down(&mut series, &mut ordered);
    ordered
}

fn put_down(series: &mut Vec<&str>, text: &mut String) {
    series.sort_by_cached_key(|line| labels(line));
    for line in series.drain(..) {
        text.push_str(line);
        text.push('\n');
    }
}

/// Returns the labels of a series without the bound of a bucket. A quotation mark within a value has a backslash before it, so that
/// no value looks like that label.
fn labels(line: &str) -> String {
    let labels =
        line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
    let labels = format!(",{labels}");
    match labels.split_once(",le=\"") {
        Some((before, after)) => format!("{before}{}", after.split_once('"').map_or("", |(_, rest)| rest)),
        None => labels,
    }
}

/// Returns metrics in OpenMetrics as the same metrics in the plain text format.
pub fn plain(text: &str) -> String {
    let kinds: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let series_of = |family: &str| match kinds.get(family) {
        Some(&"counter") => format!("{family}_total"),
        Some(&"info") => format!("{family}_info"),
        _ => family.to_owned(),
    };
    let in_plain = |line: &str| {
        let Some(comment) = line.strip_prefix("# ") else { return Some(format!("{line}\n")) };
        let mut words = comment.splitn(3, ' ');
        match (words.next()?, words.next(), words.next()) {
            ("HELP", Some(family), help) => {
                Some(format!("# HELP {} {}\n", series_of(family), help.unwrap_or_default()))
            }
            ("TYPE", Some(family), Some(kind)) => {
                let kind = match kind {
                    "info" => "gauge",
                    "unknown" => "untyped",
                    kind => kind,
                };
                Some(format!("# TYPE {} {kind}\n", series_of(family)))
            }
            // That format has neither units nor an end.
            _ => None,
        }
    };
    text.lines().filter_map(in_plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP n_build The version.\n# TYPE n_build info\nn_build_info{version=\"1\"} 1\n\
        # HELP n_sent What was sent.\n# TYPE n_sent counter\nn_sent_total{route=\"b\"} 2\nn_sent_total{route=\"a\"} 1\n\
        # HELP n_time_seconds How long.\n# TYPE n_time_seconds histogram\n# UNIT n_time_seconds seconds\n\
        n_time_seconds_sum{route=\"b\"} 3\nn_time_seconds_bucket{le=\"2.0\",route=\"b\"} 1\n\
        n_time_seconds_bucket{le=\"10.0\",route=\"b\"} 1\nn_time_seconds_sum{route=\"a\"} 4\n\
        n_time_seconds_bucket{le=\"2.0\",route=\"a\"} 1\n# EOF\n";

    #[test]
    fn series_stand_in_the_order_of_their_labels_and_buckets_in_theirs() {
        let ordered = in_order(TEXT);
        let at = |words: &str| ordered.find(words).unwrap();
        assert!(at("route=\"a\"} 1\n") < at("route=\"b\"} 2"), "{ordered}");
        assert!(at("sum{route=\"a\"}") < at("bucket{le=\"2.0\",route=\"a\"}"), "{ordered}");
        assert!(at("bucket{le=\"2.0\",route=\"a\"}") < at("sum{route=\"b\"}"), "{ordered}");
        assert!(at("bucket{le=\"2.0\",route=\"b\"}") < at("bucket{le=\"10.0\",route=\"b\"}"), "{ordered}");
        assert!(ordered.ends_with("# EOF\n") && ordered.len() == TEXT.len());
    }

    #[test]
    fn the_plain_format_has_the_same_series_under_the_names_that_it_wants() {
        let plain = plain(TEXT);
        for line in [
            "# TYPE n_build_info gauge\n",
            "# TYPE n_sent_total counter\n",
            "# TYPE n_time_seconds histogram\n",
        ] {
            assert!(plain.contains(line), "{line}: {plain}");
        }
        assert!(plain.contains("# HELP n_sent_total What was sent.\n"), "{plain}");
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"), "{plain}");
        let series = |text: &str| {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<String>>()
        };
        assert_eq!(series(&plain), series(TEXT));
    }
}
