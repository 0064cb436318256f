//! Outbound HTTP: reads a guest's request, asks whether its manifest names the place, and leaves the
//! network to an [`HttpSink`]. This crate itself opens no connection.

use std::sync::atomic::Ordering;
use std::time::Instant;

use sandmill_abi::{IMPORT_MODULE, limits};
use serde::{Deserialize, Serialize};
use wasmtime::{Caller, Linker};

use crate::context::Cancellation;
use crate::error::clean;
use crate::host::{State, Stop, bytes, write};
use crate::manifest::HttpPlace;

/// Bytes of a path with its query.
const PATH_BYTES: usize = 8 * 1024;

/// A request whose place the manifest names. Headers are what the guest wrote: the sink checks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method in upper case.
    pub method: String,
    /// Whether the connection is to be encrypted.
    pub tls: bool,
    /// Name of the host in lower case: letters, digits, `-` and `.` only. It may be an IPv4 address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query in visible ASCII, from the first `/`.
    pub path: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body, at most 1 MiB.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFailure {
    /// It is not permitted; this ends the function's call.
    Refused(String),
    /// The network failed, or the request makes no sense; the guest is told.
    Failed(String),
}

/// Makes requests for guests, if the tenant's policy permits. Called on the guest's thread.
pub trait HttpSink: Send + Sync {
    /// Makes one request. Must come back soon after `deadline` and after the cancellation, and read no
    /// more than `most` bytes of headers and body.
    ///
    /// # Errors
    /// `Refused` when policy forbids it, `Failed` for everything else.
    fn send(
        &self,
        request: HttpRequest,
        deadline: Instant,
        cancellation: &Cancellation,
        most: usize,
    ) -> Result<HttpResponse, HttpFailure>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestHead {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

#[derive(Serialize)]
struct ResponseHead<'a> {
    status: u16,
    headers: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(IMPORT_MODULE, "http", http)?;
    Ok(())
}

fn http(
    mut caller: Caller<'_, State>,
    request: i32,
    request_len: i32,
    response: i32,
    room: i32,
) -> wasmtime::Result<i32> {
    caller.data().check()?;
    if request_len != 0 {
        let given = bytes(&caller, request, request_len)?;
        let answer = match read(given) {
            // Copied out above; the guest's memory is not borrowed while the network is awaited.
            Ok(request) => caller.data().send(request)?,
            Err(error) => Err(error),
        };
        // The network may have taken until the deadline.
        caller.data().check()?;
        caller.data_mut().response = encode(answer);
    }
    let waiting = std::mem::take(&mut caller.data_mut().response);
    let size = i32::try_from(waiting.len()).unwrap_or(i32::MAX);
    if waiting.len() <= room.cast_unsigned() as usize {
        write(&mut caller, response, &waiting)?;
    } else {
        caller.data_mut().response = waiting;
    }
    Ok(size)
}

impl State {
    fn send(&self, request: HttpRequest) -> Result<Result<HttpResponse, String>, Stop> {
        let refuse = |why: String| Err(Stop::Capability(why));
        let HttpRequest {
            method, host, port, ..
        } = &request;
        let names = |place: &&HttpPlace| place.host == *host && place.port == *port;
        if !self
            .http
            .iter()
            .filter(names)
            .any(|place| place.methods.contains(method))
        {
            return refuse(format!(
                "its manifest does not name {method} at {host}:{port}"
            ));
        }
        let Some(sink) = &self.context.http else {
            return refuse(format!(
                "{method} at {host}:{port} is not permitted: functions have no network here"
            ));
        };
        let before = self.context.http_requests.fetch_add(1, Ordering::Relaxed);
        if before >= limits::HTTP_REQUESTS {
            return refuse(format!(
                "the job made its {} requests over HTTP already",
                limits::HTTP_REQUESTS
            ));
        }
        let deadline = self
            .context
            .deadline
            .map_or(self.call_end, |end| end.min(self.call_end));
        let most = limits::HTTP_RESPONSE_BYTES;
        match sink.send(request, deadline, &self.context.cancellation, most) {
            Ok(response) => Ok(Ok(response)),
            Err(HttpFailure::Failed(why)) => Ok(Err(why)),
            Err(HttpFailure::Refused(why)) => refuse(why),
        }
    }
}

/// A guest's request.
fn read(given: &[u8]) -> Result<HttpRequest, String> {
    if given.len() > limits::HTTP_REQUEST_BYTES {
        let most = limits::HTTP_REQUEST_BYTES;
        return Err(format!("the request has more than {most} bytes"));
    }
    let end = given.iter().position(|b| *b == b'\n');
    let (head, body) = match end {
        Some(end) => (&given[..end], &given[end + 1..]),
        None => (given, &[][..]),
    };
    let head: RequestHead = serde_json::from_slice(head).map_err(|e| {
        let why = clean(e.to_string().as_bytes(), 500);
        format!("the first line of the request is not valid: {why}")
    })?;
    if head.headers.len() > limits::HTTP_HEADERS {
        return Err(format!("more than {} headers", limits::HTTP_HEADERS));
    }
    if head.method.is_empty() || !head.method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err("the method must be in upper case".into());
    }
    let place = place(&head.url).ok_or("the URL must be like http://host:port/path?query")?;
    let (tls, host, port, path) = place;
    Ok(HttpRequest {
        method: head.method,
        tls,
        host,
        port,
        path,
        headers: head.headers,
        body: body.to_vec(),
    })
}

