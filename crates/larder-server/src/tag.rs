//! Tags as requests and settings write them: `"front"`, or `["artist", "90"]` in a namespace.
//!
//! Apart from `items.rs`, because settings write them too, with parameters in their names.
//! **Invariant**: every tag that is accepted here can be said in one word, and two different ones
//! are never the same word.

use std::fmt;

use larder::Dependency;
use serde::{Deserialize, Serialize};

/// A label of the application.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    untagged,
    expecting = "a tag is a text, \"front\", or a namespace and a name, [\"artist\", \"90\"]"
)]
pub enum Tag {
    /// One that is in no namespace.
    Plain(String),
    /// A namespace and a name in it: the same name in another one is another tag.
    In(String, String),
}

impl Tag {
    /// The namespace, which is empty for none, and the name.
    pub fn parts(&self) -> (&str, &str) {
        match self {
            Self::Plain(name) => ("", name),
            Self::In(space, name) => (space, name),
        }
    }

    /// The same namespace with another name.
    #[must_use]
    pub fn with_name(&self, name: String) -> Self {
        match self {
            Self::Plain(_) => Self::Plain(name),
            Self::In(space, _) => Self::In(space.clone(), name),
        }
    }

    /// What it is as a dependency.
    pub fn dependency(&self) -> Result<Dependency, String> {
        let (space, name) = self.parts();
        if name.is_empty() {
            return Err("a tag has at least one character".to_owned());
        }
        if matches!(self, Self::In(..)) && (space.is_empty() || space.contains(':')) {
            return Err(format!(
                "`{space}` is no namespace of tags: it has at least one character, and no colon, \
                 because that ends it in a word such as tag/artist:90"
            ));
        }
        Ok(Dependency::tag_in(space, name))
    }
}

/// As one word, in the form that the command line and `GET /v1/dependents` read.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => write!(f, "tag:{name}"),
            Self::In(space, name) => write!(f, "tag/{space}:{name}"),
        }
    }
}
