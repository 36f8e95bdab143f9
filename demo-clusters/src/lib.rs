//! Real clusters on one machine: the demo, the end-to-end tests and the benchmarks
