//! What goes wrong, as `application/problem+json` (RFC 9457) with a code that stays.
//!
//! **Invariant**: a code never changes its meaning or its status, and no detail shows the content
//! of a row, a secret, or the text of the database's own error.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::body::Reply;

/// The stable names of everything that can be refused or fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its own name; the table below gives status and title")]
pub enum Code {
    MissingParameter,
    UnknownParameter,
    RepeatedParameter,
    IllTypedParameter,
    MalformedRequest,
    MalformedPosition,
    UnknownTable,
    UnknownItem,
    Unauthorized,
    Forbidden,
    ForeignOrigin,
    UnknownResource,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    ParameterTooLong,
    UnsupportedMediaType,
    WrongHost,
    LoadFailed,
    ResultTooLarge,
    OriginUnavailable,
    Overloaded,
    PositionNotReached,
    ShuttingDown,
    LoadTimeout,
}

impl Code {
    /// The code as clients see it, its status, and its title.
    pub fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MissingParameter => {
                ("missing-parameter", S::BAD_REQUEST, "a parameter is missing")
            }
            Self::UnknownParameter => {
                ("unknown-parameter", S::BAD_REQUEST, "the resource has no such parameter")
            }
            Self::RepeatedParameter => {
                ("repeated-parameter", S::BAD_REQUEST, "a parameter is given twice")
            }
            Self::IllTypedParameter => {
                ("ill-typed-parameter", S::BAD_REQUEST, "a parameter is not of its type")
            }
            Self::MalformedRequest => {
                ("malformed-request", S::BAD_REQUEST, "the request cannot be read")
            }
            Self::MalformedPosition => {
                ("malformed-position", S::BAD_REQUEST, "the position token is not valid here")
            }
            Self::UnknownTable => ("unknown-table", S::BAD_REQUEST, "there is no such table"),
            Self::UnknownItem => {
                ("unknown-item", S::BAD_REQUEST, "an item cannot be brought to its table's types")
            }
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "a token is needed"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "the token does not cover this"),
            Self::ForeignOrigin => {
                ("foreign-origin", S::FORBIDDEN, "pages of other sites may not change anything")
            }
            Self::UnknownResource => {
                ("unknown-resource", S::NOT_FOUND, "there is no such resource")
            }
            Self::NotFound => ("not-found", S::NOT_FOUND, "there is nothing at this path"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "the path has other methods")
            }
            Self::BodyTooLarge => {
                ("body-too-large", S::PAYLOAD_TOO_LARGE, "the body is over its limit")
            }
            Self::ParameterTooLong => {
                ("parameter-too-long", S::URI_TOO_LONG, "a parameter is over its limit")
            }
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "send application/json")
            }
            Self::WrongHost => {
                ("wrong-host", S::MISDIRECTED_REQUEST, "this server does not go by that name")
            }
            Self::LoadFailed => {
                ("load-failed", S::INTERNAL_SERVER_ERROR, "the origin refused the statement")
            }
            Self::ResultTooLarge => {
                ("result-too-large", S::BAD_GATEWAY, "the result is over the resource's limit")
            }
            Self::OriginUnavailable => {
                ("origin-unavailable", S::SERVICE_UNAVAILABLE, "the origin cannot be asked now")
            }
            Self::Overloaded => {
                ("overloaded", S::SERVICE_UNAVAILABLE, "too much is going on, come back later")
            }
            Self::PositionNotReached => (
                "position-not-reached",
                S::SERVICE_UNAVAILABLE,
                "this node does not know that position yet",
            ),
            Self::ShuttingDown => {
                ("shutting-down", S::SERVICE_UNAVAILABLE, "the server is about to stop")
            }
            Self::LoadTimeout => {
                ("load-timeout", S::GATEWAY_TIMEOUT, "the origin took longer than allowed")
            }
        }
    }
}

/// An answer that says no.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(&'static str, HeaderValue)>,
}

impl Problem {
    /// A problem, with what to do about it.
    #[cold]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// Adds a member that a program can read.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.push(("retry-after", HeaderValue::from(seconds)));
        self
    }

    /// The stable name.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.code.parts().1
    }

    /// The response.
    pub fn into_response(self) -> Response<Reply> {
        let (code, status, title) = self.code.parts();
        let mut body = json!({
            "type": format!("urn:larder:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.members);
        }
        let mut response = Response::new(Reply::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in self.headers {
            headers.insert(HeaderName::from_static(name), value);
        }
        response
    }
}

impl From<Problem> for Response<Reply> {
    fn from(problem: Problem) -> Self {
        problem.into_response()
    }
}
