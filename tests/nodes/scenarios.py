"""What happens to a cluster, under load, and what must hold meanwhile.

    python3 scenarios.py RINGROAD SCRATCH [SCENARIO]...      in the namespaces that run.sh has made
    python3 scenarios.py --list

Each scenario prints what the applications saw by phase: errors by kind, hit rate, the longest gap; and keys moved, how
long each node's ring took to follow. What must hold is checked, a line "ok" or "FAILED" each; the rest is for reading.
"""

import signal
import sys
import time

from cluster import NODES, Cluster, Failed, Router, eventually, get, node_name
from load import Load, errors, errors_text

KEYS = [f"key:{number}" for number in range(600)]
# A get that came before the phase may have been a miss, and what it missed is stored only now.
SERVED = ("hit", "STORED")
SCENARIOS = {}
results = {"passed": 0, "failed": 0, "skipped": 0}


def scenario(title):
    def add(function):
        SCENARIOS[function.__name__.replace("_", "-")] = (title, function)
        return function

    return add


# A machine that stands still for as long as ringroad waits for a server (1 s to connect) makes timeouts of its own: what
# fails then says nothing.
STILL = 0.9


def check(holds, text, timed=False):
    """What must hold; `timed` if it can't on a machine that stands still."""
    if holds:
        result, word = "passed", "ok"
    elif timed and Load.stood_still >= STILL:
        result, word = "skipped", f"skipped, because the whole machine stood still for {Load.stood_still:.1f} s"
    else:
        result, word = "failed", "FAILED"
    results[result] += 1
    print(f"   {word}: {text}", flush=True)


def seconds(took):
    return ", ".join(f"{node_name(node)} {time:.2f} s" for node, time in sorted(took.items()))


def print_followed(what, took):
    print(f"   ring followed {what} after: {seconds(took)}")


# --- what must hold -------------------------------------------------------------------------------------------------


def check_right_replies(load):
    wrong = [request for request in load.seen if request.outcome.startswith("WRONG")]
    check(not wrong, f"every reply was the one to its request ({len(load.seen)} requests)")


def check_no_error(load, phases, nodes=NODES):
    for phase in phases:
        requests = load.of(phase, nodes)
        check(requests and not errors(requests), f"{phase}: no error ({errors_text(requests)})", True)


def check_undisturbed(load, phases):
    """Everything is served, and everything is there."""
    for phase in phases:
        requests = load.of(phase)
        lost = [request for request in requests if request.outcome not in (*SERVED, "ok")]
        text = f"{phase}: {len(requests)} requests, all of them hits" + (f" but {lost}" if lost else "")
        check(requests and not lost, text, True)


def check_others_hit(load, phase, owners, but, nodes=NODES):
    """The keys of pods that nothing happened to are served as ever."""
    of_others = [r for r in load.of(phase, nodes) if r.what != "connect" and owners[r.key] not in but]
    lost = [request for request in of_others if request.outcome not in SERVED]
    text = f"{phase}: of {len(of_others)} requests for keys of the other pods none was missed or failed"
    check(of_others and not lost, text + (f" ({len(lost)}: {lost[0]})" if lost else ""), True)


def check_connects(load, phases):
    for phase in phases:
        of_phase = [request for request in load.of(phase) if request.what == "connect"]
        failed = [request for request in of_phase if request.outcome != "ok"]
        check(of_phase and not failed, f"{phase}: none of {len(of_phase)} connects failed ({errors_text(failed)})", True)


def check_moved(before, after, expected=0):
    moved = [key for key in before if after.get(key) != before[key]]
    text = f"keys moved: {len(moved)} of {len(before)} (expected {expected})"
    check(len(before) == len(after) == len(KEYS) and len(moved) == expected, text)


def check_same_ring(cluster, digest):
    check(cluster.digests() == digest, "every node has the same ring as before")


def stored(cluster, tag):
    """Stores every key and returns which pod has it."""
    cluster.fill(KEYS, tag)
    return cluster.owners(KEYS, tag)


def until_served(cluster):
    """Waits until every node stores every key. The seconds it took, by node."""
    keys = KEYS[::4]
    return {
        node: eventually(f"{node_name(node)} serves every key", lambda: cluster.serves(node, keys), 60)[1]
        for node in NODES
    }


