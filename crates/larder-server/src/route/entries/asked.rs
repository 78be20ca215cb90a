//! The query of a request about entries: each parameter once, but for those that are lists.
//!
//! **Invariant**: what is not known is refused, so that a misspelt limit cannot delete more than
//! was meant.

use larder_sqlite::store::{Lifetime, Pattern, Select};

use crate::{
    config::Span,
    parameters,
    problem::{Code, Problem},
};

/// Parameters that may be given several times.
const LISTS: [&str; 3] = ["tag", "all_tags", "not_tag"];

/// Values of one list at most.
const LIST_MAX: usize = 100;

/// What a selection is made of.
pub(in crate::route) const SELECTION: [&str; 5] = ["pattern", "glob", "tag", "all_tags", "not_tag"];

/// The parameters of one request.
#[derive(Debug)]
pub(in crate::route) struct Asked(Vec<(String, String)>);

impl Asked {
    /// Reads `query`, in which only `known` may be.
    pub(in crate::route) fn read(
        query: &str,
        known: &[&str],
        limit: usize,
    ) -> Result<Self, Problem> {
        let mut all: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = parameters::pair(pair, limit)?;
            if !known.contains(&&*name) {
                let shown: String = name.chars().take(64).collect();
                let detail = format!("`{shown}` is unknown: use {}", known.join(", "));
                return Err(parameters::about(Code::UnknownParameter, &shown, detail));
            }
            let before = all.iter().filter(|(own, _)| *own == name).count();
            let most = if LISTS.contains(&&*name) { LIST_MAX } else { 1 };
            if most <= before {
                let detail = format!("give `{name}` at most {most} times");
                return Err(parameters::about(Code::RepeatedParameter, &name, detail));
            }
            all.push((name.into_owned(), text.into_owned()));
        }
        Ok(Self(all))
    }

    pub(in crate::route) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, text)| &**text)
    }

    pub(in crate::route) fn all(&self, name: &str) -> Vec<String> {
        let own = self.0.iter().filter(|(own, _)| own == name);
        own.map(|(_, text)| text.clone()).collect()
    }

    /// The region that is meant.
    pub(in crate::route) fn region(&self) -> String {
        self.get("region").unwrap_or("default").to_owned()
    }

    /// Whether a switch is on: `name=true`, or only `name`.
    pub(in crate::route) fn is_on(&self, name: &'static str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(_) => Err(ill(name, format!("`{name}` must be true or false"))),
        }
    }

    /// How long an entry lives; it must be said.
    pub(in crate::route) fn lifetime(&self) -> Result<Lifetime, Problem> {
        match self.get("ttl") {
            Some("never") => Ok(Lifetime::Forever),
            Some(text) => {
                let span: Span = text.parse().map_err(|why| ill("ttl", why))?;
                match span.0.is_zero() {
                    true => Err(ill("ttl", "an entry cannot live for no time".to_owned())),
                    false => Ok(Lifetime::For(span.0)),
                }
            }
            None => Err(parameters::about(
                Code::MissingParameter,
                "ttl",
                "add `ttl`, such as 10m, or `never` (it expires)".to_owned(),
            )),
        }
    }

    /// A whole number between two limits.
    pub(in crate::route) fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy>(
        &self,
        name: &'static str,
        default: T,
        (least, most): (T, T),
    ) -> Result<T, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| least <= *number && *number <= most);
        number.ok_or_else(|| ill(name, format!("`{name}` must be {least} to {most}")))
    }

    /// Which entries; `None` when nothing was said about it.
    pub(in crate::route) fn select(&self) -> Result<Option<Select>, Problem> {
        if SELECTION.iter().all(|name| self.get(name).is_none()) {
            return Ok(None);
        }
        let mut select = Select::everything();
        match (self.get("pattern"), self.get("glob")) {
            (Some(_), Some(_)) => {
                return Err(ill("glob", "give `pattern` or `glob`, not both".to_owned()));
            }
            (Some(pattern), None) => select = select.matching(Pattern::percent(pattern)),
            (None, Some(pattern)) => select = select.matching(Pattern::glob(pattern)),
            (None, None) => {}
        }
        if self.get("tag").is_some() {
            select = select.any_of(self.all("tag"));
        }
        if self.get("all_tags").is_some() {
            select = select.all_of(self.all("all_tags"));
        }
        Ok(Some(select.none_of(self.all("not_tag"))))
    }
}

pub(in crate::route) fn ill(name: &'static str, detail: String) -> Problem {
    parameters::about(Code::IllTypedParameter, name, detail)
}
