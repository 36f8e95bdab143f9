//! Tells the links what this cluster exports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::{sync::watch, time};
use tombolo_catalog::ServiceName;
use tombolo_link::CatalogSnapshot;
use tombolo_runtime::watch::Origin;

use super::Control;

/// Changes within this time are told together.
const COALESCE: Duration = Duration::from_millis(2);

pub(super) async fn run(
    control: Arc<Control>,
    catalog: watch::Sender<Option<Arc<CatalogSnapshot>>>,
) {
    let mut changes = control.world.changes();
    let mut health = control.watches.exports.health_changes();
    let mut version = None;
    loop {
        // A saved state may be older than what a sibling has told since: the peers keep what they
        // know until the API server has answered.
        let complete = control.watches.exports.health().origin() == Some(Origin::Api);
        let newest = control.world.exports.lock().version();
        if complete && version.replace(newest) != Some(newest) {
            publish(&control, &catalog);
        }
        let more = tokio::select! {
            more = changes.changed() => more,
            more = health.changed() => more,
        };
        if more.is_err() {
            return;
        }
        time::sleep(COALESCE).await;
    }
}

fn publish(control: &Control, catalog: &watch::Sender<Option<Arc<CatalogSnapshot>>>) {
    let exports: BTreeMap<_, _> = control
        .world
        .exports
        .lock()
        .objects()
        .values()
        .filter(|export| export.cluster == control.links.cluster())
        .map(|export| (ServiceName::from(&**export), Arc::clone(export)))
        .collect();
    catalog.send_if_modified(|current| {
        let (revision, same) = match current {
            Some(current) => (current.revision + 1, current.exports == exports),
            None => (1, false),
        };
        if !same {
            *current = Some(Arc::new(CatalogSnapshot { revision, exports }));
        }
        !same
    });
}
