# Shorthand: .ci/run and .ci/tools say what they do.

# All checks, or the named steps: `just`, `just check clippy test`.
check *steps:
    .ci/run {{steps}}

fmt:
    cargo fmt --all

# Programs of etcd and Kubernetes that the judged suites run against.
tools *sets:
    .ci/tools {{sets}}
