//! Dependencies in one word, as the command line and the query of a URL write them.
//!
//! Apart from `items.rs`, whose JSON can say everything; this says the common things without
//! quotes. **Invariant**: whatever is read here is an item that could have been written as JSON,
//! and nothing is guessed: a word that fits no form is an error that shows the forms. The way
//! back is `word.rs`.

use serde_json::{Map, Value as Json};

use crate::{items::Items, tag::Tag};

/// The forms, for help and for errors.
pub const FORMS: &str = "tag:NAME, tag/NAMESPACE:NAME, ORIGIN.TABLE, ORIGIN.TABLE/KEY, \
                         ORIGIN.TABLE:COLUMN=VALUE, everything:ORIGIN";

const COMPARISONS: [(&str, &str); 5] =
    [("<=", "lte"), (">=", "gte"), ("<", "lt"), (">", "gt"), ("=", "")];

/// Reads one word as the one item that it stands for.
pub fn parse(word: &str) -> Result<Items, String> {
    let mut items = Items::default();
    if let Some(name) = word.strip_prefix("tag:") {
        items.tags.push(Tag::Plain(name.to_owned()));
        return Ok(items);
    }
    if let Some(rest) = word.strip_prefix("tag/") {
        let parts = rest.split_once(':').ok_or("write tag/NAMESPACE:NAME, or tag:NAME")?;
        items.tags.push(Tag::In(parts.0.to_owned(), parts.1.to_owned()));
        return Ok(items);
    }
    if let Some(name) = word.strip_prefix("everything:") {
        items.everything.push(name.to_owned());
        return Ok(items);
    }
    if word.starts_with('[') {
        let wanted = "as JSON write [\"shop.Artist\", 90] or [\"shop.Album\", {\"ArtistId\": 90}]";
        let parts: Vec<Json> = serde_json::from_str(word).map_err(|_| wanted)?;
        match &*parts {
            [Json::String(table), Json::Object(terms)] if !terms.contains_key("base64") => {
                items.scopes.push((table.clone(), terms.clone()));
            }
            [Json::String(_), _, ..] => items.ids.push(parts),
            _ => return Err(wanted.to_owned()),
        }
        return Ok(items);
    }
    let end = word.find(['/', ':']).unwrap_or(word.len());
    let (table, rest) = word.split_at_checked(end).unwrap_or((word, ""));
    if !table.contains('.') {
        let shown: String = word.chars().take(64).collect();
        return Err(format!("`{shown}` is none of: {FORMS}"));
    }
    match (rest.strip_prefix('/'), rest.strip_prefix(':')) {
        (Some(key), _) => {
            items
                .ids
                .push([table.into()].into_iter().chain(key.split('/').map(unquoted)).collect());
        }
        (_, Some(conditions)) => items.scopes.push((table.to_owned(), terms(conditions)?)),
        (None, None) => items.tables.push(table.to_owned()),
    }
    Ok(items)
}

/// `ArtistId=90,Price<10`; a column that equals several values equals one of them.
fn terms(conditions: &str) -> Result<Map<String, Json>, String> {
    let mut terms = Map::new();
    for condition in conditions.split(',') {
        let found = COMPARISONS.iter().filter_map(|(sign, name)| {
            let (column, value) = condition.split_once(sign)?;
            Some((column, *name, unquoted(value)))
        });
        // Where several signs occur, the one that comes first and, of those, the longest.
        let found = found.min_by_key(|(column, ..)| column.len());
        let (column, comparison, value) = found
            .filter(|(column, ..)| !column.is_empty())
            .ok_or("a condition is COLUMN=VALUE, or has one of <, <=, > and >= in place of =")?;
        let own = terms.entry(column).or_insert(Json::Null);
        let clash = || format!("`{column}` is given twice in ways that do not fit together");
        match (comparison, &mut *own) {
            ("", Json::Array(values)) => values.push(value),
            ("", none @ Json::Null) => *none = Json::Array(vec![value]),
            (name, none @ Json::Null) => {
                *none = Json::Object([(name.into(), value)].into_iter().collect());
            }
            (name, Json::Object(range)) if !name.is_empty() && !range.contains_key(name) => {
                range.insert(name.to_owned(), value);
            }
            _ => return Err(clash()),
        }
    }
    Ok(terms)
}

/// A number, null, or a text in quotes as JSON has it; anything else is text as it stands.
pub(crate) fn unquoted(text: &str) -> Json {
    match text.parse::<Json>() {
        Ok(json @ (Json::Number(_) | Json::String(_) | Json::Null)) => json,
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(word: &str) -> Json {
        let items = parse(word).unwrap_or_else(|error| panic!("{word}: {error}"));
        let Json::Object(kinds) = json!(items) else { panic!("items are an object") };
        let given = kinds.into_iter().find(|(_, items)| *items != json!([]));
        given.map(|(kind, items)| json!([kind, items[0]])).unwrap()
    }

    #[test]
    fn every_kind_of_item_has_its_form() {
        for (word, meant) in [
            ("tag:front", json!(["tags", "front"])),
            ("tag:a.b/c:d", json!(["tags", "a.b/c:d"])),
            ("tag/artist:9/0:1", json!(["tags", ["artist", "9/0:1"]])),
            ("everything:shop", json!(["everything", "shop"])),
            ("shop.Album", json!(["tables", "shop.Album"])),
            ("shop.Artist/90", json!(["ids", ["shop.Artist", 90]])),
            ("shop.Entry/1/x y", json!(["ids", ["shop.Entry", 1, "x y"]])),
            ("shop.Code/\"90\"", json!(["ids", ["shop.Code", "90"]])),
            ("shop.Album:ArtistId=90", json!(["scopes", ["shop.Album", { "ArtistId": [90] }]])),
            ("shop.A:b=1,b=null", json!(["scopes", ["shop.A", { "b": [1, null] }]])),
            (
                "shop.A:price>=5,price<10,c=x=y",
                json!(["scopes", ["shop.A", { "price": { "gte": 5, "lt": 10 }, "c": ["x=y"] }]]),
            ),
            (r#"["shop.A", "a/b"]"#, json!(["ids", ["shop.A", "a/b"]])),
            (r#"["shop.A", {"b": "x,y"}]"#, json!(["scopes", ["shop.A", { "b": "x,y" }]])),
        ] {
            assert_eq!(read(word), meant, "{word}");
        }
    }

    #[test]
    fn what_fits_no_form_is_an_error_that_shows_the_forms() {
        assert!(parse("shop").unwrap_err().contains("everything:ORIGIN"));
        for word in ["", "Album/1", "tag/artist", "[1", "[]", "shop.A:", "shop.A:b", "shop.A:=1"] {
            assert!(parse(word).is_err(), "{word}");
        }
        for word in ["shop.A:b=1,b<2", "shop.A:b<1,b<2"] {
            assert!(parse(word).unwrap_err().contains("given twice"), "{word}");
        }
    }
}
