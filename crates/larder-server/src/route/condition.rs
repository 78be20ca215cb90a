//! `If-None-Match`: whether the client has the answer already (RFC 9110, 13.1.2).
//!
//! Apart from `resource.rs`, because the grammar has corners: several lines are one list, a tag may
//! hold a comma, and `*` stands alone or not at all. **Invariant**: a condition that cannot be read
//! is answered in full, never with 304.

use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};

/// Whether `If-None-Match` names `etag`, by weak comparison.
#[inline]
pub(super) fn has_current(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let mut lines = headers.get_all(IF_NONE_MATCH).iter();
    let Some(first) = lines.next() else { return false };
    // What nearly every client sends: the one tag, as it got it.
    if first == etag {
        return true;
    }
    let etag = etag.as_bytes();
    match lines.next() {
        None => first.as_bytes().trim_ascii() == b"*" || lists(first.as_bytes(), etag),
        Some(second) => {
            let mut all = [first, second].into_iter().chain(lines);
            all.any(|line| lists(line.as_bytes(), etag))
        }
    }
}

/// Whether one line holds the strong tag `etag`, marked as weak or not.
fn lists(mut line: &[u8], etag: &[u8]) -> bool {
    loop {
        line = line.trim_ascii_start();
        if let Some(rest) = line.strip_prefix(b",") {
            // The grammar of lists has recipients accept empty elements.
            line = rest;
            continue;
        }
        let Some((tag, rest)) = first_tag(line) else { return false };
        if tag == etag {
            return true;
        }
        line = rest.trim_ascii_start();
        if !line.is_empty() && !line.starts_with(b",") {
            return false;
        }
    }
}

/// The entity tag at the start of `line`, with its quotes and without its mark, and what follows.
fn first_tag(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let quoted = line.strip_prefix(b"W/").unwrap_or(line);
    let inner = quoted.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')?;
    quoted.split_at_checked(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(lines: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_NONE_MATCH, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        has_current(&headers, &HeaderValue::from_static("\"abc\""))
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list_weak_or_not() {
        for line in [
            "\"abc\"",
            "W/\"abc\"",
            "\"x\", W/\"abc\"",
            "\"x\",\"abc\",\"y\"",
            " , ,\"x\" ,\t\"abc\"",
            "\"a,b\", \"abc\"",
            "\"\u{e9}\", \"abc\"",
            "*",
            " * ",
        ] {
            assert!(matches(&[line]), "{line}");
        }
        for line in ["\"abcd\"", "abc", "", "\"x\", \"y\"", "W/W/\"abc\"", "w/\"abc\"", "\"abc"] {
            assert!(!matches(&[line]), "{line}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        assert!(matches(&["\"x\"", "\"abc\""]));
        assert!(matches(&["\"x\"", "\"y\", W/\"abc\"", "\"z\""]));
        assert!(!matches(&["\"x\"", "\"y\""]));
        assert!(!matches(&[]));
    }

    #[test]
    fn a_star_stands_alone() {
        assert!(!matches(&["\"x\", *"]));
        assert!(!matches(&["*", "\"x\""]));
        assert!(!matches(&["\"*\""]));
    }

    #[test]
    fn a_tag_that_holds_ours_within_is_another_one() {
        assert!(!matches(&["\"x,\"abc\""]));
        assert!(!matches(&["\"x\" \"abc\""]));
    }
}
