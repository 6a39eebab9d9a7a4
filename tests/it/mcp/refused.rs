//! What is refused, and how: whoever has asked finds the answer by its id, and reads in it what is wrong.

use std::io::Write;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{STATELESS, in_both_lifecycles, stateless};
use crate::harness::Bus;

/// A request whose parameters were no object was refused without its id, so whoever had sent it waited for ever.
#[test]
fn a_request_that_is_none_is_refused_by_its_id_if_it_has_one_and_else_by_none() {
    in_both_lifecycles(&[], |_, client| {
        for (line, id, code, says) in [
            (r#"{"jsonrpc":"2.0","id":203,"method":"tools/call","params":[]}"#, json!(203), -32602, "params"),
            (r#"{"jsonrpc":"2.0","id":"a","method":"ping","params":"x"}"#, json!("a"), -32602, "params"),
            (r#"{"jsonrpc":"2.0","id":-4,"method":"tools/list","params":{"_meta":5}}"#, json!(-4), -32602, "_meta"),
            (r#"{"id":5,"method":"tools/list"}"#, json!(5), -32600, "jsonrpc"),
            (r#"{"jsonrpc":"1.0","id":6,"method":"tools/list"}"#, json!(6), -32600, "jsonrpc"),
            (r#"{"jsonrpc":"2.0","id":7}"#, json!(7), -32600, "method"),
            (r#"{"jsonrpc":"2.0","id":8,"method":5}"#, json!(8), -32600, "method"),
            (r#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#, Value::Null, -32600, "id"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Value::Null, -32600, "id"),
            ("{nonsense", Value::Null, -32700, "JSON"),
            ("5", Value::Null, -32600, "object"),
            (r#"[{"jsonrpc":"2.0","id":9,"method":"ping"}]"#, Value::Null, -32600, "batch"),
        ] {
            client.send_line(line.as_bytes());
            let answer = client.first(|message| message.get("error").is_some());
            assert_eq!(answer.get("id"), Some(&id), "{line}: {answer}");
            assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{line}: {answer}");
        }
        client.mark();
    });
}

/// A method that the server has, with parameters that it cannot have, was said not to exist.
#[test]
fn a_method_that_is_known_is_refused_for_its_parameters() {
    in_both_lifecycles(&[], |_, client| {
        let mut calls = vec![
            ("tools/call", json!({}), "name"),
            ("tools/call", json!({"name": "mark", "arguments": "x"}), "arguments"),
            ("tools/call", json!({"name": 5}), "name"),
            ("resources/read", json!({}), "uri"),
            ("completion/complete", json!({}), "ref"),
        ];
        client.mark();
        if client.revision == STATELESS {
            calls.push(("subscriptions/listen", json!({}), "notifications"));
        } else {
            calls.push(("initialize", json!({}), "protocolVersion"));
            calls.push(("resources/subscribe", json!({}), "uri"));
            calls.push(("resources/unsubscribe", json!({"uri": 5}), "uri"));
        }
        for (method, params, says) in calls {
            let answer = client.ask(method, params.clone());
            assert_eq!(answer["error"]["code"], -32602, "{method} {params}: {answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(method) && message.contains(says), "{method} {params}: {message}");
        }
        if client.revision != STATELESS {
            client.send(&json!({"jsonrpc": "2.0", "id": "none", "method": "tools/call"}));
            let answer = client.first(|message| message["id"] == "none");
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
        }
        for method in ["no/such/method", "prompts/get", "logging/setLevel"] {
            let answer = client.ask(method, json!({}));
            assert_eq!(answer["error"]["code"], -32601, "{answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(method), "{answer}");
        }
    });
}

/// The server wrote its refusal before it read on, so the end of the input went unnoticed for as long as nobody read
/// what it wrote.
#[test]
fn the_end_of_the_input_is_noticed_while_a_refusal_cannot_be_written() {
    let bus = Bus::new();
    let mut server = bus.command(&["mcp"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let nobody_reads_it = server.stdout.take();
    for id in 0..20 {
        let list = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": {"_meta": stateless()}});
        writeln!(stdin, "{list}").unwrap();
    }
    stdin.write_all("garbage\n".repeat(200).as_bytes()).unwrap();
    drop(stdin);
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(server.wait().unwrap().code()));
    // Longer than any end takes on a busy machine.
    assert_eq!(ended.recv_timeout(Duration::from_secs(3)), Ok(Some(0)));
    drop(nobody_reads_it);
}
