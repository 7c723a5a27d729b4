//! Properties of all possible rules and messages.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::message::address::{around_mailboxes, is_one_mailbox, mailboxes};

const ADDRESSES: [&str; 12] = [
    "root",
    "ann",
    "bob@a.example",
    "ann@web1.a.example",
    "root@localhost",
    "ops@b.example",
    "x@web1.b.example",
    "x@b.example",
    "ann@example.org",
    "\"a b\"@web1.example.org",
    "ops+root@b.example",
    "postmaster@web1.b.example",
];

const DOMAINS: [&str; 6] =
    ["a.example", "web1.a.example", "b.example", "web1.b.example", "example.org", "web1.example.org"];

fn address_text() -> impl Strategy<Value = String> {
    prop::sample::select(&ADDRESSES[..]).prop_map(str::to_owned)
}

fn domain() -> impl Strategy<Value = String> {
    prop::sample::select(&DOMAINS[..]).prop_map(str::to_owned)
}

fn at_domain() -> impl Strategy<Value = String> {
    domain().prop_map(|domain| format!("@{domain}"))
}

type Entries = BTreeMap<Selector, Replacement>;

fn entries() -> impl Strategy<Value = Entries> {
    let side = || prop_oneof![address_text(), at_domain()];
    let entry = (side(), side())
        .prop_map(|(from, to)| (Selector::parse(&from).unwrap(), Replacement::parse(&to).unwrap()));
    prop::collection::vec(entry, 0..4).prop_map(|entries| entries.into_iter().collect())
}

fn templates() -> impl Strategy<Value = Option<Template>> {
    let texts = ["ops", "ops@b.example", "%u@web1.b.example", "ops+%u@b.example", "%u-%h@%d", "x@%h"];
    prop::option::of(prop::sample::select(texts.to_vec()).prop_map(|text| Template::parse(text).unwrap()))
}

fn classes() -> impl Strategy<Value = Vec<Class>> {
    use Class::{EnvelopeRecipient, EnvelopeSender, HeaderRecipient, HeaderSender};
    prop::sample::subsequence(vec![EnvelopeSender, EnvelopeRecipient, HeaderSender, HeaderRecipient], 0..=4)
}

fn masquerade() -> impl Strategy<Value = Vec<MasqueradeDomain>> {
    let text = (any::<bool>(), domain()).prop_map(|(not, name)| if not { format!("!{name}") } else { name });
    prop::collection::vec(text.prop_map(|text| MasqueradeDomain::parse(&text).unwrap()), 0..3)
}

fn aliases() -> impl Strategy<Value = BTreeMap<String, Vec<Address>>> {
    let users = prop::sample::select(&["root", "ann", "ops", "x"][..]).prop_map(str::to_owned);
    let targets = prop::collection::vec(address_text().prop_map(|text| address(&text)), 1..3);
    prop::collection::btree_map(users, targets, 0..3)
}

prop_compose! {
    /// Generates rules that are accepted.
    fn rules()(
        senders in entries(),
        recipients in entries(),
        sender in templates(),
        recipient in prop::option::of(address_text()),
        masquerade in masquerade(),
        masquerade_classes in classes(),
        aliases in aliases(),
        verified_domains in prop::collection::vec(domain(), 0..2),
        flags in any::<[bool; 3]>(),
    ) -> RewriteSettings {
        RewriteSettings {
            senders,
            recipients,
            sender,
            recipient: recipient.map(|text| address(&text)),
            masquerade,
            masquerade_except: vec!["root".to_owned()],
            masquerade_classes,
            aliases,
            verified_domains,
            keep_original: flags[0],
            reply_to_original: flags[1],
            hide_received: flags[2],
            ..settings()
        }
    }
}

/// Generates a header section of fields that matter here; half of them contain addresses.
fn header_section() -> impl Strategy<Value = String> {
    let names =
        ["From", "To", "Reply-To", "Sender", "Cc", "Bcc", "Received", "Subject", "X-Original-To", "Date"];
    let glue = [", ", " (c) , ", ",\r\n\t", " ", "; ", " <", ">, \"Q\" ", "G: ", "\"", "=", " <@a,@b:", "> "];
    let piece = prop_oneof![address_text(), prop::sample::select(glue.to_vec()).prop_map(str::to_owned)];
    let body = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    let field =
        (prop::sample::select(names.to_vec()), body).prop_map(|(name, body)| format!("{name}: {body}\r\n"));
    prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat())
}

fn given() -> impl Strategy<Value = Envelope> {
    // Half of the recipients are from a short list, so that some occur twice.
    let few = prop::sample::select(&["root", "root@localhost", "ann"][..]).prop_map(str::to_owned);
    let to = prop_oneof![address_text(), few];
    (address_text(), prop::collection::vec(to, 0..6)).prop_map(|(from, to)| {
        let to: Vec<_> = to.iter().map(String::as_str).collect();
        envelope(&from, &to)
    })
}

fn addresses(envelope: &Envelope) -> (String, Vec<Address>) {
    let recipients = envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect();
    (envelope.reverse_path.to_string(), recipients)
}

