//! What a resource declares that its answers depend on, besides what its statement reads.
//!
//! Labels by which an application drops answers, kinds that only the application knows, and tables
//! that the statement does not name. Apart from `items.rs`, because here values come from the
//! parameters of each request. **Invariant**: what is declared was filled in once when the
//! configuration was checked, so that no answer fails over it later.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use larder::{Dependency, Value};
use serde_json::{Map, Value as Json};

use crate::{
    config::{ConfigError, Kind, Resource, Tracking},
    items::{APP, Items, Names},
    literal,
    origin::Origin,
    tag::Tag,
};

/// What the names of the application's kinds begin with.
const KIND: &str = "app.";

/// Origin and table of everything that statements read.
pub type Read = HashSet<(String, String)>;

/// What a resource declares.
#[derive(Clone, Debug)]
pub struct Declared {
    names: Arc<[String]>,
    tags: Vec<Tag>,
    scopes: Vec<(String, Map<String, Json>)>,
    /// Those that are the same for each answer.
    fixed: Vec<Dependency>,
}

impl Declared {
    /// What `settings` declare, over `origins`, of which statements read the tables `read`: an
    /// origin that is tracked by row tells of those only.
    pub fn of<'a>(
        name: &str,
        settings: &Resource,
        origins: impl IntoIterator<Item = &'a Origin>,
        read: &Read,
    ) -> Result<Self, ConfigError> {
        let origins: Vec<&Origin> = origins.into_iter().collect();
        let at = |setting: &str| format!("resource.{name}.{setting}");
        let tables = Items { tables: settings.tables.clone(), ..Items::default() };
        let known = Names::look_up(origins.iter().copied(), &tables.origins());
        let known = known.map_err(|error| crate::catalog::failed(&at("tables"), &error))?;
        let fixed = tables.meaning(&known);
        let fixed = fixed.map_err(|problem| ConfigError::new(at("tables"), problem.detail()))?;
        for dependency in &fixed.dependencies {
            let own = |origin: &&&Origin| origin.name == **dependency.timeline();
            let by_row = origins.iter().find(own);
            let by_row = by_row.is_some_and(|origin| origin.track == Tracking::Rows);
            let table = dependency.about_table().map(ToString::to_string).unwrap_or_default();
            let name = (dependency.timeline().to_string(), table);
            if by_row && !read.contains(&name) {
                let problem = format!(
                    "no statement reads {}.{}, so row tracking does not watch it and nobody would \
                     tell of its changes; let a resource read it, or tell them on `app`",
                    name.0, name.1
                );
                return Err(ConfigError::new(at("tables"), problem));
            }
        }
        let declared = Self {
            names: settings.params.iter().map(|(name, _)| name.clone()).collect(),
            tags: settings.tags.clone(),
            scopes: settings.scopes.clone(),
            fixed: fixed.dependencies,
        };
        let stranger = declared.scopes.iter().find(|(kind, _)| !kind.starts_with(KIND));
        if let Some((kind, _)) = stranger {
            let problem = format!(
                "`{kind}` is no kind of the application, such as app.Banner. What is read of an \
                 origin is found in the statement; name other tables of one in `tables`"
            );
            return Err(ConfigError::new(at("scopes"), problem));
        }
        // Any value of the right type shows whether the templates can be filled in.
        let sample: Vec<Value> = settings.params.iter().map(|(_, kind)| sample(*kind)).collect();
        for tag in &declared.tags {
            declared.tag(tag, &sample).map_err(|problem| ConfigError::new(at("tags"), problem))?;
        }
        for (kind, terms) in &declared.scopes {
            let filled = declared.scope(kind, terms, &sample);
            filled.map_err(|problem| ConfigError::new(at("scopes"), problem))?;
        }
        Ok(declared)
    }

    /// What the answer for these values depends on. Where values make a scope mean nothing (a range
    /// that ends before it begins), that is every row of its kind.
    pub fn dependencies(&self, values: &[Value]) -> Vec<Dependency> {
        let mut all = self.fixed.clone();
        // An empty one can be given by nobody who invalidates, so it is none.
        all.extend(self.tags.iter().filter_map(|tag| self.tag(tag, values).ok()));
        for (kind, terms) in &self.scopes {
            let whole = |_| vec![Dependency::table(APP, kind.strip_prefix(KIND).unwrap_or(kind))];
            all.extend(self.scope(kind, terms, values).unwrap_or_else(whole));
        }
        all
    }

    /// The origins that it names.
    pub fn origins(&self) -> BTreeSet<&str> {
        let timelines = self.fixed.iter().map(|dependency| &**dependency.timeline());
        timelines.filter(|timeline| *timeline != APP).collect()
    }

    /// For people, in the words of the configuration.
    pub fn described(&self) -> Vec<String> {
        let tags = self.tags.iter().map(|tag| match tag {
            Tag::Plain(name) => format!("tag {name}"),
            Tag::In(space, name) => format!("tag {name} in {space}"),
        });
        let scopes = self.scopes.iter().map(|(kind, terms)| {
            let terms = terms.iter().map(|(column, json)| match json {
                Json::String(text) => format!("{column} = {text}"),
                other => format!("{column} = {other}"),
            });
            format!("rows of {kind} where {}", terms.collect::<Vec<_>>().join(" and "))
        });
        let tables = self.fixed.iter().filter_map(|dependency| {
            let table = dependency.about_table()?;
            Some(format!("every row of {}.{table}: it is declared", dependency.timeline()))
        });
        tags.chain(scopes).chain(tables).collect()
    }

    /// The label with the values in its name; its namespace is the same for all answers.
    fn tag(&self, tag: &Tag, values: &[Value]) -> Result<Dependency, String> {
        let (space, name) = tag.parts();
        if space.contains(['{', '}']) {
            return Err(format!("\"{space}\" is a namespace, which takes no parameter"));
        }
        tag.with_name(self.text(name, values)?).dependency()
    }

    fn scope(
        &self,
        kind: &str,
        terms: &Map<String, Json>,
        values: &[Value],
    ) -> Result<Vec<Dependency>, String> {
        let member = |(name, one): (&String, &Json)| {
            Ok::<_, String>((name.clone(), self.json(one, values)?))
        };
        let terms = terms.iter().map(member).collect::<Result<_, _>>()?;
        let items = Items { scopes: vec![(kind.to_owned(), terms)], ..Items::default() };
        let meaning = items.meaning(&Names::none());
        meaning.map(|meaning| meaning.dependencies).map_err(|problem| problem.detail().to_owned())
    }

    /// A template that is one parameter is its value, with its type; any other is text.
    fn json(&self, template: &Json, values: &[Value]) -> Result<Json, String> {
        Ok(match template {
            Json::String(text) => match self.only(text, values) {
                Some(value) => literal::shown(value),
                None => self.text(text, values)?.into(),
            },
            Json::Array(list) => {
                list.iter().map(|one| self.json(one, values)).collect::<Result<_, _>>()?
            }
            Json::Object(object) => {
                let member = |(name, one): (&String, &Json)| {
                    Ok::<_, String>((name.clone(), self.json(one, values)?))
                };
                Json::Object(object.iter().map(member).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    fn only<'a>(&self, text: &str, values: &'a [Value]) -> Option<&'a Value> {
        let name = text.strip_prefix('{')?.strip_suffix('}')?;
        values.get(self.names.iter().position(|own| own == name)?)
    }

    fn text(&self, template: &str, values: &[Value]) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| {
                format!("\"{template}\" opens a brace and does not close it: write {{name}}")
            })?;
            let place = self.names.iter().position(|own| own == name);
            let value = place.and_then(|place| values.get(place)).ok_or_else(|| {
                let known = self.names.join(", ");
                format!("\"{template}\" names `{name}`, which is no parameter; there are: {known}")
            })?;
            out.push_str(before);
            match value {
                Value::Text(text) => out.push_str(text),
                other => out.push_str(&other.to_string()),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

fn sample(kind: Kind) -> Value {
    match kind {
        Kind::Integer => Value::Integer(1),
        Kind::Real => Value::Real(1.5),
        Kind::Text => Value::from("x"),
        Kind::Blob => Value::from(&b"x"[..]),
    }
}
