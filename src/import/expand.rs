//! Expansion of `$name` in values of `main.cf` (postconf(5)).
//!
//! Promises: expansion always ends, even for parameters that refer to each other. `$$` is a dollar sign; a name without
//! a value is empty; also supported are `${name?text}`, `${name:text}`, `${name?{text}:{text}}`, `${{a} ==
//! {b}?{text}:{text}}`, and each of them with round brackets.
//!
//! Fails: with a message that contains nothing of the value, which may hold a secret.

/// The greatest depth of nested references. Deeper ones are taken for a circle.
const DEEPEST: usize = 40;

/// The longest value, in octets. A longer one is taken for a circle that grows each time.
const LONGEST: usize = 1 << 20;

/// A function that returns the value of a parameter as it is written; `None` if it has none.
pub(super) type Values<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns `text` with each reference replaced by its value.
pub(super) fn expand(text: &str, values: Values<'_>) -> Result<String, String> {
    expand_at(text, values, 0)
}

fn expand_at(text: &str, values: Values<'_>, depth: usize) -> Result<String, String> {
    if depth > DEEPEST {
        return Err("parameters refer to each other in a circle".into());
    }
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded += &rest[..at];
        rest = &rest[at + 1..];
        let (put_in, behind) = reference(rest, values, depth)?;
        expanded += &put_in;
        rest = behind;
        if expanded.len() > LONGEST {
            return Err("the value becomes longer than 1 MiB".into());
        }
    }
    Ok(expanded + rest)
}

/// Returns the value of the reference at the start of `text`, just after a `$`, and the text after the reference.
fn reference<'t>(text: &'t str, values: Values<'_>, depth: usize) -> Result<(String, &'t str), String> {
    if let Some(behind) = text.strip_prefix('$') {
        return Ok(("$".into(), behind));
    }
    if text.starts_with(['{', '(']) {
        let (inside, behind) = bracketed(text).ok_or("`${` without its `}`")?;
        return Ok((conditional(inside.trim(), values, depth)?, behind));
    }
    let (name, behind) = split_name(text);
    if name.is_empty() {
        return Err("`$` without a name (a dollar is written `$$`)".into());
    }
    Ok((value_of(name, values, depth)?, behind))
}

/// Expands the inside of `${…}`.
fn conditional(inside: &str, values: Values<'_>, depth: usize) -> Result<String, String> {
    let (holds, value, rest) = if inside.starts_with('{') {
        let (holds, rest) = comparison(inside, values, depth)?;
        // Without a text to choose, Postfix gives a text that is not empty where it holds.
        (holds, if holds { "true".into() } else { String::new() }, rest)
    } else {
        let (name, rest) = split_name(inside);
        if name.is_empty() {
            return Err("`${` without a name".into());
        }
        let value = value_of(name, values, depth)?;
        (!value.is_empty(), value, rest)
    };
    let (wanted, choice) = match rest.trim_start() {
        "" => return Ok(value),
        rest if rest.starts_with('?') => (true, &rest[1..]),
        rest if rest.starts_with(':') => (false, &rest[1..]),
        _ => return Err("expected `?` or `:` behind the name in `${…}`".into()),
    };
    match choose(choice, wanted, holds)? {
        Some(text) => expand_at(text, values, depth + 1),
        None => Ok(String::new()),
    }
}

/// Returns the text that `choice` selects: its first text if `holds` equals `wanted`, else its second one, if any.
fn choose(choice: &str, wanted: bool, holds: bool) -> Result<Option<&str>, String> {
    let Some((first, rest)) = bracketed(choice.trim_start()).filter(|_| choice.trim_start().starts_with('{'))
    else {
        return Ok((wanted == holds).then_some(choice));
    };
    if wanted == holds {
        return Ok(Some(first.trim()));
    }
    let Some(second) = rest.trim_start().strip_prefix(':').filter(|_| wanted) else { return Ok(None) };
    let second = second.trim();
    Ok(Some(bracketed(second).map_or(second, |(inside, _)| inside.trim())))
}

