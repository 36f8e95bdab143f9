//! What an export is, how exports merge into an import, and which conflicts that raises
