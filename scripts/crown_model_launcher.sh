#!/bin/sh
# Starts GLM-4.1V; what it does and its variables are described in the script that is part of the package.
exec sh "$(dirname -- "$0")/../razar/data/crown_model_launcher.sh" "$@"
