//! Reading timestamps as data sets write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Dates besides ISO 8601, without commas.
const DATES: [&str; 4] = ["%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y"];
/// Times of day before or behind them.
const TIMES: [&str; 4] = ["%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M%p"];

/// Numbers below this are seconds: as milliseconds they would be before March 1973.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// Returns milliseconds since 1970 UTC; `None` for a form that is not known.
///
/// Reads numbers (seconds, or milliseconds from 10^11 on), ISO 8601, and the names of months, as in
/// `1:56 pm on 8 May, 2023`. A date without a time is its midnight, a time without a zone is in UTC.
pub(super) fn parse(value: &Value) -> Option<i64> {
    let ms = match value {
        Value::Number(number) => number.as_i64().map(scale),
        Value::String(text) => parse_text(text.trim()),
        _ => None,
    };
    ms.filter(|&ms| ms >= 0)
}

fn scale(number: i64) -> i64 {
    if number < FIRST_MILLISECONDS { number.saturating_mul(1000) } else { number }
}

fn parse_text(text: &str) -> Option<i64> {
    // A weekday between brackets, as in `2023/05/08 (Mon) 13:56`.
    let words = text.split_whitespace().filter(|word| !word.starts_with('('));
    let iso = words.collect::<Vec<_>>().join(" ").replace('/', "-");
    if let Ok(timestamp) = iso.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let civil = iso.parse::<DateTime>().ok().or_else(|| parse_words(text))?;
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.as_millisecond())
}

/// A date with the name of its month, and a time of day or none.
fn parse_words(text: &str) -> Option<DateTime> {
    let text = text.replace(',', " ");
    let words = text.split_whitespace().filter(|word| !["on", "at"].contains(word));
    let text = words.map(without_ordinal).collect::<Vec<_>>().join(" ");
    let read = |form: &str| DateTime::strptime(form, &text).ok();
    DATES.iter().find_map(|date| {
        let timed = |time| read(&format!("{date} {time}")).or_else(|| read(&format!("{time} {date}")));
        read(date).or_else(|| TIMES.iter().find_map(timed))
    })
}

/// `8` of `8th`.
fn without_ordinal(word: &str) -> &str {
    let number = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending));
    number.filter(|number| number.bytes().all(|digit| digit.is_ascii_digit())).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<i64> {
        parse(&Value::from(text))
    }

    #[test]
    fn the_same_minute_in_many_spellings() {
        for text in [
            "1:56 pm on 8 May, 2023",
            "1:56pm on 8 May, 2023",
            "8th May 2023, 13:56",
            "8 May 2023, 13:56",
            "8 May 2023 at 1:56 PM",
            "May 8, 2023 1:56 PM",
            "2023-05-08T13:56:00Z",
            "2023-05-08 13:56",
            "2023/05/08 13:56:00",
            "2023/05/08 (Mon) 13:56",
        ] {
            assert_eq!(ms(text), Some(1_683_554_160_000), "{text}");
        }
        assert_eq!(parse(&Value::from(1_683_554_160)), Some(1_683_554_160_000));
        assert_eq!(parse(&Value::from(1_683_554_160_000_i64)), Some(1_683_554_160_000));
    }

    #[test]
    fn every_month_and_the_hours_around_noon_and_midnight() {
        for (index, name) in (1..).zip([
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ]) {
            assert_eq!(ms(&format!("3 {name} 2024")), ms(&format!("2024-{index:02}-03")), "{name}");
        }
        assert_eq!(ms("12:00 am on 1 January, 1970"), Some(0));
        assert_eq!(ms("12:00am on 1 January, 1970"), Some(0));
        assert_eq!(ms("12:00 pm on 1 January, 1970"), Some(12 * 3_600_000));
        assert_eq!(ms("29 February 2024").unwrap() + 86_400_000, ms("1 March 2024").unwrap());
    }

    #[test]
    fn what_is_no_date_is_refused_and_never_panics() {
        for text in [
            "",
            "soon",
            "May",
            "2023",
            "8 May",
            "40 May 2023",
            "2023-13-01",
            "1:5",
            "é:éé",
            "99999999999999999999",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
        assert_eq!(parse(&Value::Null), None);
        assert_eq!(parse(&Value::from(-5)), None);
    }
}
