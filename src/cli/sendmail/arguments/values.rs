//! Parses the values of flags.
//!
//! Promises: no address contains NUL or a line break.
//!
//! Fails with [`usage`], which says what was expected.

use super::{Mode, usage};
use crate::cli::exit::Failure;
use crate::envelope::{Address, Body, Notify, Ret, ReversePath};
use crate::message::address_list::{ListedAddresses, addresses_of};

pub(super) fn mode(value: &str) -> Result<Mode, Failure> {
    match value {
        "m" => Ok(Mode::Submit),
        "s" => Ok(Mode::Session),
        "v" => Ok(Mode::Verify),
        "p" => Ok(Mode::ListQueue),
        "i" | "h" | "H" => Ok(Mode::Nothing),
        "d" | "D" | "l" => Err(usage(format!(
            "-b{value} is refused: the daemon is nullmta.service, or `nullmta run` in the foreground"
        ))),
        _ => Err(usage(format!("unknown mode of operation -b{value}"))),
    }
}

pub(super) fn body(value: &str) -> Result<Body, Failure> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(Body::SevenBit),
        "8BITMIME" => Ok(Body::EightBitMime),
        _ => Err(usage("-B needs 7BIT or 8BITMIME")),
    }
}

pub(super) fn reverse_path(value: &str) -> Result<ReversePath, Failure> {
    if matches!(value.trim(), "" | "<>") {
        return Ok(ReversePath::Null);
    }
    match <[Address; 1]>::try_from(addresses(value)?.addresses) {
        Ok([address]) => Ok(ReversePath::Mailbox(address)),
        Err(_) => Err(usage(format!("-f needs one address, not {value:?}"))),
    }
}

/// Returns the addresses in one argument. Some callers pass several, with commas or display names.
pub(super) fn addresses(word: &str) -> Result<ListedAddresses, Failure> {
    if word.contains(['\0', '\r', '\n']) {
        return Err(usage(format!("line break or NUL in address {word:?}")));
    }
    addresses_of(word.as_bytes()).map_err(|error| usage(error.to_string()))
}

pub(super) fn notify(value: &str) -> Result<Notify, Failure> {
    if value.eq_ignore_ascii_case("never") {
        return Ok(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',').map(str::trim) {
        match word.to_ascii_lowercase().as_str() {
            "success" => success = true,
            "failure" => failure = true,
            "delay" => delay = true,
            _ => return Err(usage("-N needs never, or some of success,failure,delay")),
        }
    }
    Ok(Notify::On { success, failure, delay })
}

pub(super) fn ret(value: &str) -> Result<Ret, Failure> {
    match value.to_ascii_lowercase().as_str() {
        "full" => Ok(Ret::Full),
        "hdrs" => Ok(Ret::Headers),
        _ => Err(usage("-R needs full or hdrs")),
    }
}

/// Returns `value` in xtext. RFC 3461 4.4: at most 100 octets, which decode to printable ASCII.
pub(super) fn envid(value: &str) -> Result<Box<str>, Failure> {
    const MAX_OCTETS: usize = 100;
    let encoded: String = value
        .chars()
        .map(|c| match c {
            '+' | '=' | ' ' => format!("+{:02X}", u32::from(c)),
            c => c.into(),
        })
        .collect();
    if encoded.is_empty() || encoded.len() > MAX_OCTETS || !encoded.bytes().all(|o| o.is_ascii_graphic()) {
        return Err(usage("-V needs at most 100 printable ASCII characters"));
    }
    Ok(encoded.into())
}
