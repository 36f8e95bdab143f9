//! Writes the CRDs to `crds/yaml`, one file each.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for crd in tombolo_crds::all() {
        let yaml = serde_norway::to_string(&crd)?;
        std::fs::write(folder.join(tombolo_crds::yaml_file(&crd)), yaml)?;
    }
    Ok(())
}
