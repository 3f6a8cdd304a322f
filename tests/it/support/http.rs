//! One HTTP request a connection, in the clear, with every header of the answer visible.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends one request to `endpoint` (`http://HOST:PORT`) and reads its answer to the end.
/// `headers` must hold `host`; the length of the body is added.
pub fn exchange(
    endpoint: &str,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> std::io::Result<Answer> {
    // HTTP/1.0, so that no answer comes in chunks.
    let mut request = format!("{method} {target} HTTP/1.0\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n", body.len());
    let mut socket = TcpStream::connect(host_of(endpoint))?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    socket.write_all(request.as_bytes())?;
    socket.write_all(body)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    parse(&answer)
}

/// `HOST:PORT` of an endpoint.
pub fn host_of(endpoint: &str) -> &str {
    let rest = endpoint.trim_start_matches("http://");
    rest.split('/').next().unwrap_or(rest)
}

fn parse(answer: &[u8]) -> std::io::Result<Answer> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(split) = split else {
        return Err(std::io::Error::other("the answer has no end of headers"));
    };
    let head = String::from_utf8_lossy(&answer[..split]);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let body = String::from_utf8_lossy(&answer[split + 4..]).into_owned();
    Ok(Answer { status: status.unwrap_or(0), headers, body })
}
