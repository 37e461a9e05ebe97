//! Date and time on the wire (XEP-0082), between text and microseconds since 1970 in UTC.

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// As text, to the microsecond, in UTC (section 3.2).
pub fn print(micros: i64) -> String {
    let seconds = micros.div_euclid(SECOND);
    let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = micros.rem_euclid(SECOND);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// From text with or without a fraction, in any zone. `None` when it is no time between the years 0 and 9999.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = text.split_once('T')?;
    let (year, month, day) = three(date, '-', [4, 2, 2])?;
    let zone_at = time.find(['Z', '+', '-'])?;
    let (time, zone) = time.split_at(zone_at);
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (hour, minute, second) = three(whole, ':', [2, 2, 2])?;
    let plausible = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60
        && date_of(days_of(year, month, day)) == (year, month, day);
    if !plausible || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let seconds = days_of(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Some((seconds - offset(zone)?) * SECOND + digits.parse::<i64>().ok()?)
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.split_at_checked(1)? {
        ("Z", "") => return Some(0),
        ("+", _) => 1,
        ("-", _) => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn three(text: &str, separator: char, digits: [usize; 3]) -> Option<(i64, i64, i64)> {
    let mut parts = text.split(separator);
    let [a, b, c] = digits;
    let three = (number(parts.next()?, a)?, number(parts.next()?, b)?, number(parts.next()?, c)?);
    parts.next().is_none().then_some(three)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Days since 1970 of a date in the Gregorian calendar. Years begin in March here, so that the leap day is their last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000_000),
            ("1969-07-21T02:56:15Z", -14_159_025_000_000),
            ("1969-07-20T21:56:15-05:00", -14_159_025_000_000),
            ("2026-11-25T22:30:22.5Z", 1_795_645_822_500_000),
            ("2026-11-25T22:30:22.123456789+00:00", 1_795_645_822_123_456),
        ] {
            assert_eq!(parse(text), Some(micros), "{text}");
        }
        for text in [
            "",
            "2026-11-25",
            "2026-11-25T22:30:22",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "26-11-25T22:30:22Z",
            "2026-11-25T24:00:00Z",
            "2026-11-25T22:30:22.Z",
            "2026-11-25T22:30:22.xZ",
            "2026-11-25T22:30:22+0100",
            "2026-11-25T22:30:22Zulu",
            "+026-11-25T22:30:22Z",
            "é026-11-25T22:30:22Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_is_read_as_the_same_time() {
        for micros in
            [0, 1, -1, 951_782_400_000_000, 1_795_645_822_500_001, 253_402_300_799_999_999]
        {
            assert_eq!(parse(&print(micros)), Some(micros), "{}", print(micros));
        }
        assert_eq!(print(951_825_600_000_001), "2000-02-29T12:00:00.000001Z");
    }
}
