//! Lenient reading of timestamps, in whichever order a data set writes them.

use serde_json::Value;

/// Milliseconds since 1970 UTC; `None` where no date can be made out.
///
/// Understands numbers (seconds, or milliseconds from 10^11 on) and texts with a
/// day, a month (by name, or the second number of `year-month-day`), a year of
/// four digits, and optionally a time of day, such as `1:56 pm on 8 May, 2023` or
/// `2023-05-08T13:56:00Z`. Time zones are ignored: only the order matters here.
pub(super) fn parse(value: &Value) -> Option<i64> {
    let ms = match value {
        Value::Number(number) => number.as_i64().map(scale),
        Value::String(text) => parse_text(text),
        _ => None,
    };
    ms.filter(|&ms| ms >= 0)
}

/// Numbers below this are seconds: as milliseconds they would be before March 1973.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

fn scale(number: i64) -> i64 {
    if number < FIRST_MILLISECONDS { number.saturating_mul(1000) } else { number }
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

fn parse_text(text: &str) -> Option<i64> {
    let lower = text.to_lowercase();
    let mut numbers = Vec::new();
    let (mut month, mut clock) = (None, None);
    let mut afternoon = None;
    for word in lower.split([' ', ',', '/', '-']).flat_map(date_and_clock) {
        if word.contains(':') {
            clock = clock.or_else(|| parse_clock(word));
        }
        match word.trim_end_matches(['.', 'z']) {
            "am" | "a.m" => afternoon = Some(false),
            "pm" | "p.m" => afternoon = Some(true),
            word => {
                let name = MONTHS.iter().position(|name| word.starts_with(name));
                month = month.or(name.map(|index| index as i64 + 1));
                let digits = word.trim_end_matches(|c: char| c.is_alphabetic());
                numbers.extend(digits.parse::<i64>().ok());
            }
        }
    }

    let (year, month, day) = match (month, numbers.as_slice()) {
        (Some(month), [year @ 1000..=9999, day, ..] | [day, year @ 1000..=9999, ..]) => (*year, month, *day),
        (None, [year @ 1000..=9999, month, day, ..]) => (*year, *month, *day),
        _ => return None,
    };
    if !((1..=12).contains(&month) && (1..=31).contains(&day)) {
        return None;
    }
    let (mut hour, minute) = clock.unwrap_or((0, 0));
    match afternoon {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    Some(((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60_000)
}

/// Both parts of `08t13:56:00z`, the word itself otherwise.
fn date_and_clock(word: &str) -> impl Iterator<Item = &str> {
    let parts = word.split_once('t').filter(|(_, clock)| clock.contains(':'));
    let (first, second) = parts.map_or((word, None), |(date, clock)| (date, Some(clock)));
    std::iter::once(first).chain(second)
}

/// Hours and minutes of `13:56`, `1:56pm`, `13:56:00z`.
fn parse_clock(word: &str) -> Option<(i64, i64)> {
    let (hour, rest) = word.split_once(':')?;
    let minute = rest.get(..2)?;
    let clock = (hour.parse().ok()?, minute.parse().ok()?);
    let clock = match clock {
        (12, minute) if rest.ends_with("am") => (0, minute),
        (hour @ 0..12, minute) if rest.ends_with("pm") => (hour + 12, minute),
        clock => clock,
    };
    matches!(clock, (0..=23, 0..=59)).then_some(clock)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
            "May 8, 2023 1:56 PM",
            "2023-05-08T13:56:00Z",
            "2023-05-08 13:56",
            "2023/05/08 13:56:00",
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
