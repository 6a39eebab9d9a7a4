//! The webhook listener as an HTTP server: whatever comes, and however slowly, there is an answer in JSON.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use waitbus::ingest::signature::sign;

use crate::harness::{
    Answer, Bus, PATIENCE, SECRET, answer_head, deliver, exchange, next_answer, payload, read_answer, request,
};

const MIB: usize = 1024 * 1024;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The head of a signed delivery, with the given headers instead of a content length.
fn head(id: &str, body: &[u8], headers: &str) -> String {
    format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
         x-github-delivery: {id}\r\nx-hub-signature-256: {}\r\n{headers}\r\n",
        sign(SECRET, body)
    )
}

fn whole(id: &str, body: &[u8]) -> Vec<u8> {
    [head(id, body, &format!("content-length: {}\r\n", body.len())).as_bytes(), body].concat()
}

/// `body` in chunks of `size` bytes.
fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in body.chunks(size) {
        all.extend([format!("{:x};ext=1\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    all.extend(b"0\r\ntrailer: x\r\n\r\n");
    all
}

/// A JSON object of exactly `length` bytes.
fn object(length: usize) -> Vec<u8> {
    [b"{\"a\":\"".as_slice(), &vec![b'x'; length - 8], b"\"}"].concat()
}

fn deliveries(bus: &Bus) -> Vec<String> {
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["delivery_id"].as_str().unwrap().to_owned();
    bus.ok(&["replay", "--json"]).lines().map(id).collect()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{answer:?}");
    assert!(answer.headers.contains("content-type: application/json\r\n"), "{answer:?}");
    assert!(answer.json()["error"].is_string(), "{answer:?}");
}

#[test]
fn ten_mebibytes_are_accepted_and_one_byte_more_is_refused_to_a_sender_that_reads_only_at_the_end() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let (largest, too_large) = (object(10 * MIB), object(10 * MIB + 1));
    assert_eq!(exchange(address, &whole("largest", &largest)).status, 200);
    let in_chunks = |id, body: &[u8]| {
        [
            head(
                id,
                body,
                "transfer-encoding: chunked
",
            )
            .as_bytes(),
            &chunked(body, 100_000),
        ]
        .concat()
    };
    assert_eq!(exchange(address, &in_chunks("chunks", &largest)).status, 200);

    for everything in [whole("no", &too_large), in_chunks("no", &too_large), in_chunks("no", &object(40 * MIB))] {
        let mut stream = connect(address);
        stream.write_all(&everything).expect("the listener reads on");
        refused(&read_answer(&mut stream), 413, "too_large");
    }
    assert_eq!(deliveries(&bus), ["largest", "chunks"]);
}

#[test]
fn a_sender_that_asks_first_is_told_before_it_sends() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let small = payload("push.payload.json");
    let too_large = object(10 * MIB + 1);

    let mut stream = BufReader::new(connect(address));
    let ask = |id, body: &[u8]| head(id, body, &format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len()));
    stream.get_mut().write_all(ask("small", &small).as_bytes()).unwrap();
    assert!(answer_head(&mut stream).starts_with("http/1.1 100 "));
    stream.get_mut().write_all(&small).unwrap();
    assert_eq!(next_answer(&mut stream).status, 200);

    let mut stream = connect(address);
    stream.write_all(ask("no", &too_large).as_bytes()).unwrap();
    refused(&read_answer(&mut stream), 413, "too_large");

    // With chunks the size shows too late.
    let mut stream = BufReader::new(connect(address));
    let headers = "transfer-encoding: chunked\r\nexpect: 100-continue\r\n";
    stream.get_mut().write_all(head("no", &too_large, headers).as_bytes()).unwrap();
    assert!(answer_head(&mut stream).starts_with("http/1.1 100 "));
    stream.get_mut().write_all(&chunked(&too_large, 100_000)).unwrap();
    refused(&next_answer(&mut stream), 413, "too_large");
    assert_eq!(deliveries(&bus), ["small"]);
}

/// Sends a byte whenever nothing has come for a while, as a slow sender does, until an answer or the end has come.
fn drip(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut seen = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes) {
            Ok(0) => return seen,
            Ok(count) => seen.extend(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => drop(stream.write_all(b"x")),
            // A process that is stopped and goes on.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if !seen.is_empty() => return seen,
            Err(error) => panic!("the connection was dropped without an answer: {error}"),
        }
    }
}

