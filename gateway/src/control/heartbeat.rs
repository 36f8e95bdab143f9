//! Says each second, by the replica's Lease, that it lives and what it can reach.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource};
use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior};

use super::store::{FIELD_MANAGER, Failure, request};
use super::{Control, PortsReport};
use crate::heartbeat::{Beat, INTERVAL, RefusedEndpoints};

/// Changes within this time are said by one beat.
const COALESCE: Duration = Duration::from_millis(20);

pub(super) async fn run(
    control: Arc<Control>,
    mut ports: watch::Receiver<PortsReport>,
) -> Result<(), Infallible> {
    let leases: Api<Lease> = Api::namespaced(control.client.clone(), &control.namespace);
    let drain = control.tasks.drain().clone();
    let Some(owner) = drain.run_until_cancelled(owner(&control)).await else {
        return Ok(());
    };

    let mut links = control.links.status();
    let mut ticks = time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut refused_endpoints = RefusedEndpoints::default();
    loop {
        let report = ports.borrow_and_update().clone();
        if report.closed {
            break;
        }
        let mut beat = Beat {
            listening: report.listening,
            refused: report.refused,
            refused_endpoints: refused_endpoints.observe(
                time::Instant::now().into_std(),
                control.world.snapshots().endpoints.load().refused(),
            ),
            ..Beat::default()
        };
        if !drain.is_cancelled() {
            let links = links.borrow_and_update();
            let linked = links.iter().filter(|(_, link)| link.is_connected());
            beat.linked = linked.map(|(cluster, _)| cluster.clone()).collect();
        }
        let lease = beat.lease(&control.replica, owner.clone(), Timestamp::now());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let sent = request(leases.patch(&control.replica, &params, &Patch::Apply(&lease))).await;
        tell(&mut failing, sent.err());

        let is_draining = drain.is_cancelled();
        tokio::select! {
            () = drain.cancelled(), if !is_draining => {}
            _ = ticks.tick() => {}
            _ = ports.changed() => time::sleep(COALESCE).await,
            _ = links.changed(), if !is_draining => time::sleep(COALESCE).await,
        }
    }
    // It has said that it leaves; this spares the operator the wait for its silence.
    let deleted = request(leases.delete(&control.replica, &DeleteParams::default())).await;
    tell(&mut failing, deleted.err());
    Ok(())
}

// The Lease goes with the Pod, even if this process has no time to delete it.
async fn owner(control: &Control) -> OwnerReference {
    let pods: Api<Pod> = Api::namespaced(control.client.clone(), &control.namespace);
    let mut failing = false;
    loop {
        let error = match request(pods.get(&control.replica)).await {
            Ok(pod) => match pod.owner_ref(&()) {
                Some(owner) => return owner,
                None => continue,
            },
            Err(error) => error,
        };
        tell(&mut failing, Some(error));
        time::sleep(INTERVAL).await;
    }
}

fn tell(failing: &mut bool, error: Option<Failure>) {
    match error {
        Some(error) if !std::mem::replace(failing, true) => {
            tracing::info!(%error, "heartbeat fails");
        }
        None if std::mem::take(failing) => tracing::info!("heartbeat succeeds again"),
        Some(_) | None => {}
    }
}