# --- memcached ------------------------------------------------------------------------------------------------------


def rolling_restart(cluster):
    owners, digest = stored(cluster, "before"), cluster.digests()
    check(len(digest) == 1, "all nodes have the same ring")
    with Load(cluster, KEYS) as load:
        load.phase("before", 200)
        for name in sorted(cluster.pods, reverse=True):
            cluster.fill(KEYS, "again")
            load.phase(f"{name} restarts")
            cluster.show(*(other for other in cluster.pods if other != name))
            node = cluster.pods[name].node
            cluster.stop_memcached(name)
            cluster.start_memcached(name, node)
            cluster.show_all()
            print_followed(name, cluster.until_followed(60))
        cluster.fill(KEYS, "again")
        load.phase("after", 200)
    load.print()
    for name in cluster.pods:
        check_others_hit(load, f"{name} restarts", owners, [name])
    check_undisturbed(load, ["before", "after"])
    check_moved(owners, stored(cluster, "after"))
    check_same_ring(cluster, digest)
    check_right_replies(load)


@scenario("rolling restart of the memcached pods, at new addresses; records live 5 s")
def restart_ttl_5(cluster):
    cluster.dns.ttl = 5
    cluster.show_all()
    rolling_restart(cluster)


@scenario("rolling restart of the memcached pods, at new addresses; records live 30 s")
def restart_ttl_30(cluster):
    cluster.dns.ttl = 30
    cluster.show_all()
    # Routers that know answers for longer than 5 s, as those of any older cluster do.
    cluster.start_routers("hostport")
    rolling_restart(cluster)
    cluster.dns.ttl = 5
    cluster.show_all()
    cluster.start_routers("hostport")


@scenario("memcached from 3 pods to 5 and back to 3")
def scale(cluster):
    for router in cluster.routers.values():
        router.configure(cluster.mode, 'hold_top = "2s"')
    in_force = 'membership.hold_top = "2s"'
    eventually("the routers have read it", lambda: all(r.setting(in_force) for r in cluster.routers.values()))
    three = stored(cluster, "three")
    with Load(cluster, KEYS) as load:
        load.phase("3 pods", 200)
        for name, node in (("mc-3", 1), ("mc-4", 2)):
            cluster.start_memcached(name, node)
        load.phase("3 to 5 pods")
        cluster.show_all()
        print_followed("3 to 5", cluster.until_followed())
        load.phase("5 pods", 200)
        five = stored(cluster, "five")
        for name in ("mc-4", "mc-3"):
            load.phase(f"{name} leaves")
            cluster.show(*(other for other in cluster.pods if other != name))
            cluster.stop_memcached(name)
            print_followed(f"without {name}", cluster.until_followed(60))
        load.phase("3 pods again", 200)
    load.print()
    for before, after, expected in ((three, five, 2 / 5), (five, stored(cluster, "again"), 2 / 5)):
        moved = [key for key in before if after.get(key) != before[key]]
        swapped = [key for key in moved if before[key] in after.values() and after.get(key) in before.values()]
        share = len(moved) / len(KEYS)
        text = f"keys moved: {share:.1%} (expected {expected:.1%}, within 8 points), {len(swapped)} between pods that stay"
        check(abs(share - expected) <= 0.08 and not swapped, text)
    check_moved(three, stored(cluster, "three again"))
    check_undisturbed(load, ["3 pods"])
    check_no_error(load, ["3 to 5 pods", "5 pods", "3 pods again"])
    for phase in ("mc-4 leaves", "mc-3 leaves"):
        # What mc-4 had may be mc-3's for a while.
        requests = [r for r in load.of(phase) if r.what == "connect" or five[r.key] not in ("mc-3", "mc-4")]
        check(not errors(requests), f"{phase}: no error for keys of the other pods ({errors_text(requests)})", True)
    check_right_replies(load)
    for router in cluster.routers.values():
        router.configure(cluster.mode)


# --- the network ----------------------------------------------------------------------------------------------------


