//! The rules for any relay: what its words say of rates, quotas and limits, and of the account that sends.
//!
//! They know nothing of the relay. A quota that is none costs a delay, and a bounce that should be none costs the mail: so
//! these rules only ever have mail wait. Before them stand rules for what looks alike and is about the message or its
//! recipient, which then means what its code says.

use std::sync::LazyLock;

use super::super::reply_meaning::RuleName;
use super::built_in::{BuiltIn, CompiledRule};
use crate::config::ReplyPhase::{self, Auth, Data, Dot, Ehlo, Greeting, Mail, Rcpt};

const TRANSACTION: &[ReplyPhase] = &[Mail, Rcpt, Data, Dot];
const NOT_RCPT: &[ReplyPhase] = &[Mail, Data, Dot];

const RULES: &[BuiltIn] = &[
    BuiltIn::route(
        "too many logins",
        &[Greeting, Ehlo, Auth],
        r"too many .{0,40}(auth|log-?in|sign-?in|password)",
        "the relay has counted too many refused logins: correct [auth], or wait until it forgets them",
    )
    .for_tokens(
        "the relay has counted too many refused logins: let it get a token that is for it and for the mailbox in \
         auth.username, or wait until it forgets them",
    )
    .paused(30 * 60),
    BuiltIn::throttle(
        "slower logins",
        &[Auth],
        r"\b(again|retry|wait)( in| after| for)? \d+ ?(s(ec|econd)?s?|m(in|inute)?s?)\b|too (many|frequent) (messages|requests|connects|connections)",
    ),
    BuiltIn::quota(
        "quota at the login",
        &[Auth],
        r"\bcredits? .{0,40}(exceeded|used)|credits exceeded|\bquota\b|(daily|hourly|monthly|sending) .{0,30}limit|(again|retry|wait)( in| after| for)? \d+ ?h",
    ),
    // The number of connections follows from it (`queue/breaker.rs`).
    BuiltIn::as_said("the connection", TRANSACTION, r"^(421|503)"),
    BuiltIn::throttle(
        "too many connections",
        TRANSACTION,
        r"^4.*(concurrent|simultaneous|too many .{0,20}(connections|sessions|threads)|\b(connections|sessions|threads?) limit)",
    )
    .of_connections(),
    // "connection limit" may be meant of their number: then a connection that has brought nothing hears it, too.
    BuiltIn::throttle(
        "a full session",
        TRANSACTION,
        r"^(4.*(\bthis (smtp )?(session|connection)\b|\b(another|new|fresh) (smtp )?(session|connection)\b|\b(session|connection) limit)|[45].*\b(messages?|e?-?mails?|recipients?|transactions?|deliveries)\b.{0,40}\b(in|per|for|on|over|of) (a single |(this|one|an?|each|the|the same) )?(smtp )?(session|connection)\b)",
    )
    .of_session(),
    BuiltIn::route(
        "the account is stopped",
        NOT_RCPT,
        r"\byour (e-?mail |smtp |mail )?account (is|has been|was) ?(currently |temporarily |now )?(not (yet )?(activated|verified|approved)|suspended|paused|disabled|blocked|restricted|locked|deactivated|under review)|\b(sending|outgoing (e-?)?mail|outbound (e-?)?mail|mail submission|smtp (access|service)) (is |has been |was )?(currently |temporarily |now )?(suspended|paused|disabled|blocked|restricted|stopped)",
        "the relay has stopped the account that sends: ask its operator, or see the account there",
    ),
    BuiltIn::sender(
        "not the account's sender",
        TRANSACTION,
        r"^5.*(\bnot owned by (auth(enticated)? )?user\b|\bnot (allowed|authori[sz]ed|permitted) to send (mail |e-?mails? )?(as|from)\b|\bsend.?as.?denied\b|\bemail address is not verified\b|\bnot a (verified|validated|confirmed) (sender|from|sending)\b|\b(sender|from)( e?-?mail)?( address| domain| identity)?\b.{0,40}\bnot (yet )?(been )?(verified|validated|confirmed)\b)",
        "let the account that logs in send as this address, or have the program send as one that it may use",
    ),
    BuiltIn::as_said(
        "the recipient's mailbox",
        TRANSACTION,
        r"you (are trying|tried) to (contact|reach)|recipient'?s? (mailbox|account|inbox)|receiving (mail|limit|quota|rate)|^\d{3} [45]\.2\.[12] .*(mailbox|inbox|over ?quota)|(mailbox|inbox)( is)? full",
    ),
    BuiltIn::quota(
        "quota for sending",
        TRANSACTION,
        r"\b(sending|outgoing|outbound|submission|relay) (e?-?mails? |messages? |smtp )?(limit|quota)|\b(limit|quota)\b.{0,60}\b(outgoing|outbound)\b|\b(daily|hourly|weekly|monthly) .{0,40}\b(limit|quota)|\b(limit|quota) .{0,20}\b(per|for) (the |this |an? )?(hour|day|month)\b|max(imum)? (defers|e?-?mails|messages) .{0,60}per (hour|day)|too many messages (this|per|today|in the last) ?(hour|day|month)?|\bcredits? (limit )?exceeded",
    ),
    BuiltIn::as_said(
        "about the message or its recipients",
        TRANSACTION,
        r"message size|size limit|size exceeds|exceeds .{0,40}\bsize|maximum size|too (large|big|long)|^\d{3} [45]\.3\.[14]\b|attachment|line length|header|too many recipients|recipients? limit|limit (on|of) recipients|^\d{3} [45]\.5\.3\b|\bhops?\b|\bloop|mailbox|inbox|over ?quota|spam|junk|virus|malware|phish|\bscore\b|\bd(marc|kim)|\bspf\b|gr[ae]y.?list|\bdisk|storage|time.?limit|tim(e|ed).?out|too many (errors|invalid|unknown|bad|syntax|unrecognized|received)",
    ),
    BuiltIn::quota(
        "until a date",
        &[Auth, Mail, Data, Dot],
        r"\b(again|retry|retried|wait|back|blocked|resets?|resumes?|next (try|attempt))\b.{0,30}\b(\d{4}-\d\d-\d\d|\d\d? (jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) \d{4})",
    ),
    BuiltIn::throttle(
        "too fast",
        TRANSACTION,
        r"^4.*(throttl|\brates?\b|rate.?limit|too (many|fast|frequent|quick)|concurrent|slow down|\bper (second|minute)|(again|retry|wait)( in| after| for)? \d+ ?(s(ec|econd)?s?|m(in|inute)?s?)\b)",
    ),
    BuiltIn::quota(
        "used up",
        NOT_RCPT,
        r"^4.*(\bquotas?\b|\blimit(s|ed|ation)?\b|(again|retry|wait)( in| after| for)? \d+ ?h)",
    ),
    BuiltIn::quota(
        "used up, said after the content",
        &[Dot],
        r"^5.*(throttl|\brates?\b|rate.?limit|\bquotas?\b|\blimit(s|ed|ation)?\b|too (many|fast|frequent) (messages|e?-?mails|connections)|(again|retry|wait)( in| after| for)? \d+ ?(s|m|h))",
    ),
];

static COMPILED: LazyLock<Vec<CompiledRule>> =
    LazyLock::new(|| RULES.iter().map(|rule| rule.compiled(RuleName::General(rule.name))).collect());

/// Returns the rules in their order.
pub(super) fn rules() -> &'static [CompiledRule] {
    &COMPILED
}
