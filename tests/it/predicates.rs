//! What each condition says of each event: one table, decided by the library and by a hub that runs.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};
use waitbus::client::{Feed, Item, Options};
use waitbus::config::directories::Directories;
use waitbus::model::event::Record;
use waitbus::model::event_frame::event_of;
use waitbus::model::filter::Filter;
use waitbus::model::frame::Subscribe;
use waitbus::model::id::{EventId, Seq};
use waitbus::model::limits::GRACE;

use crate::harness::Bus;

/// Conditions that must all hold, the event by its key, and whether they do.
const TABLE: &[(&[&str], &str, bool)] = &[
    (&["conclusion=success"], "run", true),
    (&["conclusion=\"success\""], "run", true),
    (&["conclusion=Success"], "run", false),
    (&["conclusion=succes"], "run", false),
    (&["conclusion=failure"], "run", false),
    (&["conclusion!=failure"], "run", true),
    (&["conclusion!=success"], "run", false),
    (&["conclusion!=\"success\""], "run", false),
    (&["conclusion?"], "run", true),
    (&["conclusion="], "run", false),
    (&["draft=false"], "run", true),
    (&["draft=0"], "run", false),
    (&["draft=\"false\""], "run", false),
    (&["draft=null"], "run", false),
    (&["draft!=true"], "run", true),
    (&["draft!=false"], "run", false),
    (&["draft>=0"], "run", false),
    (&["draft~false"], "run", false),
    (&["yes=true"], "run", true),
    (&["yes=1"], "run", false),
    (&["one=true"], "run", false),
    (&["one=1"], "run", true),
    (&["one=1.0"], "run", true),
    (&["one=\"1\""], "run", false),
    (&["one=01"], "run", false),
    (&["text_true=true"], "run", false),
    (&["text_true=\"true\""], "run", true),
    (&["text_true!=true"], "run", true),
    (&["text_true~^true$"], "run", true),
    (&["text_12=12"], "run", false),
    (&["text_12=\"12\""], "run", true),
    (&["text_12>=1"], "run", false),
    (&["text_12!=12"], "run", true),
    (&["text_12~^[0-9]+$"], "run", true),
    (&["text_12*=1?"], "run", true),
    (&["text_null=null"], "run", false),
    (&["text_null=\"null\""], "run", true),
    (&["text_null!=null"], "run", true),
    (&["pr_number=null"], "run", true),
    (&["pr_number!=null"], "run", false),
    (&["pr_number?"], "run", true),
    (&["pr_number=0"], "run", false),
    (&["pr_number!=0"], "run", true),
    (&["pr_number>=0"], "run", false),
    (&["pr_number~."], "run", false),
    (&["pr_number=\"null\""], "run", false),
    (&["pr_number.x?"], "run", false),
    (&["empty="], "run", true),
    (&["empty=\"\""], "run", true),
    (&["empty?"], "run", true),
    (&["empty!="], "run", false),
    (&["empty~^$"], "run", true),
    (&["empty*="], "run", true),
    (&["empty*=*"], "run", true),
    (&["empty=null"], "run", false),
    (&["run_id=16000000000"], "run", true),
    (&["run_id=1.6e10"], "run", true),
    (&["run_id=16000000000.0"], "run", true),
    (&["run_id>15999999999"], "run", true),
    (&["run_id>=16000000000"], "run", true),
    (&["run_id<16000000000"], "run", false),
    (&["run_id<=16000000000"], "run", true),
    (&["run_id>16000000000"], "run", false),
    (&["run_id=\"16000000000\""], "run", false),
    (&["run_id~16"], "run", false),
    (&["run_id*=16*"], "run", false),
    (&["negative=-5"], "run", true),
    (&["negative<0"], "run", true),
    (&["negative>-6"], "run", true),
    (&["negative>=-4.5"], "run", false),
    (&["negative<=-5.0"], "run", true),
    (&["zero=0"], "run", true),
    (&["zero=-0.0"], "run", true),
    (&["zero>=0"], "run", true),
    (&["zero<0"], "run", false),
    (&["zero=false"], "run", false),
    (&["zero=null"], "run", false),
    (&["ratio=0.5"], "run", true),
    (&["ratio=5e-1"], "run", true),
    (&["ratio<1"], "run", true),
    (&["ratio>0.49"], "run", true),
    (&["ratio!=0.5"], "run", false),
    (&["big=9007199254740993"], "run", true),
    (&["big=9007199254740992"], "run", false),
    (&["big>9007199254740992"], "run", true),
    (&["big<9007199254740994"], "run", true),
    (&["max=18446744073709551615"], "run", true),
    (&["max>=18446744073709551615"], "run", true),
    (&["max>1e19"], "run", true),
    (&["max<1e300"], "run", true),
    (&["huge=1e300"], "run", true),
    (&["huge>=1e300"], "run", true),
    (&["huge<1e301"], "run", true),
    (&["huge>18446744073709551615"], "run", true),
    (&["missing=success"], "run", false),
    (&["missing!=success"], "run", false),
    (&["missing=null"], "run", false),
    (&["missing!=null"], "run", false),
    (&["missing>=0"], "run", false),
    (&["missing<0"], "run", false),
    (&["missing~"], "run", false),
    (&["missing*=*"], "run", false),
    (&["missing?"], "run", false),
    (&["missing="], "run", false),
    (&["nested.missing!=1"], "run", false),
    (&["labels.2?"], "run", false),
    (&["head_branch~^feature/"], "run", true),
    (&["head_branch~x$"], "run", true),
    (&["head_branch~X"], "run", false),
    (&["head_branch~(?i)X$"], "run", true),
    (&["head_branch~^(main|feature/.*)$"], "run", true),
    (&["head_branch~^eature"], "run", false),
    (&["head_branch~"], "run", true),
    (&["unicode~^gr.{2}e$"], "run", true),
    (&["unicode~\\w+"], "run", true),
    (&["newline~^a.b$"], "run", false),
    (&["newline~(?s)^a.b$"], "run", true),
    (&["newline~(?m)^b$"], "run", true),
    (&["head_branch*=feature/*"], "run", true),
    (&["head_branch*=feature"], "run", false),
    (&["head_branch*=*"], "run", true),
    (&["head_branch*=*/x"], "run", true),
    (&["head_branch*=feature?x"], "run", true),
    (&["head_branch*=feature/[a-w]"], "run", false),
    (&["head_branch*=feature/[w-z]"], "run", true),
    (&["head_branch*=feature/[!w-z]"], "run", false),
    (&["head_branch*={main,feature/*}"], "run", true),
    (&["head_branch*=FEATURE/*"], "run", false),
    (&["unicode*=gr??e"], "run", true),
    (&["unicode*=gr[à-ü]?e"], "run", true),
    (&["unicode*=gr???e"], "run", false),
    (&["quote*=say*"], "run", true),
    (&["url*=https://*/a\\?*"], "run", true),
    (&["unicode=grüße"], "run", true),
    (&["unicode=\"gr\\u00fc\\u00dfe\""], "run", true),
    (&["space=two words"], "run", true),
    (&["space=two"], "run", false),
    (&["quote=say \"hi\""], "run", true),
    (&["quote=\"say \\\"hi\\\"\""], "run", true),
    (&["url=https://example.org/a?b=c&d=e"], "run", true),
    (&["newline=\"a\\nb\""], "run", true),
    (&["newline=a\nb"], "run", true),
    (&["newline=a b"], "run", false),
    (&["nested.a.b.c=1"], "run", true),
    (&["fields.nested.a.b.c=1"], "run", true),
    (&["nested.a.b={\"c\":1}"], "run", true),
    (&["nested.a.b={\"c\":1.0}"], "run", false),
    (&["nested.a.b={}"], "run", false),
    (&["nested.a?"], "run", true),
    (&["nested.a.c?"], "run", false),
    (&["nested.d.e=dotted"], "run", true),
    (&["nested.list.0.1=2"], "run", true),
    (&["nested.list.1.0=3"], "run", true),
    (&["nested.list.1.1?"], "run", false),
    (&["nested.list.1=[3]"], "run", true),
    (&["labels=[\"bug\",\"ui\"]"], "run", true),
    (&["labels=[\"ui\",\"bug\"]"], "run", false),
    (&["labels=bug"], "run", false),
    (&["labels.0=bug"], "run", true),
    (&["labels.1=bug"], "run", false),
    (&["labels.-1?"], "run", false),
    (&["labels.x?"], "run", false),
    (&["labels~bug"], "run", false),
    (&["steps.1.ok=false"], "run", true),
    (&["steps.1.name=test"], "run", true),
    (&["steps.0.ok=false"], "run", false),
    (&["example.org/team=core"], "run", true),
    (&["deep.example.org/team=core"], "run", true),
    (&["@type=x"], "run", true),
    (&["summary=mine"], "run", true),
    (&["fields.summary=mine"], "run", true),
    (&["source=github"], "run", true),
    (&["source=GitHub"], "run", false),
    (&["source!=deploy"], "run", true),
    (&["event_type=workflow_run"], "run", true),
    (&["event_type*=workflow_*"], "run", true),
    (&["owner=octo"], "run", true),
    (&["repo=hello"], "run", true),
    (&["repo=octo/hello"], "run", false),
    (&["ingest_method=emit"], "run", true),
    (&["fields.source=github"], "run", true),
    (&["fields.owner=octo"], "run", true),
    (&["delivery_id=run"], "run", true),
    (&["received_at>0"], "run", true),
    (&["received_at?"], "run", true),
    (&["event_id~^[0-9A-Z]{26}$"], "run", true),
    (&["event_id=null"], "run", false),
    (&["kind=event"], "run", false),
    (&["payload.jobs.0.name=unit"], "run", true),
    (&["payload.jobs.1?"], "run", false),
    (&["payload.a=null"], "run", true),
    (&["payload.a?"], "run", true),
    (&["payload.b?"], "run", false),
    (&["payload?"], "run", true),
    (&["payload.n>=2"], "run", true),
    (&["fields.payload?"], "run", false),
    (&["conclusion=failure", "conclusion=success"], "run", true),
    (&["conclusion=failure", "conclusion=cancelled"], "run", false),
    (&["conclusion=success", "head_branch=main"], "run", false),
    (&["conclusion=success", "head_branch=main", "head_branch=feature/x"], "run", true),
    (&["conclusion!=failure", "conclusion!=cancelled"], "run", true),
    (&["conclusion!=failure", "conclusion!=success"], "run", false),
    (&["conclusion=success", "conclusion!=success"], "run", false),
    (&["run_id>=1", "run_id<2"], "run", false),
    (&["one>=1", "one<2"], "run", true),
    (&["conclusion~s", "conclusion~x"], "run", false),
    (&["source=deploy"], "bare", true),
    (&["source=github"], "bare", false),
    (&["event_type=finished"], "bare", true),
    (&["owner="], "bare", true),
    (&["owner?"], "bare", true),
    (&["repo="], "bare", true),
    (&["repo!=hello"], "bare", true),
    (&["repo*=h*"], "bare", false),
    (&["conclusion=success"], "bare", false),
    (&["conclusion!=success"], "bare", false),
    (&["conclusion?"], "bare", false),
    (&["conclusion=null"], "bare", false),
    (&["summary=deploy finished"], "bare", true),
    (&["summary~^deploy "], "bare", true),
    (&["fields={}"], "bare", true),
    (&["fields?"], "bare", true),
    (&["payload?"], "bare", false),
    (&["payload.a!=1"], "bare", false),
    (&["payload=null"], "bare", false),
    (&["payload?"], "text", false),
    (&["payload~plain"], "text", false),
    (&["payload.x?"], "text", false),
    (&["source=note"], "text", true),
    (&["conclusion=success"], "text", true),
    (&["status!=queued"], "text", true),
    (&["exit_code=0"], "text", true),
    (&["exit_code=\"0\""], "text", false),
    (&["exit_code<1"], "text", true),
];

