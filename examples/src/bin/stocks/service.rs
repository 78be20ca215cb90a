//! The service: quotes from the exchange, kept in a store (S18).
//!
//! **Invariant**: what is kept is replaced only by something newer that has arrived; a load that
//! fails takes nothing away (SD20), and is told for that one stock alone.

use std::{collections::BTreeMap, net::SocketAddr};

use larder::{
    Error,
    sqlite::store::{Entries, Lifetime, NewEntry, Select, Stored},
};
use tokio::task::JoinSet;

use crate::{
    exchange,
    settings::{KINDS, Kind, Settings},
};

/// Requests to the exchange that run at a time.
const REQUESTS_MAX: usize = 8;

/// What is known of one stock, or why it is not known.
pub(crate) type Quote = Result<String, String>;

pub(crate) struct Service {
    entries: Entries,
    exchange: SocketAddr,
    settings: Settings,
}

impl Service {
    pub(crate) fn new(entries: Entries, exchange: SocketAddr, settings: Settings) -> Self {
        Self { entries, exchange, settings }
    }

    /// One kind of many stocks: what is kept is read in one go, only the rest is loaded, and what
    /// cannot be loaded is an error of its own.
    pub(crate) async fn fetch_many(
        &self,
        kind: Kind,
        codes: &[&str],
    ) -> Result<BTreeMap<String, Quote>, Error> {
        let kept = self.entries.get_many(codes.iter().map(|code| kind.key(code))).await?;
        let mut quotes = BTreeMap::new();
        let mut missing = Vec::new();
        for (code, value) in codes.iter().zip(kept) {
            match value {
                Some(stored) => drop(quotes.insert((*code).to_owned(), text(stored))),
                None => missing.push((kind, (*code).to_owned())),
            }
        }
        let loaded = self.load(missing).await?;
        quotes.extend(loaded.into_iter().map(|((_, code), quote)| (code, quote)));
        Ok(quotes)
    }

    /// Loads what will be asked for, before it is; how many are kept now.
    pub(crate) async fn warm(&self, popular: &[&str]) -> Result<usize, Error> {
        let mut count = 0;
        for kind in [Kind::StockData, Kind::Realtime] {
            count += self.fetch_many(kind, popular).await?.values().flatten().count();
        }
        Ok(count)
    }

    /// Forgets everything about one stock, and nothing about others (SD6); how many entries.
    pub(crate) async fn invalidate(&self, code: &str) -> Result<u64, Error> {
        let select = Select::everything().any_of([format!("stock_{code}")]);
        self.entries.remove_matching(&select).await
    }

    /// Loads all kinds of one stock again; which of them succeeded. What fails keeps its old value.
    pub(crate) async fn refresh(&self, code: &str) -> Result<BTreeMap<Kind, Quote>, Error> {
        let wanted = KINDS.map(|kind| (kind, code.to_owned())).into();
        let loaded = self.load(wanted).await?;
        Ok(loaded.into_iter().map(|((kind, _), quote)| (kind, quote)).collect())
    }

    /// How many entries of each kind are kept.
    pub(crate) async fn counts(&self) -> Result<BTreeMap<&'static str, u64>, Error> {
        let mut counts = BTreeMap::new();
        for kind in KINDS {
            let select = Select::everything().any_of([kind.word()]);
            counts.insert(kind.word(), self.entries.count(&select).await?);
        }
        Ok(counts)
    }

    /// Asks the exchange, and keeps in one commit whatever arrived, with its tags (SD8).
    async fn load(
        &self,
        wanted: Vec<(Kind, String)>,
    ) -> Result<BTreeMap<(Kind, String), Quote>, Error> {
        let mut loaded = BTreeMap::new();
        let mut running = JoinSet::new();
        let mut wanted = wanted.into_iter();
        loop {
            while running.len() < REQUESTS_MAX {
                let Some((kind, code)) = wanted.next() else { break };
                let (exchange, path) = (self.exchange, format!("/{}/{code}", kind.word()));
                running.spawn(async move {
                    let quote = exchange::get(exchange, &path).await;
                    ((kind, code), quote)
                });
            }
            match running.join_next().await {
                Some(Ok((what, quote))) => drop(loaded.insert(what, quote)),
                // Whatever panicked is not among the answers; nothing is kept of it.
                Some(Err(_)) => {}
                None => break,
            }
        }
        let arrived = loaded.iter().filter_map(|((kind, code), quote)| {
            let value = Stored::json(quote.as_ref().ok()?.clone());
            let lifetime = Lifetime::For(self.settings.ttl(*kind));
            let entry = NewEntry::new(value, lifetime).tags(kind.tags(code));
            Some((kind.key(code), entry))
        });
        self.entries.insert_many(arrived.collect::<Vec<_>>()).await?;
        Ok(loaded)
    }
}

fn text(stored: Stored) -> Quote {
    String::from_utf8(stored.bytes).map_err(|error| error.to_string())
}
