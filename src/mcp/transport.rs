//! One JSON-RPC message a line, as MCP has it on standard input and output.
//!
//! The SDK has such a transport, too. This one differs where a client would otherwise wait for ever or take the server
//! down: it answers what is no message, it reads a lone surrogate as U+FFFD (clients send what a terminal gave them, and
//! JSON allows its escape), it lets a stray notification before the first request pass, it tells of the end of the input
//! at once, and it says which answers have been written.

use std::io;
use std::sync::Arc;

use rmcp::model::{ErrorCode, ErrorData, JsonRpcMessage, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answers::Answers;
use crate::model::limits::{LAST_WORDS, MAX_REQUEST_BYTES, MAX_UNREAD_REFUSALS};

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
    /// Our own answers that are being written.
    refusals: JoinSet<()>,
    answers: Answers,
    ended: watch::Sender<bool>,
}

/// What a look at the input has brought.
enum Read {
    Line,
    TooLong,
    End,
}

impl<R: AsyncRead + Unpin, W> Lines<R, W> {
    /// Messages on these streams; `ended` becomes true when the input has ended, and whoever makes it true ends it.
    pub(super) fn new(reader: R, writer: W, answers: Answers, ended: watch::Sender<bool>) -> Lines<R, W> {
        Lines {
            reader: BufReader::new(reader),
            line: Vec::new(),
            skipping: false,
            begun: false,
            writer: Arc::new(Mutex::new(writer)),
            refusals: JoinSet::new(),
            answers,
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

impl<R, W: AsyncWrite + Send + Unpin + 'static> Lines<R, W> {
    /// Refuses something, beside what is read: the end of the input is behind it, and the client may not read.
    fn refuse(&mut self, refusal: Refusal) {
        while self.refusals.try_join_next().is_some() {}
        if self.refusals.len() < MAX_UNREAD_REFUSALS {
            let writer = self.writer.clone();
            self.refusals.spawn(async move {
                // Who has gone need not be told.
                let _ = write(&writer, &refusal.message()).await;
            });
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
        let asking = self.answers.asking(&message);
        async move {
            write(&writer, &message).await?;
            if let Some(asking) = asking {
                // Whoever has asked may have gone.
                let _ = asking.send(());
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<Incoming> {
        let mut asked_to_end = self.ended.subscribe();
        loop {
            let read = tokio::select! {
                biased;
                () = async { let _ = asked_to_end.wait_for(|ended| *ended).await; } => Read::End,
                read = self.read() => read,
            };
            let outcome = match read {
                Read::End => break,
                Read::TooLong => Err(Refusal::of_nobody(
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
                Err(refusal) => self.refuse(refusal),
            }
        }
        self.ended.send_replace(true);
        let _ = timeout(LAST_WORDS, async { while self.refusals.join_next().await.is_some() {} }).await;
        None
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        Ok(())
    }
}

async fn write<W: AsyncWrite + Unpin>(writer: &Mutex<W>, message: &impl Serialize) -> Result<(), io::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut writer = writer.lock().await;
    writer.write_all(&line).await?;
    writer.flush().await
}

/// Why something is no message, and of which request that is said, if anybody can tell.
#[derive(Debug)]
struct Refusal {
    id: Option<RequestId>,
    error: ErrorData,
}

impl Refusal {
    fn of_nobody(code: ErrorCode, problem: String) -> Refusal {
        Refusal { id: None, error: ErrorData::new(code, problem, None) }
    }

    /// The refusal of what is JSON and no message.
    fn of(value: &Value) -> Refusal {
        let invalid = ErrorCode::INVALID_REQUEST;
        let message = match value {
            Value::Object(message) => message,
            Value::Array(_) => {
                return Refusal::of_nobody(invalid, "a batch is not taken: send one message a line".to_owned());
            }
            _ => return Refusal::of_nobody(invalid, "a message is a JSON object".to_owned()),
        };
        let id = message.get("id").and_then(|id| match id {
            Value::String(_) | Value::Number(_) => serde_json::from_value::<RequestId>(id.clone()).ok(),
            _ => None,
        });
        // An answer has the id of a request of ours, and theirs may have the same.
        let is_answer = message.contains_key("result") || message.contains_key("error");
        let params = message.get("params");
        let (code, problem) = if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            (invalid, "jsonrpc is not \"2.0\"")
        } else if message.contains_key("id") && id.is_none() {
            (invalid, "the id is neither a string nor a whole number")
        } else if !message.get("method").is_some_and(Value::is_string) {
            (invalid, "the method is missing, or no string")
        } else if params.is_some_and(|params| !params.is_object()) {
            (ErrorCode::INVALID_PARAMS, "params is no object")
        } else if params.and_then(|params| params.get("_meta")).is_some_and(|meta| !meta.is_object()) {
            (ErrorCode::INVALID_PARAMS, "_meta is no object")
        } else {
            (ErrorCode::INVALID_PARAMS, "the params, or their _meta, are not those of a message of MCP")
        };
        Refusal { id: id.filter(|_| !is_answer), error: ErrorData::new(code, problem, None) }
    }

    /// What is sent. JSON-RPC has a null where the id cannot be known; the SDK would leave it out.
    fn message(&self) -> Value {
        json!({"jsonrpc": "2.0", "id": self.id, "error": self.error})
    }
}

/// The message of a line; none for an empty one, and for a notification that nobody knows.
fn parse(line: &[u8]) -> Result<Option<Incoming>, Refusal> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let bad = match serde_json::from_slice(line) {
        Ok(message) => return Ok(Some(message)),
        Err(bad) => bad,
    };
    let Ok(mended) = mend(line) else {
        return Err(Refusal::of_nobody(ErrorCode::PARSE_ERROR, format!("this is not a line of JSON: {bad}")));
    };
    let is_notification = mended.get("method").is_some_and(Value::is_string) && mended.get("id").is_none();
    match serde_json::from_value(mended.clone()) {
        Ok(message) => Ok(Some(message)),
        Err(_) if is_notification => Ok(None),
        Err(_) => Err(Refusal::of(&mended)),
    }
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
        for (line, code) in [
            (&b"{nonsense"[..], ErrorCode::PARSE_ERROR),
            (b"[1]", ErrorCode::INVALID_REQUEST),
            (br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, ErrorCode::INVALID_REQUEST),
        ] {
            let refusal = parse(line).unwrap_err();
            assert_eq!((refusal.id, refusal.error.code), (None, code));
        }
    }
}
