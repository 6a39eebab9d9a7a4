//! What a composition subscribes to: the union of what its parts need, so that the hub decides whom an event concerns
//! and nobody is woken for anything else.

use serde_json::Value;

use crate::model::frame::Subscribe;

/// Events that meet one of these alternatives, in one of these repositories.
pub(super) fn any_of(repos: &[String], alternatives: impl IntoIterator<Item = Vec<String>>) -> Subscribe {
    let mut union = Vec::new();
    for alternative in alternatives {
        if !union.contains(&alternative) {
            union.push(alternative);
        }
    }
    let filters = if repos.is_empty() { vec!["*".to_owned()] } else { repos.to_vec() };
    Subscribe { filters, alternatives: union, heartbeat: false, ..Subscribe::default() }
}

/// No event.
pub(super) fn nothing() -> Subscribe {
    Subscribe { alternatives: vec![vec!["event_id=null".to_owned()]], heartbeat: false, ..Subscribe::default() }
}

/// What passes a subscription, and what meets one of these alternatives in the same repositories. An expression is left
/// out, because it would narrow the alternatives too: whoever asked for it decides again.
pub(super) fn with(subscribe: Subscribe, others: impl IntoIterator<Item = Vec<String>>) -> Subscribe {
    let Subscribe { filters, event_types, alternatives, .. } = subscribe;
    let types: Vec<_> = event_types.into_iter().map(|kind| format!("event_type={}", Value::String(kind))).collect();
    let wants_all = types.is_empty() && alternatives.is_empty();
    let alternatives = if alternatives.is_empty() { vec![Vec::new()] } else { alternatives };
    // Several types are alternatives of one another, as several `=` on one key are.
    let narrowed = alternatives.into_iter().map(|conditions| [types.clone(), conditions].concat());
    any_of(&filters, narrowed.chain(others).filter(|_| !wants_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_union_keeps_the_repositories_and_turns_types_into_conditions() {
        let plain = Subscribe {
            filters: texts(&["octo/*"]),
            event_types: texts(&["push", "12"]),
            alternatives: vec![texts(&["a=1"])],
            ..Subscribe::default()
        };
        let union = with(plain.clone(), [texts(&["b=2"]), texts(&["b=2"])]);
        assert_eq!(union.filters, ["octo/*"]);
        assert!(union.event_types.is_empty() && !union.heartbeat);
        assert_eq!(union.alternatives, [texts(&["event_type=\"push\"", "event_type=\"12\"", "a=1"]), texts(&["b=2"])]);
        let only_types = Subscribe { alternatives: Vec::new(), ..plain.clone() };
        assert_eq!(with(only_types, []).alternatives, [texts(&["event_type=\"push\"", "event_type=\"12\""])]);
        let all = Subscribe { event_types: Vec::new(), alternatives: Vec::new(), ..plain };
        assert!(with(all, [texts(&["b=2"])]).alternatives.is_empty(), "who wants everything gets everything");
    }
}
