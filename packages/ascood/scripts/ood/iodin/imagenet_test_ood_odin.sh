#!/usr/bin/env bash
# The name of the published program; the document calls it imagenet_test_ood_iodin.sh.
exec bash "$(dirname "$0")/imagenet_test_ood_iodin.sh" "$@"