// The listener's own times, 10 and 20 s, all of them at once; the other tests run beside this one.
#[test]
fn slow_senders_are_told_so_in_time_and_keep_nobody_out() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let body = payload("push.payload.json");
    let half_head = b"POST /webhook HTTP/1.1\r\nhost: localhost\r\nx-slow: ".to_vec();
    let half_body = [head("no", &body, &format!("content-length: {}\r\n", body.len())).as_bytes(), b"{"].concat();
    let half_chunk = [head("no", &body, "transfer-encoding: chunked\r\n").as_bytes(), b"ffffff\r\n{"].concat();
    let unknown_path = b"POST /elsewhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    let begin = |start: &[u8]| {
        let mut stream = connect(address);
        stream.write_all(start).unwrap();
        stream
    };
    let slow: Vec<_> =
        [half_head, half_body, half_chunk, unknown_path].iter().map(|start| (begin(start), begin(start))).collect();
    std::thread::scope(|scope| {
        let slow: Vec<_> = slow
            .into_iter()
            .map(|(dripping, mut silent)| {
                let to_end = move || {
                    let mut seen = Vec::new();
                    silent.read_to_end(&mut seen).unwrap();
                    seen
                };
                [scope.spawn(move || drip(dripping)), scope.spawn(to_end)]
            })
            .collect();
        // Connections that say nothing at all, more than there are places.
        let idle: Vec<_> = (0..80).map(|_| connect(address)).collect();
        let answer = deliver(address, "push", "served", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        for thread in slow.into_iter().flatten() {
            let seen = thread.join().unwrap();
            let answer = read_answer(&mut &*seen);
            refused(&answer, 408, "timeout");
        }
        for mut stream in idle {
            let mut seen = Vec::new();
            stream.read_to_end(&mut seen).unwrap();
            assert_eq!(seen, b"", "nothing was asked, so nothing is answered");
        }
    });
    assert_eq!(deliveries(&bus), ["served"]);
}

#[test]
fn a_body_that_is_no_json_object_is_refused_in_json() {
    // A non-object JSON body dropped the connection with a traceback.
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let cases: [(&str, &[u8], u16, &str); 15] = [
        (json, b"", 400, "bad_json"),
        (json, b"{", 400, "bad_json"),
        (json, b"{\"a\":1}}", 400, "bad_json"),
        (json, b"hello", 400, "bad_json"),
        (json, b"{\"a\":\"\xff\"}", 400, "bad_json"),
        (json, &deep, 400, "bad_json"),
        (json, b"[1]", 400, "not_an_object"),
        (json, b"\"text\"", 400, "not_an_object"),
        (json, b"12", 400, "not_an_object"),
        (json, b"null", 400, "not_an_object"),
        (form, b"a=1", 400, "bad_form"),
        (form, b"payload=%zz", 400, "bad_form"),
        (form, b"payload=%ff", 400, "bad_form"),
        (form, b"payload=[1]", 400, "not_an_object"),
        ("text/plain", b"{}", 415, "bad_content_type"),
    ];
    for (kind, body, status, reason) in cases {
        let signature = sign(SECRET, body);
        let headers = [
            ("content-type", kind),
            ("x-github-event", "push"),
            ("x-github-delivery", "d1"),
            ("x-hub-signature-256", &signature),
        ];
        refused(&exchange(address, &request("POST", "/webhook", &headers, body)), status, reason);
    }
    assert_eq!(deliveries(&bus), [""; 0]);
}

#[test]
fn a_header_that_is_not_ascii_is_refused_where_it_matters_and_ignored_elsewhere() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let signature = sign(SECRET, b"{}");
    let send = |event: &[u8], id: &[u8], kind: &[u8], agent: &[u8]| {
        let head =
            format!("POST /webhook HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {signature}\r\ncontent-length: 2");
        let headers: [(&[u8], &[u8]); 4] =
            [(b"x-github-event", event), (b"x-github-delivery", id), (b"content-type", kind), (b"user-agent", agent)];
        let mut all = head.into_bytes();
        for (name, value) in headers {
            all.extend([b"\r\n", name, b": ", value].concat());
        }
        all.extend(b"\r\n\r\n{}");
        exchange(address, &all)
    };
    let json = b"application/json".as_slice();
    for odd in ["ü".as_bytes(), b"\xff\xfe", "p\u{202e}ush".as_bytes()] {
        refused(&send(odd, b"d1", json, b"x"), 400, "bad_event_name");
        refused(&send(b"push", odd, json, b"x"), 400, "bad_delivery_id");
        refused(&send(b"push", b"d1", odd, b"x"), 415, "bad_content_type");
    }
    refused(&send(b"", b"d1", json, b"x"), 400, "bad_event_name");
    refused(&send(b"push", b"", json, b"x"), 400, "bad_delivery_id");
    assert_eq!(send(b"push", b"d1", json, b"\xff\xc3\x28").status, 200);
    assert_eq!(deliveries(&bus), ["d1"]);
}

