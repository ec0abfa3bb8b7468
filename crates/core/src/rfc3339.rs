//! Moments as RFC 3339 (section 5.6) writes them.

use std::time::{Duration, SystemTime};

/// The longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// Reads a moment with up to nine digits of a second, in any zone; `None` if it is none.
pub fn parse(text: &str) -> Option<SystemTime> {
    if text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    if text.ends_with('Z') {
        return humantime::parse_rfc3339(text).ok();
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let (sign, offset) = zone.split_at_checked(1)?;
    let offset = offset_of(offset)?;
    match sign {
        "+" => time.checked_sub(offset),
        "-" => time.checked_add(offset),
        _ => None,
    }
}

/// Reads `hh:mm`.
fn offset_of(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: u64| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|value| is_plain && *value <= most)
    };
    Some(Duration::from_secs(number(hours, 23)? * 3600 + number(minutes, 59)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_counted() {
        let utc = parse("2020-07-27T17:32:28.25Z").unwrap();
        assert_eq!(parse("2020-07-27T19:32:28.25+02:00"), Some(utc));
        assert_eq!(parse("2020-07-27T12:02:28.25-05:30"), Some(utc));
        for wrong in
            ["", "now", "2020-07-27", "2020-07-27T17:32:28", "2020-07-27T17:32:28+2:00", "2020-13-27T17:32:28Z"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
