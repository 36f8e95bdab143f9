//! Question and snapshot in, DNS answer out
