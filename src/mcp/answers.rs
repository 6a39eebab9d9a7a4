//! What becomes of answers: whoever has to know whether the client was told asks here, and the transport says so once it
//! has written the line.
//!
//! The SDK drops the answer to a request that has been cancelled, and nobody hears of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{JsonRpcMessage, RequestId};
use rmcp::service::{RequestContext, RoleServer, TxJsonRpcMessage};
use tokio::sync::{oneshot, watch};

/// Those who ask, by the request.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<HashMap<RequestId, oneshot::Sender<()>>>>);

impl Answers {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<RequestId, oneshot::Sender<()>>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the answer to this request, which has not been given yet, gets written.
    pub(super) fn written(&self, context: &RequestContext<RoleServer>) -> impl Future<Output = bool> + use<> {
        let (answers, id, cancelled) = (self.clone(), context.id.clone(), context.ct.clone());
        let (sender, mut written) = oneshot::channel();
        self.with(|all| all.insert(id.clone(), sender));
        async move {
            tokio::select! {
                biased;
                written = &mut written => written.is_ok(),
                // The SDK cancels also what it is just about to write.
                () = cancelled.cancelled() => {
                    answers.with(|all| all.remove(&id)).is_none() && written.await.is_ok()
                }
            }
        }
    }

    /// Who is to be told when this message has been written. If it cannot be, they are dropped.
    pub(super) fn asking(&self, message: &TxJsonRpcMessage<RoleServer>) -> Option<oneshot::Sender<()>> {
        let id = match message {
            JsonRpcMessage::Response(response) => &response.id,
            JsonRpcMessage::Error(error) => error.id.as_ref()?,
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => return None,
        };
        self.with(|all| all.remove(id))
    }
}

/// How much of what was told still has to be written down.
#[derive(Clone)]
pub(super) struct Unsettled(watch::Sender<usize>);

/// Something that has to be, until it is dropped.
pub(super) struct Settling(watch::Sender<usize>);

impl Unsettled {
    pub(super) fn new() -> Unsettled {
        Unsettled(watch::Sender::new(0))
    }

    /// Something has to be written down.
    pub(super) fn begin(&self) -> Settling {
        self.0.send_modify(|count| *count += 1);
        Settling(self.0.clone())
    }

    /// Returns when everything has been, or has come to nothing.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + use<> {
        let mut count = self.0.subscribe();
        async move {
            // Without a sender there is nothing.
            let _ = count.wait_for(|count| *count == 0).await;
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
