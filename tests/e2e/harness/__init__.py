"""What the end-to-end tests share: real processes, real clients, recorded histories.

cluster   starts, stops, kills and watches nodes (raftkvd, or etcd to check the tests themselves)
links     TCP proxies in the place of peer links, which a test can cut
client    a small gRPC client on python3-etcd3's generated stubs, for many threads
http      REST through http.client, and through the curl program
history   records what clients did and decides whether it was linearizable
workload  threads that write and read while a test breaks things

Environment:
  RAFTKV_BIN_DIR    where raftkvd, raftkvctl and raftkv-dump are (default: build/release/bin)
  RAFTKV_E2E_LOGS   where logs of failed tests are kept (default: build/e2e-logs)
  RAFTKV_E2E_KEEP   1: keep the data directories of failed tests too
  RAFTKV_E2E_ETCD   path of an etcd binary: run it in place of raftkvd. Tests of what only raftkv
                    has are skipped; the others show that they expect what etcd does.
  RAFTKV_SEED       run only this seed of the crash test
"""
