//! Subscriptions to resources: who has one hears, once for each event, that the resource is another now.
//!
//! Clients of the handshake subscribe and unsubscribe one address at a time; later ones hold a listen stream open for
//! several. Either way each address follows the log by itself, with a filter of its own, so nobody is woken for others.

use std::collections::BTreeSet;

use rmcp::model::{ErrorData, ResourceUpdatedNotification, ResourceUpdatedNotificationParam, ServerNotification};
use rmcp::service::{Peer, RoleServer, SubscriptionContext};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet, spawn_local};

use super::address::Address;
use super::scope::Scope;
use super::{Complain, Server};
use crate::client::when::newest;
use crate::client::{BusError, Feed, Item, Options};
use crate::config::directories::Directories;
use crate::model::event_frame::event_of;
use crate::model::frame::{Gap, GapReason, Subscribe};
use crate::model::id::EventId;
use crate::model::limits::FOLLOW_GRACE;

/// Something that follows the log.
pub(super) struct Follower {
    feed: Feed,
    scope: Scope,
    complain: Complain,
}

impl Follower {
    /// Follows what a subscription brings. When this returns, nothing that is committed from now on is missed.
    pub(super) async fn open(server: &Server, subscribe: Subscribe) -> Result<Follower, BusError> {
        let (directories, scope, complain) =
            (server.directories.clone(), server.scope.clone(), server.complain.clone());
        Follower::at(&directories, scope, complain, subscribe).await
    }

    async fn at(
        directories: &Directories,
        scope: Scope,
        complain: Complain,
        subscribe: Subscribe,
    ) -> Result<Follower, BusError> {
        // Nobody waits for it, so it may wait for the hub.
        let feed = Feed::open(directories, subscribe, Options { grace: FOLLOW_GRACE }).await?;
        Ok(Follower { feed, scope, complain })
    }

    /// The next event that is shown, or what is missing; nothing when the bus is lost, which is said.
    pub(super) async fn next(&mut self) -> Option<Item> {
        loop {
            match self.feed.next().await {
                Ok(Item::Event { id, body }) => match event_of(&body) {
                    Some(event) if self.scope.shows(&event) => return Some(Item::Event { id, body }),
                    Some(_) => {}
                    // It was too large for a frame, and has gone from the log since.
                    None => {
                        let (reason, missed) = (GapReason::Pruned, Some(1));
                        return Some(Item::Gap(Gap { reason, since: id, resumed_at: id, missed }));
                    }
                },
                Ok(Item::Source(_)) => {}
                Ok(gap @ Item::Gap(_)) => return Some(gap),
                Err(error) => {
                    (self.complain)(&format!("a subscription has ended: {error}"));
                    return None;
                }
            }
        }
    }
}

fn missing(uri: &str) -> ErrorData {
    ErrorData::resource_not_found(format!("there is no resource {uri}"), Some(json!({"uri": uri})))
}

/// A subscription of a client of the handshake.
pub(super) struct Ring {
    task: AbortHandle,
    /// How it has begun, once it has.
    begun: watch::Receiver<Option<Result<(), String>>>,
}

impl Ring {
    fn begin(server: &Server, uri: &str, subscribe: Subscribe, peer: &Peer<RoleServer>) -> Ring {
        let (directories, scope, complain) =
            (server.directories.clone(), server.scope.clone(), server.complain.clone());
        let (peer, uri) = (peer.clone(), uri.to_owned());
        let (sender, begun) = watch::channel(None);
        let task = spawn_local(async move {
            let opened = Follower::at(&directories, scope, complain, subscribe).await;
            let mut follower = match opened {
                Ok(follower) => follower,
                Err(error) => {
                    sender.send_replace(Some(Err(error.to_string())));
                    return;
                }
            };
            sender.send_replace(Some(Ok(())));
            while follower.next().await.is_some() {
                let ring = ResourceUpdatedNotificationParam::new(&uri);
                if peer.notify_resource_updated(ring).await.is_err() {
                    return;
                }
            }
        });
        Ring { task: task.abort_handle(), begun }
    }
}

