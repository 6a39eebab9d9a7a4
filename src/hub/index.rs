//! Who may be concerned by an event, found by its values: the cost follows the matches and not the subscribers.
//!
//! Each subscriber is filed under one equality that its filter requires (`run_id=12`), for each of its alternatives;
//! one whose filter requires none is asked about every event. The index only says who may be concerned. The filter
//! decides.

use std::collections::{BTreeSet, HashMap};

use super::SubscriberId;
use crate::model::event::{Found, Record};
use crate::model::filter::Filter;
use crate::model::predicate::{Condition, Conjunction, Test, equality_key};

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Path → value → who requires it.
    required: HashMap<String, HashMap<String, BTreeSet<SubscriberId>>>,
    /// Who requires no value.
    rest: BTreeSet<SubscriberId>,
    /// Under which values each subscriber is filed; absent for the rest.
    filed: HashMap<SubscriberId, Vec<Place>>,
}

/// A path and a value that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    path: String,
    value: String,
}

impl Index {
    pub(super) fn insert(&mut self, id: SubscriberId, filter: &Filter) {
        let Some(places) = self.places(filter) else {
            self.rest.insert(id);
            return;
        };
        for place in &places {
            let values = self.required.entry(place.path.clone()).or_default();
            values.entry(place.value.clone()).or_default().insert(id);
        }
        self.filed.insert(id, places);
    }

    pub(super) fn remove(&mut self, id: SubscriberId) {
        let Some(places) = self.filed.remove(&id) else {
            self.rest.remove(&id);
            return;
        };
        for Place { path, value } in places {
            let Some(values) = self.required.get_mut(&path) else { continue };
            if let Some(ids) = values.get_mut(&value) {
                ids.remove(&id);
                if ids.is_empty() {
                    values.remove(&value);
                }
            }
            if values.is_empty() {
                self.required.remove(&path);
            }
        }
    }

