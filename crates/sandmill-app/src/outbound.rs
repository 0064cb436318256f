//! Requests over HTTP for functions. A place must stand in the tenant's policy, and every address that
//! its name has must be a public one. The connection goes to an address that was checked: the name is
//! not looked up again. Redirects are not followed, and no proxy is asked.

mod addresses;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, redirect};
use sandmill_model::HttpRule;
use sandmill_sandbox::{Cancellation, HttpFailure, HttpRequest, HttpResponse, HttpSink};
use tokio::runtime::Handle;

pub use addresses::Network;

/// How often a waiting guest's thread looks whether its job was cancelled.
const LOOK: Duration = Duration::from_millis(20);
/// Headers that speak of the connection, which is the host's.
const OURS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The way out. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbound {
    /// Where requests run: never on the guest's thread, which waits.
    runtime: Handle,
    networks: Arc<[Network]>,
}

/// The way out for one job.
struct Granted {
    outbound: Outbound,
    rules: Vec<HttpRule>,
}

impl Outbound {
    /// Must be called on a runtime; requests run there.
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        Self {
            runtime: Handle::current(),
            networks: networks.into(),
        }
    }

    /// What a job gets whose tenant permits these places: nothing, when there are none.
    pub(crate) fn granted(&self, rules: Vec<HttpRule>) -> Option<Arc<dyn HttpSink>> {
        (!rules.is_empty()).then(|| {
            Arc::new(Granted {
                outbound: self.clone(),
                rules,
            }) as Arc<dyn HttpSink>
        })
    }

    /// An address of the host. All of them are checked: a name with a forbidden one is up to something.
    async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, HttpFailure> {
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Vec<_> = found
            .map_err(|e| HttpFailure::Failed(format!("{host} has no address: {e}")))?
            .collect();
        for address in &found {
            if !addresses::is_public(address.ip())
                && !self.networks.iter().any(|n| n.contains(address.ip()))
            {
                return Err(HttpFailure::Refused(format!(
                    "{host} leads to {}, an address that functions never reach",
                    address.ip()
                )));
            }
        }
        let first = found.first().copied();
        first.ok_or_else(|| HttpFailure::Failed(format!("{host} has no address")))
    }

    async fn send(&self, request: HttpRequest, most: usize) -> Result<HttpResponse, HttpFailure> {
        let failed = |e: reqwest::Error| {
            let mut reason = e.to_string();
            let mut source = std::error::Error::source(&e);
            while let Some(inner) = source {
                reason = inner.to_string();
                source = inner.source();
            }
            HttpFailure::Failed(reason)
        };
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| HttpFailure::Failed("the method is not known".into()))?;
        let mut headers = headers(&request.headers)?;
        let name = match request.port {
            80 => request.host.clone(),
            port => format!("{}:{port}", request.host),
        };
        let name = HeaderValue::from_str(&name)
            .map_err(|_| HttpFailure::Failed("the host is no name".into()))?;
        headers.insert(HOST, name);
        let address = self.resolve(&request.host, request.port).await?;
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .build()
            .map_err(failed)?;
        // The address stands in the URL: there is no name left that could be looked up otherwise.
        let mut response = client
            .request(method, format!("http://{address}{}", request.path))
            .headers(headers)
            .body(request.body)
            .send()
            .await
            .map_err(failed)?;
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        };
        let headers: Vec<_> = response.headers().iter().map(text).collect();
        let mut size: usize = headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        let (status, mut body) = (response.status().as_u16(), Vec::new());
        while let Some(part) = response.chunk().await.map_err(failed)? {
            size += part.len();
            if size > most {
                return Err(HttpFailure::Failed(format!(
                    "the response has more than {most} bytes"
                )));
            }
            body.extend_from_slice(&part);
        }
        Ok(HttpResponse {
            status,
            headers,
            body,
        })
    }
}

/// The guest's headers, none of which may change how the request is framed or whom it is for.
fn headers(given: &[(String, String)]) -> Result<HeaderMap, HttpFailure> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let wrong =
            || HttpFailure::Failed(format!("the header {} is not valid", name.escape_debug()));
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if OURS.contains(&known.as_str()) {
            return Err(HttpFailure::Failed(format!(
                "the header {known} is the host's to set"
            )));
        }
        headers.append(known, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}

impl HttpSink for Granted {
    fn send(
        &self,
        request: HttpRequest,
        deadline: Instant,
        cancellation: &Cancellation,
        most: usize,
    ) -> Result<HttpResponse, HttpFailure> {
        let HttpRequest {
            method, host, port, ..
        } = &request;
        if !self.rules.iter().any(|r| r.permits(method, host, *port)) {
            return Err(HttpFailure::Refused(format!(
                "the policy does not permit {method} at {host}:{port}"
            )));
        }
        if request.tls {
            return Err(HttpFailure::Refused(
                "this installation does not speak TLS: only http:// is on offer".into(),
            ));
        }
        let (done, answer) = sync_channel(1);
        let outbound = self.outbound.clone();
        let task = self.outbound.runtime.spawn(async move {
            // Nobody listens when the guest was stopped.
            let _ = done.send(outbound.send(request, most).await);
        });
        let result = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || cancellation.is_cancelled() {
                break Err(HttpFailure::Failed("there was no response in time".into()));
            }
            match answer.recv_timeout(left.min(LOOK)) {
                Ok(result) => break result,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(HttpFailure::Failed("the server is stopping".into()));
                }
            }
        };
        task.abort();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_are_refused() {
        let one = |name: &str, value: &str| headers(&[(name.into(), value.into())]);
        assert_eq!(one("Accept", "text/plain").expect("fine").len(), 1);
        for (name, value) in [
            ("Host", "a"),
            ("content-length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("a b", "c"),
            ("a", "b\r\nc: d"),
            ("", "a"),
        ] {
            assert!(one(name, value).is_err(), "{name}: {value}");
        }
    }
}