@scenario("loss of a node, with a memcached pod on it")
def node_loss(cluster):
    lost, left = 3, (1, 2)
    owners, digest = stored(cluster, "before"), cluster.digests()
    pod = cluster.pods["mc-2"]
    with Load(cluster, KEYS) as load:
        load.phase("before", 200)
        load.phase("node-3 is silent")
        cluster.lose_node(lost)
        load.more(600, left)
        # Its pod stays in DNS for about 50 s on a real cluster; all that is new then is that it is not there.
        load.phase("mc-2 not in DNS")
        cluster.show("mc-0", "mc-1")
        load.more(200, left)
        cluster.start_memcached("mc-2", 2)
        load.phase("mc-2 on node-2")
        cluster.show_all()
        print_followed("mc-2", cluster.until_followed(nodes=left))
        load.more(200, left)
        pod.delete()
        load.phase("node-3 is back")
        cluster.return_node(lost)
        print_followed("mc-2", cluster.until_followed(60, (lost,)))
        print(f"   every key served again after: {seconds(until_served(cluster))}")
        cluster.fill(KEYS, "again")
        load.phase("after", 200)
    load.print(left)
    load.print((lost,))
    for phase in ("node-3 is silent", "mc-2 not in DNS", "mc-2 on node-2"):
        check_others_hit(load, phase, owners, ["mc-2"], left)
    check_undisturbed(load, ["before", "after"])
    check_moved(owners, stored(cluster, "after"))
    check_same_ring(cluster, digest)
    check_right_replies(load)
    cluster.show("mc-0", "mc-1")
    cluster.stop_memcached("mc-2")
    cluster.start_memcached("mc-2", lost)
    cluster.show_all()
    cluster.until_followed()
    until_served(cluster)


@scenario("pods of two nodes don't reach each other for a while")
def partition(cluster):
    owners, digest = stored(cluster, "before"), cluster.digests()
    with Load(cluster, KEYS) as load:
        load.phase("before", 200)
        load.phase("partition")
        cluster.partition(1, 2)
        load.more(600)
        load.phase("healed")
        cluster.heal(1)
        print(f"   every key served again after: {seconds(until_served(cluster))}")
        cluster.fill(KEYS, "again")
        load.phase("after", 200)
    load.print()
    check_others_hit(load, "partition", owners, ["mc-1"], (1,))
    check_others_hit(load, "partition", owners, ["mc-0"], (2,))
    check_others_hit(load, "partition", owners, [], (3,))
    check_undisturbed(load, ["before", "after"])
    check_moved(owners, stored(cluster, "after"))
    check_same_ring(cluster, digest)
    check_right_replies(load)


@scenario("kube-dns is silent for a while, and a pod restarts meanwhile")
def dns_loss(cluster):
    owners, digest = stored(cluster, "before"), cluster.digests()
    with Load(cluster, KEYS) as load:
        load.phase("before", 200)
        load.phase("no DNS")
        cluster.lose_dns()
        # Longer than records live: every answer has run out.
        load.more(1200)
        node = cluster.pods["mc-1"].node
        load.phase("mc-1 restarts, no DNS")
        cluster.stop_memcached("mc-1")
        cluster.start_memcached("mc-1", node)
        cluster.show_all()
        load.more(400)
        load.phase("DNS is back")
        cluster.return_dns()
        print_followed("mc-1", cluster.until_followed(60))
        print(f"   every key served again after: {seconds(until_served(cluster))}")
        cluster.fill(KEYS, "again")
        load.phase("after", 200)
    load.print()
    check_others_hit(load, "no DNS", owners, [])
    for phase in ("mc-1 restarts, no DNS", "DNS is back"):
        check_others_hit(load, phase, owners, ["mc-1"])
    check_undisturbed(load, ["before", "no DNS", "after"])
    check_moved(owners, stored(cluster, "after"))
    check_same_ring(cluster, digest)
    check_right_replies(load)


# --- ringroad -------------------------------------------------------------------------------------------------------


