//! One JSON-RPC message a line, as MCP has it on standard input and output.
//!
//! The SDK has such a transport, too. This one differs where a client would otherwise wait for ever or take the server
//! down: it answers what is no message, it reads a lone surrogate as U+FFFD (clients send what a terminal gave them, and
//! JSON allows its escape), it lets a stray notification before the first request pass, and it tells of the end of the
//! input at once.

use std::io;
use std::sync::Arc;

use rmcp::model::{ErrorCode, ErrorData, JsonRpcMessage};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, watch};

use crate::model::limits::MAX_REQUEST_BYTES;

type Incoming = RxJsonRpcMessage<RoleServer>;

/// Messages on a pair of streams.
pub(super) struct Lines<R, W> {
    reader: BufReader<R>,
    /// What has come of the next line. It stays here when reading is cancelled.
    line: Vec<u8>,
    /// Whether the rest of a line that is too long is passed over.
    skipping: bool,
    /// Whether a request has come.
    begun: bool,
    writer: Arc<Mutex<W>>,
    /// An answer of our own that is not written yet.
    unsent: Option<ErrorData>,
    ended: watch::Sender<bool>,
}

/// What a look at the input has brought.
enum Read {
    Line,
    TooLong,
    End,
}

impl<R: AsyncRead + Unpin, W> Lines<R, W> {
    /// Messages on these streams; `ended` becomes true when the input has ended.
    pub(super) fn new(reader: R, writer: W, ended: watch::Sender<bool>) -> Lines<R, W> {
        Lines {
            reader: BufReader::new(reader),
            line: Vec::new(),
            skipping: false,
            begun: false,
            writer: Arc::new(Mutex::new(writer)),
            unsent: None,
            ended,
        }
    }

    /// Reads up to the end of a line. May be cancelled without losing anything.
    async fn read(&mut self) -> Read {
        loop {
            let (taken, ends) = match self.reader.fill_buf().await {
                Ok([]) | Err(_) => return Read::End,
                Ok(bytes) => {
                    let end = bytes.iter().position(|&byte| byte == b'\n');
                    let taken = end.map_or(bytes.len(), |end| end + 1);
                    if !self.skipping {
                        self.line.extend_from_slice(&bytes[..taken]);
                    }
                    (taken, end.is_some())
                }
            };
            self.reader.consume(taken);
            if self.line.len() > MAX_REQUEST_BYTES {
                self.line = Vec::new();
                self.skipping = !ends;
                return Read::TooLong;
            }
            if ends && !std::mem::replace(&mut self.skipping, false) {
                return Read::Line;
            }
        }
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let writer = self.writer.clone();
        async move { write(&writer, &message).await }
    }

    async fn receive(&mut self) -> Option<Incoming> {
        loop {
            if let Some(error) = self.unsent.clone() {
                let written = write(&self.writer, &TxJsonRpcMessage::<RoleServer>::error(error, None)).await;
                self.unsent = None;
                if written.is_err() {
                    break;
                }
            }
            let outcome = match self.read().await {
                Read::End => break,
                Read::TooLong => Err(refusal(
                    ErrorCode::INVALID_REQUEST,
                    format!("a message may have at most {MAX_REQUEST_BYTES} bytes"),
                )),
                Read::Line => {
                    let outcome = parse(&self.line);
                    self.line.clear();
                    outcome
                }
            };
            match outcome {
                Ok(Some(message)) if self.begun || matches!(message, JsonRpcMessage::Request(_)) => {
                    self.begun = true;
                    return Some(message);
                }
                Ok(_) => {}
                Err(error) => self.unsent = Some(error),
            }
        }
        let _ = self.ended.send(true);
        None
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        Ok(())
    }
}

async fn write<W: AsyncWrite + Unpin>(
    writer: &Mutex<W>,
    message: &TxJsonRpcMessage<RoleServer>,
) -> Result<(), io::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut writer = writer.lock().await;
    writer.write_all(&line).await?;
    writer.flush().await
}

fn refusal(code: ErrorCode, problem: String) -> ErrorData {
    ErrorData::new(code, problem, None)
}

/// The message of a line; none for an empty one, and for a notification that nobody knows.
fn parse(line: &[u8]) -> Result<Option<Incoming>, ErrorData> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let bad = match serde_json::from_slice(line) {
        Ok(message) => return Ok(Some(message)),
        Err(bad) => bad,
    };
    let Ok(mended) = mend(line) else {
        return Err(refusal(ErrorCode::PARSE_ERROR, format!("this is not a line of JSON: {bad}")));
    };
    if let Ok(message) = serde_json::from_value(mended.clone()) {
        return Ok(Some(message));
    }
    let is_notification = mended.get("method").is_some_and(Value::is_string) && mended.get("id").is_none();
    if is_notification {
        return Ok(None);
    }
    Err(refusal(ErrorCode::INVALID_REQUEST, "this is no message of MCP: its method, id or params are not".to_owned()))
}

/// The value of a JSON text in which an escape may be half of a pair.
fn mend(line: &[u8]) -> Result<Value, serde_json::Error> {
    let text = String::from_utf8_lossy(line);
    serde_json::from_str(&text).or_else(|_| serde_json::from_str(&without_lone_surrogates(&text)))
}

/// Replaces the escape of each surrogate that has no other half.
fn without_lone_surrogates(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let (escape, kept) = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, true),
            (Some(_), _) => (6, false),
            // The escaped character may be a backslash, which then begins nothing.
            (None, _) => (1 + rest[1..].chars().next().map_or(0, char::len_utf8), true),
        };
        mended.push_str(if kept { &rest[..escape] } else { "\\ufffd" });
        rest = &rest[escape..];
    }
    mended.push_str(rest);
    mended
}

/// The surrogate whose escape a text begins with.
fn surrogate(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..=0xdfff).contains(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with half of an emoji in it, as a script had cut it, was never answered.
    #[test]
    fn half_a_pair_is_read_as_a_replacement_and_whole_ones_stay() {
        for (text, mended) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\udc00\ud83d\ude00x""#, r#""\ufffd\ud83d\ude00x""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud800 \n \u00e9é""#, r#""\\ud800 \n \u00e9é""#),
            (r#""\uD83Dx\"""#, r#""\ufffdx\"""#),
        ] {
            assert_eq!(without_lone_surrogates(text), mended);
            assert!(serde_json::from_str::<Value>(mended).is_ok(), "{mended}");
        }
        assert_eq!(without_lone_surrogates("\\"), "\\");
    }

    #[test]
    fn what_is_no_message_is_told_from_what_nobody_knows() {
        assert!(parse(b" \r\n").unwrap().is_none());
        assert!(parse(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).unwrap().is_some());
        assert_eq!(parse(b"{nonsense").unwrap_err().code, ErrorCode::PARSE_ERROR);
        assert_eq!(parse(b"[1]").unwrap_err().code, ErrorCode::INVALID_REQUEST);
        assert_eq!(
            parse(br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#).unwrap_err().code,
            ErrorCode::INVALID_REQUEST
        );
    }
}
