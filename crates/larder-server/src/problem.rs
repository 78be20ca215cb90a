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
    MalformedFence,
    UnknownTable,
    UnknownItem,
    Unauthorized,
    Forbidden,
    ForeignOrigin,
    UnknownResource,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    ParameterTooLong,
    UriTooLong,
    HeadTooLarge,
    TooManyEntries,
    NoStore,
    NoEntry,
    NoBackup,
    BackupUnusable,
    BatchTooLarge,
    AnswerTooLarge,
    Overtaken,
    EntryTooLarge,
    NotANumber,
    PreconditionFailed,
    StoreFull,
    StoreCorrupt,
    StoreUnavailable,
    UnsupportedMediaType,
    WrongHost,
    LoadFailed,
    ResultTooLarge,
    OriginUnavailable,
    Overloaded,
    PositionNotReached,
    ShuttingDown,
    LoadTimeout,
    NoTable,
    NoIndex,
    MalformedCursor,
    OutsideWindow,
    WindowSlides,
    TableIsReplica,
    TableFull,
    TableNotLoaded,
}

impl Code {
    /// The code as clients see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingParameter => "missing-parameter",
            Self::UnknownParameter => "unknown-parameter",
            Self::RepeatedParameter => "repeated-parameter",
            Self::IllTypedParameter => "ill-typed-parameter",
            Self::MalformedRequest => "malformed-request",
            Self::MalformedPosition => "malformed-position",
            Self::MalformedFence => "malformed-fence",
            Self::UnknownTable => "unknown-table",
            Self::UnknownItem => "unknown-item",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::ForeignOrigin => "foreign-origin",
            Self::UnknownResource => "unknown-resource",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::RequestTimeout => "request-timeout",
            Self::BodyTooLarge => "body-too-large",
            Self::ParameterTooLong => "parameter-too-long",
            Self::UriTooLong => "uri-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyEntries => "too-many-entries",
            Self::NoStore => "no-store",
            Self::NoEntry => "no-entry",
            Self::NoBackup => "no-backup",
            Self::BackupUnusable => "backup-unusable",
            Self::BatchTooLarge => "batch-too-large",
            Self::AnswerTooLarge => "answer-too-large",
            Self::Overtaken => "overtaken",
            Self::EntryTooLarge => "entry-too-large",
            Self::NotANumber => "not-a-number",
            Self::PreconditionFailed => "precondition-failed",
            Self::StoreFull => "store-full",
            Self::StoreCorrupt => "store-corrupt",
            Self::StoreUnavailable => "store-unavailable",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::WrongHost => "wrong-host",
            Self::LoadFailed => "load-failed",
            Self::ResultTooLarge => "result-too-large",
            Self::OriginUnavailable => "origin-unavailable",
            Self::Overloaded => "overloaded",
            Self::PositionNotReached => "position-not-reached",
            Self::ShuttingDown => "shutting-down",
            Self::LoadTimeout => "load-timeout",
            Self::NoTable => "no-table",
            Self::NoIndex => "no-index",
            Self::MalformedCursor => "malformed-cursor",
            Self::OutsideWindow => "outside-window",
            Self::WindowSlides => "window-slides",
            Self::TableIsReplica => "table-is-replica",
            Self::TableFull => "table-full",
            Self::TableNotLoaded => "table-not-loaded",
        }
    }

    /// The status of a response with it.
    pub fn status(self) -> StatusCode {
        use StatusCode as S;
        match self {
            Self::MissingParameter
            | Self::UnknownParameter
            | Self::RepeatedParameter
            | Self::IllTypedParameter
            | Self::MalformedRequest
            | Self::MalformedPosition
            | Self::MalformedFence
            | Self::MalformedCursor
            | Self::NoIndex
            | Self::UnknownTable
            | Self::UnknownItem => S::BAD_REQUEST,
            Self::Unauthorized => S::UNAUTHORIZED,
            Self::Forbidden | Self::ForeignOrigin => S::FORBIDDEN,
            Self::UnknownResource
            | Self::NotFound
            | Self::NoTable
            | Self::NoStore
            | Self::NoEntry
            | Self::NoBackup => S::NOT_FOUND,
            Self::MethodNotAllowed => S::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => S::REQUEST_TIMEOUT,
            Self::BodyTooLarge
            | Self::EntryTooLarge
            | Self::BatchTooLarge
            | Self::AnswerTooLarge => S::PAYLOAD_TOO_LARGE,
            Self::ParameterTooLong | Self::UriTooLong => S::URI_TOO_LONG,
            Self::HeadTooLarge => S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooManyEntries
            | Self::NotANumber
            | Self::Overtaken
            | Self::OutsideWindow
            | Self::WindowSlides
            | Self::TableIsReplica
            | Self::BackupUnusable => S::CONFLICT,
            Self::UnsupportedMediaType => S::UNSUPPORTED_MEDIA_TYPE,
            Self::WrongHost => S::MISDIRECTED_REQUEST,
            Self::PreconditionFailed => S::PRECONDITION_FAILED,
            Self::StoreFull | Self::TableFull => S::INSUFFICIENT_STORAGE,
            Self::LoadFailed | Self::StoreCorrupt => S::INTERNAL_SERVER_ERROR,
            Self::ResultTooLarge => S::BAD_GATEWAY,
            Self::OriginUnavailable
            | Self::Overloaded
            | Self::StoreUnavailable
            | Self::PositionNotReached
            | Self::TableNotLoaded
            | Self::ShuttingDown => S::SERVICE_UNAVAILABLE,
            Self::LoadTimeout => S::GATEWAY_TIMEOUT,
        }
    }

    /// What it means, in the same words every time.
    pub fn title(self) -> &'static str {
        match self {
            Self::MissingParameter => "a parameter is missing",
            Self::UnknownParameter => "the resource has no such parameter",
            Self::RepeatedParameter => "a parameter is given twice",
            Self::IllTypedParameter => "a parameter is not of its type",
            Self::MalformedRequest => "the request cannot be read",
            Self::MalformedPosition => "the position token is not valid here",
            Self::MalformedFence => "what was begun is not valid here",
            Self::UnknownTable => "there is no such table",
            Self::UnknownItem => "an item cannot be brought to its table's types",
            Self::Unauthorized => "a token is needed",
            Self::Forbidden => "the token does not cover this",
            Self::ForeignOrigin => "pages of other sites may not change anything",
            Self::UnknownResource => "there is no such resource",
            Self::NotFound => "there is nothing at this path",
            Self::MethodNotAllowed => "the path has other methods",
            Self::RequestTimeout => "the request did not arrive in time",
            Self::BodyTooLarge => "the body is over its limit",
            Self::ParameterTooLong => "a parameter is over its limit",
            Self::UriTooLong => "the target of the request is over its limit",
            Self::HeadTooLarge => "the head of the request is over its limit",
            Self::TooManyEntries => "more entries would fall than may",
            Self::NoStore => "there is no store",
            Self::NoEntry => "there is no such entry",
            Self::NoBackup => "there is no such backup",
            Self::BackupUnusable => "the backup cannot be used",
            Self::BatchTooLarge => "the batch has too many items",
            Self::AnswerTooLarge => "the values are too large to answer together",
            Self::Overtaken => "the entry was removed since it was begun",
            Self::EntryTooLarge => "the entry is over a limit",
            Self::NotANumber => "what is there is not a whole number",
            Self::PreconditionFailed => "a condition of the request does not hold",
            Self::StoreFull => "the store is full",
            Self::StoreCorrupt => "the store is damaged",
            Self::StoreUnavailable => "the store cannot be asked now",
            Self::UnsupportedMediaType => "send application/json",
            Self::WrongHost => "this server does not go by that name",
            Self::LoadFailed => "the origin refused the statement",
            Self::ResultTooLarge => "the result is over the resource's limit",
            Self::OriginUnavailable => "the origin cannot be asked now",
            Self::Overloaded => "too much is going on, come back later",
            Self::PositionNotReached => "this node does not know that position yet",
            Self::ShuttingDown => "the server is about to stop",
            Self::LoadTimeout => "the origin took longer than allowed",
            Self::NoTable => "there is no such table here",
            Self::NoIndex => "the table has no such index",
            Self::MalformedCursor => "the cursor is not one of this index and order",
            Self::OutsideWindow => "the window of the table does not cover what was asked",
            Self::WindowSlides => "the window moves by itself",
            Self::TableIsReplica => "the table is changed by its owner only",
            Self::TableFull => "the records are over the table's limit",
            Self::TableNotLoaded => "the table is not loaded yet",
        }
    }
}

