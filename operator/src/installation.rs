//! The CRDs: installed by every replica before it waits for them.
//!
//! They are not in the Helm chart, as Helm would neither upgrade them nor see that another MCS
//! implementation brought newer ones. Nor are they the leader's business alone: in an upgrade that
//! brings one more, the leader is of the version that does not know it, and stays until a replica
//! of the new version is ready.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use tombolo_crds::install::{Decision, Kept, decide, served};
use tombolo_crds::mcs;

use crate::leadership::Leadership;
use crate::mcs::McsVersion;
use crate::plan::ownership::FIELD_MANAGER;

/// Between two looks at CRDs that are not there yet: the API server takes about as long to serve
/// one.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(2);
/// The HTTP status of a write that came after another's.
const CONFLICT: u16 = 409;

/// Installs and upgrades the CRDs: at the start, and each time that this replica becomes the
/// leader, as they may have been deleted.
pub async fn run(client: Client, mut leadership: Leadership) {
    let api = Api::all(client);
    loop {
        while let Err(error) = install(&api).await {
            tracing::info!(%error, "CRDs not installed, trying again");
            tokio::time::sleep(RETRY).await;
        }
        leadership.becomes(false).await;
        leadership.becomes(true).await;
    }
}

/// Waits until all CRDs are served, and tells in which version the MCS-API is.
pub async fn wait(client: Client) -> McsVersion {
    let api = Api::all(client);
    let mut told = false;
    loop {
        match look(&api).await {
            Ok(Some(version)) => return version,
            Ok(None) => {}
            Err(error) if !told => {
                tracing::info!(%error, "waiting for the CRDs");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn install(api: &Api<CustomResourceDefinition>) -> Result<(), kube::Error> {
    for ours in tombolo_crds::all() {
        while !settle(api, &ours).await? {}
    }
    Ok(())
}

/// Whether the CRD is as it should be: not if another wrote it at the same time, as it is that one
/// then of which it has to be decided whether it is older.
async fn settle(
    api: &Api<CustomResourceDefinition>,
    ours: &CustomResourceDefinition,
) -> Result<bool, kube::Error> {
    let name = ours.name_any();
    let existing = api.get_opt(&name).await?;
    let written = match decide(existing.as_ref(), ours) {
        Decision::Create => {
            tracing::info!(crd = name, "creating");
            api.create(&PostParams::default(), ours).await
        }
        Decision::Upgrade => {
            tracing::info!(crd = name, "upgrading");
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let upgraded = upgrade(existing.as_ref(), ours);
            api.patch(&name, &params, &Patch::Apply(&upgraded)).await
        }
        Decision::Keep(Kept::Same) => return Ok(true),
        Decision::Keep(kept) => {
            tracing::info!(crd = name, reason = kept.reason(), "left as it is: {kept}");
            return Ok(true);
        }
    };
    match written {
        Ok(_) => Ok(true),
        // Both words for it: that there is one, and that there is another by now.
        Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ours, to be written only over what was decided about: a newer one that has come meanwhile must
/// stay.
fn upgrade(
    existing: Option<&CustomResourceDefinition>,
    ours: &CustomResourceDefinition,
) -> CustomResourceDefinition {
    let mut upgraded = ours.clone();
    upgraded.metadata.resource_version = existing.and_then(ResourceExt::resource_version);
    upgraded
}

async fn look(api: &Api<CustomResourceDefinition>) -> Result<Option<McsVersion>, kube::Error> {
    let mut mcs = Vec::new();
    for ours in tombolo_crds::all() {
        let Some(found) = api.get_opt(&ours.name_any()).await? else {
            return Ok(None);
        };
        if !is_established(&found) {
            return Ok(None);
        }
        if found.spec.group == mcs::GROUP {
            mcs.push(found);
        }
    }
    Ok(common_version(&mcs))
}

/// The best version in which all of these are served.
fn common_version(crds: &[CustomResourceDefinition]) -> Option<McsVersion> {
    let is_common = |name: &&&str| crds.iter().all(|crd| served(crd, &[**name]).is_some());
    let name = mcs::VERSIONS.iter().find(is_common)?;
    McsVersion::from_name(name)
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| c.type_ == "Established" && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which the API server refuses if another has written it since.
    #[test]
    fn an_upgrade_is_of_the_very_object_that_was_found_to_be_older() {
        let [ours, ..] = &tombolo_crds::all()[..] else {
            panic!("no CRDs");
        };
        let mut found = ours.clone();
        found.metadata.resource_version = Some("7".to_owned());

        let upgraded = upgrade(Some(&found), ours);

        assert_eq!(upgraded.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(upgraded.spec, ours.spec);
    }

    #[test]
    fn both_kinds_must_be_served_in_one_version() {
        let crds = tombolo_crds::all();
        let mut mcs: Vec<_> = crds
            .into_iter()
            .filter(|crd| crd.spec.group == mcs::GROUP)
            .collect();
        assert_eq!(common_version(&mcs), Some(McsVersion::V1Beta1));

        mcs[0]
            .spec
            .versions
            .retain(|version| version.name == "v1alpha1");
        assert_eq!(common_version(&mcs), Some(McsVersion::V1Alpha1));

        mcs[1]
            .spec
            .versions
            .retain(|version| version.name == "v1beta1");
        assert_eq!(common_version(&mcs), None);
    }
}
