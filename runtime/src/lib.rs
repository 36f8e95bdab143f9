//! What every Tombolo program needs: flags, logs, admin server, leases, tasks, drain
