#!/usr/bin/env python3
"""Compares the public API of the engine with docs/public-api.txt.

Reads what `cargo doc --no-deps --all-features` has written. `.ci/public_api.py --write` accepts
the API as it is.
"""
import difflib
import html
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "public-api.txt"


def text(markup):
    """The text of a piece of a page, in one line."""
    plain = html.unescape(re.sub(r"<[^>]*>", "", markup.replace("<br>", " ")))
    return " ".join(plain.replace("\N{SECTION SIGN}", "").split())


def declaration(page):
    """The declaration with its public fields or variants, without their documentation."""
    found = re.search(r'<pre class="rust item-decl"><code>(.*?)</code></pre>', page, re.S)
    return text(re.sub(r"/\*.*?\*/", "", found[1], flags=re.S)) if found else ""


def members(page):
    """Methods and variants of the type itself, and the traits that it implements by design."""
    lines = [f"    {text(found)}" for found in re.findall(r'<h4 class="code-header">(pub .*?)</h4>', page, re.S)]
    by_design = page.split('id="synthetic-implementations"')[0]
    headers = map(text, re.findall(r'<h3 class="code-header">(.*?)</h3>', by_design, re.S))
    return lines + sorted({f"    {header}" for header in headers if " for " in header and "StructuralPartialEq" not in header})


def api(folder):
    pages = re.findall(r'href="([^"]*\.html)"', (folder / "all.html").read_text().split("<main>")[-1])
    for name in sorted({name for name in pages if not name.startswith("..")}):
        page = (folder / name).read_text()
        declared = declaration(page)
        if declared:
            path = name.removesuffix(".html").replace("/", "::")
            yield "\n".join([f"{path}: {declared}", *members(page)])


def main():
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True
    )
    folder = pathlib.Path(json.loads(metadata.stdout)["target_directory"]) / "doc" / "mnemocore"
    now = "\n\n".join(api(folder)) + "\n"
    if sys.argv[1:] == ["--write"]:
        KEPT.write_text(now)
        return
    kept = KEPT.read_text()
    if now != kept:
        sys.stdout.writelines(difflib.unified_diff(kept.splitlines(True), now.splitlines(True), "kept", "now"))
        sys.exit("the public API has changed; if that is meant: .ci/public_api.py --write, and a line in CHANGELOG.md")


if __name__ == "__main__":
    main()