/// Rings for an address until it is unsubscribed. One that has ended, because the bus was lost, is begun anew.
pub(super) async fn subscribe(server: &Server, uri: &str, peer: &Peer<RoleServer>) -> Result<(), ErrorData> {
    let address = Address::parse(uri, &server.scope).ok_or_else(|| missing(uri))?;
    let Some(subscribe) = address.subscription(&server.scope) else { return Ok(()) };
    let mut begun = {
        let mut rings = server.rings.borrow_mut();
        rings.retain(|_, ring| !ring.task.is_finished());
        // Known before it has begun, so that it can be revoked, and two that come at once are one.
        let ring = rings.entry(uri.to_owned()).or_insert_with(|| Ring::begin(server, uri, subscribe, peer));
        ring.begun.clone()
    };
    match begun.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(Err(problem))) => Err(ErrorData::internal_error(problem.clone(), None)),
        // It has begun, or has been revoked before it had.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Ends that.
pub(super) fn unsubscribe(server: &Server, uri: &str) -> Result<(), ErrorData> {
    Address::parse(uri, &server.scope).ok_or_else(|| missing(uri))?;
    if let Some(ring) = server.rings.borrow_mut().remove(uri) {
        ring.task.abort();
    }
    Ok(())
}

/// The addresses that a listen stream gets of those that it asks for. The place from which they are listened to is that
/// of this moment: the stream is acknowledged before it is begun, and what is committed in between belongs to it.
pub(super) fn accept(server: &Server, uris: &[String]) -> Vec<String> {
    let accepted: Vec<_> = uris.iter().filter(|uri| Address::parse(uri, &server.scope).is_some()).cloned().collect();
    let now = newest(&server.directories).ok();
    server.listening.borrow_mut().push_back((accepted.clone(), now));
    accepted
}

/// Rings for the addresses of a listen stream until it is cancelled.
pub(super) async fn listen(server: &Server, stream: SubscriptionContext) -> Result<(), ErrorData> {
    let uris = stream.accepted().resource_subscriptions.clone().unwrap_or_default();
    let since = begun(server, &uris);
    // One that was asked for twice rings once.
    let uris: BTreeSet<_> = uris.into_iter().collect();
    let mut followers = JoinSet::new();
    for uri in uris {
        let subscription = Address::parse(&uri, &server.scope).and_then(|address| address.subscription(&server.scope));
        let Some(subscribe) = subscription else { continue };
        let subscribe = Subscribe { since, ..subscribe };
        let (directories, scope, complain) =
            (server.directories.clone(), server.scope.clone(), server.complain.clone());
        let sink = stream.sink().clone();
        followers.spawn_local(async move {
            let mut follower = Follower::at(&directories, scope, complain, subscribe).await?;
            while follower.next().await.is_some() {
                let ring = ResourceUpdatedNotification::new(ResourceUpdatedNotificationParam::new(&uri));
                if sink.send(ServerNotification::ResourceUpdatedNotification(ring)).await.is_err() {
                    break;
                }
            }
            Ok::<(), BusError>(())
        });
    }
    let failed = async {
        while let Some(ended) = followers.join_next().await {
            if let Ok(Err(error)) = ended {
                return error;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        () = stream.cancelled() => Ok(()),
        () = server.closing() => Ok(()),
        error = failed => Err(ErrorData::internal_error(error.to_string(), None)),
    }
}

/// The place from which a stream listens. Of two streams with the same addresses that begin at once, which is which makes
/// no difference.
fn begun(server: &Server, uris: &[String]) -> Option<EventId> {
    let mut listening = server.listening.borrow_mut();
    let at = listening.iter().position(|(accepted, _)| accepted == uris)?;
    listening.remove(at)?.1
}
