//! Whether other clusters get all of an export that its Service asks for.

use tombolo_catalog::proxy_protocol;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::well_known::{PROXY_PROTOCOL_ANNOTATION, PROXY_PROTOCOL_V2};

use super::conditions::{Status, Wanted};
use super::slices::gateways::is_carried;
use super::view::View;

/// A condition of Tombolo's own: those of the MCS-API have no place for it, since the export is
/// valid.
pub(super) const CONDITION: &str = "tombolo.io/Carried";

pub(super) fn condition(view: &View, exported: Option<&ClusterExportSpec>) -> Wanted {
    let Some(exported) = exported else {
        return Wanted::new(CONDITION, Status::True, "NothingExported", "");
    };
    let ports = exported.ports.iter();
    let not_carried: Vec<_> = ports
        .filter(|port| !is_carried(&port.protocol))
        .map(|port| format!("{}/{}", port.port, port.protocol))
        .collect();
    let service = view.service.as_deref();
    let refused = service.and_then(|service| proxy_protocol(service).err());
    let annotation = refused.map(|asked| {
        let asked: String = asked.chars().take(32).collect();
        format!(
            "{PROXY_PROTOCOL_ANNOTATION} is {asked:?}, which is no version of it that gateways \
             write: {PROXY_PROTOCOL_V2} is. Connections begin without a header"
        )
    });
    match (not_carried.is_empty(), annotation) {
        (true, None) => Wanted::new(CONDITION, Status::True, "Carried", ""),
        (true, Some(annotation)) => {
            Wanted::new(CONDITION, Status::False, "InvalidAnnotation", annotation)
        }
        (false, annotation) => {
            let mut message = format!(
                "Gateways carry TCP and UDP. Other clusters see these ports and cannot use them: {}",
                not_carried.join(", ")
            );
            if let Some(annotation) = annotation {
                message = format!("{message}. {annotation}");
            }
            Wanted::new(CONDITION, Status::False, "ProtocolNotCarried", message)
        }
    }
}
