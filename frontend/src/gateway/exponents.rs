//! Integers as protojson reads them: a string may be any JSON number without a fraction, such as `"1e1"` for 10.
//!
//! The parser below takes plain digits, which is all that clients write. Only a request that it refuses is looked
//! through for these.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value;

/// Digits of the largest integer there is.
const DIGITS_MAX: usize = 20;

/// Rewrites the strings of integer fields as plain digits. Answers whether there was any to rewrite.
pub(super) fn rewrite(message: &MessageDescriptor, value: &mut Value) -> bool {
    let Value::Object(fields) = value else { return false };
    let mut rewritten = false;
    for (name, value) in fields {
        let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
        let Some(kind) = field.map(|field| field.kind()) else { continue };
        match value {
            Value::Array(values) => {
                values.iter_mut().for_each(|value| rewritten |= rewrite_one(&kind, value));
            }
            value => rewritten |= rewrite_one(&kind, value),
        }
    }
    rewritten
}

fn rewrite_one(kind: &Kind, value: &mut Value) -> bool {
    match (kind, &*value) {
        (Kind::Message(message), _) => rewrite(message, value),
        (Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64, Value::String(text)) => {
            let Some(digits) = digits(text) else { return false };
            *value = Value::String(digits);
            true
        }
        _ => false,
    }
}

/// The plain digits of a number with a fraction or an exponent; `None` where it is no integer, or plain already.
fn digits(text: &str) -> Option<String> {
    let (sign, number) = text.strip_prefix('-').map_or(("", text), |number| ("-", number));
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) =
        mantissa.split_once('.').map_or((mantissa, None), |(whole, part)| (whole, Some(part)));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let leads_with_zero = whole.len() > 1 && whole.starts_with('0');
    if number == whole || !is_number(whole) || leads_with_zero || !fraction.is_none_or(is_number) {
        return None;
    }
    let fraction = fraction.unwrap_or_default();
    let all = format!("{whole}{fraction}");
    // Where the point is in `all` once the exponent has moved it.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    if all.bytes().all(|digit| digit == b'0') {
        return Some("0".to_owned());
    }
    let point = usize::try_from(point).ok()?;
    if point > DIGITS_MAX + whole.len() {
        return None;
    }
    let (integer, rest) = all.split_at_checked(point).unwrap_or((&all, ""));
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let integer = format!("{integer:0<point$}");
    let integer = integer.trim_start_matches('0');
    (!integer.is_empty() && integer.len() <= DIGITS_MAX).then(|| format!("{sign}{integer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_may_be_written_with_an_exponent_or_a_fraction_of_zeros() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(digits(text).as_deref(), expected, "{text}");
        check("1e1", Some("10"));
        check("1E+1", Some("10"));
        check("-1e1", Some("-10"));
        check("10e-1", Some("1"));
        check("1.0", Some("1"));
        check("1.50e1", Some("15"));
        check("0.00012e5", Some("12"));
        check("0e9999", Some("0"));
        check("9223372036854775807e0", Some("9223372036854775807"));
        for none in [
            "1",
            "",
            "-",
            "e1",
            "1e",
            "1.",
            ".1",
            "01e1",
            "+1e1",
            " 1e1",
            "1e1 ",
            "1.5",
            "1e-1",
            "12e-2",
            "1e21",
            "1e2147483647",
            "1e-2147483648",
            "1e99999999999",
            "0x1p1",
            "1e1e1",
            "1.0.0",
        ] {
            check(none, None);
        }
    }
}