/// The events of the table, by their key.
fn events() -> [Value; 4] {
    let fields = json!({
        "action": "completed", "conclusion": "success", "run_id": 16_000_000_000_u64, "head_branch": "feature/x",
        "pr_number": null, "draft": false, "yes": true, "one": 1, "zero": 0, "negative": -5, "ratio": 0.5,
        "big": 9_007_199_254_740_993_u64, "max": u64::MAX, "huge": 1e300, "empty": "", "text_true": "true",
        "text_12": "12", "text_null": "null", "unicode": "grüße", "space": "two words", "quote": "say \"hi\"",
        "newline": "a\nb", "url": "https://example.org/a?b=c&d=e", "summary": "mine", "@type": "x",
        "labels": ["bug", "ui"], "steps": [{"name": "build", "ok": true}, {"name": "test", "ok": false}],
        "nested": {"a": {"b": {"c": 1}}, "d.e": "dotted", "list": [[1, 2], [3]]},
        "example.org/team": "core", "deep": {"example.org/team": "core"},
    });
    let payload = json!({"jobs": [{"name": "unit"}], "a": null, "n": 2});
    [
        json!({"id": "run", "source": "github", "type": "workflow_run", "owner": "octo", "repo": "hello",
               "fields": fields, "payload": payload}),
        json!({"id": "bare", "source": "deploy", "type": "finished"}),
        json!({"id": "text", "source": "note", "type": "said", "status": "completed", "conclusion": "success",
               "fields": {"exit_code": 0}, "payload": "plain text"}),
        json!({"id": "end", "source": "end", "type": "end"}),
    ]
}

