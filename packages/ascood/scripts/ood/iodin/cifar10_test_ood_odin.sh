#!/usr/bin/env bash
# The name of the published program; the document calls it cifar10_test_ood_iodin.sh.
exec bash "$(dirname "$0")/cifar10_test_ood_iodin.sh" "$@"
