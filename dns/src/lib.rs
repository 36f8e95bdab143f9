//! The resolver of clusterset.local
