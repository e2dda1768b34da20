# Shorthand: .ci/run and .ci/tools say what they do.

# The steps of .ci/run.
list:
    @.ci/run list

# All checks, or the named steps: `just check`, `just check clippy test`.
check *steps:
    .ci/run {{steps}}

fmt:
    cargo fmt --all

# Programs of etcd and Kubernetes that the judged suites run against.
tools *sets:
    .ci/tools {{sets}}
