//! What is refused, and how: whoever has asked finds the answer by its id, and reads in it what is wrong.

use serde_json::json;

use super::{STATELESS, in_both_lifecycles};

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