#[test]
fn an_unknown_path_or_method_is_told_what_there_is() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    for path in ["/", "/webhook/", "/webhooks", "/%77ebhook", "/a/../webhook", "http://x/elsewhere", "/?/webhook", "//"]
    {
        let answer = exchange(address, &request("POST", path, &[], b"{}"));
        refused(&answer, 404, "not_found");
        assert!(answer.json()["error"].as_str().unwrap().contains("/webhook"), "{answer:?}");
    }
    for (method, path, allowed) in [
        ("GET", "/webhook", "post"),
        ("BREW", "/webhook", "post"),
        ("OPTIONS", "/webhook?x", "post"),
        ("POST", "/healthz", "get, head"),
        ("DELETE", "/metrics", "get, head"),
    ] {
        let answer = exchange(address, &request(method, path, &[], b"{}"));
        refused(&answer, 405, "method_not_allowed");
        assert!(answer.headers.contains(&format!("allow: {allowed}\r\n")), "{answer:?}");
    }
    refused(&exchange(address, b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n"), 404, "not_found");
    // What comes with a request that nobody asked for is no reason to drop the connection.
    for (method, path, status) in [("POST", "/elsewhere", 404), ("PUT", "/webhook", 405), ("GET", "/healthz", 200)] {
        let mut stream = connect(address);
        stream.write_all(&request(method, path, &[], &object(8 * MIB))).expect("the listener reads on");
        assert_eq!(read_answer(&mut stream).status, status);
    }
    let large = request("POST", "/elsewhere", &[], &object(11 * MIB));
    let mut stream = connect(address);
    stream.write_all(&large).expect("the listener reads on");
    refused(&read_answer(&mut stream), 413, "too_large");
}

#[test]
fn what_is_no_http_is_answered_and_harms_nobody() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    let long = format!("GET /healthz HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(700_000));
    let broken_chunk = [head("no", b"", "transfer-encoding: chunked\r\n").as_bytes(), b"zz\r\n{}\r\n"].concat();
    let cases: [(&[u8], u16); 7] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET /healthz\x01 HTTP/1.1\r\n\r\n", 400),
        (b"POST /webhook HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
        (many.as_bytes(), 431),
        (long.as_bytes(), 431),
        (&broken_chunk, 400),
    ];
    for (bytes, status) in cases {
        let answer = exchange(address, bytes);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(deliver(address, "push", "d1", b"{}").status, 200);
}

#[test]
fn one_connection_carries_many_deliveries_one_by_one_or_pipelined() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let body = payload("push.payload.json");
    let mut stream = BufReader::new(connect(address));
    for id in ["a", "b"] {
        stream.get_mut().write_all(&whole(id, &body)).unwrap();
        assert_eq!(next_answer(&mut stream).status, 200);
    }
    let bad = request("POST", "/webhook", &[], b"{}");
    let chunks = [head("e", &body, "transfer-encoding: chunked\r\n").as_bytes(), &chunked(&body, 7)].concat();
    stream.get_mut().write_all(&[whole("c", &body), bad, whole("d", &body), chunks].concat()).unwrap();
    let statuses = [0; 4].map(|_| next_answer(&mut stream).status);
    assert_eq!(statuses, [200, 401, 200, 200], "in order, and one that is refused does not end it");
    // A sender that has closed its sending side still gets its answer, and then the end.
    stream.get_mut().write_all(&whole("f", &body)).unwrap();
    stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(next_answer(&mut stream).status, 200);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(deliveries(&bus), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn more_connections_than_places_are_all_served() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let body = payload("push.payload.json");
    let mut streams: Vec<_> = (0..200).map(|_| connect(address)).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&whole(&n.to_string(), &body)).unwrap();
    }
    for mut stream in streams {
        assert_eq!(read_answer(&mut stream).status, 200);
    }
    assert_eq!(deliveries(&bus).len(), 200);
}
