//! `master.cf`: the parameters that its services override.
//!
//! Promises: nothing in it becomes a key; each `-o` of a service that speaks SMTP is listed, and so is each service that
//! accepts mail from the network.
//!
//! Fails: a line that is no service, with its line. No `master.cf` at all is fine.

use super::draft::{Cited, ConfigDraft};
use super::files::SourceFiles;
use super::lines::{LogicalLine, logical_lines};
use super::location::ImportError;
use super::main_cf::{is_sensitive, names_files};

/// Lists the parameters that `master.cf` overrides.
pub(super) fn account(files: &SourceFiles<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let path = files.own("master.cf");
    let Some(text) = files.text(&path)? else { return Ok(()) };
    for line in logical_lines(&path, &text)? {
        account_for_service(&line, draft)?;
    }
    Ok(())
}

fn account_for_service(line: &LogicalLine, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let words: Vec<&str> = line.text.split_whitespace().collect();
    let [name, kind, _, _, _, _, _, program, arguments @ ..] = words.as_slice() else {
        return Err(line.location.error("expected a service of eight fields"));
    };
    let why = match (*program, *kind) {
        ("smtpd", "inet") => "mail is taken from programs of this host, on loopback and a unix socket",
        ("smtp", _) => "overrides of a service are not followed; the keys above are main.cf's",
        _ => return Ok(()),
    };
    let service = format!("{name} {kind}");
    let overrides = overrides(arguments);
    if overrides.is_empty() && *kind == "inet" && *name != "smtp" {
        let cited = Cited { location: line.location.clone(), name: service, shown: Some((*program).into()) };
        draft.not_carried(vec![cited], why);
        return Ok(());
    }
    for (parameter, value) in overrides {
        let shown = (!is_sensitive(parameter) || names_files(value)).then(|| value.to_owned());
        let cited =
            Cited { location: line.location.clone(), name: format!("{service} -o {parameter}"), shown };
        draft.not_carried(vec![cited], why);
    }
    Ok(())
}

/// Returns the name and value of each `-o name=value`, except names for the log.
fn overrides<'l>(arguments: &[&'l str]) -> Vec<(&'l str, &'l str)> {
    let mut found = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(glued) = argument.strip_prefix("-o") else { continue };
        let assignment = if glued.is_empty() { arguments.next().copied().unwrap_or_default() } else { glued };
        found.extend(assignment.split_once('=').filter(|(name, _)| *name != "syslog_name"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;

    fn said(text: &'static str) -> Result<Vec<String>, String> {
        let read = |path: &Path| match path.ends_with("master.cf") {
            true => Ok(text.as_bytes().to_vec()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        let mut draft = ConfigDraft::default();
        account(&SourceFiles::new(Path::new("/etc/postfix"), "/etc/postfix", &read), &mut draft)
            .map_err(|error| error.to_string())?;
        Ok(draft.remarks.iter().map(|remark| remark.about.as_ref().unwrap().to_string()).collect())
    }

    #[test]
    fn overrides_are_named_and_secrets_are_not() {
        let text = "smtp inet n - y - - smtpd\n\
                    #submission inet n - y - - smtpd\n\
                    587 inet n - y - - smtpd\n\
                    pickup unix n - y 60 1 pickup -o content_filter=x\n\
                    smtp unix - - y - - smtp\n  -o syslog_name=a -osmtp_tls_wrappermode=yes\n\
                    \t-o smtp_sasl_password_maps=static:me:hunter2\n";
        assert_eq!(
            said(text).unwrap(),
            [
                "master.cf:3: 587 inet = smtpd",
                "master.cf:5: smtp unix -o smtp_tls_wrappermode = yes",
                "master.cf:5: smtp unix -o smtp_sasl_password_maps (value not shown: it may hold a secret)",
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_service_is_an_error() {
        let error = said("smtp inet n - y - - smtpd\nsmtp unix -\n").unwrap_err();
        assert_eq!(error, "/etc/postfix/master.cf:2: expected a service of eight fields");
    }
}
