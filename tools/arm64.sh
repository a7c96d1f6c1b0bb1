# tools/arm64.sh: an lrun for arm64, built on a machine of another kind by Debian's cross compiler and tried under qemu-user. `./dev`
# reads it for `./dev test arm64`; it needs the functions and variables of that script.
#
# What the compiler links, and the libraries and modules that lrun opens, come from Debian's packages for arm64. They are unpacked
# into build-arm64/sysroot by an apt of its own, with its own lists: the system's packages stay as they are, for not all of these
# can be installed for two architectures at once. Programs of lrun start others of lrun's, so that the kernel must know what runs a
# file for arm64: it is told so in a namespace of its own (Linux 6.7), and the rest of the system sees nothing of it. Where that
# cannot be, specs that start nothing are run.
# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of dev

packages_arm64='cmake ninja-build pkg-config gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static curl=curl openssl=openssl
  ps=procps'
packages_arm64_sysroot='libc6-dev libluajit-5.1-dev libuv1-dev lua-luv-dev lua-cjson-dev libedit-dev libncurses-dev libssl-dev
  liblmdb-dev zlib1g-dev libbrotli1 libzstd1 libidn2-0 lua-busted lua-filesystem lua-lpeg'

# Specs that start no other lrun, for where none can be started.
arm64_alone='^(await|errors|events|stream/stream|url/url|crypto/(cipher|hash|keys|sign)|json/json|http/server|os|path|timers|zlib/zlib)$'
# Left out: what qemu-user does not have or tells of itself. It keeps no list of robust mutexes, so that a lock dies with its owner
# (shared/cluster); /proc shows its own memory, title and threads (host/cli, host/process, http/steady, manager/state,
# manager/survival, process/orphan); it knows no limits of memory and not every socket option (process/launch, net/dgram). A user
# namespace has one user (fs/attributes, process/launch). And a peer or a library is not there for arm64 (handoff/faults, host/modules,
# io/output).
arm64_without='^(fs/attributes|handoff/faults|host/(cli|modules|process)|http/steady|io/output|manager/(state|survival)|net/dgram|'
arm64_without=$arm64_without'process/(launch|orphan)|shared/cluster)$'

arm64_skip() {
  say "test arm64: skipped: $*"
  exit 0
}

# apt for arm64 with lists, status and packages of its own.
arm64_apt() {
  APT_CONFIG=$build-arm64/apt/conf "$@"
}

arm64_write_apt() {
  mkdir -p "$build-arm64/apt/lists/partial" "$build-arm64/apt/archives/partial"
  : >"$build-arm64/apt/status"
  cat >"$build-arm64/apt/conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::State "$build-arm64/apt";
Dir::State::status "$build-arm64/apt/status";
Dir::State::lists "$build-arm64/apt/lists";
Dir::Cache "$build-arm64/apt";
Dir::Cache::archives "$build-arm64/apt/archives";
CONF
}

arm64_download() {
  arm64_apt apt-get update -qq || return 1
  # shellcheck disable=SC2086 # a list of words
  arm64_apt apt-get install -y -qq --download-only $packages_arm64_sysroot || return 1
  if arm64_apt apt-cache policy libllhttp-dev | grep -q 'Candidate: [^(]'; then
    arm64_apt apt-get install -y -qq --download-only libllhttp-dev
  else # Node's own source, without Node
    (cd "$build-arm64/apt/archives" && arm64_apt apt-get download -qq node-llhttp)
  fi
}

arm64_sysroot() {
  [ ! -e "$build-arm64/sysroot/.complete" ] || return 0
  rm -rf "$build-arm64/sysroot"
  mkdir -p "$build-arm64/sysroot"
  say 'fetching the libraries for arm64'
  arm64_write_apt
  arm64_download </dev/null >"$build-arm64/apt/log" 2>&1 || {
    tail -n 3 "$build-arm64/apt/log" >&2
    arm64_skip "Debian's packages for arm64 cannot be had here"
  }
  for package in "$build-arm64"/apt/archives/*.deb; do dpkg -x "$package" "$build-arm64/sysroot"; done
  rm -rf "$build-arm64/apt/archives"
  : >"$build-arm64/sysroot/.complete"
}

# The program finds its loader and libraries in the sysroot by itself, whatever environment it is started with.
arm64_write_toolchain() {
  sysroot=$build-arm64/sysroot
  libraries=$sysroot/lib/aarch64-linux-gnu:$sysroot/usr/lib/aarch64-linux-gnu
  cat >"$build-arm64/toolchain.cmake" <<TOOLCHAIN
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_SYSROOT "$sysroot")
set(CMAKE_FIND_ROOT_PATH "$sysroot")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64-static;-L;$sysroot")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--dynamic-linker=$sysroot/lib/ld-linux-aarch64.so.1 -Wl,-rpath,$libraries")
TOOLCHAIN
}

# arm64_inside COMMAND...: runs it where the kernel starts programs for arm64.
arm64_inside() {
  # shellcheck disable=SC2016 # the inner shell's
  QEMU_LD_PREFIX=$build-arm64/sysroot unshare --user --map-root-user --mount sh -c '
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 70
    magic="\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00"
    mask="\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"
    printf ":lrun-arm64:M::%s:%s:%s:F" "$magic" "$mask" "$(command -v qemu-aarch64-static)" >/proc/sys/fs/binfmt_misc/register || exit 71
    exec "$@"' sh "$@"
}

arm64_test() {
  if [ "$(uname -m)" = aarch64 ]; then
    say 'this machine is arm64: ./dev test'
    exit 0
  fi
  command -v apt-get >/dev/null 2>&1 || arm64_skip 'there is no apt-get to fetch the libraries for arm64'
  # shellcheck disable=SC2086 # a list of words
  (need $packages_arm64) || arm64_skip 'the cross compiler or qemu-user cannot be had here'
  mkdir -p "$build-arm64"
  arm64_sysroot
  arm64_write_toolchain
  compile "$build-arm64" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_TOOLCHAIN_FILE=$build-arm64/toolchain.cmake"
  say "built ${dir#"$root"/}/lrun"
  inside=arm64_inside
  if ! arm64_inside "$dir/lrun" -e '' 2>/dev/null </dev/null; then
    inside=
    say 'no lrun can start another under qemu-user here (it takes Linux 6.7 and user namespaces): specs that need none'
    [ -n "${1:-}" ] || set -- "$arm64_alone"
  fi
  set -- --test-dir "$dir" --output-on-failure --no-tests=error -j "$(processors)" -LE interop -E "$arm64_without" ${1:+-R "$1"}
  $inside ctest "$@" </dev/null
}
