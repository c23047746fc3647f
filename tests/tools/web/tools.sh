# Tools of others for components of `wasi:http`, in the versions of this folder. What a component needs is
# installed below the target folder when it is built, once for all components.
#
# | function | what is there then |
# | --- | --- |
# | `javascript` | `$web/javascript/node_modules`: componentize-js, jco, Spin's tools and package |
# | `python` | `$web/python/bin`: componentize-py, wasm-tools |
# | `spin_python` | `$web/spin/spin_sdk`: Spin's SDK for Python, with the WIT of WASI in `wit` |

pins=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
web=${CARGO_TARGET_DIR:?}/tools/web

# Makes the folder $1 by the function $2 unless it was made by the very file of pins $3.
installed() {
  local folder=$web/$1 pinned=$pins/$3
  cmp -s "$pinned" "$folder/pins" && return
  rm -rf "$folder"
  mkdir -p "$folder"
  "$2" "$folder" "$pinned"
  # Last: a folder without it is not whole.
  cp "$pinned" "$folder/pins"
}

javascript() { installed javascript packages_of_npm package-lock.json; }
packages_of_npm() {
  cp "$pins/package.json" "$2" "$1"
  npm ci --prefix "$1" --silent --ignore-scripts --no-audit --no-fund
}

python() { installed python environment_of_python python.txt; }
environment_of_python() {
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$2"
}

# Beside the environment and not in it: componentize-py takes the worlds of all packages that it finds there.
spin_python() { python && installed spin package_of_spin spin-python.txt; }
package_of_spin() {
  "$web/python/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --no-deps --target "$1" -r "$2"
}

# Ends the script when the component $1 was made of these very files: those of the folder that it runs in, the script,
# and the pins.
unless_changed() {
  key=$1.key
  sum=$(cat ../build "$pins"/* $(find . -type f | sort) | sha256sum)
  [ -f "$1" ] && [ "$(cat "$key" 2>/dev/null)" = "$sum" ] && exit
  rm -f "$1"
}

# Notes of what the component $1 was made.
is_made() { printf '%s\n' "$sum" >"$1.key"; }

# A folder of WIT with the world `web`, which is `proxy` of `wasi:http` in the version that StarlingMonkey has. jco's
# package has it in a later patch with the same types.
wit_of_javascript() {
  local from=$web/javascript/node_modules/@bytecodealliance/jco/lib/wit/builtin/0.2.12
  rm -rf "$1"
  mkdir -p "$1"
  cp -r "$from" "$1/deps"
  find "$1" -name '*.wit' -exec sed -i 's/@0\.2\.12\b/@0.2.10/g' {} +
  printf 'package test:web;\nworld web { include wasi:http/proxy@0.2.10; }\n' >"$1/world.wit"
}
