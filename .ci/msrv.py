#!/usr/bin/env python3
"""Fails if a dependency needs a later Rust than Cargo.toml's `rust-version`.

That our own code keeps to it is clippy's to say (`incompatible_msrv`), and with
that very toolchain the workflow's. Crates that only development needs may ask for
more.
"""

import json
import subprocess
import sys


def version(text):
    return tuple(int(part) for part in text.split(".")[:2])


def main():
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--all-features"]
    metadata = json.loads(subprocess.check_output(command))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    members = metadata["workspace_members"]
    ours = packages[members[0]]["rust_version"]
    reached, waiting = set(), list(members)
    while waiting:
        node = waiting.pop()
        for dependency in nodes[node]["deps"]:
            shipped = any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
            if shipped and dependency["pkg"] not in reached:
                reached.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    late = [
        f"{package['name']} {package['version']} needs Rust {package['rust_version']}"
        for package in map(packages.get, sorted(reached))
        if package.get("rust_version") and version(package["rust_version"]) > version(ours)
    ]
    print(f"{len(reached)} dependencies, {len(late)} of which need a later Rust than {ours}")
    sys.exit("\n".join(late) or 0)


main()
