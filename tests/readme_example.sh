#!/bin/sh
# SPDX-License-Identifier: MIT
# Print the C program of the README.
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$(dirname "$0")/../README.md"
