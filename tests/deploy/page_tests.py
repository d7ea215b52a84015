"""The pages about moving in: what they tell to type is taken, and the configurations they show place keys as they say."""

import json
import os
import pathlib
import re
import shlex
import tempfile

import tomllib
import yaml
from pymemcache.client.hash import HashClient

from chart_tests import MCROUTER
from harness import CHART, ROOT, run, test
from processes import RINGROAD, check

PAGES = sorted((ROOT / "src/docs").glob("moving_*.md"))
README = ROOT / "README.md"
# Charts of others, which are not here.
FOREIGN_CHARTS = ("bitnami/",)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def commands(page, program):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.split()[0] == program]


@test()
def each_page_is_part_of_the_documentation():
    names = {page.name for page in PAGES}
    assert names == {f"moving_{name}.md" for name in ("bitnami", "clients", "mcrouter", "twemproxy")}
    library = (ROOT / "src/lib.rs").read_text()
    assert all(f'include_str!("docs/{name}")' in library for name in names)


@test(*((page.stem, page) for page in PAGES if blocks(page, "toml")))
def configurations_are_right(page):
    for block in blocks(page, "toml"):
        done = check(block)
        assert done.returncode == 0, done.stdout + done.stderr


@test(*((page.stem, page) for page in PAGES if commands(page, "ringroad")))
def ringroad_takes_the_commands(page):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "ringroad.toml").write_text(blocks(page, "toml")[0])
        for command in commands(page, "ringroad"):
            done = run(RINGROAD, *shlex.split(command)[1:], cwd=directory)
            assert done.returncode == 0 and done.stdout, command + done.stderr


@test(*((page.stem, page) for page in [*PAGES, README] if commands(page, "helm")))
def helm_takes_the_commands(page):
    """As `helm template`, which needs no cluster and takes the same arguments; and kubectl is asked for what they make."""
    there, tried = set(), 0
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "config.json").write_text(MCROUTER)
        os.symlink(ROOT / "deploy", pathlib.Path(directory, "deploy"))
        for command in commands(page, "helm"):
            words = shlex.split(command)
            if words[1] not in ("install", "upgrade"):
                continue
            if words[3].startswith(FOREIGN_CHARTS):
                continue
            assert ROOT / words[3] == CHART, command
            done = run("helm", "template", *words[2:], cwd=directory)
            assert done.returncode == 0, command + done.stderr
            tried += 1
            there |= {f"{d['kind'].lower()}/{d['metadata']['name']}" for d in yaml.safe_load_all(done.stdout) if d}
            there.add(words[2])
        if any("deploy/examples" in command for command in commands(page, "kubectl")):
            for file in (ROOT / "deploy/examples").glob("*.yaml"):
                documents = [d for d in yaml.safe_load_all(file.read_text()) if d and "metadata" in d]
                there |= {f"{d['kind'].lower()}/{d['metadata']['name']}" for d in documents}
        for command in commands(page, "helm"):
            words = shlex.split(command)
            assert words[1] != "test" or words[2] in there, command
        for command in commands(page, "kubectl"):
            for named in re.findall(r"\b(?:daemonset|statefulset|deployment|job)/[a-z]\S*", command):
                assert named in there, command
    assert tried


@test()
def the_values_that_the_mcrouter_page_names_are_there():
    text = next(page for page in PAGES if page.stem == "moving_mcrouter").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = re.findall(r"^\| `[^|]+ \| `([a-zA-Z.]+)[`:][^|]*\|$", text, re.M)
    assert len(rows) == 7, rows
    for row in rows:
        found = values
        for part in row.split("."):
            assert part in found, row
            found = found[part]


@test()
def the_twemproxy_page_translates_what_it_shows():
    page = next(page for page in PAGES if page.stem == "moving_twemproxy")
    (name, theirs), = yaml.safe_load(blocks(page, "yaml")[0]).items()
    ours = tomllib.loads(blocks(page, "toml")[0])
    assert ours["listen"] == [theirs["listen"]]
    pool = ours["pools"][name]
    assert pool["distribution"] == f"{theirs['distribution']}_twemproxy"
    assert (pool["hash"], pool["hash_tag"], pool["connections"]) == (theirs["hash"], theirs["hash_tag"], theirs["server_connections"])
    assert pool["timeout"] == pool["connect_timeout"] == f"{theirs['timeout']}ms"
    assert pool["tko"] == {"after": theirs["server_failure_limit"], "probe_min": f"{theirs['server_retry_timeout'] // 1000}s"}
    for server, written in zip(pool["servers"], theirs["servers"], strict=True):
        address, _, called = written.partition(" ")
        assert f"{server['addr']}:{server['weight']}" == address and server.get("name", "") == called


@test()
def the_clients_page_places_keys_as_pymemcache_does():
    page = next(page for page in PAGES if page.stem == "moving_clients")
    client = re.search(r"HashClient\((\[.*\])\)", blocks(page, "python")[0])[1]
    client = HashClient(json.loads(client))
    keys = [f"user:{number}" for number in range(200)]
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "ringroad.toml")
        file.write_text(blocks(page, "toml")[0])
        done = run(RINGROAD, "explain", "--config", file, "--json", *keys)
    owners = {entry["key"]: entry["pools"][0]["owner"]["addr"] for entry in json.loads(done.stdout)}
    assert owners == {key: client.hasher.get_node(key) for key in keys}
    assert len(set(owners.values())) == 3
