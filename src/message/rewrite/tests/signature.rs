//! Tests with DKIM: the octets that a signature covers are the same before and after, for both canonicalisations of
//! RFC 6376.

use super::*;

/// The header of a signed message; the signature covers the fields in `h=`.
const SIGNED: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=shop.example; s=x;\r\n\
                      \th=From:To:Subject:Date:Message-ID:Reply-To; bh=MA==; b=MA==\r\n\
                      Received: by app.shop.example; x\r\n\
                      From: \"The  Shop\"   <shop@shop.example>\r\n\
                      To: ann@customer.example (Ann),\r\n\
                      \tBob <bob@customer.example>\r\n\
                      Subject:  your\r\n  order\r\n\
                      Date: Sat, 21 Nov 2026 02:10:00 +0000\r\n\
                      Message-ID: <1@shop.example>\r\n\
                      Bcc: archive@shop.example\r\n\
                      Sender: www-data\r\n\
                      X-Mailer: x\r\n";

/// Returns the canonical form of the covered fields, which are taken from the bottom; a missing one counts as empty
/// (RFC 6376 3.4.2, 5.4.2).
fn covered(header: &[u8], canonical: impl Fn(&Field<'_>) -> Vec<u8>) -> Vec<u8> {
    let header = header::split(header).header;
    let names = ["From", "To", "Subject", "Date", "Message-ID", "Reply-To", "DKIM-Signature"];
    names
        .iter()
        .flat_map(|name| header.fields().filter(|field| field.is(name)).last().map(|f| canonical(&f)))
        .flatten()
        .collect()
}

fn simple(field: &Field<'_>) -> Vec<u8> {
    field.octets().to_owned()
}

fn relaxed(field: &Field<'_>) -> Vec<u8> {
    let words = field.raw_body().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let body = words.collect::<Vec<_>>().join(&b' ');
    [field.name().to_lowercase().as_bytes(), b":", &body, b"\r\n"].concat()
}

fn is_intact(settings: RewriteSettings, header: &str) -> bool {
    let after =
        rewritten(settings, envelope("shop@shop.example", &["ann@customer.example"]), header).unwrap();
    covered(&after.header, simple) == covered(header.as_bytes(), simple)
        && covered(&after.header, relaxed) == covered(header.as_bytes(), relaxed)
}

/// Returns rules that change everything except what is signed.
fn busy() -> RewriteSettings {
    let senders = [(Selector::parse("www-data").unwrap(), Replacement::parse("ops@example.com").unwrap())];
    RewriteSettings {
        senders: senders.into(),
        sender: Some(Template::parse("noreply@example.com").unwrap()),
        verified_domains: vec!["shop.example".to_owned()],
        masquerade: vec![MasqueradeDomain::parse("shop.example").unwrap()],
        keep_original: true,
        reply_to_original: true,
        hide_received: true,
        header: vec![header_rule("^X-Mailer:", HeaderAction::Remove)],
        ..settings()
    }
}

#[test]
fn a_signature_survives_rules_that_are_not_about_what_it_covers() {
    assert!(is_intact(settings(), SIGNED));
    assert!(is_intact(busy(), SIGNED));
    let after = rewritten(busy(), envelope("root", &["root"]), SIGNED).unwrap().header;
    let after = String::from_utf8(after).unwrap();
    assert!(after.contains("Sender: ops@example.com") && !after.contains("X-Mailer"), "they were applied");
}

#[test]
fn a_signed_message_without_recipients_gets_none() {
    let header = SIGNED.replace("To: ann@customer.example (Ann),\r\n\tBob <bob@customer.example>\r\n", "");
    assert_ne!(header, SIGNED);
    assert!(is_intact(busy(), &header), "that there is no To may be signed");
}

#[test]
fn this_test_sees_a_broken_signature() {
    let sender = Some(Template::parse("noreply@example.com").unwrap());
    assert!(!is_intact(RewriteSettings { sender, ..settings() }, SIGNED));
    assert!(!is_intact(settings(), &SIGNED.replace("ann@customer.example", "ann")));
}
