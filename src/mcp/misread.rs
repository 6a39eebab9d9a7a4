//! Requests of which the SDK has understood nothing but the method: it takes those whose parameters are not what they
//! have to be for requests that it does not know.

use rmcp::model::{CustomRequest, ErrorCode, ErrorData, ProtocolVersion};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;

/// One of the parameters of a method.
#[derive(Clone, Copy)]
struct Param {
    name: &'static str,
    /// Whether it is an object, and not a text.
    is_object: bool,
    is_required: bool,
}

const fn text(name: &'static str) -> Param {
    Param { name, is_object: false, is_required: true }
}

const fn object(name: &'static str) -> Param {
    Param { name, is_object: true, is_required: true }
}

const fn optional(param: Param) -> Param {
    Param { is_required: false, ..param }
}

/// The methods that this server has in the revisions with a handshake, and in those without one.
const METHODS: [(&str, bool, bool, &[Param]); 12] = [
    ("initialize", true, true, &[text("protocolVersion"), object("capabilities"), object("clientInfo")]),
    ("server/discover", true, true, &[]),
    ("ping", true, false, &[]),
    ("tools/list", true, true, &[optional(text("cursor"))]),
    ("tools/call", true, true, &[text("name"), optional(object("arguments"))]),
    ("resources/list", true, true, &[optional(text("cursor"))]),
    ("resources/templates/list", true, true, &[optional(text("cursor"))]),
    ("resources/read", true, true, &[text("uri")]),
    ("resources/subscribe", true, false, &[text("uri")]),
    ("resources/unsubscribe", true, false, &[text("uri")]),
    ("subscriptions/listen", false, true, &[object("notifications")]),
    ("completion/complete", true, true, &[object("ref"), object("argument"), optional(object("context"))]),
];

/// What is wrong with it.
pub(super) fn refusal(request: &CustomRequest, context: &RequestContext<RoleServer>) -> ErrorData {
    let has_handshake = context.protocol_version().is_none_or(|version| version < ProtocolVersion::V_2026_07_28);
    let CustomRequest { method, params, .. } = request;
    let known =
        METHODS.iter().find(|(name, with, without, _)| name == method && if has_handshake { *with } else { *without });
    let Some((.., expected)) = known else {
        return ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("there is no method {method}"), None);
    };
    let problem = expected.iter().find_map(|param| param.problem(params.as_ref()));
    let problem = problem.unwrap_or_else(|| "the params are not those of this method".to_owned());
    ErrorData::invalid_params(format!("{method}: {problem}"), None)
}

impl Param {
    fn problem(&self, params: Option<&Value>) -> Option<String> {
        let Param { name, is_object, is_required } = self;
        let kind = if *is_object { "an object" } else { "a string" };
        match params.and_then(|params| params.get(name)) {
            None if *is_required => Some(format!("{name} is missing, and has to be {kind}")),
            None => None,
            Some(value) if if *is_object { value.is_object() } else { value.is_string() } => None,
            Some(_) => Some(format!("{name} has to be {kind}")),
        }
    }
}
