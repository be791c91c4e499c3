"""Servers that Debian packages, installed by apt without letting a package start its own."""

import os
import shutil
import subprocess
import sys

from dev.server import ServerError

INSTALL = r"""
set -e
package="$1"
policy="${POLICY:-/usr/sbin/policy-rc.d}"
if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
install="apt-get install -y -q --no-install-recommends $package"
$install || { apt-get update -q || true; $install; }
if [ -d /run/systemd/system ]; then systemctl disable "$package" || true; fi
"""
"""Run as root, with the package's name, which is also its service's. A policy-rc.d that says 101 keeps the package from
starting its own server on the usual port; one that is there already stays as it is, since it is the administrator's."""


def install(name: str, package: str, otherwise: str) -> None:
    """Install a package, without letting it start its own server.

    name: of the server, for people. otherwise: the sentence that says what else they can do. Raises ServerError with it
    when this machine has no apt, this user is not root and has no sudo, or apt fails.
    """
    become_root = _become_root()
    if not shutil.which("apt-get") or become_root is None:
        raise ServerError(otherwise)
    print(f"{name} is not installed: installing it by apt-get, which takes a minute ...", flush=True)
    answer = subprocess.run(
        [*become_root, "sh", "-c", INSTALL, "sh", package],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if answer.returncode:
        end = "\n".join(answer.stdout.splitlines()[-10:])
        raise ServerError(f"{name}: apt-get could not install it (exit code {answer.returncode}). {otherwise}\n{end}")


def _become_root() -> list[str] | None:
    """Return what must stand before a command to run it as root; None when that cannot be."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if not sudo:
        return None
    if sys.stdin.isatty():
        return [sudo]  # it may ask for the password
    works = subprocess.run([sudo, "-n", "true"], check=False, capture_output=True).returncode == 0
    return [sudo, "-n"] if works else None
