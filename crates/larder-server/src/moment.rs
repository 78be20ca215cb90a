//! Moments as people write and read them: `2026-11-22 05:33:12.123Z`.
//!
//! By hand, because three formats and the Gregorian calendar are all that is needed.
//! **Invariant**: what is printed reads back as the same moment; what has no zone is UTC.

use std::{fmt, str::FromStr};

use larder_core::clock::WallMillis;

const DAY: i64 = 86_400_000;

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

impl From<WallMillis> for Moment {
    fn from(at: WallMillis) -> Self {
        Self(at.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        let (year, month, day) = civil(millis.div_euclid(DAY));
        let seconds = millis.rem_euclid(DAY) / 1000;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        match millis.rem_euclid(1000) {
            0 => f.write_str("Z"),
            millis => write!(f, ".{millis:03}Z"),
        }
    }
}

/// Reads `2026-11-22`, `2026-11-22 05:33`, `2026-11-22T05:33:12.123+01:00`, and the compact form in
/// the names of backups, `20261122T053312.123Z`.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text).ok_or_else(|| {
            format!(
                "`{text}` is no moment: write 2026-11-22, \"2026-11-22 05:33\" or \
                 2026-11-22T05:33:12Z (UTC unless it says otherwise, such as +01:00)"
            )
        })
    }
}

fn read(text: &str) -> Option<Moment> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let days = day(&together(date, '-', &[4, 2, 2])?)?;
    let millis = days * DAY + time_of_day(clock)? - offset(zone)?;
    u64::try_from(millis).ok().map(Moment)
}

/// The parts without what stands between them. They have the lengths that they are printed with, or
/// `1:2:34` would be taken for 12:34, and another backup restored than was meant.
fn together(text: &str, between: char, lengths: &[usize]) -> Option<String> {
    let parts: Vec<&str> = text.split(between).collect();
    let is_right = parts.len() <= lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == *length);
    (is_right || parts.len() == 1).then(|| parts.concat())
}

fn day(digits: &str) -> Option<i64> {
    let (year, month) = (number(digits, 0, 4)?, number(digits, 4, 6)?);
    let day = number(digits, 6, 8)?;
    // The number of days before it, by trying: from an estimate that is hardly too low.
    let guess = (year - 1970) * 365 + (month - 1) * 28 + day - 2;
    let is_it = |days: &i64| civil(*days) == (year, month, day);
    let found = (guess..guess + 600).find(is_it);
    found.filter(|_| digits.len() == 8 && 1970 <= year)
}

fn time_of_day(clock: &str) -> Option<i64> {
    if clock.is_empty() {
        return Some(0);
    }
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let digits = together(clock, ':', &[2, 2, 2])?;
    let part = |from: usize| match digits.len() <= from {
        true => Some(0),
        false => number(&digits, from, from + 2),
    };
    let (hour, minute, second) = (part(0)?, part(2)?, part(4)?);
    let is_right = hour < 24 && minute < 60 && second < 60 && digits.len() <= 6;
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    is_right.then_some(((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1) {
        None => return zone.is_empty().then_some(0),
        Some(("Z", "")) => return Some(0),
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) => return None,
    };
    time_of_day(rest).map(|millis| sign * millis)
}

fn number(digits: &str, from: usize, to: usize) -> Option<i64> {
    let part = digits.get(from..to)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
}

/// Year, month and day of a number of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from the first of March of the year 0, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_printed_and_as_people_write_them() {
        for (text, millis) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2026-11-22 05:33:12Z", 1_795_325_592_000),
            ("2026-11-22T05:33:12.123Z", 1_795_325_592_123),
            ("2026-11-22T06:33:12.1+01:00", 1_795_325_592_100),
            ("2026-11-22T03:33-02", 1_795_325_580_000),
            ("20261122T053312.123Z", 1_795_325_592_123),
            ("2100-12-31 23:59", 4_133_980_740_000),
        ] {
            assert_eq!(text.parse::<Moment>().map(|moment| moment.0), Ok(millis), "{text}");
        }
        for millis in (0..4_133_980_800_000).step_by(86_399 * 61_007) {
            let moment = Moment(millis);
            assert_eq!(moment.to_string().parse(), Ok(moment), "{moment}");
        }
        for bad in [
            "",
            "yesterday",
            "2026-02-30",
            "2026-13-01",
            "2026-11-22 25:00",
            "2026-1-1",
            "2026-1-122",
            "2026-11-22 1:2:34",
            "2026-11-22 01:02:03:04",
            "1",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