/// Returns a body without its addresses and routes.
fn around_addresses(body: &[u8], class: Class) -> Vec<u8> {
    around_mailboxes(body, addresses_in(class, body))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Promise 2: rewriting a result again changes nothing.
    #[test]
    fn twice_is_once(settings in rules(), envelope in given(), header in header_section()) {
        let Ok(rules) = Rules::new(settings) else { return Ok(()) };
        let first = header::split(header.as_bytes()).header;
        let once = rewrite(envelope, first, &rules, &facts()).unwrap();
        let header = header::split(&once.header).header;
        let twice = rewrite(once.envelope.clone(), header, &rules, &facts()).unwrap();
        let changes: Vec<_> = twice.changes.kept().iter().map(Change::to_string).collect();
        prop_assert_eq!(addresses(&twice.envelope), addresses(&once.envelope), "{:?}", changes);
        let [twice, once] = [&twice.header, &once.header].map(|octets| String::from_utf8_lossy(octets));
        prop_assert_eq!(twice, once, "{:?}", changes);
    }

    /// Promise 3: every address of the envelope has a domain.
    #[test]
    fn every_address_of_the_envelope_has_a_domain(settings in rules(), envelope in given()) {
        let Ok(rules) = Rules::new(settings) else { return Ok(()) };
        let header = header::split(COMPLETE.as_bytes()).header;
        let empty = envelope.recipients.is_empty();
        let became = rewrite(envelope, header, &rules, &facts()).unwrap().envelope;
        let mut all = became.recipients.iter().map(|to| &to.address).chain(became.reverse_path.mailbox());
        prop_assert!(all.all(|address| address.domain().is_some()));
        prop_assert_eq!(became.recipients.is_empty(), empty, "no recipient is lost");
    }

    /// Promise 1: apart from addresses and mended names, the fields that are not dropped stay, in order, and there is
    /// one From. The exceptions are several Froms and `sender`.
    #[test]
    fn octets_around_addresses_stay(settings in rules(), header in header_section()) {
        let before = header::split(header.as_bytes()).header;
        let is_author = |field: &Field<'_>| field.is("From");
        let is_one_author = settings.sender.is_some() || before.fields().filter(is_author).count() > 1;
        let Ok(rules) = Rules::new(RewriteSettings { hide_received: false, ..settings }) else { return Ok(()) };
        let is_ours = |field: &Field<'_>| is_one_author && (field.is("From") || field.is("X-Original-From"));
        let after = rewrite(envelope("root", &[]), before, &rules, &facts()).unwrap().header;
        prop_assert_eq!(header::split(&after).header.fields().filter(is_author).count(), 1);
        let mut after = header::split(&after).header.fields().filter(|field| !is_ours(field));
        for field in before.fields().filter(|field| !field.is("Bcc") && !is_ours(field)) {
            let became = after.next().unwrap();
            prop_assert_eq!(became.name(), field.name());
            if let Some(class) = class_of(field.name()) {
                let is_sender = class == Class::HeaderSender;
                let mended = if is_sender { author_name::mended(field.raw_body()) } else { with_commas(field.raw_body()) };
                let body = mended.as_deref().unwrap_or(field.raw_body());
                // The quotes of an address could close quotes that are open.
                let is_apart = mailboxes(body).all(|mailbox| mailbox.is_ok()) || !body.contains(&b'"');
                if is_apart {
                    prop_assert_eq!(around_addresses(became.raw_body(), class), around_addresses(body, class));
                }
            } else {
                prop_assert_eq!(became.octets(), field.octets());
            }
        }
    }

    /// A From with a comma in its name was sent with the one sender twice; one with a broken bracket was sent
    /// unchanged.
    #[test]
    fn with_one_sender_there_is_one_author(
        settings in rules(),
        envelope in given(),
        header in header_section(),
        from in author_body(),
    ) {
        let sender = settings.sender.clone().or_else(|| Template::parse("noreply@b.example").ok());
        let Ok(rules) = Rules::new(RewriteSettings { sender, ..settings }) else { return Ok(()) };
        let header = [b"From:", &from[..], b"\r\n", header.as_bytes()].concat();
        let once = rewrite(envelope, header::split(&header).header, &rules, &facts()).unwrap();
        let fields = header::split(&once.header).header;
        let from: Vec<_> = fields.fields().filter(|field| field.is("From")).collect();
        prop_assert_eq!(from.len(), 1);
        let body = from[0].raw_body();
        let list: Vec<_> = mailboxes(body).collect();
        prop_assert!(matches!(list[..], [Ok(_)]) && is_one_mailbox(body), "{}", body.escape_ascii());
        prop_assert_eq!(author_name::mended(body), None);
        let kept = fields.fields().filter(|field| field.is("X-Original-From"));
        prop_assert!(kept.flat_map(|field| field.octets()).all(|octet| octet.is_ascii()));
        let again = rewrite(once.envelope.clone(), fields, &rules, &facts()).unwrap();
        prop_assert_eq!(again.header.escape_ascii().to_string(), once.header.escape_ascii().to_string());
    }
}

/// Generates bodies of From, valid or not.
fn author_body() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 20] = [
        b" ",
        b",",
        b"<",
        b">",
        b"\"",
        b"(",
        b")",
        b"\\",
        b";",
        b"G:",
        b"@",
        b"=?utf-8?Q?A,_B?=",
        b"\xC3\xA4",
        b"\xFF",
        b"\0",
        b"Acme",
        b"Inc.",
        b"root",
        b" <ann@web1.a.example>",
        b"\r\n ",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..10).prop_map(|pieces| pieces.concat())
}
