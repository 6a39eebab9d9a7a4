//! The kernel's word that the log has grown, for a reader that may not use sockets: every writer touches
//! `<state>/wake` after its commit, and this watches the directory for that.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A watch on one state directory.
#[derive(Debug)]
pub struct WakeWatch {
    _watcher: RecommendedWatcher,
    touched: Arc<Notify>,
}

impl WakeWatch {
    /// Starts to watch. What is touched from now on is not missed.
    pub fn start(state_dir: &Path, wake_file: &OsStr) -> notify::Result<WakeWatch> {
        let touched = Arc::new(Notify::new());
        let (bell, wanted) = (Arc::clone(&touched), wake_file.to_owned());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error means that events may be missing, so it counts as one.
            let concerns = event.is_ok_and(|event| {
                matches!(event.kind, EventKind::Access(_))
                    || (!event.need_rescan() && !event.paths.iter().any(|path| path.file_name() == Some(&*wanted)))
            });
            if !concerns {
                bell.notify_one();
            }
        })?;
        watcher.watch(state_dir, RecursiveMode::NonRecursive)?;
        Ok(WakeWatch { _watcher: watcher, touched })
    }

    /// Waits for the next touch, and takes all that have come together.
    pub async fn touched(&self) {
        self.touched.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[tokio::test]
    async fn a_touch_is_seen_and_another_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let watch = WakeWatch::start(directory.path(), OsStr::new("wake")).unwrap();
        let wake = File::create(directory.path().join("wake")).unwrap();
        watch.touched().await;
        wake.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        watch.touched().await;
    }
}
