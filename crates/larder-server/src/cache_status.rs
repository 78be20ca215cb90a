//! How an answer came about, in the words of `Cache-Status` (RFC 9211).
//!
//! **Invariant**: an answer that is not promised to be fresh says so here.

use std::time::Duration;

use http::HeaderValue;
use larder::{Kept, Source};

/// The header for an answer; `past_ttl` is how long its TTL has been over.
#[inline]
pub fn header(
    source: Source,
    kept: Kept,
    ttl_left: Option<Duration>,
    past_ttl: Duration,
) -> HeaderValue {
    match (source, ttl_left) {
        (Source::Hit, None) => HeaderValue::from_static("larder; hit"),
        (Source::Hit, Some(left)) => hit(left.as_secs()),
        (Source::Store, _) => HeaderValue::from_static("larder; hit; detail=store"),
        (Source::Loaded, _) if kept == Kept::Not => HeaderValue::from_static("larder; fwd=miss"),
        (Source::Loaded, _) => HeaderValue::from_static("larder; fwd=miss; stored"),
        (Source::Joined, _) => HeaderValue::from_static("larder; fwd=miss; collapsed"),
        (Source::SecondFlight, _) => {
            HeaderValue::from_static("larder; fwd=miss; collapsed; detail=second-flight")
        }
        (Source::StaleWhileRevalidate, _) => {
            let ttl = over(past_ttl);
            stale(format!("larder; hit; ttl={ttl}; detail=stale-while-revalidate"))
        }
        (Source::StaleOnError, _) => {
            let ttl = over(past_ttl);
            stale(format!("larder; fwd=stale; ttl={ttl}; detail=stale-if-error"))
        }
        (Source::Unproven, _) => HeaderValue::from_static("larder; fwd=miss; detail=unproven"),
        (Source::BuiltOnStale, _) => {
            HeaderValue::from_static("larder; fwd=miss; detail=built-on-stale")
        }
        _ => HeaderValue::from_static("larder; fwd=miss"),
    }
}

/// `larder; hit; ttl=N` with one allocation and no formatting machinery.
#[inline]
fn hit(seconds: u64) -> HeaderValue {
    const START: &[u8] = b"larder; hit; ttl=";
    let mut digits = [0_u8; 20];
    let mut rest = seconds;
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    let mut text = Vec::with_capacity(START.len() + digits.len());
    text.extend_from_slice(START);
    text.extend_from_slice(digits.get(first..).unwrap_or_default());
    HeaderValue::from_maybe_shared(hyper::body::Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static("larder; hit"))
}

/// The seconds that are left, which are none: `0`, or as many below as it is past its TTL.
fn over(past_ttl: Duration) -> i128 {
    -i128::from(past_ttl.as_secs())
}

fn stale(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("larder; fwd=stale"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_its_words() {
        let text = |source, ttl: Option<u64>| {
            let left = ttl.map(Duration::from_secs);
            header(source, Kept::InMemory, left, Duration::from_secs(7))
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(text(Source::Hit, Some(3599)), "larder; hit; ttl=3599");
        assert_eq!(text(Source::Hit, Some(0)), "larder; hit; ttl=0");
        let longest = format!("larder; hit; ttl={}", u64::MAX);
        assert_eq!(text(Source::Hit, Some(u64::MAX)), longest);
        assert_eq!(text(Source::Hit, None), "larder; hit");
        assert_eq!(text(Source::Loaded, Some(1)), "larder; fwd=miss; stored");
        assert_eq!(text(Source::Joined, None), "larder; fwd=miss; collapsed");
        let dropped = header(Source::Loaded, Kept::Not, None, Duration::ZERO);
        assert_eq!(dropped, "larder; fwd=miss");
        let built = "larder; fwd=miss; detail=built-on-stale";
        assert_eq!(text(Source::BuiltOnStale, Some(1)), built);
        let just = header(Source::StaleWhileRevalidate, Kept::InMemory, None, Duration::ZERO);
        assert_eq!(just, "larder; hit; ttl=0; detail=stale-while-revalidate");
        let on_error = "larder; fwd=stale; ttl=-7; detail=stale-if-error";
        assert_eq!(text(Source::StaleOnError, None), on_error);
    }
}
