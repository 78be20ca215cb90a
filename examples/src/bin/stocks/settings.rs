//! How long what is known of a stock may be used: settings with defaults, from the environment.
//!
//! **Invariant**: every lifetime that is used comes from here (S14).

use std::time::Duration;

/// What is known of a stock. The word is the first part of its keys, and a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    StockData,
    PriceData { days: u16 },
    Realtime,
    BestFourPoints,
}

/// The four kinds that belong to a stock that is looked at as a whole.
pub(crate) const KINDS: [Kind; 4] =
    [Kind::StockData, Kind::PriceData { days: 30 }, Kind::Realtime, Kind::BestFourPoints];

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::StockData => "stock_data",
            Self::PriceData { .. } => "price_data",
            Self::Realtime => "realtime",
            Self::BestFourPoints => "best_four_points",
        }
    }

    /// The key of this kind of a stock (S20).
    pub(crate) fn key(self, code: &str) -> String {
        match self {
            Self::PriceData { days } => format!("{}_{code}_{days}", self.word()),
            _ => format!("{}_{code}", self.word()),
        }
    }

    /// The labels by which it is found with others (S20).
    pub(crate) fn tags(self, code: &str) -> Vec<String> {
        let mut tags = vec![self.word().to_owned(), format!("stock_{code}")];
        if let Self::PriceData { days } = self {
            tags.push(format!("days_{days}"));
        }
        tags
    }
}

/// The lifetimes of the four kinds.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    stock_data: Duration,
    price_data: Duration,
    realtime: Duration,
    best_four_points: Duration,
}

impl Settings {
    /// Reads `CACHE_TTL_STOCK_DATA`, `_PRICE_DATA`, `_REALTIME` and `_BEST_FOUR_POINTS`, in
    /// seconds.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let seconds = |name: &str, default: u64| match variable(name) {
            None => Ok(Duration::from_secs(default)),
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => Err(format!("{name} is \"{text}\": write a number of seconds")),
                Ok(seconds) => Ok(Duration::from_secs(seconds)),
            },
        };
        Ok(Self {
            stock_data: seconds("CACHE_TTL_STOCK_DATA", 86_400)?,
            price_data: seconds("CACHE_TTL_PRICE_DATA", 1_800)?,
            realtime: seconds("CACHE_TTL_REALTIME", 60)?,
            best_four_points: seconds("CACHE_TTL_BEST_FOUR_POINTS", 3_600)?,
        })
    }

    pub(crate) fn ttl(&self, kind: Kind) -> Duration {
        match kind {
            Kind::StockData => self.stock_data,
            Kind::PriceData { .. } => self.price_data,
            Kind::Realtime => self.realtime,
            Kind::BestFourPoints => self.best_four_points,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_lives_as_long_as_its_setting_says() {
        // S14.
        let kinds =
            [Kind::StockData, Kind::PriceData { days: 30 }, Kind::Realtime, Kind::BestFourPoints];
        let seconds = |settings: &Settings| kinds.map(|kind| settings.ttl(kind).as_secs());
        let default = Settings::read(|_| None).unwrap();
        assert_eq!(seconds(&default), [86_400, 1_800, 60, 3_600]);
        let names = ["STOCK_DATA", "PRICE_DATA", "REALTIME", "BEST_FOUR_POINTS"];
        for (place, name) in names.into_iter().enumerate() {
            let name = format!("CACHE_TTL_{name}");
            let set = Settings::read(|asked| (asked == name).then(|| "7".to_owned())).unwrap();
            let mut wanted = seconds(&default);
            if let Some(own) = wanted.get_mut(place) {
                *own = 7;
            }
            assert_eq!(seconds(&set), wanted, "{name}");
        }
    }

    #[test]
    fn a_key_says_kind_stock_and_days_and_its_tags_say_them_apart() {
        // S20.
        let price = Kind::PriceData { days: 30 };
        assert_eq!(Kind::StockData.key("2330"), "stock_data_2330");
        assert_eq!(price.key("2330"), "price_data_2330_30");
        assert_eq!(price.tags("2330"), ["price_data", "stock_2330", "days_30"]);
    }
}