/// The parts of a URL. Strict, so that no two readers can disagree about the host.
fn place(url: &str) -> Option<(bool, String, u16, String)> {
    let (tls, rest) = match url.strip_prefix("http://") {
        Some(rest) => (false, rest),
        None => (true, url.strip_prefix("https://")?),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, port.parse().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
        None => (authority, if tls { 443 } else { 80 }),
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let visible = |b: u8| b.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&b);
    if !(1..=253).contains(&host.len())
        || !host.bytes().all(legal)
        || path.len() > PATH_BYTES
        || !path.bytes().all(visible)
    {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((
        tls,
        host.to_ascii_lowercase(),
        port,
        format!("{slash}{path}"),
    ))
}

fn encode(answer: Result<HttpResponse, String>) -> Vec<u8> {
    let (response, error) = match answer {
        Ok(response) => (response, None),
        Err(why) => (HttpResponse::default(), Some(why)),
    };
    let head = ResponseHead {
        status: response.status,
        headers: &response.headers,
        error: error.as_deref(),
    };
    // Numbers and texts always serialise.
    let mut all = serde_json::to_vec(&head).unwrap_or_default();
    all.push(b'\n');
    all.extend_from_slice(&response.body);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_strictly() {
        let text = |url: &str| {
            place(url).map(|(tls, host, port, path)| format!("{tls} {host} {port} {path}"))
        };
        for (url, expected) in [
            ("http://Api.Example.org", "false api.example.org 80 /"),
            ("https://a?b=c", "true a 443 /?b=c"),
            ("http://a:8080/x%20y", "false a 8080 /x%20y"),
            ("http://a/@b:c", "false a 80 /@b:c"),
        ] {
            assert_eq!(text(url).as_deref(), Some(expected), "{url}");
        }
        for bad in [
            "",
            "a",
            "ftp://a",
            "http://",
            "http://:80/",
            "http://u@a/",
            "http://a:b@c/",
            "http://a:0/",
            "http://a:99999/",
            "http://a:/",
            "http://[::1]/",
            "http://a\\b/",
            "http://a/b c",
            "http://a/\r\nx: y",
            "http://a#b",
            "http://a/#b",
            "http://ü/",
            "http://a%2eb/",
            "HTTP://a",
            "http://a:+80/",
        ] {
            assert_eq!(text(bad), None, "{bad}");
        }
    }
}
