//! What the TrafficPolicies say of each import.

use std::collections::HashMap;
use std::sync::Arc;

use tombolo_catalog::{Policies, ServiceName, TrafficRules};

/// The rules of all imports at one moment.
#[derive(Debug, Default)]
pub struct Rulebook {
    rules: HashMap<ServiceName, Arc<TrafficRules>>,
    // What is said of an import that is not known yet.
    none: Arc<TrafficRules>,
}

// === impl Rulebook ===

impl Rulebook {
    /// Looks up the rules of all `imports`.
    pub fn build<'a>(
        policies: &Policies,
        imports: impl IntoIterator<Item = &'a ServiceName>,
    ) -> Self {
        let rules = imports
            .into_iter()
            .map(|import| (import.clone(), Arc::new(policies.rules(import))));
        Self {
            rules: rules.collect(),
            none: Arc::default(),
        }
    }

    /// The rules of an import.
    #[must_use]
    pub fn of(&self, import: &ServiceName) -> &Arc<TrafficRules> {
        self.rules.get(import).unwrap_or(&self.none)
    }
}
