//! Benchmarks: throughput, latency, idle cost, sockets.