/// Returns whether the comparison `{a} op {b}` at the start of `text` holds, and the text after it.
fn comparison<'t>(text: &'t str, values: Values<'_>, depth: usize) -> Result<(bool, &'t str), String> {
    let malformed = || "expected `{value} == {value}` in `${…}`".to_owned();
    let (left, rest) = bracketed(text).ok_or_else(malformed)?;
    let rest = rest.trim_start();
    let operator = ["==", "!=", "<=", ">=", "<", ">"].into_iter().find(|operator| rest.starts_with(operator));
    let operator = operator.ok_or_else(malformed)?;
    let (right, rest) = bracketed(rest[operator.len()..].trim_start()).ok_or_else(malformed)?;
    let left = expand_at(left.trim(), values, depth + 1)?;
    let right = expand_at(right.trim(), values, depth + 1)?;
    let order = match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        _ => left.cmp(&right),
    };
    let holds = match operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<=" => order.is_le(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        _ => order.is_gt(),
    };
    Ok((holds, rest))
}

fn value_of(name: &str, values: Values<'_>, depth: usize) -> Result<String, String> {
    values(name).map_or(Ok(String::new()), |value| expand_at(&value, values, depth + 1))
}

/// Returns the names of the parameters that `text` refers to.
pub(super) fn names_in(text: &str) -> Vec<&str> {
    let begins = text.split('$').skip(1).map(|rest| rest.trim_start_matches(['{', '(', ' ']));
    begins.map(|rest| split_name(rest).0).filter(|name| !name.is_empty()).collect()
}

fn split_name(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

/// Returns the inside of the bracket at the start of `text`, and the text after it.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let open = text.chars().next()?;
    let close = match open {
        '{' => '}',
        '(' => ')',
        _ => return None,
    };
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some((&text[1..at], &text[at + 1..]));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str) -> Option<String> {
        let value = match name {
            "a" => "A",
            "b" => "<$a>",
            "empty" => "",
            "nine" => "9",
            "ten" => "10",
            "me" => "$me",
            "doubled" => "$doubled$doubled",
            _ => return None,
        };
        Some(value.into())
    }

    /// As `postconf -x` of Postfix 3.7 gives them.
    #[test]
    fn the_forms_of_postconf() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$a $b-$a_ ${a}x $(b)", "A <A>- Ax <A>"),
            ("$$a costs $$", "$a costs $"),
            ("[$none]", "[]"),
            ("${a?yes $b}", "yes <A>"),
            ("${empty?yes}", ""),
            ("${none:no}${a:no}", "no"),
            ("${a?{yes}:{no}} ${none?{yes}:{no}}", "yes no"),
            ("${ a ? { yes } : { no } }", "yes"),
            ("${none?{yes}:$b}", "<A>"),
            ("${none:{ no $a }}", "no A"),
            ("${{$ten} > {$nine}?{number}:{text}}", "number"),
            ("${{a} == {b}?{same}:{other}}", "other"),
            ("${{x$a} != {xA}?{other}:{same}}", "same"),
            ("${{9} <= {9}?{ok}} ${{9} <= {9}}", "ok true"),
            ("${a?{${none?{x}:{deep}}}}", "deep"),
            ("${{9} <= {9}:{bad}}", ""),
        ] {
            assert_eq!(expand(text, &values).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_ends_with_a_reason() {
        for text in ["$", "a $ b", "${", "${a", "${}", "${a b}", "${{a} ~ {b}?c}", "$me", "x $doubled", "$("]
        {
            let error = expand(text, &values).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{text}");
        }
    }

    #[test]
    fn the_names_in_a_value() {
        assert_eq!(names_in("$a x ${ b ?$c}$(d)$$ $"), ["a", "b", "c", "d"]);
        assert!(names_in("none").is_empty());
    }
}