/// What is wrong with each of the items of a problem, as `key: detail`.
pub fn items(named: Option<&Value>) -> Vec<String> {
    let said = |item: &Value| {
        let text = |at| item.pointer(at).and_then(Value::as_str).unwrap_or_default();
        format!("{}: {}", text("/key"), text("/error/detail"))
    };
    named.and_then(Value::as_array).into_iter().flatten().map(said).collect()
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

    /// What to do about it, in words.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What is wrong with each of the items that it names, as `key: detail`.
    pub fn items(&self) -> Vec<String> {
        items(self.members.get("items"))
    }

    /// The stable name.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The whole answer as it goes over the wire, for where no request could be read. It is the
    /// last one of its connection.
    pub fn into_bytes(self) -> Vec<u8> {
        let (body, status) = (self.document(), self.status());
        let mut head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n\
             cache-control: no-store\r\nx-content-type-options: nosniff\r\n\
             content-length: {}\r\nconnection: close\r\n",
            body.len()
        )
        .into_bytes();
        for (name, value) in self.headers {
            head.extend([name.as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        [&*head, b"\r\n", body.as_bytes()].concat()
    }

    /// What is wrong with one of many, as an object.
    pub fn as_object(&self) -> Value {
        let (code, title) = (self.code.name(), self.code.title());
        json!({ "code": code, "title": title, "detail": self.detail })
    }

    /// The body.
    fn document(&self) -> String {
        let (code, status, title) = (self.code.name(), self.code.status(), self.code.title());
        let mut body = json!({
            "type": format!("urn:larder:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.members.clone());
        }
        body.to_string()
    }

    /// The response.
    pub fn into_response(self) -> Response<Reply> {
        let mut response = Response::new(Reply::from(self.document()));
        *response.status_mut() = self.status();
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
