//! Requests over HTTP. The package names the places, `sandmill::package!(http = ["GET api.example.org:80"])`,
//! and the tenant's policy must permit them; a call to any other place ends the function with an error.

use crate::Error;

/// What came back. Redirects are responses like others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|_| "the body is not UTF-8".into())
    }
}

/// Gets what is at a URL like `http://api.example.org/a?b=c`.
pub fn get(url: &str) -> Result<Response, Error> {
    request("GET", url, &[], &[])
}

/// Makes a request and waits for its response. An error says why there is none.
pub fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response, Error> {
    decode(&call(&encode(method, url, headers, body)))
}

#[cfg(target_arch = "wasm32")]
fn call(request: &[u8]) -> Vec<u8> {
    use crate::abi;
    let mut response = Vec::with_capacity(16 << 10);
    // SAFETY: the ranges are those of buffers that live during the calls; the second one gives the
    // response that the first one had no room for. The host wrote the first `size` bytes.
    unsafe {
        let room = response.capacity();
        let mut size = abi::http(
            request.as_ptr() as i32,
            request.len() as i32,
            response.as_mut_ptr() as i32,
            room as i32,
        ) as usize;
        if size > room {
            response.reserve_exact(size);
            let room = response.capacity() as i32;
            size = abi::http(0, 0, response.as_mut_ptr() as i32, room) as usize;
        }
        response.set_len(size);
    }
    response
}

#[cfg(not(target_arch = "wasm32"))]
fn call(_: &[u8]) -> Vec<u8> {
    b"{\"status\":0,\"headers\":[],\"error\":\"there is no network outside of Sandmill\"}\n"
        .to_vec()
}

fn encode(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = String::from("{\"method\":");
    quote(&mut head, method);
    head.push_str(",\"url\":");
    quote(&mut head, url);
    head.push_str(",\"headers\":[");
    for (n, (name, value)) in headers.iter().enumerate() {
        head.push_str(if n == 0 { "[" } else { ",[" });
        quote(&mut head, name);
        head.push(',');
        quote(&mut head, value);
        head.push(']');
    }
    head.push_str("]}\n");
    let mut all = head.into_bytes();
    all.extend_from_slice(body);
    all
}

fn quote(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if (c as u32) < 0x20 => json.push_str(&format!("\\u{:04x}", c as u32)),
            c => json.push(c),
        }
    }
    json.push('"');
}

fn decode(response: &[u8]) -> Result<Response, Error> {
    let end = response.iter().position(|b| *b == b'\n');
    let end = end.unwrap_or(response.len());
    let head = core::str::from_utf8(&response[..end]).unwrap_or_default();
    let read = Reader(head.chars().peekable()).head();
    let (status, headers, error) = read.ok_or("the host's answer is not understood")?;
    match status {
        0 => Err(error.unwrap_or_default().as_str().into()),
        status => Ok(Response {
            status,
            headers,
            body: response.get(end + 1..).unwrap_or_default().to_vec(),
        }),
    }
}

/// Reads the first line of a response, whose fields come in a fixed order.
struct Reader<'a>(core::iter::Peekable<core::str::Chars<'a>>);

type Head = (u16, Vec<(String, String)>, Option<String>);

impl Reader<'_> {
    fn head(mut self) -> Option<Head> {
        self.expect("{\"status\":")?;
        let mut status = 0u16;
        while let Some(digit) = self.0.peek().and_then(|c| c.to_digit(10)) {
            status = status.checked_mul(10)?.checked_add(digit as u16)?;
            self.0.next();
        }
        self.expect(",\"headers\":[")?;
        let mut headers = Vec::new();
        while self.0.peek() == Some(&'[') || self.0.next()? == ',' {
            self.expect("[")?;
            let name = self.text()?;
            self.expect(",")?;
            headers.push((name, self.text()?));
            self.expect("]")?;
        }
        let error = match self.0.next()? {
            '}' => None,
            _ => {
                self.expect("\"error\":")?;
                Some(self.text()?)
            }
        };
        Some((status, headers, error))
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        text.chars().all(|c| self.0.next() == Some(c)).then_some(())
    }

    fn text(&mut self) -> Option<String> {
        self.expect("\"")?;
        let mut text = String::new();
        loop {
            let c = match self.0.next()? {
                '"' => return Some(text),
                '\\' => match self.0.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code * 16 + self.0.next()?.to_digit(16)?;
                        }
                        // The host escapes control characters only.
                        char::from_u32(code)?
                    }
                    other => other,
                },
                other => other,
            };
            text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_as_the_host_reads_them() {
        let got = encode(
            "POST",
            "http://a/\"\\",
            &[("k", "v"), ("l", "\u{1}")],
            b"b\n",
        );
        let expected = "{\"method\":\"POST\",\"url\":\"http://a/\\\"\\\\\",\
                        \"headers\":[[\"k\",\"v\"],[\"l\",\"\\u0001\"]]}\nb\n";
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }

    #[test]
    fn responses_are_read_as_the_host_writes_them() {
        let two =
            b"{\"status\":200,\"headers\":[[\"a\",\"b\\\"\\\\\\u001f\"],[\"c\",\"\"]]}\nbody\n";
        let response = decode(two).expect("a response");
        assert_eq!(
            (response.status, response.text().expect("text")),
            (200, "body\n")
        );
        assert_eq!(response.header("A"), Some("b\"\\\u{1f}"));
        assert_eq!(response.headers.len(), 2);
        let none = decode(b"{\"status\":404,\"headers\":[]}\n").expect("a response");
        assert_eq!(
            (none.status, none.body.len(), none.header("a")),
            (404, 0, None)
        );
        let error = decode(b"{\"status\":0,\"headers\":[],\"error\":\"no\\nway\"}\n");
        assert_eq!(error.expect_err("none").message(), "no\nway");
        for bad in [
            "",
            "{",
            "{\"status\":",
            "{\"status\":70000,",
            "{\"status\":200,\"headers\":[[\"a",
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(
            get("http://a/")
                .expect_err("native")
                .message()
                .contains("no network")
        );
    }
}