    /// Everybody whose filter may want the event, each once.
    pub(super) fn candidates(&self, record: &Record) -> Vec<SubscriberId> {
        let mut candidates: Vec<_> = self.rest.iter().copied().collect();
        for (path, values) in &self.required {
            let ids = record.lookup(path).and_then(equality_key).and_then(|value| values.get(&value));
            candidates.extend(ids.into_iter().flatten());
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }

    /// Under which values to file a filter: for every alternative the equality that the fewest others share.
    fn places(&self, filter: &Filter) -> Option<Vec<Place>> {
        let types: Vec<Place> = filter
            .event_types
            .iter()
            .map(|kind| Place { path: "event_type".into(), value: format!("\"{kind}") })
            .collect();
        let everywhere = || {
            let required = filter.required().filter_map(|condition| Some(vec![place(condition)?]));
            required.chain((!types.is_empty()).then(|| types.clone()))
        };
        let best = |groups: &mut dyn Iterator<Item = Vec<Place>>| {
            groups.min_by_key(|group| (self.crowd(group), is_common(group)))
        };
        if filter.alternatives.is_empty() {
            return best(&mut everywhere());
        }
        let mut places = Vec::new();
        for alternative in &filter.alternatives {
            places.extend(best(&mut equalities(alternative).chain(everywhere()))?);
        }
        Some(places)
    }

    fn crowd(&self, places: &[Place]) -> usize {
        let crowd = |place: &Place| self.required.get(&place.path)?.get(&place.value).map(BTreeSet::len);
        places.iter().filter_map(crowd).sum()
    }
}

/// Values that everybody will ask for sooner or later.
fn is_common(group: &[Place]) -> bool {
    group.iter().any(|place| matches!(&*place.path, "source" | "event_type" | "status" | "conclusion"))
}

/// The sets of values of which a conjunction requires one.
fn equalities(conjunction: &Conjunction) -> impl Iterator<Item = Vec<Place>> {
    conjunction.groups().filter_map(|group| group.iter().map(place).collect())
}

fn place(condition: &Condition) -> Option<Place> {
    let Test::Equals(value) = &condition.test else { return None };
    // To look there is costly, whoever asks.
    if condition.is_costly() {
        return None;
    }
    Some(Place { path: condition.key.clone(), value: equality_key(Found::Json(value))? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::event::tests::record;
    use crate::model::frame::Subscribe;

    fn filter(alternatives: &[&[&str]], types: &[&str]) -> Filter {
        let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let alternatives = alternatives.iter().map(|all| strings(all)).collect();
        Subscribe { alternatives, event_types: strings(types), ..Subscribe::default() }.filter().unwrap()
    }

    #[test]
    fn an_event_finds_only_those_who_asked_for_its_values() {
        let mut index = Index::default();
        for id in 0..100 {
            index.insert(SubscriberId(id), &filter(&[&["source=github", &format!("run_id={id}")]], &[]));
        }
        let event = record(1, "github", &json!({"run_id": 42}));
        assert_eq!(index.candidates(&event), [SubscriberId(42)]);
        index.insert(SubscriberId(100), &filter(&[], &[]));
        index.insert(SubscriberId(101), &filter(&[&["run_id>=1"]], &["finished"]));
        index.insert(SubscriberId(102), &filter(&[&["run_id>=1"]], &["started"]));
        index.insert(SubscriberId(103), &filter(&[&["run_id=42"], &["source=github"]], &[]));
        assert_eq!(index.candidates(&event), [42, 100, 101, 103].map(SubscriberId));
    }

    /// An expression names a field by one path, a condition by another where a field is called `fields`: the event was
    /// lost to whoever asked for it.
    #[test]
    fn a_field_that_is_called_fields_hides_nothing_from_an_expression() {
        let filter =
            Subscribe { where_: Some("fields.env == \"prod\"".into()), ..Subscribe::default() }.filter().unwrap();
        let mut index = Index::default();
        index.insert(SubscriberId(1), &filter);
        let event = record(1, "deploy", &json!({"env": "prod", "fields": {"env": "test"}, "fields.env": "test"}));
        assert!(filter.wants(&event) && filter.may_want(&event));
        assert_eq!(index.candidates(&event), [SubscriberId(1)]);
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let mut index = Index::default();
        let filters = [filter(&[&["a=1", "a=2"], &["b=1"]], &[]), filter(&[], &[]), filter(&[], &["x", "y"])];
        for (id, filter) in filters.iter().enumerate() {
            index.insert(SubscriberId(id as u64), filter);
        }
        for id in 0..filters.len() {
            index.remove(SubscriberId(id as u64));
        }
        assert!(index.required.is_empty() && index.rest.is_empty() && index.filed.is_empty(), "{index:?}");
    }

    proptest! {
        #[test]
        fn whoever_wants_an_event_is_a_candidate(
            filters in prop::collection::vec(
                (prop::collection::vec(prop::collection::vec(
                    prop_oneof!["[ab]=[01]", "[ab]!=[01]", "[ab]>=[01]", "[ab]=(true|null|1\\.0|\"1\")", "[ab]~1", "payload\\.a=1"], 0..3), 0..3),
                 prop::collection::vec("finished|other", 0..2),
                 prop::option::of(prop_oneof![
                    "source == \"[xy]\"( && (fields\\.[ab] == \"1\"|fields\\.[ab] == 1|event_type == \"finished\"))?",
                    "fields\\.[ab] == \"1\" (\\|\\||&&) source != \"y\"", "payload\\.a\\.b\\[0\\] == 1[01]"])), 1..12),
            a in prop_oneof![Just(json!(0)), Just(json!(1.0)), Just(json!("1")), Just(json!(null)), Just(json!(true)), Just(json!([1]))],
        ) {
            let mut index = Index::default();
            let filters: Vec<_> = filters.into_iter().map(|(alternatives, event_types, where_)| {
                Subscribe { event_types, alternatives, where_, ..Subscribe::default() }.filter().unwrap()
            }).collect();
            for (id, filter) in filters.iter().enumerate() {
                index.insert(SubscriberId(id as u64), filter);
            }
            let event = record(1, "x", &json!({"a": a, "b": 1}));
            let candidates = index.candidates(&event);
            for (id, filter) in filters.iter().enumerate() {
                prop_assert!(!filter.wants(&event) || candidates.contains(&SubscriberId(id as u64)), "{filter:?}");
                prop_assert!(!filter.wants(&event) || filter.may_want(&event), "{filter:?}");
                prop_assert!(filter.is_costly() || filter.wants(&event) == filter.may_want(&event), "{filter:?}");
            }
        }
    }
}
