//! The CRDs: installed by the leader, waited for by every replica.
//!
//! They are not in the Helm chart, as Helm would neither upgrade them nor see that another MCS
//! implementation brought newer ones.

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

/// Installs and upgrades the CRDs each time that this replica becomes the leader: the one before
/// may have been of another version.
pub async fn run(client: Client, mut leadership: Leadership) {
    let api = Api::all(client);
    loop {
        leadership.becomes(true).await;
        while let Err(error) = install(&api, &leadership).await {
            tracing::info!(%error, "CRDs not installed, trying again");
            tokio::time::sleep(RETRY).await;
        }
        leadership.becomes(false).await;
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

async fn install(
    api: &Api<CustomResourceDefinition>,
    leadership: &Leadership,
) -> Result<(), kube::Error> {
    for ours in tombolo_crds::all() {
        let name = ours.name_any();
        let existing = api.get_opt(&name).await?;
        let decision = decide(existing.as_ref(), &ours);
        if !leadership.is_held() {
            return Ok(());
        }
        match decision {
            Decision::Create => {
                tracing::info!(crd = name, "creating");
                match api.create(&PostParams::default(), &ours).await {
                    Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                    created => drop(created?),
                }
            }
            Decision::Upgrade => {
                tracing::info!(crd = name, "upgrading");
                let params = PatchParams::apply(FIELD_MANAGER).force();
                api.patch(&name, &params, &Patch::Apply(&ours)).await?;
            }
            Decision::Keep(Kept::Same) => {}
            Decision::Keep(kept) => {
                tracing::info!(crd = name, reason = kept.reason(), "left as it is: {kept}");
            }
        }
    }
    Ok(())
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
