#!/usr/bin/env bash
# The name of the published program; the document calls it cifar100_test_ood_iodin.sh.
exec bash "$(dirname "$0")/cifar100_test_ood_iodin.sh" "$@"
