//! RFC 3261 section 20.17: Date, always in GMT.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;

/// A moment, in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Date(pub u64);

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Header for Date {
    const NAME: Name = Name::Date;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        read(value).map(Date).ok_or(HeaderError::malformed(Self::NAME))
    }
}

/// `Sat, 13 Nov 2010 23:29:00 GMT`; no other zone.
fn read(value: &str) -> Option<u64> {
    let mut words = value.split_ascii_whitespace();
    let weekday = words.next()?.strip_suffix(',')?;
    let (day, month, year) =
        (words.next()?.parse::<u64>().ok()?, words.next()?, words.next()?.parse::<u64>().ok()?);
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_whole = clock.next().is_none() && words.next() == Some("GMT") && words.next().is_none();
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let is_in_range = DAYS.contains(&weekday)
        && (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && hour < 24
        && minute < 60
        && second <= 60;
    (is_whole && is_in_range)
        .then(|| days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date from 1970 on. Years are counted from March, so that the leap day ends one.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = (from_march + 2) % 12;
        let year = era * 400 + year_of_era + u64::from(from_march >= 10);
        let name = |names: &[&'static str], at: u64| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied())
        };
        write!(
            f,
            "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
            name(&DAYS, days % 7).unwrap_or_default(),
            name(&MONTHS, month).unwrap_or_default(),
            rest / 3600,
            rest / 60 % 60,
            rest % 60,
        )
    }
}