fn bus_with_the_events() -> Bus {
    let bus = Bus::new();
    let mut emit = bus.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = emit.stdin.take().unwrap();
    for event in events() {
        writeln!(stdin, "{event}").unwrap();
    }
    drop(stdin);
    assert!(emit.wait().unwrap().success());
    bus
}

#[test]
fn every_condition_says_of_every_event_what_the_table_says() {
    assert!(TABLE.len() >= 150, "{}", TABLE.len());
    let bus = bus_with_the_events();
    let _hub = bus.hub();
    let mut wrong = Vec::new();
    for &(conditions, key, expected) in TABLE {
        let alternatives = json!([conditions, ["source=end"]]);
        let mut subscriber = bus.subscribe(&json!({"match": alternatives, "since": "0".repeat(26)}));
        let mut delivered = Vec::new();
        loop {
            let frame = subscriber.frame();
            assert_eq!(frame["kind"], "event", "{frame}");
            if frame["source"] == "end" {
                break;
            }
            delivered.push(frame["delivery_id"].clone());
        }
        if delivered.contains(&json!(key)) != expected {
            wrong.push(format!("{conditions:?} of {key:?}, by the hub: not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_client_judges_what_came_over_the_wire_as_the_hub_judges_what_it_stored() {
    // Where the two disagree, a composition waits for ever for what has come, or ends for what has not.
    let bus = bus_with_the_events();
    let _hub = bus.hub();
    let directories = Directories { runtime: bus.runtime(), state: bus.state(), config: bus.root().join("config") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let received: Vec<_> = runtime.block_on(async {
        let all = Subscribe { since: Some(EventId::ZERO), ..Subscribe::default() };
        let mut feed = Feed::open(&directories, all, Options { grace: GRACE }).await.unwrap();
        let mut received = Vec::new();
        while received.len() < events().len() {
            let Item::Event { body, .. } = feed.next().await.unwrap() else { panic!("an event") };
            received.push(Record::new(Seq::START, event_of(&body).unwrap(), None));
        }
        received
    });
    let mut wrong = Vec::new();
    for &(conditions, key, expected) in TABLE {
        let alternatives = vec![conditions.iter().map(|&text| text.to_owned()).collect()];
        let filter: Filter = Subscribe { alternatives, ..Subscribe::default() }.filter().unwrap();
        let record = received.iter().find(|record| record.event.delivery_id == key).unwrap();
        // The payload does not travel; whoever asks for it reads the log.
        if !filter.reads_payload() && filter.wants(record) != expected {
            wrong.push(format!("{conditions:?} of {key:?}, by the client: not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