def rolling_update(cluster, mode, replace):
    """A new ringroad on each node, one after the other."""
    cluster.start_routers(mode)
    owners, digest = stored(cluster, "before"), cluster.digests()
    with Load(cluster, KEYS) as load:
        load.phase("before", 200)
        for node in NODES:
            load.phase(f"{node_name(node)} is updated")
            replace(cluster, node, load)
            load.more(100)
        load.phase("after", 200)
    load.print()
    phases = ["before", *(f"{node_name(node)} is updated" for node in NODES), "after"]
    updated = phases[1:-1]
    for node, phase in zip(NODES, updated):
        others = [other for other in NODES if other != node]
        check_no_error(load, [phase], others)
    check_undisturbed(load, ["before", "after"])
    requests = [r for phase in updated for r in load.of(phase) if r.what == "get"]
    misses = [r for r in requests if r.outcome == "miss"]
    check(not misses, f"none of {len(requests)} gets was missed", True)
    check_moved(owners, stored(cluster, "after"))
    check_same_ring(cluster, digest)
    check_right_replies(load)
    return load, updated


def until_ended(router):
    """Until it has ended by itself, as it does after SIGTERM."""
    _, took = eventually(f"ringroad on {node_name(router.node)} ends", router.process.ended)
    check(router.process.popen.returncode == 0, f"it ended by itself, after {took:.2f} s, with exit code 0")


@scenario("rolling update of ringroad behind hostPort: with a gap")
def update_hostport(cluster):
    def replace(cluster, node, load):
        old = cluster.routers[node]
        old.process.signal(signal.SIGTERM)
        until_ended(old)
        # The port is free only now, so the next pod can't have begun before.
        cluster.stop_router(node)
        new = cluster.routers[node] = Router(cluster, node)
        cluster.send_to(node, new)
        eventually("the new one is ready", new.is_ready)

    load, updated = rolling_update(cluster, "hostport", replace)
    for node, phase in zip(NODES, updated):
        failed = [r for r in load.of(phase, (node,)) if r.what == "connect" and r.outcome != "ok"]
        print(f"   gap at {node_name(node)}: {load.gap(node, ('connect',)):.2f} s, {len(failed)} connects failed")


@scenario("rolling update of ringroad behind a Service with internalTrafficPolicy: Local")
def update_service(cluster):
    def replace(cluster, node, load):
        old, new = cluster.routers[node], Router(cluster, node)
        eventually("the new one is ready", new.is_ready)
        # Both are endpoints, and then the old one is told to end.
        cluster.send_to(node, old, new)
        cluster.routers[node] = new
        load.more(20)
        old.process.signal(signal.SIGTERM)
        eventually("the old one says that it is not ready", lambda: get(old.admin, "/readyz")[0] == 503)
        # kube-proxy hears of it late.
        load.more(60)
        cluster.send_to(node, new)
        until_ended(old)
        cluster.remove(old)

    load, updated = rolling_update(cluster, "service", replace)
    check_connects(load, updated)


@scenario("rolling update of ringroad in the nodes' network, with SO_REUSEPORT")
def update_reuse_port(cluster):
    def replace(cluster, node, load):
        old, new = cluster.routers[node], Router(cluster, node)
        eventually("the new one is ready", new.is_ready)
        cluster.routers[node] = new
        old.process.signal(signal.SIGTERM)
        until_ended(old)
        cluster.remove(old)

    load, updated = rolling_update(cluster, "reuse_port", replace)
    check_connects(load, updated)


def main(ringroad, scratch, *only):
    for name in only:
        if name not in SCENARIOS:
            sys.exit(f"no scenario is called {name}; --list shows them")
    cluster = Cluster(ringroad, scratch)
    try:
        began = time.monotonic()
        cluster.start()
        print(f"three nodes, three memcached pods, ringroad on each node: up after {time.monotonic() - began:.1f} s")
        for name, (title, function) in SCENARIOS.items():
            if not only or name in only:
                print(f"== {name}: {title}", flush=True)
                began = time.monotonic()
                Load.stood_still = 0.0
                function(cluster)
                print(f"   {time.monotonic() - began:.1f} s", flush=True)
    except Failed as failure:
        check(False, f"could not be completed: {failure}")
    if results["failed"]:
        cluster.print_logs()
    print(f"{results['passed']} passed, {results['failed']} failed, {results['skipped']} skipped")
    sys.exit(1 if results["failed"] else 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(SCENARIOS))
    else:
        main(*sys.argv[1:])
